//! A real daemon of its own: own port, data directory and cgroup directory; ended with the test, whatever happens.

use std::fs::{self, File, OpenOptions, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::{Options, eventually, host, widened};

/// A start on a busy machine.
const START: Duration = Duration::from_secs(60);
/// A shutdown on a busy machine, running programs included.
const STOP: Duration = Duration::from_secs(30);
/// What the daemon prints once it can be reached.
const LISTENING: &str = "listening on ";

/// A running daemon. Dropping it ends it.
pub struct Daemon {
    child: Child,
    keeper: Child,
    address: SocketAddr,
    home: TempDir,
    options: Options,
    pub(crate) http: reqwest::blocking::Client,
}

/// The daemon that the tests of one executable share: default options, started by whoever comes first.
pub fn shared() -> &'static Daemon {
    static SHARED: OnceLock<Daemon> = OnceLock::new();
    SHARED.get_or_init(|| Daemon::start(Options::new()))
}

/// A binary of this workspace: beside the test executable, or in the directory that `CRANKCASE_BIN_DIR` names.
///
/// # Panics
/// When it was not built.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    let directory = std::env::var_os("CRANKCASE_BIN_DIR").map_or_else(
        || {
            let test = std::env::current_exe().expect("the test executable has a path");
            let directory = test.parent().expect("it lies in a directory");
            if directory.ends_with("deps") { directory.parent().unwrap_or(directory) } else { directory }.to_owned()
        },
        PathBuf::from,
    );
    let path = directory.join(name);
    assert!(path.exists(), "{} is missing: run `cargo build --workspace` first", path.display());
    path
}

impl Daemon {
    /// Starts one and waits until `/health` answers.
    ///
    /// # Panics
    /// When it does not come up, with its log.
    #[must_use]
    pub fn start(options: Options) -> Self {
        let home = tempfile::Builder::new().prefix("crankcase-test-").tempdir().expect("a temporary directory");
        // The daemon drops to an unprivileged user, which has to reach its data.
        fs::set_permissions(home.path(), Permissions::from_mode(0o755)).expect("chmod of an own directory");
        Self::start_in(home, options)
    }

    fn start_in(home: TempDir, options: Options) -> Self {
        let config = home.path().join("crankcase.toml");
        fs::write(&config, options.toml()).expect("writing the configuration");
        let log = home.path().join("daemon.log");
        let _ = fs::remove_file(&log);
        let output = open_log(&log);
        let mut command = Command::new(binary("crankcase"));
        command
            .arg("serve")
            .arg("--config")
            .arg(&config)
            .env_remove("PORT")
            .env_remove("REDIS_URL")
            .env_remove("ALLOWED_ORIGINS")
            .env_remove("CRANKCASE_CONFIG")
            .env("CRANKCASE_DATA_DIR", home.path().join("data"))
            // What a program must never see: environment_is_clean looks for it.
            .env("CRANKCASE_TEST_SECRET", "of-the-daemon")
            .envs(options.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a second descriptor"))
            .stderr(output)
            // Ctrl-C is for the keeper to act on.
            .process_group(0);
        if std::env::var_os("RUST_LOG").is_none() {
            command.env("RUST_LOG", "info");
        }
        let mut child = command.spawn().expect("starting the daemon");
        let keeper = keep(child.id(), home.path(), options.cgroup());
        let address = wait_until_listening(&mut child, &log);
        let http = reqwest::blocking::Client::builder()
            .timeout(widened(Duration::from_secs(180)))
            // Idle connections would show up as the daemon's descriptors.
            .pool_max_idle_per_host(0)
            .build()
            .expect("an HTTP client");
        let daemon = Self { child, keeper, address, home, options, http };
        eventually(START, || {
            let answer = daemon.http.get(daemon.url("/health")).send().map_err(|error| error.to_string())?;
            if answer.status().is_success() {
                Ok(())
            } else {
                Err(format!("{}: {:?}; {}", answer.status(), answer.text(), daemon.log()))
            }
        });
        daemon
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The absolute URL of a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The daemon's process.
    #[must_use]
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("process ids fit")
    }

    /// The spawner's process: the one that the sandboxes are cloned from.
    ///
    /// # Panics
    /// When there is none within a while.
    #[must_use]
    pub fn spawner(&self) -> i32 {
        eventually(START, || {
            let found = self.privileged().into_iter().find(|pid| !host::has_argument(*pid, "--supervise"));
            found.ok_or("no spawner below the daemon")
        })
    }

    /// Spawner and supervisor: what runs of the spawner's binary in the host's own process namespace (an init of a
    /// sandbox has the same name).
    #[must_use]
    pub fn privileged(&self) -> Vec<i32> {
        let own = host::namespace(self.pid(), "pid");
        let mut found = host::descendants(self.pid());
        found.retain(|pid| host::name(*pid).starts_with("crankcase-spawn") && host::namespace(*pid, "pid") == own);
        found
    }

    /// What it has printed so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("daemon.log")).unwrap_or_default()
    }

