//! Sandboxes beside a host that is busy with something else.

use std::process::{Child, Command, Stdio};

use crankcase_tests::load::generate::burst;
use crankcase_tests::load::stats::percentile;
use crankcase_tests::load::watch::Watch;
use crankcase_tests::load::{Job, Program, Stats, runtime};
use crankcase_tests::{Options, unique};

use crate::{Bench, Report};

/// Sandboxes at once.
const COUNT: usize = 10;

pub fn weight(bench: &Bench, report: &mut Report) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let cpu_ms = bench.pick(1000, 400);
    let options = Options::as_shipped().set("admission", "cpu-per-run", cores as f64 / COUNT as f64);
    let (daemon, own) = bench.daemon(options);
    let runtime = runtime();
    let prefix = unique("weight-");
    let mut spans = Vec::new();
    for (label, busy) in [("idle", false), ("with a busy task on each core", true)] {
        let tasks: Vec<Spinner> = (0..if busy { cores } else { 0 }).map(|_| Spinner::start()).collect();
        let watch = Watch::start(&daemon);
        let job = |n: usize| {
            let token = format!("{prefix}-{busy}-{n}");
            Job { program: Program::busy(&token, cpu_ms), room: None, user: token }
        };
        let stats = Stats::of(&runtime.block_on(burst(&own, (0..COUNT).map(job).collect())));
        let seen = watch.seen();
        drop(tasks);
        report.row(&own.name, &format!("{COUNT} sandboxes, host {label}"), &stats);
        report.claim("not served", (COUNT - stats.right) as f64, "0", stats.right == COUNT);
        let health = percentile(&seen.health, 99.0);
        report.claim("GET /health p99, ms", health, "below 100", health < 100.0);
        spans.push(stats.span.as_secs_f64());
    }
    // Weight 400 against 100 of a task on each core: four fifths.
    let share = spans[0] / spans[1];
    report.claim("the sandboxes' share beside a busy host", share, "at least 0.65 of 0.8", share >= 0.65);
}

/// A process that uses a core, in the cgroup that this one is in.
struct Spinner(Child);

impl Spinner {
    fn start() -> Self {
        let child = Command::new("python3").args(["-c", "while True: pass"]).stdin(Stdio::null()).spawn();
        Self(child.expect("python is installed"))
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
