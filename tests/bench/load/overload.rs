//! Far more than the machine can do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crankcase_tests::load::generate::{Until, burst, closed, open};
use crankcase_tests::load::stats::{goodput_between, percentile};
use crankcase_tests::load::watch::Watch;
use crankcase_tests::load::{Api, Job, Outcome, Program, Sample, Stats, Target, runtime, warm_up};
use crankcase_tests::{Options, host, unique};

use crate::{Bench, Report};

const CPU_MS: u64 = 300;
/// The default of `admission.queue-wait`.
const QUEUE_WAIT: Duration = Duration::from_secs(30);
const MIB: f64 = 1024.0 * 1024.0;

fn job(prefix: &str, n: usize) -> Job {
    let token = format!("{prefix}-{n}");
    Job { program: Program::busy(&token, CPU_MS), room: Some(token.clone()), user: token }
}

fn at_four(target: &Target, time: Duration) -> impl Future<Output = Vec<Sample>> {
    let prefix = unique("four-");
    let jobs = Arc::new(move |user: usize, n: usize| job(&format!("{prefix}-{user}"), n));
    closed(target, 4, Until::Elapsed(time), Duration::ZERO, jobs)
}

pub fn overload(bench: &Bench, report: &mut Report) {
    let time = Duration::from_secs(bench.pick(15, 6));
    let count = bench.pick(1000, 300);
    for target in [None].into_iter().chain(bench.peers.iter().map(Some)) {
        let (daemon, own) = match target {
            // A thousand at once from one address, again and again.
            None => {
                let (daemon, own) = bench.daemon(Options::as_shipped().set("rate-limit", "burst", 100_000));
                (Some(daemon), own)
            }
            Some(peer) => (None, peer.clone()),
        };
        let runtime = runtime();
        runtime.block_on(at_four(&own, Duration::from_secs(2)));
        daemon.iter().for_each(warm_up);
        let before = daemon.as_ref().map(host::settled);
        let watch = daemon.as_ref().map(Watch::start);

        let first = Stats::of(&runtime.block_on(at_four(&own, time)));
        report.row(&own.name, "4 at once", &first);
        let prefix = unique("over-");
        let begun = Instant::now();
        let samples = runtime.block_on(burst(&own, (0..count).map(|n| job(&prefix, n)).collect()));
        let all = Stats::of(&samples);
        report.row(&own.name, &format!("{count} at once"), &all);
        let second = Stats::of(&runtime.block_on(at_four(&own, time)));
        report.row(&own.name, "4 at once, again", &second);
        // Ten times what the machine can do, for a while: its queue is full from the second second on.
        let rate = 10.0 * first.goodput();
        let prefix = unique("open-");
        let opened = Instant::now();
        let open_samples = runtime.block_on(open(&own, rate, time, Arc::new(move |n, _| job(&prefix, n))));
        report.row(&own.name, &format!("{rate:.0} a second"), &Stats::of(&open_samples));

        let at_four = (first.goodput() + second.goodput()) / 2.0;
        report.claim("answers that are neither right nor a clean refusal", all.wrongs as f64, "0", all.wrongs == 0);
        let ratio = all.goodput() / at_four;
        report.claim("goodput to that of 4 at once", ratio, "at least 0.9", ratio >= 0.9);
        let open_ratio = goodput_between(&open_samples, opened + time / 5, opened + time) / at_four;
        report.claim("goodput under ten times the load", open_ratio, "at least 0.9", open_ratio >= 0.9);
        if own.api == Api::Crankcase {
            refusals(report, "at once", &samples, begun);
            refusals(report, "open loop", &open_samples, opened);
        }
        if let Some(watch) = watch {
            let seen = watch.seen();
            let resident = seen.resident_max as f64 / MIB;
            report.claim("daemon and spawner resident, MiB, at most", resident, "below 100", resident < 100.0);
            report.note("GET /health p99, ms", percentile(&seen.health, 99.0));
        }
        if let (Some(daemon), Some(before)) = (&daemon, before) {
            drop((runtime, own));
            host::expect_back_to(daemon, &before);
            report.claim("processes, descriptors, cgroups, mounts, namespaces left behind", 0.0, "0", true);
        }
    }
}

/// How long refusals took from when they were due: at once where the queue was full, else after the wait. The time
/// to connect, to be read and to be written is in it, so it is an upper bound of the time since the decision.
fn refusals(report: &mut Report, label: &str, samples: &[Sample], _begun: Instant) {
    let refused = samples.iter().filter(|sample| matches!(sample.outcome, Outcome::Refused { .. }));
    let (late, early): (Vec<Duration>, Vec<Duration>) =
        refused.map(|sample| sample.elapsed).partition(|elapsed| *elapsed >= QUEUE_WAIT);
    let mut late: Vec<Duration> = late.into_iter().map(|elapsed| elapsed - QUEUE_WAIT).collect();
    late.sort_unstable();
    let mut early = early;
    early.sort_unstable();
    for (what, times) in [("at once", early), ("after the wait", late)] {
        if !times.is_empty() {
            report.note(&format!("{label}: refused {what}, how many"), times.len() as f64);
            report.note(&format!("{label}: refused {what}, p50 ms as the client sees it"), percentile(&times, 50.0));
            report.note(&format!("{label}: refused {what}, p99 ms as the client sees it"), percentile(&times, 99.0));
        }
    }
}
