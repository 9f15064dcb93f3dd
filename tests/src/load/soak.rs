//! Mixed load for a long time: what students run, and one in twenty that attacks; nothing may grow, nobody may suffer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::generate::{Until, closed};
use super::{Api, Job, Program, Stats, Target};
use crate::{Daemon, host, unique};

/// Users that press Run again and again.
const USERS: usize = 8;
/// One in so many programs is hostile.
const HOSTILE: usize = 20;

/// What the daemon held at one moment, the sandboxes aside.
#[derive(Debug, Clone, Copy)]
pub struct Level {
    /// Since the beginning.
    pub at: Duration,
    /// Resident bytes of daemon, spawner and supervisor.
    pub resident: u64,
    /// Their descriptors.
    pub descriptors: usize,
    /// Their threads.
    pub threads: usize,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Soaked {
    /// Of programs that behave.
    pub benign: Stats,
    /// Of the others.
    pub hostile: Stats,
    /// Taken at even distances.
    pub levels: Vec<Level>,
    /// Before, once warmed up, and after, both with nothing running.
    pub rest: (host::Snapshot, host::Snapshot),
    /// Resident bytes at these moments.
    pub resident: (u64, u64),
}

/// What `SOAK` in the environment asks for (`90s`, `10m`, `1h`), else `default`.
///
/// # Panics
/// When it is no duration, or one below 20 s.
#[must_use]
pub fn time_asked(default: Duration) -> Duration {
    let Ok(text) = std::env::var("SOAK") else { return default };
    let digits = text.trim_end_matches(['s', 'm', 'h']);
    let unit = match &text[digits.len()..] {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => panic!("SOAK is like 90s, 10m or 1h, not {text}"),
    };
    let seconds = digits.parse::<u64>().ok().map(|number| number * unit).filter(|seconds| *seconds >= 20);
    Duration::from_secs(seconds.unwrap_or_else(|| panic!("SOAK is at least 20s, not {text}")))
}

/// Loads a daemon for so long.
///
/// # Panics
/// When what it holds does not settle afterwards.
#[must_use]
pub fn soak(daemon: &Daemon, time: Duration) -> Soaked {
    let runtime = super::runtime();
    let target = Target::new("crankcase", &daemon.url(""), Api::Crankcase);
    // Everything that is there once is there now: threads, pools, caches, the allocator's arenas.
    let warm_up = (time / 4).min(Duration::from_secs(60));
    let _ = runtime.block_on(run(&target, warm_up));
    let before = host::settled(daemon);
    let resident_before = resident(daemon);

    let begun = Instant::now();
    let running = runtime.spawn({
        let target = target.clone();
        async move { run(&target, time).await }
    });
    let mut levels = Vec::new();
    let step = (time / 40).clamp(Duration::from_secs(1), Duration::from_secs(30));
    while !running.is_finished() {
        std::thread::sleep(step);
        levels.push(level(daemon, begun.elapsed()));
    }
    let (benign, hostile) = runtime.block_on(running).expect("the load runs");
    // The clients' kept connections are the daemon's descriptors.
    drop((target, runtime));
    host::expect_back_to(daemon, &before);
    let after = host::Snapshot::take(daemon);
    Soaked { benign, hostile, levels, rest: (before, after), resident: (resident_before, resident(daemon)) }
}

async fn run(target: &Target, time: Duration) -> (Stats, Stats) {
    let prefix = unique("soak-");
    let count = Arc::new(AtomicUsize::new(0));
    let samples = closed(
        target,
        USERS,
        Until::Elapsed(time),
        Duration::from_millis(20),
        Arc::new({
            let count = Arc::clone(&count);
            move |user, n| {
                let nth = count.fetch_add(1, Ordering::Relaxed);
                let token = format!("{prefix}-{user}-{n}");
                // Half of them sit in rooms by twos, half are outside of any.
                let room = (user % 2 == 0).then(|| format!("{prefix}-{}", user / 4));
                let program = match nth % HOSTILE {
                    0 => Program::of_an_attacker(nth / HOSTILE),
                    _ => Program::of_a_class(nth, &token),
                };
                Job { program, room, user: format!("user-{user}") }
            }
        }),
    )
    .await;
    let (benign, hostile): (Vec<_>, Vec<_>) = samples.into_iter().partition(|sample| sample.benign);
    (Stats::of(&benign), Stats::of(&hostile))
}

fn pids(daemon: &Daemon) -> Vec<i32> {
    [vec![daemon.pid()], daemon.privileged()].concat()
}

fn resident(daemon: &Daemon) -> u64 {
    pids(daemon).into_iter().map(host::resident).sum()
}

fn level(daemon: &Daemon, at: Duration) -> Level {
    let pids = pids(daemon);
    let threads = |pid: &i32| host::status(*pid, "Threads").and_then(|text| text.parse::<usize>().ok()).unwrap_or(0);
    Level {
        at,
        resident: pids.iter().map(|pid| host::resident(*pid)).sum(),
        descriptors: pids.iter().map(|pid| host::descriptors(*pid)).sum(),
        threads: pids.iter().map(threads).sum(),
    }
}

impl Soaked {
    /// The means of the second quarter and of the last: what grows shows here, whatever the load does from moment
    /// to moment.
    #[must_use]
    pub fn growth(&self, of: impl Fn(&Level) -> f64) -> (f64, f64) {
        let quarter = self.levels.len() / 4;
        let mean = |levels: &[Level]| levels.iter().map(&of).sum::<f64>() / levels.len().max(1) as f64;
        (mean(&self.levels[quarter..2 * quarter]), mean(&self.levels[self.levels.len() - quarter..]))
    }
}
