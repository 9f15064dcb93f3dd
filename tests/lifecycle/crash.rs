//! `SIGKILL` at any moment: no program goes on running, and the next start puts everything in order.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

use crankcase_tests::{Daemon, Options, eventually, host, unique};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A daemon with a program in a room that would run for a minute, and that ignores every signal it can.
struct Running {
    daemon: Daemon,
    room: String,
    token: String,
    client: std::thread::JoinHandle<()>,
}

fn running(options: Options) -> Running {
    let daemon = Daemon::start(options.text("limits", "wall-time", "60s"));
    let (room, token) = (unique("room-"), unique("token-"));
    let code = "
import os, signal, time
for number in range(1, 32):
    try: signal.signal(number, signal.SIG_IGN)
    except OSError: pass
os.setsid() if os.fork() == 0 else None
time.sleep(60)
";
    let body = daemon.program("python", code).who(&room, "u").args(&[&token]).body().clone();
    let url = daemon.url("/compile");
    let client = std::thread::spawn(move || {
        let _ = reqwest::blocking::Client::new().post(url).json(&body).send();
    });
    eventually(Duration::from_secs(30), || {
        let count = host::processes_with_argument(&token).len();
        if count >= 2 { Ok(()) } else { Err(count) }
    });
    Running { daemon, room, token, client }
}

#[track_caller]
fn expect_no_program(token: &str) {
    eventually(Duration::from_secs(10), || {
        let left = host::processes_with_argument(token);
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
}

#[track_caller]
fn expect_interrupted(daemon: &Daemon, room: &str) {
    let list = daemon.get(&format!("/api/execution/history/room/{room}"));
    let entry = &list.body["history"][0];
    assert_eq!((&entry["status"], &entry["success"]), (&"failed".into(), &false.into()), "{}", list.text);
    assert!(entry["error"].as_str().is_some_and(|error| error.contains("interrupted")), "{}", list.text);
}

#[test]
fn a_killed_daemon_takes_its_programs_along() {
    let Running { mut daemon, room, token, client } = running(Options::new());
    let spawner = daemon.spawner();
    daemon.signal(Signal::SIGKILL);
    daemon.wait(Duration::from_secs(20));
    expect_no_program(&token);
    eventually(Duration::from_secs(10), || if host::is_alive(spawner) { Err("the spawner lives") } else { Ok(()) });
    let _ = client.join();
    let daemon = daemon.start_again();
    expect_interrupted(&daemon, &room);
    assert_eq!(daemon.program("python", "print(1)").who(&room, "u").run().expect_stdout(), "1\n", "the room is free");
}

#[test]
fn daemon_and_spawner_killed_together_leave_no_program_and_the_next_start_cleans_up() {
    let Running { mut daemon, room, token, client } = running(Options::new());
    // A spawner makes a directory of its own, named for it, and everything else below that.
    let in_an_instance = |path: &PathBuf| {
        let name = |part: &OsStr| part.to_str().and_then(|name| name.strip_prefix('i')?.parse::<u32>().ok());
        path.components().any(|part| name(part.as_os_str()).is_some())
    };
    let mut made = host::cgroups(daemon.cgroup());
    made.retain(in_an_instance);
    let left_behind =
        |daemon: &Daemon| -> Vec<_> { host::cgroups(daemon.cgroup()).intersection(&made).cloned().collect() };
    daemon.kill_everything();
    assert!(!left_behind(&daemon).is_empty(), "nobody was left to remove it");
    expect_no_program(&token);
    let _ = client.join();
    let daemon = daemon.start_again();
    daemon.run("python", "print(1)").expect_success();
    eventually(Duration::from_secs(20), || {
        let left = left_behind(&daemon);
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
    expect_interrupted(&daemon, &room);
}

#[test]
fn a_killed_init_is_a_failure_of_ours_and_named_so() {
    let Running { daemon, room, token, client } = running(Options::new());
    let program = *host::processes_with_argument(&token).first().expect("it runs");
    // Init is what the program's parents lead to, one step below the spawner.
    let mut init = program;
    while let Some(parent) = host::parent(init).filter(|parent| *parent != daemon.spawner() && *parent > 1) {
        init = parent;
    }
    kill(Pid::from_raw(init), Signal::SIGKILL).expect("it is there");
    expect_no_program(&token);
    let _ = client.join();
    eventually(Duration::from_secs(10), || {
        let list = daemon.get(&format!("/api/execution/history/room/{room}"));
        if list.body["history"][0]["status"] == "failed" { Ok(()) } else { Err(list.text) }
    });
    assert_eq!(daemon.program("python", "print(1)").who(&room, "u").run().expect_stdout(), "1\n");
}
