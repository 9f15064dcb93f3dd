//! Hundreds of runs leave the host's countable things where they were.

use crankcase_tests::{Daemon, Options, host};

/// Some runs of each kind first, so that pools, lazily opened files and what serves one sandbox after another (network
/// namespaces, cgroups) are there before counting.
fn warmed() -> Daemon {
    let daemon = Daemon::start(Options::new().text("rooms", "lock-wait", "60s"));
    std::thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| daemon.run("python", "print(1)").expect_success());
        }
    });
    daemon.run("c", "int main(void) { return 0; }").expect_success();
    daemon
}

#[test]
fn two_hundred_runs_in_a_row_leave_nothing() {
    let daemon = warmed();
    let before = host::settled(&daemon);
    for n in 0..200 {
        let code = match n % 5 {
            0 => "import os\nif os.fork() == 0:\n    import time; time.sleep(60)",
            1 => "import sys; sys.exit(3)",
            2 => "import os; os.kill(os.getpid(), 11)",
            3 => "import os\nos.close(0); os.close(1); os.close(2)",
            _ => "open('/tmp/x', 'w').write('x')",
        };
        daemon.run("python", code).expect_success();
    }
    host::expect_back_to(&daemon, &before);
}

#[test]
fn fifty_at_once_leave_nothing() {
    let daemon = warmed();
    let before = host::settled(&daemon);
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..50)
            .map(|n| {
                let daemon = &daemon;
                scope.spawn(move || {
                    let program = daemon.program("python", "import sys; print(sys.argv[1])").args(&[&n.to_string()]);
                    assert_eq!(program.run().expect_stdout(), format!("{n}\n"));
                })
            })
            .collect();
        for run in runs {
            run.join().expect("each gets its own");
        }
    });
    host::expect_back_to(&daemon, &before);
}

#[test]
fn limits_and_refusals_leave_nothing_either() {
    let daemon = warmed();
    let before = host::settled(&daemon);
    for _ in 0..5 {
        daemon.program("python", "while True: pass").milliseconds(200).run();
        daemon.run("python", "x = [bytearray(1 << 20) for _ in range(2048)]").expect_limit("memory");
        daemon.run("bash", "yes").expect_limit("output");
        daemon.run("python", "import os\nwhile True: os.fork()").expect_limit("processes");
        daemon.run("c", "int main(void) { return x; }").expect_success();
        daemon.run("cobol", "x").expect_status(400);
        daemon.program("python", "pass").file("../x", "").run().expect_status(400);
    }
    host::expect_back_to(&daemon, &before);
}

#[test]
fn a_low_limit_does_not_outlive_its_run() {
    let options = Options::new().text("server", "body-limit", "20MiB").set("limits", "code-chars", 10_000_000);
    let daemon = Daemon::start(options);
    let large = "x".repeat(8 << 20);
    for _ in 0..4 {
        daemon.program("bash", "true").with("memoryLimitMb", 4).run().expect_success();
        let program = daemon.program("bash", "wc -c < large").file("large", &large);
        assert_eq!(program.run().expect_stdout().trim(), large.len().to_string());
    }
}
