//! One running execution a room, first come first served.

use std::time::{Duration, Instant};

use crankcase_tests::{Answer, Daemon, Options, host, shared, unique};

/// Prints when it began and when it ended, in nanoseconds of the machine's clock.
const STAMPS: &str = "import sys, time\na = time.clock_gettime_ns(time.CLOCK_MONOTONIC)\ntime.sleep(0.15)\nprint(sys.argv[1], a, time.clock_gettime_ns(time.CLOCK_MONOTONIC))";

fn stamps(answer: &Answer) -> (String, u64, u64) {
    let mut words = answer.stdout().split_whitespace().map(str::to_owned);
    let mut next = || words.next().unwrap_or_else(|| panic!("no stamps: {}", answer.text));
    (next(), next().parse().expect("a stamp"), next().parse().expect("a stamp"))
}

#[test]
fn two_requests_at_once_in_one_room_each_get_their_own_result_one_after_the_other() {
    let room = unique("room-");
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let runs: Vec<_> = ["alice", "bob", "carol"]
            .map(|user| scope.spawn(|| shared().program("python", STAMPS).who(&room, user).args(&[user]).run()))
            .into_iter()
            .collect();
        runs.into_iter().map(|run| run.join().expect("an answer").expect_success()).collect()
    });
    let mut spans = Vec::new();
    for (answer, user) in answers.iter().zip(["alice", "bob", "carol"]) {
        let (token, begin, end) = stamps(answer);
        assert_eq!((token.as_str(), answer.str("/userId")), (user, user), "{}", answer.text);
        spans.push((begin, end));
    }
    spans.sort_unstable();
    assert!(spans.windows(2).all(|pair| pair[0].1 <= pair[1].0), "they overlap: {spans:?}");
}

#[test]
fn standalone_is_no_room() {
    let daemon = Daemon::start(Options::new().set("admission", "cores", 4));
    let code = STAMPS.replace("0.15", "1.5");
    let spans: Vec<(u64, u64)> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..3).map(|_| scope.spawn(|| daemon.program("python", &code).args(&["x"]).run())).collect();
        let spans = runs.into_iter().map(|run| stamps(&run.join().expect("an answer").expect_success()));
        spans.map(|(_, begin, end)| (begin, end)).collect()
    });
    let overlap = spans.iter().any(|a| spans.iter().any(|b| a != b && a.0 < b.1 && b.0 < a.1));
    assert!(overlap, "nothing waits for a lock: {spans:?}");
}

#[test]
fn a_room_that_stays_busy_answers_503_after_the_wait() {
    let daemon = Daemon::start(Options::new().text("rooms", "lock-wait", "700ms"));
    let (room, token) = (unique("room-"), unique("token-"));
    std::thread::scope(|scope| {
        let first = scope
            .spawn(|| daemon.program("python", "import time; time.sleep(6)").who(&room, "u1").args(&[&token]).run());
        let _ = host::wait_for_argument(&token);
        let start = Instant::now();
        let refused = daemon.program("python", "print(1)").who(&room, "u2").with("correlationId", "c2").run();
        let waited = start.elapsed();
        assert_eq!(refused.status, 503, "{}", refused.text);
        assert_eq!(refused.str("/error"), "Could not acquire execution lock. Room is busy with another execution.");
        assert_eq!((refused.str("/code"), refused.str("/correlationId")), ("ROOM_BUSY", "c2"));
        assert!(refused.header("retry-after").and_then(|text| text.parse::<u64>().ok()).is_some_and(|wait| wait >= 1));
        assert!(waited >= Duration::from_millis(650) && waited < Duration::from_secs(5), "{waited:?}");
        let other = daemon.program("python", "print(1)").who(&unique("room-"), "u2").run();
        assert_eq!(other.expect_stdout(), "1\n", "another room is free");
        first.join().expect("an answer").expect_success();
    });
    assert_eq!(daemon.program("python", "print(1)").who(&room, "u2").run().expect_stdout(), "1\n", "free again");
}

#[test]
fn waiting_runs_of_a_room_keep_their_order() {
    let (room, token) = (unique("room-"), unique("token-"));
    let order: Vec<u64> = std::thread::scope(|scope| {
        let first = scope.spawn(|| {
            shared().program("python", "import time; time.sleep(2)").who(&room, "first").args(&[&token]).run()
        });
        let _ = host::wait_for_argument(&token);
        let mut waiting = Vec::new();
        for place in 1..=4 {
            let room = &room;
            let code = STAMPS.replace("0.15", "0.01");
            waiting.push(
                scope.spawn(move || {
                    shared().program("python", &code).who(room, &format!("u{place}")).args(&["x"]).run()
                }),
            );
            // The next one is sent once this one is known to wait.
            crankcase_tests::eventually(Duration::from_secs(20), || {
                let answer = shared().get(&format!("/api/execution/queue/status/{room}"));
                if answer.number("/queueLength") >= place || first.is_finished() { Ok(()) } else { Err(answer.text) }
            });
        }
        first.join().expect("an answer").expect_success();
        waiting.into_iter().map(|run| stamps(&run.join().expect("an answer").expect_success()).1).collect()
    });
    assert!(order.windows(2).all(|pair| pair[0] < pair[1]), "{order:?}");
}