    /// Its data directory.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// Its configuration file.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.home.path().join("crankcase.toml")
    }

    /// The cgroup below which its sandboxes live.
    #[must_use]
    pub fn cgroup(&self) -> &str {
        self.options.cgroup()
    }

    /// Sends the daemon a signal.
    pub fn signal(&self, signal: Signal) {
        let _ = kill(Pid::from_raw(self.pid()), signal);
    }

    /// Waits for the daemon's end.
    ///
    /// # Panics
    /// When it lives longer than the deadline.
    pub fn wait(&mut self, deadline: Duration) -> ExitStatus {
        let child = &mut self.child;
        eventually(deadline, || child.try_wait().ok().flatten().ok_or("the daemon is still alive"))
    }

    /// `SIGTERM`, and waits for the end.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.wait(STOP)
    }

    /// `SIGKILL` to the daemon and, in the same moment, to everything privileged.
    pub fn kill_everything(&mut self) {
        let privileged = self.privileged();
        // Stopped first: none of them may see another's end and tidy up.
        for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
            self.signal(signal);
            for pid in &privileged {
                let _ = kill(Pid::from_raw(*pid), signal);
            }
        }
        self.wait(STOP);
    }

    /// Starts it again on the same data, after it was ended.
    #[must_use]
    pub fn start_again(mut self) -> Self {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
        let options = self.options.clone();
        let empty = tempfile::tempdir().expect("a temporary directory");
        let home = std::mem::replace(&mut self.home, empty);
        drop(self);
        Self::start_in(home, options)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // The keeper first: it must not signal a process id that somebody else has by then.
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal(Signal::SIGTERM);
            let end = Instant::now() + widened(STOP);
            while Instant::now() < end && matches!(self.child.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(10));
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        host::remove_cgroups(self.options.cgroup());
        if std::thread::panicking() {
            eprintln!("--- the daemon's log\n{}", self.log());
        }
    }
}

fn open_log(path: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(path).expect("opening the log")
}

/// A shell that ends the daemon when this process goes away without having done so (statics are never
/// dropped, and a test executable may be killed): its standard input closes then.
fn keep(daemon: u32, home: &Path, cgroup: &str) -> Child {
    const SCRIPT: &str = r#"
        cat >/dev/null
        kill -TERM "$1" 2>/dev/null
        for _ in $(seq 300); do kill -0 "$1" 2>/dev/null || break; sleep 0.1; done
        kill -KILL "$1" 2>/dev/null
        rm -rf "$2"
        for _ in 1 2 3 4 5; do
            find /sys/fs/cgroup -maxdepth 2 -name "$3" -exec find {} -depth -type d -exec rmdir {} + \;
            [ -n "$(find /sys/fs/cgroup -maxdepth 2 -name "$3")" ] || break
            sleep 0.2
        done 2>/dev/null
    "#;
    Command::new("sh")
        .args(["-c", SCRIPT, "keeper"])
        .arg(daemon.to_string())
        .arg(home)
        .arg(cgroup)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("starting the keeper")
}

/// Reads the port that the kernel chose out of the log, plain or JSON.
fn wait_until_listening(child: &mut Child, log: &Path) -> SocketAddr {
    eventually(START, || {
        let text = fs::read_to_string(log).unwrap_or_default();
        if let Ok(Some(status)) = child.try_wait() {
            panic!("the daemon ended with {status} before it listened:\n{text}");
        }
        let address = text.lines().find_map(|line| {
            let rest = &line[line.find(LISTENING)? + LISTENING.len()..];
            let end = rest.find(|c: char| !(c.is_ascii_digit() || ".:[]".contains(c))).unwrap_or(rest.len());
            rest[..end].parse().ok()
        });
        address.ok_or_else(|| format!("no \"{LISTENING}ADDRESS\" in the log:\n{text}"))
    })
}
