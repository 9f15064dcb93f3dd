//! `crankcase spawner`: reads the configuration as root and becomes the spawner, which knows no TOML.
//!
//! systemd hands the listening socket over; by hand it is made where `sandbox.spawner-socket` says.

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::Context as _;
use crankcase::privilege::Account;
use crankcase::service::spawner;
use crankcase::spawner_client::embedded::spawner_binary;
use crankcase::spawner_client::gates;
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};
use nix::unistd::{Gid, Uid, chown};

use super::{ConfigOption, doctor};

#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    pub config: ConfigOption,
}

pub fn run(options: Options) -> anyhow::Result<ExitCode> {
    let (mut config, registry) = options.config.load_with_runtimes()?;
    let account = Account::find(config.server.user.as_deref())?;
    let socket = config.sandbox.spawner_socket.take();
    // Without the daemon's setting this process answers for the host itself.
    if let Some(refusal) = doctor::refusal(&doctor::for_sandboxes(&config)) {
        anyhow::bail!("{refusal}");
    }
    let mut command = Command::new(spawner_binary()?);
    command.args(["--client-uid", &account.uid.to_string()]).args(spawner::arguments(&config, &registry));
    let runtime_directory = std::env::var("RUNTIME_DIRECTORY").ok();
    let runtime_directory = runtime_directory.as_deref().and_then(|all| all.split(':').next()).unwrap_or("/run");
    let runtime_directory = Path::new(runtime_directory);
    let gates = gates::replace(runtime_directory, &gates::with_fork(registry.gate_files())?)
        .with_context(|| format!("writing the gates below {}", runtime_directory.display()))?;
    command.arg("--gates").arg(gates);
    if std::env::var_os("LISTEN_FDS").is_none() {
        let path = socket.context("sandbox.spawner-socket must say where to listen")?;
        command.stdin(Stdio::from(listener(&path, account)?));
    }
    // The process, and its number that systemd's LISTEN_PID names, stays the same.
    Err(command.exec()).context("becoming the spawner")
}

fn listener(path: &Path, account: Account) -> anyhow::Result<OwnedFd> {
    let context = || format!("listening on {}", path.display());
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error).with_context(context),
        _ => {}
    }
    let fd = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)?;
    bind(fd.as_raw_fd(), &UnixAddr::new(path)?).with_context(context)?;
    chown(path, Some(Uid::from_raw(account.uid)), Some(Gid::from_raw(account.gid))).with_context(context)?;
    listen(&fd, Backlog::new(16)?).with_context(context)?;
    Ok(fd)
}
