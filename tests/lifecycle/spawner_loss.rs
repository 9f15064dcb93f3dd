//! The spawner dies under the daemon: its runs fail by name, and the next run works.

use std::time::Duration;

use crankcase_tests::{Daemon, Options, eventually, host, unique};

#[test]
fn runs_that_it_lost_are_interrupted_and_the_next_one_works() {
    let daemon = Daemon::start(Options::new().text("limits", "wall-time", "60s"));
    let (room, token) = (unique("room-"), unique("token-"));
    let first = daemon.spawner();
    let answer = std::thread::scope(|scope| {
        let run = scope
            .spawn(|| daemon.program("python", "import time; time.sleep(50)").who(&room, "u").args(&[&token]).run());
        let _ = host::wait_for_argument(&token);
        host::end(first);
        run.join().expect("an answer, not a hang")
    });
    assert_eq!((answer.body["success"].as_bool(), answer.str("/status")), (Some(false), "failed"), "{}", answer.text);
    assert!(answer.str("/error").contains("interrupted"), "{}", answer.text);
    eventually(Duration::from_secs(10), || {
        let left = host::processes_with_argument(&token);
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
    eventually(Duration::from_secs(30), || {
        let next = daemon.program("python", "print('next')").who(&room, "u").run();
        if next.stdout() == "next\n" { Ok(()) } else { Err(next.text) }
    });
    assert_ne!(daemon.spawner(), first);
    let health = daemon.get("/health");
    assert_eq!(health.status, 200, "{}", health.text);
}

#[test]
fn killing_it_again_and_again_does_not_wear_the_daemon_out() {
    let daemon = Daemon::start(Options::new());
    daemon.run("python", "print(1)").expect_success();
    let before = host::descriptors(daemon.pid());
    for _ in 0..5 {
        host::end(daemon.spawner());
        eventually(Duration::from_secs(30), || {
            let next = daemon.run("python", "print('next')");
            if next.stdout() == "next\n" { Ok(()) } else { Err(next.text) }
        });
    }
    eventually(Duration::from_secs(10), || {
        let now = host::descriptors(daemon.pid());
        if now <= before { Ok(()) } else { Err(format!("{before} descriptors, then {now}")) }
    });
}
