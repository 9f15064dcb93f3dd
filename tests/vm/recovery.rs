//! `SIGKILL` to each process, a reboot, and a power cut: what is lost is said, what was recorded stays, and the next run
//! works without anybody's help.

use crankcase_tests::vm::figures;
use serde_json::Value;

use crate::installed::{Installed, SERVICE};

/// One spawner has a place among the cgroups: what those before it left is removed.
const ONE_SPAWNER: &str = "test $(ls -d /sys/fs/cgroup/system.slice/crankcase-spawner.service/i*/ | wc -l) = 1";

/// A program that stays, and where it lives.
struct Program {
    pid: i32,
    cgroup: String,
}

fn start_in(host: &mut Installed, room: &str) -> Program {
    let pid = host.start_in(room, &format!("token-{room}"));
    let cgroup = host.guest.ok(&format!("cut -d: -f3 /proc/{pid}/cgroup"));
    Program { pid, cgroup: format!("/sys/fs/cgroup{}", cgroup.trim()) }
}

/// Neither the program nor its cgroup is left.
#[track_caller]
fn expect_gone(host: &mut Installed, program: &Program) {
    let Program { pid, cgroup } = program;
    host.guest.eventually(SERVICE, &format!("! kill -0 {pid} 2>/dev/null && ! test -d {cgroup}"));
}

fn kill(host: &mut Installed, pid: i32) {
    host.guest.ok(&format!("kill -9 {pid}"));
}

#[track_caller]
fn expect_next(host: &mut Installed) {
    host.expect_up();
    assert_eq!(host.stdout("python", "print('next')"), "next\n");
    host.guest.eventually(SERVICE, ONE_SPAWNER);
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
    let program = start_in(&mut host, "daemon");
    let daemon = host.main_pid("crankcase");
    let spawner = host.main_pid("crankcase-spawner");
    kill(&mut host, daemon);
    expect_gone(&mut host, &program);
    expect_next(&mut host);
    assert_ne!(host.main_pid("crankcase"), daemon);
    assert_eq!(host.main_pid("crankcase-spawner"), spawner, "the spawner went on");
    expect_interrupted(&host.history("daemon")[0]);

    // The spawner: its runs end as interrupted, the daemon stays and is served by the next one.
    let program = start_in(&mut host, "spawner");
    let daemon = host.main_pid("crankcase");
    kill(&mut host, spawner);
    expect_interrupted(&host.answer_of("token-spawner"));
    expect_gone(&mut host, &program);
    expect_next(&mut host);
    assert_ne!(host.main_pid("crankcase-spawner"), spawner);
    assert_eq!(host.main_pid("crankcase"), daemon, "the daemon went on");

    // The init of a sandbox: the run ends, said as a failure of ours or the program's death, and nothing else is harmed.
    let program = start_in(&mut host, "init");
    let init = host.guest.ok(&format!("awk '/^PPid/{{print $2}}' /proc/{}/status", program.pid));
    let init: i32 = init.trim().parse().expect("a process id");
    assert_ne!(init, host.main_pid("crankcase-spawner"));
    kill(&mut host, init);
    let answer = host.answer_of("token-init");
    assert_ne!(answer["exitCode"], 0, "{answer}");
    expect_gone(&mut host, &program);
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
