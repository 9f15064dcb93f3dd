//! Programs that look for differences, started plainly, through their language's gate, and from a fork in it.
//!
//! The cases are data, `tests/warm/LANGUAGE.toml`, because the daemon has to pass them as well. Here the spawner's side
//! of a gate is played without a sandbox. A language that is not installed is reported as SKIP.

#[path = "../../tests/warm/case.rs"]
mod case;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use case::Case;
use crankcase_runtimes::{Plan, Registry, Request, Runtime, WarmStage, WarmStart};
use crankcase_sandbox::fork::GATE_FD;
use crankcase_sandbox::spec::{SourceFile, StageCommand};
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};
use nix::unistd::{Pid, close};
use serde::Deserialize;

const GIB: u64 = 1 << 30;
/// What no program here takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    case: Vec<Case>,
    /// Prints one line of words, each drawn anew in every process.
    #[serde(default)]
    seeds: Option<String>,
}

/// What a program shows; the work directory's path is `/box` in it.
#[derive(Debug, PartialEq, Eq)]
struct Shown {
    compiled: Option<(i32, String)>,
    /// What a compiler made, where it is a compiler that waits in the gate.
    artefact: BTreeMap<PathBuf, String>,
    status: i32,
    stdout: String,
    stderr: String,
}

/// A work directory, private directory and gate files of one process.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new(registry: Option<&Registry>) -> Self {
        let place = Self { dir: tempfile::tempdir().unwrap() };
        fs::create_dir(place.work()).unwrap();
        fs::create_dir(place.dir.path().join("tmp")).unwrap();
        for (path, content) in registry.map(Registry::gate_files).unwrap_or_default() {
            let content = match path.extension().is_some_and(|extension| extension == "rb") {
                true => {
                    String::from_utf8(content).unwrap().replace("/box", place.work().to_str().unwrap()).into_bytes()
                }
                false => content,
            };
            let path = place.dir.path().join("gates").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        place
    }

    fn work(&self) -> std::path::PathBuf {
        self.dir.path().join("box")
    }

    fn write(&self, files: &[SourceFile]) {
        for file in files {
            let path = self.work().join(&file.name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, &file.content).unwrap();
        }
    }

    /// All that a compiler made.
    fn artefact(&self, plan: &Plan) -> BTreeMap<PathBuf, String> {
        let mut files = BTreeMap::new();
        let mut left: Vec<PathBuf> = plan.artefact.iter().map(|name| self.work().join(name)).collect();
        while let Some(path) = left.pop() {
            if path.is_dir() {
                left.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            } else {
                let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
                files.insert(path.strip_prefix(self.work()).unwrap().to_owned(), text);
            }
        }
        files
    }

    /// Starts a command, with the gate's end of the socket where there is one, and as a template or not.
    fn spawn(&self, command: &StageCommand, gate: Option<&OwnedFd>, template: bool) -> Child {
        static ONE: Mutex<()> = Mutex::new(());
        let gates = self.dir.path().join("gates");
        let local = |word: &String| word.replace("/opt/crankcase", gates.to_str().unwrap());
        // The descriptor has no close-on-exec for a moment, and belongs to one child.
        let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gate) = gate {
            assert_eq!(fcntl(gate, FcntlArg::F_DUPFD(GATE_FD)), Ok(GATE_FD));
        }
        let child = Command::new(self.work().join(&command.argv[0]))
            .arg0(&command.argv[0])
            .args(command.argv[1..].iter().map(local))
            .env_clear()
            .envs(command.env.iter().map(|(key, value)| (key, local(value))))
            .envs(template.then(|| {
                (
                    "LD_PRELOAD",
                    preload(command.env.iter().find(|(key, _)| key == "LD_PRELOAD").map(|(_, value)| local(value))),
                )
            }))
            .current_dir(self.work())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{:?}: {error}", command.argv));
        if gate.is_some() {
            close(GATE_FD).unwrap();
        }
        child
    }

    fn shown(&self, mut child: Child, stdin: &str, status: Option<i32>) -> Shown {
        // A program that ends without reading its stdin is none of our business.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        let output = child.wait_with_output().unwrap();
        let text = |bytes: &[u8]| {
            String::from_utf8_lossy(bytes)
                .replace(self.work().to_str().unwrap(), "/box")
                .replace(self.dir.path().to_str().unwrap(), "/place")
        };
        Shown {
            compiled: None,
            artefact: BTreeMap::new(),
            status: status.unwrap_or_else(|| output.status.into_raw()),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }
}

