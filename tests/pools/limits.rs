//! A warm run has the limits of a plain one, by the same names, and is charged for nothing of its start.

use crankcase_tests::{Daemon, Options};

use super::{daemon, filled, python, warm_hits};

fn limited(options: Options) -> Options {
    options.clock("limits", "wall-time", 3.0).clock("limits", "cpu-time", 1.0).text("limits", "box-size", "4MiB")
}

fn each_is_named(daemon: &Daemon) {
    for (code, limit) in [
        ("import time\nprint('before', flush=True)\ntime.sleep(60)", "time"),
        ("print('before', flush=True)\nwhile True: pass", "cpu"),
        ("print('before', flush=True)\nx = b'x' * (1 << 30)", "memory"),
        ("print('before', flush=True)\nimport os\nwhile True: os.fork()", "processes"),
        ("print('before', flush=True)\nopen('big', 'wb').write(b'x' * (8 << 20))", "disk"),
    ] {
        let answer = daemon.run("python", code).expect_limit(limit);
        assert_eq!(answer.stdout(), "before\n", "{}", answer.text);
    }
    let flood = daemon.run("python", "while True: print('x' * 1000)").expect_limit("output");
    assert!(flood.stdout().len() > 100_000);
}

#[test]
fn each_limit_is_named_in_a_forked_run() {
    let daemon = daemon(limited(python(2)));
    each_is_named(&daemon);
    assert_eq!(warm_hits(&daemon, "python"), 6);
}

#[test]
fn each_limit_is_named_in_a_run_that_was_started_ahead() {
    let daemon = daemon(limited(Options::new().set("warm", "python", "{ size = 3, fork = false }")));
    for _ in 0..2 {
        // Three at once is what stands ready.
        filled(&daemon);
        daemon.run("python", "print(1)").expect_success();
    }
    filled(&daemon);
    each_is_named(&daemon);
    assert!(warm_hits(&daemon, "python") >= 2);
}

#[test]
fn memory_and_time_before_the_run_are_not_the_runs() {
    let daemon = daemon(python(1));
    // It has stood there for a while.
    std::thread::sleep(std::time::Duration::from_millis(1500));
    let answer = daemon.run("python", "x = b'x' * (20 << 20)\nprint(len(x))").expect_success();
    assert!(answer.number("/cpuTime") < 1000 && answer.number("/wallTime") < 1400, "{}", answer.text);
    assert_eq!(warm_hits(&daemon, "python"), 1);
}

/// What two runs of the same may differ by: the kernel counts by 256 KiB a core, and a gate brings a little along.
const ABOUT: i64 = 2 << 20;
/// What a fork of Python's may be told less: some 2 MiB it has in common with its template.
const BELOW: i64 = 3 << 20;

#[test]
fn memory_is_what_a_plain_run_is_told() {
    let plain = Daemon::start(Options::new());
    let forked = daemon(python(1));
    let alone = daemon(Options::new().set("warm", "python", "{ size = 1, fork = false }"));
    for (code, least) in [("print(1)", 1_i64 << 20), ("x = b'x' * (20 << 20)\nprint(len(x))", 20 << 20)] {
        let told = |daemon: &Daemon| daemon.run("python", code).expect_success().number("/memory");
        let expected = told(&plain);
        for (daemon, below) in [(&forked, BELOW), (&alone, ABOUT)] {
            filled(daemon);
            let found = told(daemon);
            let about = expected - below..=expected + ABOUT;
            assert!(found >= least && about.contains(&found), "{code}: {found}, plainly {expected}");
        }
    }
    assert_eq!((warm_hits(&forked, "python"), warm_hits(&alone, "python")), (2, 2));
    // Who takes all is told the limit, and not what the limit was raised by for the start.
    for daemon in [&plain, &forked, &alone] {
        filled(daemon);
        let all =
            daemon.program("python", "x = b'x' * (1 << 30)").with("memoryLimitMb", 64).run().expect_limit("memory");
        let memory = all.number("/memory");
        assert!((60 << 20..=64 << 20).contains(&memory), "{memory}");
    }
}
