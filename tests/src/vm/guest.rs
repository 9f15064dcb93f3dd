//! A running machine: scripts go in, their output comes out.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::machine::{Machine, SHARE_BYTES, Size};
use super::snapshot;

/// A cold boot by emulation on a busy host.
const BOOT: Duration = Duration::from_secs(300);
/// How long a script may take by default.
const SCRIPT: Duration = Duration::from_secs(300);
/// A bare start of python on the machines that the time-outs were made for.
const PYTHON_START_MS: f64 = 14.0;

/// One machine at a time: two would only take the processor from each other.
static TURN: Mutex<()> = Mutex::new(());

/// A machine. Dropping it ends it, and with it everything that it wrote.
pub struct Guest {
    qemu: Child,
    port: BufReader<UnixStream>,
    work: TempDir,
    greeting: Value,
    started: Instant,
    ready: Duration,
    scripts: u64,
    slowness: Option<f64>,
    _turn: Option<MutexGuard<'static, ()>>,
}

/// What a script did.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its exit status; 124 when its time was over.
    pub status: i64,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// Where `tests/vm/image` keeps what it built.
///
/// # Panics
/// When it fails.
#[must_use]
pub fn image() -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("vm/image");
    let output = Command::new(script).stderr(std::process::Stdio::inherit()).output().expect("tests/vm/image starts");
    assert!(output.status.success(), "tests/vm/image: {}", output.status);
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
}