fn plainly(plan: &Plan, stage: WarmStage, stdin: &str) -> Shown {
    let place = Place::new(None);
    place.write(&plan.files);
    let mut compiled = None;
    if let Some(compile) = &plan.compile {
        let shown = place.shown(place.spawn(compile, None, false), "", None);
        compiled = Some((shown.status >> 8, shown.stdout + &shown.stderr));
        if shown.status != 0 {
            return Shown::refused(compiled);
        }
    }
    let artefact = if stage == WarmStage::Compile { place.artefact(plan) } else { BTreeMap::new() };
    Shown { compiled, artefact, ..place.shown(place.spawn(&plan.run, None, false), stdin, None) }
}

impl Shown {
    /// A compile error.
    fn refused(compiled: Option<(i32, String)>) -> Self {
        Self { compiled, artefact: BTreeMap::new(), status: 0, stdout: String::new(), stderr: String::new() }
    }
}

/// A started process in its gate.
struct Gated {
    place: Place,
    child: Child,
    spawner: OwnedFd,
}

impl Gated {
    fn start(registry: &Registry, warm: &WarmStart, template: bool) -> Self {
        let place = Place::new(Some(registry));
        let flags = SockFlag::SOCK_CLOEXEC;
        let (spawner, gate) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).unwrap();
        let child = place.spawn(&warm.command, Some(&gate), template);
        drop(gate);
        let mut gated = Self { place, child, spawner };
        let message = gated.message();
        if message != b"R" {
            let _ = gated.child.kill();
            let shown = gated.place.shown(gated.child, "", None);
            panic!("{:?} instead of R: {shown:?}", String::from_utf8_lossy(&message));
        }
        gated
    }

    fn message(&self) -> Vec<u8> {
        use std::os::fd::AsRawFd as _;
        let mut buffer = vec![0; 65_536];
        let length = recv(self.spawner.as_raw_fd(), &mut buffer, MsgFlags::empty()).unwrap();
        buffer.truncate(length);
        buffer
    }

    fn say(&self, message: u8) {
        use std::os::fd::AsRawFd as _;
        send(self.spawner.as_raw_fd(), &[message], MsgFlags::MSG_NOSIGNAL).unwrap();
    }

    fn pid(&self) -> i32 {
        self.child.id().try_into().unwrap()
    }

    /// Lets the program in and run.
    fn run(self, plan: &Plan, stage: WarmStage, stdin: &str) -> Shown {
        self.place.write(&plan.files);
        self.place.write(&plan.warm_files);
        self.say(b'G');
        let mut compiled = None;
        if stage == WarmStage::Compile {
            let shown = self.place.shown(self.child, "", None);
            let compiled = Some((shown.status >> 8, shown.stdout + &shown.stderr));
            if shown.status != 0 {
                return Shown::refused(compiled);
            }
            let artefact = self.place.artefact(plan);
            let program = self.place.spawn(&plan.run, None, false);
            return Shown { compiled, artefact, ..self.place.shown(program, stdin, None) };
        }
        if stage == WarmStage::Both {
            let message = self.message();
            assert_eq!(message.first(), Some(&b'C'));
            compiled = Some((i32::from(message[1]), String::from_utf8_lossy(&message[2..]).into_owned()));
            if message[1] != 0 {
                let shown = self.place.shown(self.child, "", None);
                assert_eq!((shown.stdout + &shown.stderr).as_str(), "");
                return Shown::refused(compiled);
            }
        }
        Shown { compiled, ..self.place.shown(self.child, stdin, None) }
    }

    /// Forks the process and lets the program into the child, while the parent is stopped.
    fn run_fork(mut self, plan: &Plan, stdin: &str) -> Shown {
        self.end_a_fork();
        self.say(b'F');
        assert_eq!(self.message(), b"R");
        kill(Pid::from_raw(self.pid()), Signal::SIGSTOP).unwrap();
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.pid())).unwrap();
        let child: i32 = children.split_whitespace().last().and_then(|pid| pid.parse().ok()).expect("a child");
        eventually(|| state(self.pid()).is_some_and(|(state, _)| state == 'T'));
        self.place.write(&plan.files);
        // The stopped parent keeps its end of stdin, so the end of file is sent before.
        let _ = self.child.stdin.as_mut().unwrap().write_all(stdin.as_bytes());
        drop(self.child.stdin.take());
        self.say(b'G');
        eventually(|| state(child).is_some_and(|(state, _)| state == 'Z'));
        let status = state(child).map(|(_, status)| status);
        kill(Pid::from_raw(self.pid()), Signal::SIGKILL).unwrap();
        self.child.stdin = Some(self.dead_stdin());
        self.place.shown(self.child, "", status)
    }

    /// A fork that ends must not disturb the process that it is of.
    fn end_a_fork(&self) {
        self.say(b'F');
        assert_eq!(self.message(), b"R");
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.pid())).unwrap();
        let child = children.trim().parse().expect("one child");
        kill(Pid::from_raw(child), Signal::SIGKILL).unwrap();
        // Until it is dead it might take the next message.
        eventually(|| state(child).is_some_and(|(state, _)| state == 'Z'));
    }

    /// A stdin that nobody reads, where `Place::shown` wants one.
    fn dead_stdin(&self) -> std::process::ChildStdin {
        let child = Command::new("/bin/true").stdin(Stdio::piped()).spawn();
        child.unwrap().stdin.take().unwrap()
    }
}

