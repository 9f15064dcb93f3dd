//! The spawner through its client: real sandboxes, step by step. Needs root, as the spawner does.

use std::time::Duration;

use crankcase::spawner_client::embedded::{Embedded, SpawnerArguments};
use crankcase::spawner_client::{Sandbox, SpawnerClient, Stdio, Template};
use crankcase_sandbox::outcome::{Exit, KillReason, Limit, SandboxError, StageOutcome, Step};
use crankcase_sandbox::spec::{
    CpuQuota, CpuTime, Example, MemoryMax, PidsMax, SandboxSpec, SourceFile, StageCommand, StageLimits, TemplateSpec,
    TmpfsInodes, TmpfsSize, WallTime,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;

struct Spawner {
    client: SpawnerClient,
    _embedded: Embedded,
}

async fn spawner() -> Spawner {
    assert!(nix::unistd::geteuid().is_root(), "this test needs root: the spawner makes namespaces and cgroups");
    let embedded = Embedded::start(&SpawnerArguments { client: (0, 0), arguments: vec![], gates: vec![] }).unwrap();
    let client = SpawnerClient::start(embedded.socket.clone(), CancellationToken::new());
    client.ready(Duration::from_secs(10)).await.unwrap();
    Spawner { client, _embedded: embedded }
}

fn spec() -> SandboxSpec {
    SandboxSpec {
        box_size: TmpfsSize::new(16 << 20).unwrap(),
        box_inodes: TmpfsInodes::new(1000).unwrap(),
        tmp_size: TmpfsSize::new(16 << 20).unwrap(),
    }
}

fn limits() -> StageLimits {
    StageLimits {
        memory: MemoryMax::new(256 << 20).unwrap(),
        pids: PidsMax::new(32).unwrap(),
        cpu_quota: CpuQuota::new(2000).unwrap(),
        wall: WallTime::new(5000).unwrap(),
        cpu: CpuTime::new(4000).unwrap(),
        open_files: 64,
        file_size: 64 << 20,
        stack: 8 << 20,
    }
}

fn shell(script: &str) -> StageCommand {
    StageCommand {
        argv: vec!["/bin/bash".into(), "-c".into(), script.into()],
        env: vec![("PATH".into(), "/usr/bin:/bin".into())],
    }
}

struct Ran {
    outcome: StageOutcome,
    stdout: String,
    stderr: String,
}

async fn stage(
    sandbox: &mut Sandbox,
    command: StageCommand,
    limits: StageLimits,
    stdin: &str,
) -> Result<Ran, SandboxError> {
    let stdio = sandbox.load(command, limits).await?;
    sandbox.start().await?;
    to_its_end(sandbox, stdio, stdin).await
}

async fn to_its_end(sandbox: &mut Sandbox, mut stdio: Stdio, stdin: &str) -> Result<Ran, SandboxError> {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let _ = stdio.stdin.write_all(stdin.as_bytes()).await;
    drop(stdio.stdin);
    let (a, b) = tokio::join!(stdio.stdout.read_to_end(&mut stdout), stdio.stderr.read_to_end(&mut stderr));
    a.unwrap();
    b.unwrap();
    let outcome = sandbox.ended().await?;
    Ok(Ran { outcome, stdout: String::from_utf8(stdout).unwrap(), stderr: String::from_utf8(stderr).unwrap() })
}

async fn run(spawner: &Spawner, script: &str, limits: StageLimits) -> Ran {
    let mut sandbox = spawner.client.create(spec()).await.unwrap();
    let stdio = sandbox.load_and_start(shell(script), limits).await.unwrap();
    to_its_end(&mut sandbox, stdio, "").await.unwrap()
}

#[tokio::test]
async fn a_program_runs_and_every_limit_is_named() {
    let spawner = spawner().await;
    let hello = run(&spawner, "echo hello; echo oops >&2; exit 3", limits()).await;
    assert_eq!((hello.stdout.as_str(), hello.stderr.as_str()), ("hello\n", "oops\n"));
    assert_eq!((hello.outcome.exit, hello.outcome.limit), (Exit::Code(3), None));
    assert!(hello.outcome.peak_memory > 0 && hello.outcome.wall_time > Duration::ZERO);

    let killed = run(&spawner, "kill -SEGV $$", limits()).await;
    assert_eq!((killed.outcome.exit, killed.outcome.limit), (Exit::Signal(11), None));

    let wall = StageLimits { wall: WallTime::new(300).unwrap(), ..limits() };
    let slept = run(&spawner, "echo before; sleep 60", wall).await;
    assert_eq!((slept.outcome.limit, slept.stdout.as_str()), (Some(Limit::Time), "before\n"));
    assert!(slept.outcome.wall_time < Duration::from_millis(800));

    let cpu = StageLimits { cpu: CpuTime::new(200).unwrap(), ..limits() };
    assert_eq!(run(&spawner, "while :; do :; done", cpu).await.outcome.limit, Some(Limit::Cpu));

    let memory = StageLimits { memory: MemoryMax::new(32 << 20).unwrap(), ..limits() };
    let hog = run(&spawner, "echo before; /usr/bin/python3 -c \"x = b'x' * (200 << 20)\"", memory).await;
    assert_eq!((hog.outcome.limit, hog.stdout.as_str()), (Some(Limit::Memory), "before\n"));

    let bomb = run(&spawner, "f() { f | f & }; f; sleep 3", limits()).await;
    assert_eq!(bomb.outcome.limit, Some(Limit::Processes));

    let full = run(&spawner, "head -c 40000000 /dev/zero > big", limits()).await;
    assert_eq!(full.outcome.limit, Some(Limit::Disk), "{} {:?}", full.stderr, full.outcome);

    let again = run(&spawner, "echo fine", limits()).await;
    assert_eq!((again.outcome.exit, again.stdout.as_str()), (Exit::Code(0), "fine\n"));
}

#[tokio::test]
async fn two_stages_share_the_work_directory_and_nothing_else() {
    let spawner = spawner().await;
    let mut sandbox = spawner.client.create(spec()).await.unwrap();
    let file = |name: &str, content: &str| SourceFile { name: name.into(), content: content.into(), executable: false };
    sandbox.write(&[file("src/a.txt", "one"), file("b.txt", "two")]).await.unwrap();
    let first =
        stage(&mut sandbox, shell("cat src/a.txt b.txt > c.txt; sleep 100 & echo $!"), limits(), "").await.unwrap();
    assert_eq!(first.outcome.exit, Exit::Code(0));
    let script = format!("cat c.txt -; kill -0 {} 2>/dev/null || echo gone", first.stdout.trim());
    let second = stage(&mut sandbox, shell(&script), limits(), " three ").await.unwrap();
    assert_eq!(second.stdout, "onetwo three gone\n");
    assert_eq!(second.outcome.limit, None);
}

#[tokio::test]
async fn only_a_regular_file_of_the_work_directory_is_read() {
    const SCRIPT: &str = "
        printf artefact > main; chmod 755 main; mkdir sub; printf inner > sub/file; ln -s /etc/passwd link; ln -s /etc etc
        printf two > twice; ln twice again; mkfifo fifo; truncate -s 1M big; printf '' > empty
        printf keep > removed; exec 3<removed; rm removed; ln -s main own-link; ln -s sub dir-link";
    let spawner = spawner().await;
    let mut sandbox = spawner.client.create(spec()).await.unwrap();
    let made = stage(&mut sandbox, shell(SCRIPT), limits(), "").await.unwrap();
    assert_eq!((made.outcome.exit, made.stderr.as_str()), (Exit::Code(0), ""));
    for (name, content, executable) in [("main", "artefact", true), ("sub/file", "inner", false), ("empty", "", false)]
    {
        let expected = SourceFile { name: name.into(), content: content.into(), executable };
        assert_eq!(sandbox.read(name, 100).await.unwrap(), Some(expected), "{name}");
    }
    for name in ["link", "etc/passwd", "twice", "again", "fifo", "big", "sub", "removed", "own-link", "dir-link/file"] {
        assert_eq!(sandbox.read(name, 100).await.unwrap(), None, "{name}");
    }
    assert_eq!(sandbox.read("big", 1 << 20).await.unwrap().map(|file| file.content.len()), Some(1 << 20));
    // The sandbox is as good as before.
    let after = stage(&mut sandbox, shell("cat main"), limits(), "").await.unwrap();
    assert_eq!((after.stdout.as_str(), after.outcome.limit), ("artefact", None));
    // A name that leads out is no request at all: the spawner closes the connection.
    assert_eq!(sandbox.read("../etc/passwd", 100).await.unwrap_err().step, Step::Spawner);
}

#[tokio::test]
async fn nothing_is_read_while_a_program_could_change_it() {
    let spawner = spawner().await;
    let mut sandbox = spawner.client.create(spec()).await.unwrap();
    let _stdio = sandbox.load(shell("sleep 60"), limits()).await.unwrap();
    assert_eq!(sandbox.read("main", 100).await.unwrap_err().step, Step::State);
}

#[tokio::test]
async fn failures_of_ours_name_their_step() {
    let spawner = spawner().await;
    let mut sandbox = spawner.client.create(spec()).await.unwrap();
    let missing = StageCommand { argv: vec!["/nowhere".into()], env: vec![] };
    let error = stage(&mut sandbox, missing.clone(), limits(), "").await.map(|_| ()).unwrap_err();
    assert_eq!(error, SandboxError { step: Step::Exec, errno: 2 });

    let mut sandbox = spawner.client.create(spec()).await.unwrap();
    let stdio = sandbox.load_and_start(missing, limits()).await.unwrap();
    let error = to_its_end(&mut sandbox, stdio, "").await.map(|_| ()).unwrap_err();
    assert_eq!(error, SandboxError { step: Step::Exec, errno: 2 });

    let mut sandbox = spawner.client.create(spec()).await.unwrap();
    let _stdio = sandbox.load_and_start(shell("sleep 60"), limits()).await.unwrap();
    sandbox.start().await.unwrap();
    assert_eq!(sandbox.ended().await.unwrap_err().step, Step::State, "it was started before");

    let mut sandbox = spawner.client.create(spec()).await.unwrap();
    let error = sandbox.ended_without_a_stage().await;
    assert_eq!(error.step, Step::State);
}

#[tokio::test]
async fn a_killed_stage_says_why_and_a_dropped_sandbox_is_gone() {
    let spawner = spawner().await;
    for (reason, limit, cancelled) in
        [(KillReason::Output, Some(Limit::Output), false), (KillReason::Cancelled, None, true)]
    {
        let mut sandbox = spawner.client.create(spec()).await.unwrap();
        let _stdio = sandbox.load(shell("sleep 60"), limits()).await.unwrap();
        sandbox.start().await.unwrap();
        sandbox.killer().kill(reason).await;
        let outcome = sandbox.ended().await.unwrap();
        assert_eq!((outcome.limit, outcome.cancelled, outcome.exit), (limit, cancelled, Exit::Signal(9)));
    }
    for _ in 0..20 {
        let mut sandbox = spawner.client.create(spec()).await.unwrap();
        let _stdio = sandbox.load(shell("sleep 60"), limits()).await.unwrap();
        sandbox.start().await.unwrap();
    }
}

/// Asks for something out of order.
trait OutOfOrder {
    async fn ended_without_a_stage(&mut self) -> SandboxError;
}

impl OutOfOrder for Sandbox {
    async fn ended_without_a_stage(&mut self) -> SandboxError {
        self.start().await.unwrap();
        self.ended().await.unwrap_err()
    }
}

/// A gate as small as can be: says that it stands, waits for go, closes its descriptor, runs the file.
const GATE: &str = "printf R >&63; head -c1 <&63 >/dev/null; exec 63>&-; . ./main.sh";

async fn gated(spawner: &Spawner, limits: StageLimits) -> (Sandbox, Stdio) {
    let mut sandbox = spawner.client.create_background(spec()).await.unwrap();
    let stdio = sandbox.load_gated(shell(GATE), limits).await.unwrap();
    (sandbox, stdio)
}

async fn run_gated(spawner: &Spawner, script: &str, limits: StageLimits) -> Ran {
    let (mut sandbox, mut stdio) = gated(spawner, limits).await;
    let main = SourceFile { name: "main.sh".into(), content: script.into(), executable: false };
    sandbox.write(&[main]).await.unwrap();
    sandbox.start().await.unwrap();
    drop(stdio.stdin);
    let (mut stdout, mut stderr) = (String::new(), String::new());
    let (a, b) = tokio::join!(stdio.stdout.read_to_string(&mut stdout), stdio.stderr.read_to_string(&mut stderr));
    a.unwrap();
    b.unwrap();
    Ran { outcome: sandbox.ended().await.unwrap(), stdout, stderr }
}

#[tokio::test]
async fn a_payload_waits_in_its_gate_and_every_limit_is_named() {
    let spawner = spawner().await;
    let hello = run_gated(&spawner, "echo hello; ls /proc/self/fd; exit 3", limits()).await;
    assert_eq!((hello.stdout.as_str(), hello.outcome.exit), ("hello\n0\n1\n2\n3\n", Exit::Code(3)), "{}", hello.stderr);
    let wall = StageLimits { wall: WallTime::new(300).unwrap(), ..limits() };
    let slept = run_gated(&spawner, "echo before; sleep 60", wall).await;
    assert_eq!((slept.outcome.limit, slept.stdout.as_str()), (Some(Limit::Time), "before\n"));
    let cpu = StageLimits { cpu: CpuTime::new(200).unwrap(), ..limits() };
    assert_eq!(run_gated(&spawner, "while :; do :; done", cpu).await.outcome.limit, Some(Limit::Cpu));
    let memory = StageLimits { memory: MemoryMax::new(32 << 20).unwrap(), ..limits() };
    let hog = run_gated(&spawner, "/usr/bin/python3 -c \"x = b'x' * (200 << 20)\"", memory).await;
    assert_eq!(hog.outcome.limit, Some(Limit::Memory));
    let bomb = run_gated(&spawner, "f() { f | f & }; f; sleep 3", limits()).await;
    assert_eq!(bomb.outcome.limit, Some(Limit::Processes));
}

#[tokio::test]
async fn what_ends_in_its_gate_is_a_failure_of_ours() {
    let spawner = spawner().await;
    for script in ["exit 0", "exec 63>&-; sleep 9", "printf nonsense >&63; sleep 9"] {
        let mut sandbox = spawner.client.create_background(spec()).await.unwrap();
        let error = sandbox.load_gated(shell(script), limits()).await.map(|_| ()).unwrap_err();
        assert_eq!(error.step, Step::Gate, "{script}");
    }
    let (mut sandbox, _stdio) = gated(&spawner, limits()).await;
    sandbox.killer().kill(KillReason::Cancelled).await;
    assert!(sandbox.ended().await.unwrap().cancelled);
}

#[tokio::test]
async fn a_gate_tells_how_compiling_went() {
    let spawner = spawner().await;
    let mut sandbox = spawner.client.create(spec()).await.unwrap();
    let script = "printf R >&63; head -c1 <&63 >/dev/null; printf 'C\\001a.c: error' >&63; exit 1";
    let _stdio = sandbox.load_gated(shell(script), limits()).await.unwrap();
    sandbox.start().await.unwrap();
    assert_eq!(sandbox.ended().await.unwrap().exit, Exit::Code(1));
    let compiled = sandbox.take_compiled().unwrap();
    assert_eq!((compiled.exit_code, compiled.text.as_str()), (1, "a.c: error"));
}

/// A python gate as small as can be; the real ones lie in `runtimes/gates`.
const PYTHON_GATE: &str = r#"
import os
os.write(63, b"R")
while True:
    word = os.read(63, 1)
    if word == b"F":
        if os.fork() == 0:
            os.write(63, b"R")
    elif word == b"G":
        break
    else:
        os._exit(0)
os.close(63)
"#;

/// What a template of it learns from.
fn example() -> Option<Example> {
    let code = "kept = [object() for _ in range(50_000)]\nprint(input())\n";
    Some(Example { file: "main.py".into(), code: code.into(), stdin: "Ada\n".into() })
}

fn template_spec(command: StageCommand, example: Option<Example>) -> TemplateSpec {
    TemplateSpec { sandbox: spec(), command, limits: limits(), example }
}

/// The spawner with a python gate, and a template of it.
async fn template() -> (Spawner, Template) {
    let gates = vec![("python/sitecustomize.py".into(), PYTHON_GATE.into())];
    let embedded = Embedded::start(&SpawnerArguments { client: (0, 0), arguments: vec![], gates }).unwrap();
    let client = SpawnerClient::start(embedded.socket.clone(), CancellationToken::new());
    client.ready(Duration::from_secs(10)).await.unwrap();
    let template = client.create_template(template_spec(python(), example())).await.unwrap();
    (Spawner { client, _embedded: embedded }, template)
}

fn python() -> StageCommand {
    let env = vec![("PYTHONPATH".into(), "/opt/crankcase/python".into())];
    StageCommand { argv: vec!["/usr/bin/python3".into(), "main.py".into()], env }
}

async fn run_forked(spawner: &Spawner, template: &Template, code: &str, limits: StageLimits) -> Ran {
    let mut sandbox = spawner.client.create_background(spec()).await.unwrap();
    let mut stdio = sandbox.fork_from(template, limits).await.unwrap();
    sandbox.write(&[SourceFile { name: "main.py".into(), content: code.into(), executable: false }]).await.unwrap();
    sandbox.start().await.unwrap();
    drop(stdio.stdin);
    let (mut stdout, mut stderr) = (String::new(), String::new());
    let (a, b) = tokio::join!(stdio.stdout.read_to_string(&mut stdout), stdio.stderr.read_to_string(&mut stderr));
    a.unwrap();
    b.unwrap();
    Ran { outcome: sandbox.ended().await.unwrap(), stdout, stderr }
}

#[tokio::test]
async fn a_template_forks_into_sandboxes_that_are_like_any_other() {
    let (spawner, template) = template().await;
    let look = r#"
import os, socket, resource
print(os.getuid(), os.getgid(), os.getgroups(), os.getcwd(), os.getppid(), os.getpid() == os.getsid(0))
print(sorted(os.listdir("/box")), sorted(os.listdir("/proc/self/fd")), socket.gethostname())
print(sorted(p for p in os.listdir("/proc") if p.isdigit()) == [str(os.getpid())])
print(open("/proc/self/cgroup").read().count("crankcase"), resource.getrlimit(resource.RLIMIT_NOFILE))
print([l.strip() for l in open("/proc/self/status") if l.startswith(("Cap", "NoNewPrivs", "Seccomp:", "Groups"))])
print(sorted(os.environ))
try:
    fd = os.open("/proc/self/ns/mnt", os.O_RDONLY)
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    print("setns", libc.setns(fd, 0), ctypes.get_errno())
except OSError as error:
    print(error)
pid = os.fork()
if pid == 0:
    os._exit(7)
print(os.waitpid(pid, 0)[1] >> 8)
"#;
    let ran = run_forked(&spawner, &template, look, limits()).await;
    assert_eq!(ran.outcome.exit, Exit::Code(0), "{} {}", ran.stdout, ran.stderr);
    let expected = [
        "1000 1000 [] /box 1 True",
        "['main.py'] ['0', '1', '2', '3'] crankcase",
        "True",
        "0 (64, 64)",
        "['Groups:', 'CapInh:\\t0000000000000000', 'CapPrm:\\t0000000000000000', 'CapEff:\\t0000000000000000', \
         'CapBnd:\\t0000000000000000', 'CapAmb:\\t0000000000000000', 'NoNewPrivs:\\t1', 'Seccomp:\\t2']",
        "['LC_CTYPE', 'PYTHONPATH']",
        "setns -1 1",
        "7",
    ];
    assert_eq!(ran.stdout.lines().collect::<Vec<_>>(), expected);
    let forks = (0..20).map(|number| {
        let (spawner, template) = (&spawner, &template);
        async move {
            let code = format!("import os\nopen('/tmp/x', 'x').write('{number}')\nprint({number}, os.listdir('/tmp'))");
            let ran = run_forked(spawner, template, &code, limits()).await;
            assert_eq!(ran.stdout, format!("{number} ['x']\n"), "{}", ran.stderr);
        }
    });
    futures_util::future::join_all(forks).await;
}

/// The page tables say which pages a fork has for itself, and how much of the interpreter's code is there.
#[tokio::test]
async fn forks_have_what_an_example_took() {
    let (spawner, taught) = template().await;
    let untaught = spawner.client.create_template(template_spec(python(), None)).await.unwrap();
    let look = r#"
import os
table, counts = os.open("/proc/self/pagemap", os.O_RDONLY), {"rw-p": 0, "r-xp": 0}
for line in open("/proc/self/maps"):
    region, permissions, *rest = line.split()
    start, end = (int(address, 16) // 4096 for address in region.split("-"))
    if permissions in counts and "[v" not in line:
        entries = os.pread(table, (end - start) * 8, start * 8)
        for at in range(0, len(entries), 8):
            entry = int.from_bytes(entries[at : at + 8], "little")
            counts[permissions] += entry >> 63 and (permissions == "r-xp" or entry >> 56 & 1)
print(*counts.values())
"#;
    let mut counts = Vec::new();
    for template in [&taught, &untaught] {
        let ran = run_forked(&spawner, template, look, limits()).await;
        let pages = ran.stdout.split_whitespace().map(|count| count.parse::<i64>().unwrap()).collect::<Vec<_>>();
        assert_eq!(pages.len(), 2, "{} {}", ran.stdout, ran.stderr);
        counts.push(pages);
        let hello = run_forked(&spawner, template, "import os; print(os.listdir(), ascii(input))", limits()).await;
        assert_eq!(hello.stdout, "['main.py'] <built-in function input>\n", "{}", hello.stderr);
    }
    assert!(counts[0][0] > counts[1][0] + 20 && counts[0][1] >= counts[1][1], "{counts:?}");
}

/// Whatever goes wrong with it costs nothing but speed.
#[tokio::test]
async fn a_template_stands_whatever_its_example_does() {
    let (spawner, _) = template().await;
    for code in ["import os; os._exit(3)", "import os; os.kill(os.getpid(), 9)", "raise SystemExit(1)", "no python"] {
        let example = Example { code: code.into(), ..example().unwrap() };
        let template = spawner.client.create_template(template_spec(python(), Some(example))).await.unwrap();
        assert_eq!(run_forked(&spawner, &template, "print(1)", limits()).await.stdout, "1\n", "{code}");
    }
}

#[tokio::test]
async fn every_limit_is_named_in_a_fork() {
    let (spawner, template) = template().await;
    let wall = StageLimits { wall: WallTime::new(300).unwrap(), ..limits() };
    let slept = run_forked(&spawner, &template, "print('before', flush=True)\nimport time\ntime.sleep(60)", wall).await;
    assert_eq!((slept.outcome.limit, slept.stdout.as_str()), (Some(Limit::Time), "before\n"));
    let cpu = StageLimits { cpu: CpuTime::new(200).unwrap(), ..limits() };
    assert_eq!(run_forked(&spawner, &template, "while True: pass", cpu).await.outcome.limit, Some(Limit::Cpu));
    let memory = StageLimits { memory: MemoryMax::new(32 << 20).unwrap(), ..limits() };
    let hog = run_forked(&spawner, &template, "x = b'x' * (200 << 20)", memory).await;
    assert_eq!(hog.outcome.limit, Some(Limit::Memory));
    let bomb = run_forked(&spawner, &template, "import os\nwhile True: os.fork()", limits()).await;
    assert_eq!(bomb.outcome.limit, Some(Limit::Processes));
    let signalled = run_forked(&spawner, &template, "import os\nos.kill(os.getpid(), 11)", limits()).await;
    assert_eq!((signalled.outcome.exit, signalled.outcome.limit), (Exit::Signal(11), None));
    let hello = run_forked(&spawner, &template, "print('fine')", limits()).await;
    assert_eq!(hello.stdout, "fine\n");
}

#[tokio::test]
async fn a_template_that_does_not_stand_is_a_failure_of_ours() {
    let (spawner, template) = template().await;
    let missing = StageCommand { argv: vec!["/nowhere".into()], env: vec![] };
    let error = spawner.client.create_template(template_spec(missing, None)).await.map(|_| ()).unwrap_err();
    assert_eq!(error, SandboxError { step: Step::Exec, errno: 2 });
    let error = spawner.client.create_template(template_spec(shell("exit 0"), None)).await.map(|_| ()).unwrap_err();
    assert_eq!(error.step, Step::Gate);
    drop(template);
    let again = spawner.client.create_template(template_spec(python(), None)).await.unwrap();
    assert_eq!(run_forked(&spawner, &again, "print(1)", limits()).await.stdout, "1\n");
}
