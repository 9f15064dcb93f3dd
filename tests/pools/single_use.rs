//! Nothing that a run did is seen by the next, though both were forked from one template.

use crankcase_tests::Daemon;

use super::{daemon, filled, python, warm_hits};

const LEAVE: &str = r#"
import builtins, os, random, sys, time
for place in ("/tmp/left", "/dev/shm/left", "/box/left", "left.py"):
    open(place, "w").write("left")
os.environ["LEFT"] = "1"
builtins.left = sys.left = 1
sys.path.insert(0, "/left")
random.seed(1)
os.umask(0)
if os.fork() == 0:
    os.setsid()
    for fd in range(3):
        os.close(fd)
    time.sleep(60)
    os._exit(0)
print("left")
"#;

/// Prints nothing but what it finds. The paths are put together so that the program may take a warm process.
const LOOK: &str = r#"
import builtins, os, sys
for place in ("/tmp", "/dev/shm", "/box"):
    found = sorted(set(os.listdir(place)) - {"main.py"})
    if found:
        print(place, found)
for name in ("LEFT",):
    if name in os.environ:
        print("environment", os.environ[name])
if hasattr(builtins, "left") or hasattr(sys, "left") or "/left" in sys.path:
    print("interpreter")
if os.umask(0o22) != 0o22:
    print("umask")
processes = [name for name in os.listdir("/pr" + "oc") if name.isdigit()]
if processes != [str(os.getpid())]:
    print("processes", processes, os.getpid())
"#;

#[test]
fn the_second_run_finds_nothing_of_the_first() {
    let daemon = daemon(python(2));
    for _ in 0..5 {
        assert_eq!(daemon.run("python", LEAVE).expect_stdout(), "left\n");
        for _ in 0..3 {
            assert_eq!(daemon.run("python", LOOK).expect_stdout(), "");
        }
    }
    assert_eq!(warm_hits(&daemon, "python"), 20);
}

/// What must differ between two runs, even of one template.
fn seeds(daemon: &Daemon) -> String {
    let code = "import os, random, socket, uuid\nprint(random.random(), os.urandom(8).hex(), uuid.uuid4(), sep='\\n')";
    daemon.run("python", code).expect_stdout()
}

#[test]
fn randomness_is_not_shared() {
    let daemon = daemon(python(2));
    let all: Vec<String> = (0..10).map(|_| seeds(&daemon)).collect();
    let lines: std::collections::HashSet<&str> = all.iter().flat_map(|text| text.lines()).collect();
    assert_eq!(lines.len(), 30, "{all:?}");
    assert_eq!(warm_hits(&daemon, "python"), 10);
}

#[test]
fn what_stands_ready_cannot_be_reached_by_what_runs() {
    let daemon = daemon(python(4));
    let code = r#"
import os, signal
for pid in range(2, 400):
    if pid != os.getpid():
        try:
            os.kill(pid, signal.SIGKILL)
            print("killed", pid)
        except OSError:
            pass
"#;
    assert_eq!(daemon.run("python", code).expect_stdout(), "");
    filled(&daemon);
    assert_eq!(daemon.run("python", "print(2)").expect_stdout(), "2\n");
}