/// What templates are preloaded with, beside what the gate is by itself; without an order of the spawner's it forks as
/// libc does.
fn preload(own: Option<String>) -> String {
    let tests = std::env::current_exe().unwrap();
    let library = tests.ancestors().nth(2).unwrap().join("libcrankcase_fork.so");
    assert!(library.exists(), "{} is missing: cargo build --workspace", library.display());
    own.into_iter().fold(library.display().to_string(), |all, own| format!("{all} {own}"))
}

/// A process's state and exit status (proc(5), stat, fields 3 and 52).
fn state(pid: i32) -> Option<(char, i32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat[stat.rfind(')')? + 2..].split(' ').collect();
    Some((fields.first()?.chars().next()?, fields.get(49)?.trim().parse().ok()?))
}

fn eventually(condition: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn plan(runtime: &Runtime, code: &str, files: &BTreeMap<String, String>) -> Plan {
    let file = |(name, content): (&String, &String)| SourceFile {
        name: name.clone(),
        content: content.clone().into_bytes(),
        executable: false,
    };
    let files: Vec<SourceFile> = files.iter().map(file).collect();
    let request = Request { code, files: &files, args: &[], run_memory_bytes: GIB / 2, compile_memory_bytes: GIB };
    runtime.plan(&request).unwrap()
}

/// Runs all cases of a language.
fn language(name: &str) {
    let registry = Registry::load(&[]).unwrap();
    let runtime = registry.find(name).unwrap();
    let Some(warm) = runtime.warm(GIB / 2, GIB) else {
        assert!(!runtime.installed(), "{name} has no gate");
        return eprintln!("SKIP {name}: not installed");
    };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../tests/warm/{name}.toml"));
    let cases: Cases = toml::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let mut differing = Vec::new();
    for case in &cases.case {
        let plan = plan(runtime, &case.code, &case.files);
        assert_eq!(plan.warm, !case.plain, "{name}, {}: whether it may be warm", case.name);
        if case.plain {
            continue;
        }
        let plain = plainly(&plan, warm.stage, &case.stdin);
        let gated = Gated::start(&registry, &warm, false).run(&plan, warm.stage, &case.stdin);
        if gated != plain {
            differing.push(format!("{name}, {}:\nplain {plain:#?}\ngated {gated:#?}", case.name));
        }
        if warm.fork {
            let forked = Gated::start(&registry, &warm, true).run_fork(&plan, &case.stdin);
            if forked != plain {
                differing.push(format!("{name}, {}:\nplain {plain:#?}\nforked {forked:#?}", case.name));
            }
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
    if let Some(seeds) = &cases.seeds {
        seeds_differ(&registry, &warm, &plan(runtime, seeds, &BTreeMap::new()));
    }
}

/// Two processes of one fork draw different words, each of them.
fn seeds_differ(registry: &Registry, warm: &WarmStart, plan: &Plan) {
    let gated = Gated::start(registry, warm, warm.fork);
    if warm.fork {
        gated.say(b'F');
        assert_eq!(gated.message(), b"R");
        gated.place.write(&plan.files);
        gated.say(b'G');
        gated.say(b'G');
        let pid = gated.pid();
        let shown = {
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
            assert!(!children.trim().is_empty());
            gated.place.shown(gated.child, "", None)
        };
        compare_seeds(&shown.stdout);
    } else {
        let first = gated.run(plan, warm.stage, "").stdout;
        let second = Gated::start(registry, warm, false).run(plan, warm.stage, "").stdout;
        compare_seeds(&(first + &second));
    }
}

fn compare_seeds(stdout: &str) {
    let lines: Vec<Vec<&str>> = stdout.lines().map(|line| line.split(' ').collect()).collect();
    assert!(lines.len() == 2 && lines[0].len() == lines[1].len() && lines[0].len() > 1, "{stdout}");
    for (first, second) in lines[0].iter().zip(&lines[1]) {
        assert_ne!(first, second, "{stdout}");
    }
}

macro_rules! languages {
    ($($name:ident),*) => { $(
        #[test]
        fn $name() {
            language(stringify!($name));
        }
    )* };
}

languages!(python, javascript, ruby, php, perl, java, typescript);
