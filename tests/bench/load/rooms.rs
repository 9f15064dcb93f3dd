//! One room, and one room beside others.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crankcase_tests::load::generate::{Until, burst, closed};
use crankcase_tests::load::{Job, Outcome, Program, Stats, runtime, watch};
use crankcase_tests::{Options, unique};

use crate::{Bench, Report};

/// The default of `rooms.lock-wait`.
const LOCK_WAIT: Duration = Duration::from_secs(5);

pub fn one_room(bench: &Bench, report: &mut Report) {
    let (daemon, own) = bench.daemon(Options::as_shipped());
    let runtime = runtime();
    for (label, cpu_ms) in [("hello", 0), ("100 ms of CPU", 100)] {
        let room = unique("one-");
        let job = |user: usize| {
            let token = format!("{room}-{user}");
            let program = if cpu_ms == 0 { Program::hello(&token) } else { Program::busy(&token, cpu_ms) };
            Job { program, room: Some(room.clone()), user: format!("user-{user}") }
        };
        let samples = runtime.block_on(burst(&own, (0..100).map(job).collect()));
        let stats = Stats::of(&samples);
        report.row(&own.name, &format!("100 in one room, {label}"), &stats);
        let busy = stats.refused.get("ROOM_BUSY").copied().unwrap_or(0);
        report.claim(
            "answers that are neither right nor ROOM_BUSY",
            (100 - stats.right - busy) as f64,
            "0",
            stats.right + busy == 100,
        );
        let refusals = samples.iter().filter(|sample| matches!(sample.outcome, Outcome::Refused { .. }));
        let longest = refusals.map(|sample| sample.elapsed).max().unwrap_or_default();
        let beyond = longest.saturating_sub(LOCK_WAIT).as_secs_f64() * 1000.0;
        report.claim("longest wait of the refused beyond the bound, ms", beyond, "at most 100", beyond <= 100.0);
        let list = daemon.get(&format!("/api/execution/history/room/{room}?limit=500")).expect_status(200);
        let out_of_order = out_of_order(list.body["history"].as_array().map_or(&[], Vec::as_slice));
        report.claim("runs that began before one that was there earlier", out_of_order as f64, "0", out_of_order == 0);
    }
}

/// Runs that started before another one that had been there for longer; by the record, whose stamps are in
/// milliseconds: who came within 20 ms of each other came at once.
fn out_of_order(history: &[serde_json::Value]) -> usize {
    let stamp = |entry: &serde_json::Value, field: &str| entry[field].as_str().map(str::to_owned);
    let mut runs: Vec<(String, String)> =
        history.iter().filter_map(|entry| Some((stamp(entry, "startedAt")?, stamp(entry, "queuedAt")?))).collect();
    runs.sort();
    let millis = |text: &str| -> i64 {
        // 2026-01-01T10:20:30.123Z: within one minute and a bit that is all that differs.
        let digits: Vec<i64> =
            text.get(11..23).unwrap_or("").split([':', '.']).filter_map(|part| part.parse().ok()).collect();
        match digits[..] {
            [h, m, s, ms] => ((h * 60 + m) * 60 + s) * 1000 + ms,
            _ => 0,
        }
    };
    runs.windows(2).filter(|pair| millis(&pair[1].1) + 20 < millis(&pair[0].1)).count()
}

pub fn flood(bench: &Bench, report: &mut Report) {
    let time = Duration::from_secs(bench.pick(20, 8));
    let (_daemon, own) = bench.daemon(Options::as_shipped());
    let runtime = runtime();
    let prefix = unique("calm-");
    let calm = || {
        let prefix = prefix.clone();
        let jobs = Arc::new(move |user: usize, n: usize| {
            let (room, token) = (format!("{prefix}-{user}"), format!("{prefix}-{user}-{n}"));
            Job { program: Program::hello(&token), room: Some(room), user: format!("user-{user}") }
        });
        closed(&own, 10, Until::Elapsed(time), Duration::from_millis(500), jobs)
    };
    let flooding = unique("flood-");
    let storm = |user_only: bool| {
        let jobs = (0..500).map(|n| Job {
            program: Program::hello(&format!("{flooding}-{n}")),
            room: (!user_only).then(|| flooding.clone()),
            user: if user_only { flooding.clone() } else { format!("user-{n}") },
        });
        burst(&own, jobs.collect())
    };
    let mut before = Vec::new();
    let mut during = Vec::new();
    let mut beside_user = Vec::new();
    for _ in 0..bench.pick(2, 1) {
        before.extend(runtime.block_on(calm()));
        for (user_only, into) in [(false, &mut during), (true, &mut beside_user)] {
            let (storms, calms) = runtime.block_on(async { tokio::join!(storms(&storm, user_only, time), calm()) });
            let label = if user_only { "the flood of one user" } else { "the flood of one room" };
            report.row(&own.name, label, &Stats::of(&storms));
            into.extend(calms);
        }
    }
    let [before, during, beside_user] = [before, during, beside_user].map(|samples| Stats::of(&samples));
    report.row(&own.name, "ten calm rooms alone", &before);
    report.row(&own.name, "ten calm rooms beside the room", &during);
    report.row(&own.name, "ten calm rooms beside the user", &beside_user);
    let ratio = during.percentile(95.0) / before.percentile(95.0);
    report.claim("calm p95 beside the flood to alone", ratio, "at most 2", ratio <= 2.0);
    report.note(
        "calm p95 beside one user's flood outside of rooms",
        beside_user.percentile(95.0) / before.percentile(95.0),
    );
    let lost = during.sent - during.right + beside_user.sent - beside_user.right;
    report.claim("calm requests that were not served", lost as f64, "0", lost == 0);
    let text = runtime
        .block_on(async { reqwest::get(format!("{}/metrics", own.url)).await?.text().await })
        .unwrap_or_default();
    report.note("refusals in all", watch::metric(&text, "crankcase_refusals_total"));
}

/// 500 at once, again as soon as they are answered, for so long.
async fn storms<F: Future<Output = Vec<crankcase_tests::load::Sample>>>(
    storm: &impl Fn(bool) -> F,
    user_only: bool,
    time: Duration,
) -> Vec<crankcase_tests::load::Sample> {
    let begun = Instant::now();
    let mut samples = Vec::new();
    // Half a second in, so that the calm ones are there.
    tokio::time::sleep(Duration::from_millis(500)).await;
    while begun.elapsed() < time {
        samples.extend(storm(user_only).await);
    }
    samples
}
