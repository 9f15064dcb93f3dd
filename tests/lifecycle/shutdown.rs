//! `SIGTERM`: no new run, the running ones end, the rest is ended, nothing stays.

use std::time::Duration;

use crankcase_tests::{Daemon, Options, eventually, host, unique};
use nix::sys::signal::Signal;

#[test]
fn running_programs_end_and_their_answers_are_sent() {
    let mut daemon = Daemon::start(Options::new());
    let token = unique("token-");
    let url = daemon.url("/compile");
    let body = daemon.program("python", "import time; time.sleep(1.5); print('whole')").args(&[&token]).body().clone();
    let run = std::thread::spawn(move || {
        let client = reqwest::blocking::Client::builder().timeout(Duration::from_secs(60)).build().expect("a client");
        client.post(url).json(&body).send().and_then(reqwest::blocking::Response::text)
    });
    let _ = host::wait_for_argument(&token);
    let status = daemon.terminate();
    let answer = run.join().expect("a thread").expect("the answer arrives whole");
    let answer: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
    assert_eq!((&answer["success"], &answer["stdout"]), (&true.into(), &"whole\n".into()), "{answer}");
    assert!(status.success(), "{status}: {}", daemon.log());
}

#[test]
fn what_does_not_end_by_the_deadline_is_ended_and_recorded() {
    let mut daemon =
        Daemon::start(Options::new().text("server", "shutdown-deadline", "500ms").text("limits", "wall-time", "60s"));
    let (token, room) = (unique("token-"), unique("room-"));
    let url = daemon.url("/compile");
    let body = daemon.program("python", "import time; time.sleep(50)").who(&room, "u").args(&[&token]).body().clone();
    let run =
        std::thread::spawn(move || reqwest::blocking::Client::new().post(url).json(&body).send().map(|a| a.status()));
    let pid = host::wait_for_argument(&token);
    daemon.signal(Signal::SIGTERM);
    let status = daemon.wait(Duration::from_secs(20));
    assert!(status.success(), "{status}: {}", daemon.log());
    assert!(!host::is_alive(pid), "the program is gone when the daemon is");
    let _ = run.join().expect("a thread");
    let daemon = daemon.start_again();
    let list = daemon.get(&format!("/api/execution/history/room/{room}"));
    let entry = &list.body["history"][0];
    assert!(["failed", "cancelled"].contains(&entry["status"].as_str().unwrap_or_default()), "{}", list.text);
}

#[test]
fn no_process_cgroup_or_mount_is_left() {
    let mut daemon = Daemon::start(Options::new());
    let mounts = || std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default().lines().count();
    let before = mounts();
    daemon.run("python", "print(1)").expect_success();
    let below = host::descendants(daemon.pid());
    assert!(!below.is_empty());
    let seen = host::cgroups(daemon.cgroup());
    assert!(!seen.is_empty(), "its sandboxes have cgroups");
    daemon.terminate();
    eventually(Duration::from_secs(10), || {
        let alive: Vec<_> = below.iter().filter(|pid| host::is_alive(**pid)).collect();
        let left: Vec<_> = host::cgroups(daemon.cgroup()).into_iter().filter(|path| seen.contains(path)).collect();
        // The configured parent itself may stay.
        let left: Vec<_> = left.into_iter().filter(|path| !path.ends_with(daemon.cgroup())).collect();
        if alive.is_empty() && left.is_empty() { Ok(()) } else { Err(format!("{alive:?} {left:?}")) }
    });
    assert_eq!(mounts(), before);
}

#[test]
fn a_second_daemon_on_the_same_port_says_so_and_leaves_the_first_alone() {
    let first = Daemon::start(Options::new());
    let home = tempfile::tempdir().expect("a directory");
    let output = std::process::Command::new(crankcase_tests::daemon::binary("crankcase"))
        .args(["serve", "--config"])
        .arg(first.config())
        .env("PORT", first.address().port().to_string())
        .env("CRANKCASE_DATA_DIR", home.path())
        .output()
        .expect("it starts");
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr).to_lowercase()
        + &String::from_utf8_lossy(&output.stdout).to_lowercase();
    assert!(text.contains("in use") || text.contains("eaddrinuse"), "{text}");
    assert_eq!(first.run("python", "print(1)").expect_stdout(), "1\n");
}
