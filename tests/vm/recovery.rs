//! `SIGKILL` to each process, a reboot, and a power cut: what is lost is said, what was recorded stays, and the next run
//! works without anybody's help.

use crankcase_tests::vm::figures;
use serde_json::Value;

use crate::installed::{Installed, SERVICE};

/// The cgroups of sandboxes that are left.
const NO_SANDBOX_LEFT: &str =
    "! find /sys/fs/cgroup/system.slice/crankcase-spawner.service -path '*/jobs/*' -type d | grep .";

fn kill(host: &mut Installed, pid: i32) {
    host.guest.ok(&format!("kill -9 {pid}"));
}

#[track_caller]
fn expect_next(host: &mut Installed) {
    host.expect_up();
    assert_eq!(host.stdout("python", "print('next')"), "next\n");
    host.guest.eventually(SERVICE, NO_SANDBOX_LEFT);
    host.guest.eventually(SERVICE, "test $(systemctl is-system-running) = running");
}

#[track_caller]
fn expect_interrupted(entry: &Value) {
    assert_eq!(entry["status"], "failed", "{entry}");
    assert!(entry["error"].as_str().is_some_and(|error| error.contains("interrupted")), "{entry}");
}

#[test]
#[ignore = "full form: make test-vm"]
fn every_process_may_be_killed() {
    let mut host = Installed::resume();

    // The daemon: its runs are closed in the history at the next start, and no program outlives it.
    let program = host.start_in("daemon", "token-daemon");
    let daemon = host.main_pid("crankcase");
    let spawner = host.main_pid("crankcase-spawner");
    kill(&mut host, daemon);
    host.guest.eventually(SERVICE, &format!("! kill -0 {program} 2>/dev/null"));
    expect_next(&mut host);
    assert_ne!(host.main_pid("crankcase"), daemon);
    assert_eq!(host.main_pid("crankcase-spawner"), spawner, "the spawner went on");
    expect_interrupted(&host.history("daemon")[0]);

    // The spawner: its runs end as interrupted, the daemon stays and is served by the next one.
    let program = host.start_in("spawner", "token-spawner");
    let daemon = host.main_pid("crankcase");
    kill(&mut host, spawner);
    expect_interrupted(&host.answer_of("token-spawner"));
    host.guest.eventually(SERVICE, &format!("! kill -0 {program} 2>/dev/null"));
    expect_next(&mut host);
    assert_ne!(host.main_pid("crankcase-spawner"), spawner);
    assert_eq!(host.main_pid("crankcase"), daemon, "the daemon went on");

    // The init of a sandbox: the run ends, said as a failure of ours or the program's death, and nothing else is harmed.
    let program = host.start_in("init", "token-init");
    let init = host.guest.ok(&format!("awk '/^PPid/{{print $2}}' /proc/{program}/status"));
    let init: i32 = init.trim().parse().expect("a process id");
    assert_ne!(init, host.main_pid("crankcase-spawner"));
    kill(&mut host, init);
    let answer = host.answer_of("token-init");
    assert_ne!(answer["exitCode"], 0, "{answer}");
    expect_next(&mut host);
    assert_eq!(host.main_pid("crankcase"), daemon);

    // Again and again, faster than a start limit would bear if it were tight.
    for _ in 0..3 {
        let (daemon, spawner) = (host.main_pid("crankcase"), host.main_pid("crankcase-spawner"));
        host.guest.ok(&format!("kill -9 {daemon} {spawner}"));
        expect_next(&mut host);
    }
}

#[test]
#[ignore = "full form: make test-vm"]
fn a_reboot_and_a_power_cut_keep_the_history() {
    let mut host = Installed::resume();
    let first = host.run_in("kept", "python", "print('first')");
    let reboot = host.guest.reboot();
    host.expect_up();
    figures::note("reboot to first answer, seconds", format!("{:.0}", reboot.as_secs_f64()));
    assert_eq!(host.history("kept")[0]["executionId"], first["executionId"]);

    let second = host.run_in("kept", "python", "print('second')");
    // What was answered is on the disk: nothing is flushed by hand.
    let _ = host.start_in("cut", "token-cut");
    host.guest.cut_power();
    host.expect_up();
    let kept = host.history("kept");
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert!(kept.iter().any(|entry| entry["executionId"] == second["executionId"]), "{kept:?}");
    let cut = host.history("cut");
    if let Some(entry) = cut.first() {
        expect_interrupted(entry);
    }
    expect_next(&mut host);
}
