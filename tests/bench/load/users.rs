//! Many users at once, each in an own room.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crankcase_tests::load::generate::{burst, open};
use crankcase_tests::load::{Job, Program, Sample, Stats, Target, runtime};
use crankcase_tests::{Options, bare, unique};

use crate::{Bench, Report};

fn hello(room: &str, user: usize, n: usize) -> Job {
    let token = format!("{room}-{user}-{n}");
    Job { program: Program::hello(&token), room: Some(format!("{room}-{user}")), user: format!("user-{user}") }
}

pub fn users(bench: &Bench, report: &mut Report) {
    let rounds = bench.pick(20, 4);
    let (_daemon, own) = bench.daemon(Options::as_shipped());
    let runtime = runtime();
    for target in [own].iter().chain(&bench.peers) {
        // Opens what is opened once.
        runtime.block_on(burst(target, (0..8).map(|user| hello(&unique("w"), user, 0)).collect()));
        for count in [3, 5, 10, 50, 100] {
            let room = unique("u-");
            let mut samples: Vec<Sample> = Vec::new();
            let mut makespans = Vec::new();
            for round in 0..rounds {
                let jobs = (0..count).map(|user| hello(&room, user, round)).collect();
                let begun = Instant::now();
                samples.extend(runtime.block_on(burst(target, jobs)));
                makespans.push(begun.elapsed());
            }
            let stats = Stats::of(&samples);
            report.row(&target.name, &format!("{count} users x {rounds}"), &stats);
            let share = stats.right as f64 * 100.0 / stats.sent as f64;
            report.claim(&format!("{count} users, % right"), share, "100", stats.right == stats.sent);
            if count == 100 {
                makespans.sort_unstable();
                let ours = makespans[makespans.len() / 2];
                let bare = bare_makespan(count, bench.pick(5, 2));
                report.note("100 users, ms to the last answer, median", ours.as_secs_f64() * 1000.0);
                report.note("100 bare runs on all cores, ms, median", bare.as_secs_f64() * 1000.0);
                let ratio = ours.as_secs_f64() / bare.as_secs_f64();
                report.claim("100 users, last answer to bare", ratio, "at most 1.3", ratio <= 1.3);
            }
        }
    }
}

/// So many hellos spawned bare, one a core at a time.
fn bare_makespan(count: usize, rounds: usize) -> Duration {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("main.py"), Program::hello("x").code).expect("a file");
    let mut times: Vec<Duration> = (0..rounds)
        .map(|_| {
            let begun = Instant::now();
            std::thread::scope(|scope| {
                for core in 0..cores {
                    let directory = directory.path();
                    scope.spawn(move || {
                        for _ in (core..count).step_by(cores) {
                            bare::run(directory, &["/usr/bin/python3", "main.py"], "").expect("python runs");
                        }
                    });
                }
            });
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}

pub fn steady(bench: &Bench, report: &mut Report) {
    let time = Duration::from_secs(bench.pick(15, 5));
    let (_daemon, own) = bench.daemon(Options::as_shipped().text("rate-limit", "requests-per-second", "off"));
    let runtime = runtime();
    for target in [own].iter().chain(&bench.peers) {
        for rate in [5.0, 10.0, 20.0, 40.0, 80.0] {
            let room = unique("s-");
            let jobs = Arc::new(move |n, _| hello(&room, n, 0));
            let samples = runtime.block_on(open(target, rate, time, jobs));
            report.row(&target.name, &format!("{rate} a second"), &Stats::of(&samples));
            wait_until_idle(target, &runtime);
        }
    }
}

/// What the last load left in a queue is not the next one's.
fn wait_until_idle(target: &Target, runtime: &tokio::runtime::Runtime) {
    runtime.block_on(burst(target, vec![hello(&unique("i-"), 0, 0)]));
}
