//! Far more than the machine can do.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crankcase_tests::load::generate::{Until, burst, closed, open};
use crankcase_tests::load::stats::{goodput_between, percentile};
use crankcase_tests::load::watch::Watch;
use crankcase_tests::load::{Job, Outcome, Program, Sample, Stats, Target, runtime, warm_up};
use crankcase_tests::{Daemon, Options, host, unique};

use crate::{Bench, Report};

const CPU_MS: u64 = 300;
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
        if let Some(daemon) = &daemon {
            refusals(report, daemon, "at once", &samples);
            refusals(report, daemon, "open loop", &open_samples);
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

/// How long refusals took: those of executions that waited in vain from when that was decided, which the record tells
/// to the millisecond; those at once from when they were due, which is more than that.
fn refusals(report: &mut Report, daemon: &Daemon, label: &str, samples: &[Sample]) {
    let (mut at_once, mut waited) = (Vec::new(), Vec::new());
    for sample in samples {
        match &sample.outcome {
            Outcome::Refused { execution: None, .. } => at_once.push(sample.elapsed),
            Outcome::Refused { execution: Some(id), .. } => {
                let record = daemon.get(&format!("/api/execution/history/execution/{id}"));
                let answered = time_of_day_ms(sample.answered_at);
                let decided = record.str("/execution/completedAt").get(11..23).and_then(stamp_ms);
                waited.extend(decided.map(|decided| Duration::from_millis(answered.saturating_sub(decided))));
            }
            _ => {}
        }
    }
    at_once.sort_unstable();
    waited.sort_unstable();
    report.note(&format!("{label}: refused at once, how many"), at_once.len() as f64);
    report.note(&format!("{label}: refused at once, p99 ms since they were due"), percentile(&at_once, 99.0));
    report.note(&format!("{label}: refused after a wait, how many"), waited.len() as f64);
    let p99 = percentile(&waited, 99.0);
    report.claim(&format!("{label}: refused after a wait, p99 ms since the decision"), p99, "below 50", p99 < 50.0);
}

/// Milliseconds since midnight, UTC.
fn time_of_day_ms(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
    u64::try_from(since % 86_400_000).unwrap_or(0)
}

/// Likewise, of `10:20:30.123`.
fn stamp_ms(text: &str) -> Option<u64> {
    let parts: Vec<u64> = text.split([':', '.']).filter_map(|part| part.parse().ok()).collect();
    match parts[..] {
        [hours, minutes, seconds, millis] => Some(((hours * 60 + minutes) * 60 + seconds) * 1000 + millis),
        _ => None,
    }
}