impl Guest {
    /// A machine of the usual size, right after its boot, that finds the files of `share` in `/share`.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn resume(share: Option<&Path>) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let machine = snapshot::find(&image(), Size::USUAL);
        Self::start(&machine, share, Some(turn))
    }

    /// A machine of any size that boots.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn boot(size: Size, share: Option<&Path>) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let machine = cold(&image(), size);
        Self::start(&machine, share, Some(turn))
    }

    pub(super) fn start(machine: &Machine, share: Option<&Path>, turn: Option<MutexGuard<'static, ()>>) -> Self {
        let work = tempfile::Builder::new().prefix("run.").tempdir_in(&machine.image).expect("a directory");
        make_share(&work.path().join("share.img"), share);
        let started = Instant::now();
        let mut qemu = machine.start(work.path()).expect("qemu starts");
        let stream = connect(&mut qemu, work.path(), "agent");
        let mut guest = Self {
            qemu,
            port: BufReader::new(stream),
            work,
            greeting: Value::Null,
            started,
            ready: Duration::ZERO,
            scripts: 0,
            slowness: None,
            _turn: turn,
        };
        if machine.state.is_some() {
            guest.send(&json!({"hello": true}));
        }
        guest.greeting = guest.receive(BOOT);
        guest.ready = guest.started.elapsed();
        if machine.state.is_some() {
            // Its clock stood since the snapshot was taken.
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs());
            guest.ok(&format!("date -s @{now} >/dev/null"));
        }
        guest.ok("blockdev --flushbufs /dev/vdb; mount -o ro /dev/vdb /share");
        guest
    }

    /// Seconds from qemu's start to the agent's greeting, and from the kernel's start to the end of the boot.
    ///
    /// # Panics
    /// When the greeting has no uptime.
    #[must_use]
    pub fn boot_times(&self) -> (Duration, Duration) {
        let uptime = self.greeting["uptime"].as_f64().expect("the uptime is a number");
        (self.ready, Duration::from_secs_f64(uptime))
    }

    /// What systemd says of the boot: `running` when no unit failed.
    #[must_use]
    pub fn state(&self) -> &str {
        self.greeting["state"].as_str().unwrap_or_default()
    }

    /// How many times slower than on the machines that the time-outs were made for; at least 1. Measured once.
    ///
    /// # Panics
    /// When the measurement gives no number.
    pub fn slowness(&mut self) -> f64 {
        if let Some(known) = self.slowness {
            return known;
        }
        let milliseconds = self.ok("python3 -c pass; python3 - <<'END'
import subprocess, time
times = []
for _ in range(7):
    start = time.monotonic()
    subprocess.run(['python3', '-c', 'pass'], check=True)
    times.append(time.monotonic() - start)
print(sorted(times)[3] * 1000)
END");
        let milliseconds: f64 = milliseconds.trim().parse().expect("milliseconds");
        let slowness = (milliseconds / PYTHON_START_MS).max(1.0);
        self.slowness = Some(slowness);
        slowness
    }

    /// Runs a script as root.
    #[track_caller]
    pub fn run(&mut self, script: &str) -> Output {
        self.run_within(SCRIPT, script)
    }

    /// Runs a script as root that may take a while.
    ///
    /// # Panics
    /// When the machine does not answer.
    #[track_caller]
    pub fn run_within(&mut self, time: Duration, script: &str) -> Output {
        self.scripts += 1;
        self.send(&json!({"id": self.scripts, "script": script, "timeout": time.as_secs()}));
        let answer = self.receive(time + Duration::from_secs(60));
        assert_eq!(answer["id"], self.scripts, "the machine started again by itself: {answer}\n{}", self.console());
        let text = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
        Output { status: answer["status"].as_i64().unwrap_or(-1), stdout: text("stdout"), stderr: text("stderr") }
    }

    /// Runs a script as root that must succeed, and gives its standard output.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn ok(&mut self, script: &str) -> String {
        self.ok_within(SCRIPT, script)
    }

    /// [`Self::ok`] for what may take a while.
    ///
    /// # Panics
    /// When it does not succeed.
    #[track_caller]
    pub fn ok_within(&mut self, time: Duration, script: &str) -> String {
        let output = self.run_within(time, script);
        assert_eq!(output.status, 0, "{script}\n--- stdout\n{}\n--- stderr\n{}", output.stdout, output.stderr);
        output.stdout
    }

    /// Runs a script again and again until it succeeds, and gives its standard output.
    ///
    /// # Panics
    /// When it did not within the deadline, which is widened by the slowness, ten times at most.
    #[track_caller]
    pub fn eventually(&mut self, deadline: Duration, script: &str) -> String {
        // Not by more: a failure should be told within minutes.
        let end = Instant::now() + deadline.mul_f64(self.slowness().min(10.0));
        loop {
            let output = self.run(script);
            if output.status == 0 {
                return output.stdout;
            }
            assert!(
                Instant::now() < end,
                "not within {deadline:?}, widened: {script}\n{}{}",
                output.stdout,
                output.stderr
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// An orderly reboot; gives its duration until everything is up again.
    ///
    /// # Panics
    /// When it does not come up again.
    pub fn reboot(&mut self) -> Duration {
        self.start_over(|guest| {
            let before = guest.restarts();
            guest.send(&json!({"id": 0, "script": "systemctl reboot", "timeout": 60}));
            let end = Instant::now() + BOOT;
            while guest.restarts() == before {
                assert!(Instant::now() < end, "it does not shut down\n{}", guest.console());
                std::thread::sleep(Duration::from_millis(100));
            }
            // All is over when the kernel says so. The reset that it asks for next has been seen to hang in the emulator.
            monitor(guest.work.path(), &mut guest.qemu, "system_reset");
        })
    }

    /// How often its kernel has said that it restarts.
    fn restarts(&self) -> usize {
        let console = std::fs::read(self.work.path().join("console")).unwrap_or_default();
        String::from_utf8_lossy(&console).matches("reboot: Restarting system").count()
    }

    /// Takes the power away without a word, and gives it back.
    ///
    /// # Panics
    /// When it does not come up again.
    pub fn cut_power(&mut self) -> Duration {
        self.start_over(|guest| monitor(guest.work.path(), &mut guest.qemu, "system_reset"))
    }

    fn start_over(&mut self, how: impl FnOnce(&mut Self)) -> Duration {
        let start = Instant::now();
        how(self);
        // The answer of the script that asked for it may or may not have come out.
        while start.elapsed() < BOOT {
            let message = self.receive(BOOT);
            if message["boot"].is_string() && message["boot"] != self.greeting["boot"] {
                self.greeting = message;
                self.ok("mount -o ro /dev/vdb /share");
                return start.elapsed();
            }
        }
        panic!("no new boot\n{}", self.console());
    }

    /// The end of what the kernel and systemd printed.
    #[must_use]
    pub fn console(&self) -> String {
        let read = |name: &str| std::fs::read(self.work.path().join(name)).unwrap_or_default();
        let text = String::from_utf8_lossy(&[read("qemu.log"), read("console")].concat()).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }

    /// Saves memory and devices to a file and ends the machine; its disk stays as it is in this moment.
    pub(super) fn save(mut self, state: &Path) {
        self.ok("umount /share; sync; echo 3 >/proc/sys/vm/drop_caches; fstrim -v / >/dev/null 2>&1 || true");
        monitor(self.work.path(), &mut self.qemu, &format!("migrate \"exec:cat >{}\"", state.display()));
        monitor(self.work.path(), &mut self.qemu, "quit");
        let _ = self.qemu.wait();
    }

    /// The greeting, for the snapshot's record.
    pub(super) fn greeting(&self) -> &Value {
        &self.greeting
    }

    #[track_caller]
    fn send(&mut self, message: &Value) {
        let line = format!("{message}\n");
        if let Err(error) = self.port.get_mut().write_all(line.as_bytes()) {
            panic!("the machine is gone: {error}\n{}", self.console());
        }
    }

    #[track_caller]
    fn receive(&mut self, within: Duration) -> Value {
        self.port.get_ref().set_read_timeout(Some(within)).expect("a time-out");
        let mut line = String::new();
        match self.port.read_line(&mut line) {
            Ok(1..) => serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}")),
            other => panic!("no answer within {within:?}: {other:?}\n{}", self.console()),
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

/// The image's machine, to be booted; what it writes is thrown away.
pub(super) fn cold(image: &Path, size: Size) -> Machine {
    let disk = image.join("disk.img");
    Machine { image: image.to_owned(), disk, throw_away: true, size, state: None }
}

/// A disk with a directory's files in it.
fn make_share(disk: &Path, directory: Option<&Path>) {
    let file = std::fs::File::create(disk).expect("a file for the disk");
    file.set_len(SHARE_BYTES).expect("a sparse file");
    let mut command = Command::new("mke2fs");
    command.args(["-q", "-F", "-t", "ext4", "-m", "0", "-O", "^has_journal"]);
    if let Some(directory) = directory {
        command.arg("-d").arg(directory);
    }
    let output = command.arg(disk).output().expect("mke2fs starts");
    assert!(output.status.success(), "mke2fs: {}", String::from_utf8_lossy(&output.stderr));
}

#[track_caller]
fn connect(qemu: &mut Child, work: &Path, name: &str) -> UnixStream {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        if let Ok(stream) = UnixStream::connect(work.join(name)) {
            return stream;
        }
        let ended = qemu.try_wait().ok().flatten();
        let log = || std::fs::read_to_string(work.join("qemu.log")).unwrap_or_default();
        assert!(ended.is_none(), "qemu ended with {ended:?}: {}", log());
        assert!(Instant::now() < end, "qemu makes no socket: {}", log());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Gives qemu's monitor a command and waits until it is done.
#[track_caller]
fn monitor(work: &Path, qemu: &mut Child, command: &str) {
    const PROMPT: &[u8] = b"(qemu) ";
    let mut stream = connect(qemu, work, "monitor");
    stream.set_read_timeout(Some(Duration::from_secs(120))).expect("a time-out");
    let mut seen = Vec::new();
    let mut wait = |stream: &mut UnixStream| {
        // What is typed is echoed, prompt and all, so the prompt counts only at the end and alone.
        let mut piece = [0; 4096];
        while !seen.ends_with(PROMPT) {
            match stream.read(&mut piece) {
                Ok(count @ 1..) => seen.extend_from_slice(&piece[..count]),
                _ => break,
            }
        }
        seen.clear();
    };
    wait(&mut stream);
    stream.write_all(format!("{command}\n").as_bytes()).expect("the monitor listens");
    wait(&mut stream);
}
