//! SIGHUP takes over limits, admission and quotas, and drops nothing that runs.

use std::time::Duration;

use crankcase_tests::{Daemon, Options, eventually, host, unique};
use nix::sys::signal::Signal;

#[test]
fn admission_and_quotas_are_reloaded_while_a_run_goes_on() {
    let daemon = Daemon::start(Options::new());
    let token = unique("token-");
    std::thread::scope(|scope| {
        let code = "import time; time.sleep(3); print('to its end')";
        let running = scope.spawn(|| daemon.program("python", code).who("standalone", "first").args(&[&token]).run());
        let _ = host::wait_for_argument(&token);
        let file = std::fs::read_to_string(daemon.config()).expect("its configuration");
        // One at a time, nobody waits, and two runs a minute.
        let file = file.replace("[admission]", "[admission]\ncores = 0.5\nqueue-length = 0\ncpu-overcommit = 1");
        std::fs::write(
            daemon.config(),
            format!("{file}\n[quotas]\nuser-runs-per-minute = 2\nuser-memory = \"64MiB\"\n"),
        )
        .expect("another one");
        daemon.signal(Signal::SIGHUP);
        eventually(Duration::from_secs(10), || {
            if daemon.log().contains("configuration reloaded") { Ok(()) } else { Err(daemon.log()) }
        });
        let refused = daemon.program("python", "print(1)").who("standalone", "second").run();
        assert_eq!((refused.status, refused.str("/code")), (503, "OVERLOADED"), "{}", refused.text);
        assert!(refused.header("retry-after").is_some(), "{}", refused.text);
        assert_eq!(running.join().expect("an answer").expect_stdout(), "to its end\n");
    });
    for _ in 0..2 {
        daemon.program("python", "print(1)").who("standalone", "third").run().expect_success();
    }
    let refused = daemon.program("python", "print(1)").who("standalone", "third").run();
    assert_eq!((refused.status, refused.str("/code")), (429, "RATE_LIMIT_EXCEEDED"), "{}", refused.text);
    let refused = daemon.program("python", "print(1)").who("standalone", "u").with("memoryLimitMb", 100).run();
    assert_eq!((refused.status, refused.str("/field")), (400, "memoryLimitMb"), "{}", refused.text);
    let metrics = daemon.get("/metrics").text;
    for reason in ["queue_full", "quota_runs", "invalid_request"] {
        assert!(metrics.contains(&format!("reason=\"{reason}\"}} 1\n")), "{reason}: {metrics}");
    }
}
