//! Gains: a process that outlives its run: a miner, a listener, a spy in the next program's sandbox.

use std::time::Duration;

use crate::attempt::{eventually, host, shared, unique};

#[track_caller]
fn expect_gone_after(code: &str) {
    let token = unique("orphan-");
    let answer = shared().program("python", code).args(&[&token]).run();
    let answer = answer.expect_success();
    assert!(answer.stdout().contains("parent done"), "{}", answer.text);
    // A result is there, so the sandbox is gone or going.
    eventually(Duration::from_secs(10), || {
        let left = host::processes_with_argument(&token);
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
}

#[test]
fn a_daemon_made_by_two_forks_does_not_survive() {
    expect_gone_after(
        "
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for fd in range(3):
            os.close(fd)
        time.sleep(3600)
    os._exit(0)
os.wait()
print('parent done')
",
    );
}

#[test]
fn orphans_in_sessions_of_their_own_that_hold_the_pipes_do_not_delay_the_answer() {
    expect_gone_after(
        "
import os, signal, sys, time
for _ in range(5):
    if os.fork() == 0:
        os.setsid()
        for n in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(n, signal.SIG_IGN)
        time.sleep(3600)
print('parent done')
sys.stdout.flush()
os._exit(0)
",
    );
}
