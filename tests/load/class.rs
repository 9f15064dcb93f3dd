//! A class presses Run: in rooms of their own, in one room, and as the original's own load test did.

use std::sync::Arc;
use std::time::Duration;

use crankcase_tests::load::generate::{Until, burst, closed};
use crankcase_tests::load::{Api, Job, Program, Stats, Target, runtime, warm_up};
use crankcase_tests::{Daemon, Options, eventually, host, unique};

use crate::alone;

fn hello(room: Option<String>, user: &str, token: &str) -> Job {
    Job { program: Program::hello(token), room, user: user.to_owned() }
}

/// The service's defaults, but for a queue that outlasts a debug build on a busy machine.
fn daemon() -> (Daemon, Target) {
    let daemon = Daemon::start(Options::as_shipped().text("admission", "queue-wait", "120s"));
    let target = Target::new("crankcase", &daemon.url(""), Api::Crankcase);
    (daemon, target)
}

#[test]
fn a_hundred_users_in_their_rooms_are_all_served_and_nothing_is_left() {
    let _alone = alone();
    let (daemon, target) = daemon();
    warm_up(&daemon);
    let before = host::settled(&daemon);
    let runtime = runtime();
    for round in 0..3 {
        let prefix = unique("class-");
        let jobs = (0..100).map(|n| hello(Some(format!("{prefix}-{n}")), &format!("u{n}"), &format!("{round}-{n}")));
        let stats = Stats::of(&runtime.block_on(burst(&target, jobs.collect())));
        assert_eq!(stats.right, 100, "{:?} {:?}", stats.refused, stats.wrong);
    }
    drop((runtime, target));
    host::expect_back_to(&daemon, &before);
}

/// 100 requests of one user, ten at once, outside of any room: the load test in the original's own documents.
#[test]
fn the_originals_load_test_passes_with_the_defaults() {
    let _alone = alone();
    let daemon = Daemon::start(Options::as_shipped());
    let target = Target::new("crankcase", &daemon.url(""), Api::Crankcase);
    let jobs = Arc::new(|user: usize, n: usize| hello(None, "load-test", &format!("{user}-{n}")));
    let samples = runtime().block_on(closed(&target, 10, Until::Count(10), Duration::ZERO, jobs));
    let stats = Stats::of(&samples);
    assert_eq!((stats.sent, stats.right), (100, 100), "{:?} {:?}", stats.refused, stats.wrong);
}

#[test]
fn in_one_room_whoever_is_served_is_served_in_order_and_the_others_hear_that_it_is_busy() {
    let _alone = alone();
    let daemon = Daemon::start(Options::as_shipped());
    let target = Target::new("crankcase", &daemon.url(""), Api::Crankcase);
    let (room, token) = (unique("one-"), unique("token-"));
    let runtime = runtime();
    let tasks: Vec<_> = std::thread::scope(|scope| {
        let first = scope
            .spawn(|| daemon.program("python", "import time; time.sleep(2)").who(&room, "first").args(&[&token]).run());
        let _ = host::wait_for_argument(&token);
        let mut tasks = Vec::new();
        for place in 1..=100 {
            let target = target.clone();
            let code = format!(
                "import time\nprint(time.clock_gettime_ns(time.CLOCK_MONOTONIC))\nend = time.process_time() + 0.1\nwhile time.process_time() < end: pass # {place}"
            );
            let program = Program { code, stdout: None, ..Program::hello("") };
            let job = Job { program, room: Some(room.clone()), user: format!("u{place}") };
            tasks.push(runtime.spawn(async move { target.send(&job, std::time::Instant::now()).await }));
            // The next one is sent once this one is known to wait, so that their order is known.
            eventually(Duration::from_secs(20), || {
                let status = daemon.get(&format!("/api/execution/queue/status/{room}"));
                if status.number("/queueLength") >= place || first.is_finished() { Ok(()) } else { Err(status.text) }
            });
        }
        first.join().expect("an answer").expect_success();
        tasks
    });
    let samples: Vec<_> = tasks.into_iter().map(|task| runtime.block_on(task).expect("an answer")).collect();
    let stats = Stats::of(&samples);
    let busy = stats.refused.get("ROOM_BUSY").copied().unwrap_or(0);
    assert_eq!(stats.right + busy, 100, "{:?} {:?}", stats.refused, stats.wrong);
    assert!(stats.right >= 1 && busy >= 1, "{} were served, {busy} refused", stats.right);
    // First come, first served, among those whose wait was not over when it was their turn.
    let mut stamps = Vec::new();
    let list = daemon.get(&format!("/api/execution/history/room/{room}?limit=500")).expect_status(200);
    for entry in list.body["history"].as_array().expect("a list") {
        let place = entry["userId"].as_str().and_then(|user| user.strip_prefix('u')?.parse::<u32>().ok());
        let stamp = entry["output"].as_str().and_then(|output| output.trim().parse::<u64>().ok());
        stamps.extend(stamp.zip(place));
    }
    assert_eq!(stamps.len(), stats.right, "each is recorded");
    stamps.sort_unstable();
    assert!(stamps.is_sorted_by_key(|(_, place)| *place), "{stamps:?}");
    assert_eq!(daemon.program("python", "print(1)").who(&room, "u").run().expect_stdout(), "1\n", "free again");
}
