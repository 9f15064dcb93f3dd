//! Two daemons that share their rooms by Redis, and a Redis that goes away.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Stdio};
use std::time::Duration;

use crankcase_tests::redis::Redis;
use crankcase_tests::{Answer, Daemon, Options, eventually, host, node, unique};

fn options(redis: &Redis) -> Options {
    Options::new().env("REDIS_URL", &redis.url()).text("rooms", "lock-wait", "20s")
}

fn daemon(redis: &Redis) -> Daemon {
    Daemon::start(options(redis))
}

/// For more than people can type.
fn busy_daemon(redis: &Redis) -> Daemon {
    Daemon::start(options(redis).set("rooms", "events-per-second", 1000).text("rooms", "lock-wait", "60s"))
}

/// Waits for `/health` to say that Redis is, or is not, what it should be.
#[track_caller]
fn expect_degraded(daemon: &Daemon, degraded: bool) {
    eventually(Duration::from_secs(30), || {
        let health = daemon.get("/health");
        assert_eq!(health.status, 200, "code still runs: {}", health.text);
        if health.text.to_lowercase().contains("redis") == degraded { Ok(()) } else { Err(health.text) }
    });
}

const STAMPS: &str = "import time\na = time.clock_gettime_ns(time.CLOCK_MONOTONIC)\ntime.sleep(0.1)\nprint(a, time.clock_gettime_ns(time.CLOCK_MONOTONIC))";

#[track_caller]
fn expect_no_overlap(answers: &[Answer]) {
    let mut spans: Vec<(u64, u64)> = answers
        .iter()
        .map(|answer| {
            let mut words = answer.stdout().split_whitespace().map(|word| word.parse().expect("a stamp"));
            (words.next().expect("a begin"), words.next().expect("an end"))
        })
        .collect();
    spans.sort_unstable();
    assert!(spans.windows(2).all(|pair| pair[0].1 <= pair[1].0), "they overlap: {spans:?}");
}

fn run_on_both(daemons: &[&Daemon], room: &str, count: usize) -> Vec<Answer> {
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..count)
            .map(|n| {
                let daemon = daemons[n % daemons.len()];
                scope.spawn(move || daemon.program("python", STAMPS).who(room, &format!("u{n}")).run().expect_success())
            })
            .collect();
        runs.into_iter().map(|run| run.join().expect("an answer")).collect()
    })
}

#[test]
fn two_daemons_serve_one_room() {
    let redis = Redis::start();
    let (one, two) = (daemon(&redis), daemon(&redis));
    expect_degraded(&one, false);
    node::test("rooms/redis.test.js", &[&one, &two]);
    let room = unique("room-");
    expect_no_overlap(&run_on_both(&[&one, &two], &room, 8));
}

/// Carries out what the script says about Redis, and gives the rest of what it prints.
fn obey(script: &mut Child, redis: &mut Redis, daemons: &[&Daemon]) -> String {
    let mut answers = script.stdin.take().expect("it is piped");
    let mut rest = String::new();
    for line in BufReader::new(script.stdout.take().expect("it is piped")).lines().map_while(Result::ok) {
        match line.as_str() {
            "flush" => drop(redis.command("FLUSHALL")),
            "pause" => redis.pause(),
            "go on" => redis.go_on(),
            "stop" => redis.stop(),
            "start" => redis.start_again(),
            "degraded" => daemons.iter().for_each(|daemon| expect_degraded(daemon, true)),
            "healthy" => daemons.iter().for_each(|daemon| expect_degraded(daemon, false)),
            _ => {
                rest += &line;
                continue;
            }
        }
        let _ = answers.write_all(b"done\n");
    }
    rest
}

#[test]
fn members_on_two_daemons_keep_their_order_whatever_happens_to_redis() {
    let mut redis = Redis::start();
    let (one, two) = (busy_daemon(&redis), busy_daemon(&redis));
    let daemons = [&one, &two];
    let mut script = node::command(&daemons)
        .arg("faults.js")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("node is installed");
    let summary = obey(&mut script, &mut redis, &daemons);
    let output = script.wait_with_output().expect("it ends");
    println!("{summary}");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{summary}\n{errors}\n--- one\n{}\n--- two\n{}", one.log(), two.log());
    for daemon in daemons {
        assert!(!daemon.log().contains("a room's numbers differ"), "{}", daemon.log());
    }
}

#[test]
fn a_daemon_that_dies_leaves_its_rooms_to_the_other() {
    let redis = Redis::start();
    let (mut one, two) = (daemon(&redis), daemon(&redis));
    let mut script = node::command(&[&one, &two])
        .arg("survivor.js")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("node is installed");
    let mut lines = BufReader::new(script.stdout.take().expect("it is piped")).lines();
    assert_eq!(lines.next().expect("a line").expect("text"), "kill");
    one.kill_everything();
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    assert!(script.wait().expect("it ends").success(), "{rest:?}\n{}", two.log());
    assert_eq!(rest, ["well"]);
}

#[test]
fn the_lock_is_the_contracts_key_with_a_time_to_live_and_is_released() {
    let redis = Redis::start();
    let daemon = daemon(&redis);
    let (room, token) = (unique("room-"), unique("token-"));
    let key = format!("execution:lock:{room}");
    std::thread::scope(|scope| {
        let run = scope
            .spawn(|| daemon.program("python", "import time; time.sleep(1.5)").who(&room, "u").args(&[&token]).run());
        let _ = host::wait_for_argument(&token);
        let left: i64 = redis.command(&format!("PTTL {key}")).trim().trim_start_matches(':').parse().expect("ms");
        assert!(left > 0 && left <= 30_000, "{left}");
        run.join().expect("an answer").expect_success();
    });
    eventually(Duration::from_secs(5), || {
        let answer = redis.command(&format!("EXISTS {key}"));
        if answer.trim() == ":0" { Ok(()) } else { Err(answer) }
    });
}

#[test]
fn a_redis_that_is_stopped_paused_or_flushed_loses_nothing_and_is_found_again() {
    let mut redis = Redis::start();
    let daemon = daemon(&redis);
    let room = unique("room-");
    expect_no_overlap(&run_on_both(&[&daemon], &room, 3));

    // Flushed while locks are held: still never two at once on one daemon.
    std::thread::scope(|scope| {
        let runs = scope.spawn(|| run_on_both(&[&daemon], &room, 10));
        while !runs.is_finished() {
            let _ = redis.command("FLUSHALL");
        }
        expect_no_overlap(&runs.join().expect("answers"));
    });

    redis.stop();
    expect_no_overlap(&run_on_both(&[&daemon], &room, 3));
    expect_degraded(&daemon, true);
    redis.start_again();
    expect_degraded(&daemon, false);

    redis.pause();
    expect_no_overlap(&run_on_both(&[&daemon], &room, 3));
    expect_degraded(&daemon, true);
    redis.go_on();
    expect_degraded(&daemon, false);
    expect_no_overlap(&run_on_both(&[&daemon], &room, 3));
}

#[test]
fn without_a_reachable_redis_the_daemon_starts_all_the_same() {
    let mut redis = Redis::start();
    redis.stop();
    let daemon = daemon(&redis);
    expect_degraded(&daemon, true);
    expect_no_overlap(&run_on_both(&[&daemon], &unique("room-"), 2));
    redis.start_again();
    expect_degraded(&daemon, false);
}
