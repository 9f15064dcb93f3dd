//! Gains: a place that is never given back.

use std::time::Duration;

use crate::attempt::{attempts, expect_unharmed, shared};

#[test]
fn a_program_that_sleeps_ends_within_half_a_second_of_its_wall_time() {
    attempts(5, || {
        let answer = shared()
            .program("python", "print('before', flush=True)\nimport time\ntime.sleep(3600)")
            .milliseconds(1000)
            .run()
            .expect_limit("time");
        assert_eq!((answer.str("/status"), answer.stdout()), ("timeout", "before\n"));
        assert!(answer.number("/wallTime") >= 990, "not before its time: {}", answer.text);
        let waited = u64::try_from(answer.number("/queueTime")).unwrap_or(0);
        let elapsed = answer.elapsed.saturating_sub(Duration::from_millis(waited));
        if elapsed <= Duration::from_millis(1500) { Ok(()) } else { Err(format!("{elapsed:?}")) }
    });
    expect_unharmed();
}

#[test]
fn ignoring_every_signal_and_stopping_oneself_do_not_help() {
    for code in [
        "import signal, time\nfor n in range(1, 32):\n    try: signal.signal(n, signal.SIG_IGN)\n    except OSError: pass\ntime.sleep(3600)",
        "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)",
        "import os, signal, time\nif os.fork() == 0: time.sleep(3600)\nos.kill(os.getpid(), signal.SIGSTOP)",
    ] {
        shared().program("python", code).milliseconds(1000).run().expect_limit("time");
    }
    expect_unharmed();
}
