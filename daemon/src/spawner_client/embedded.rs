//! Starting the spawner when the daemon itself was started as root, without systemd's socket.
//!
//! The daemon makes a directory that only it may enter, listens there, hands the listening socket to a supervised spawner
//! as its descriptor 0 and keeps the reading end of a pipe whose writing end is the spawner's descriptor 1: when the
//! daemon is gone, however it went, the spawner sees that end close and ends everything.

use std::fs::Permissions;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};
use nix::unistd::{Gid, Uid, chown};
use tempfile::TempDir;
use thiserror::Error;

/// The spawner could not be started.
#[derive(Debug, Error)]
pub enum EmbeddedError {
    /// A file of ours is not beside the daemon's.
    #[error("{0} is missing; it lies beside the daemon's own binary")]
    NoBinary(PathBuf),
    /// Anything of the system's.
    #[error("starting the spawner: {0}")]
    Io(#[from] std::io::Error),
}

/// A spawner of our own; it lives as long as this does.
pub struct Embedded {
    /// Where it listens.
    pub socket: PathBuf,
    _directory: TempDir,
    _lifeline: Option<ChildStdout>,
    _supervisor: Child,
}

/// What the spawner is started with.
#[derive(Debug, Clone)]
pub struct SpawnerArguments {
    /// The daemon's uid and gid once it has dropped its privileges.
    pub client: (u32, u32),
    /// Everything else, as the spawner's command line.
    pub arguments: Vec<String>,
    /// What sandboxes find of interpreters' gates: names and contents.
    pub gates: Vec<(PathBuf, Vec<u8>)>,
}

impl Embedded {
    /// Starts it. The caller is root.
    ///
    /// # Errors
    /// [`EmbeddedError`].
    pub fn start(spec: &SpawnerArguments) -> Result<Self, EmbeddedError> {
        let binary = spawner_binary()?;
        let run = Path::new("/run");
        let parent = if run.is_dir() { run.to_owned() } else { std::env::temp_dir() };
        let directory = tempfile::Builder::new().prefix("crankcase-").tempdir_in(parent)?;
        let (uid, gid) = (Uid::from_raw(spec.client.0), Gid::from_raw(spec.client.1));
        let path = directory.path().join("spawner.sock");
        let listener = listener(&path)?;
        // The daemon may enter and connect; what lies here stays root's, for the spawner may be started again.
        chown(directory.path(), None, Some(gid)).map_err(std::io::Error::from)?;
        std::fs::set_permissions(directory.path(), Permissions::from_mode(0o750))?;
        chown(&path, Some(uid), Some(gid)).map_err(std::io::Error::from)?;
        let gates = directory.path().join("gates");
        super::gates::write(&gates, &super::gates::with_fork(spec.gates.clone())?)?;
        let mut supervisor = Command::new(binary)
            .arg("--supervise")
            .args(["--remove".as_ref(), directory.path().as_os_str()])
            .args(["--client-uid", &spec.client.0.to_string()])
            .args(["--daemon", &std::process::id().to_string()])
            .args(["--gates".as_ref(), gates.as_os_str()])
            .args(&spec.arguments)
            .stdin(Stdio::from(listener))
            .stdout(Stdio::piped())
            .env_clear()
            .spawn()?;
        let lifeline = supervisor.stdout.take();
        Ok(Self { socket: path, _directory: directory, _lifeline: lifeline, _supervisor: supervisor })
    }
}

fn listener(path: &Path) -> std::io::Result<OwnedFd> {
    let fd = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)?;
    bind(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
    listen(&fd, Backlog::new(16)?)?;
    Ok(fd)
}

/// The spawner's program: beside the daemon's, or one directory up from a test's.
///
/// # Errors
/// [`EmbeddedError::NoBinary`] with where it should be.
pub fn spawner_binary() -> Result<PathBuf, EmbeddedError> {
    beside("crankcase-spawner")
}

/// The library that templates preload: beside the daemon's program too.
///
/// # Errors
/// [`EmbeddedError::NoBinary`] with where it should be.
pub fn fork_library() -> Result<PathBuf, EmbeddedError> {
    beside("libcrankcase_fork.so")
}

fn beside(name: &str) -> Result<PathBuf, EmbeddedError> {
    let own = std::env::current_exe()?;
    let path = own.with_file_name(name);
    let built = own.ancestors().nth(2).map(|directory| directory.join(name));
    [Some(path.clone()), built].into_iter().flatten().find(|path| path.is_file()).ok_or(EmbeddedError::NoBinary(path))
}
