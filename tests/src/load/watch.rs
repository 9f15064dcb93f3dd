//! The host and the daemon, looked at again and again while a load runs.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::{Daemon, host};

const PAUSE: Duration = Duration::from_millis(100);

/// What was seen.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// The most that daemon, spawner and supervisor together had resident, in bytes.
    pub resident_max: u64,
    /// The least that the host had available, in bytes.
    pub available_min: u64,
    /// Sorted times of `GET /health`; a failure counts as an hour.
    pub health: Vec<Duration>,
}

/// Looks until it is asked what was seen.
pub struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Seen>,
}

impl Watch {
    /// Begins.
    ///
    /// # Panics
    /// When no HTTP client can be made.
    #[must_use]
    pub fn start(daemon: &Daemon) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let pids = [vec![daemon.pid()], daemon.privileged()].concat();
        let url = daemon.url("/health");
        let thread = std::thread::spawn({
            let stop = Arc::clone(&stop);
            move || {
                let client = reqwest::blocking::Client::builder()
                    .timeout(Duration::from_secs(10))
                    .pool_max_idle_per_host(0)
                    .build()
                    .expect("an HTTP client");
                let mut seen = Seen { available_min: u64::MAX, ..Seen::default() };
                while !stop.load(Ordering::Relaxed) {
                    let resident = pids.iter().map(|pid| host::resident(*pid)).sum();
                    seen.resident_max = seen.resident_max.max(resident);
                    seen.available_min = seen.available_min.min(available());
                    let begun = Instant::now();
                    let well = client.get(&url).send().is_ok_and(|answer| answer.status().is_success());
                    seen.health.push(if well { begun.elapsed() } else { Duration::from_secs(3600) });
                    std::thread::sleep(PAUSE);
                }
                seen.health.sort_unstable();
                seen
            }
        });
        Self { stop, thread }
    }

    /// Ends it.
    ///
    /// # Panics
    /// When it panicked.
    #[must_use]
    pub fn seen(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("it looks on")
    }
}

/// Bytes that the host can still give.
#[must_use]
pub fn available() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// The sum of a counter over all its label sets in the text of `/metrics`.
#[must_use]
pub fn metric(text: &str, name: &str) -> f64 {
    let of = |line: &str| {
        let rest = line.strip_prefix(name)?;
        if !rest.starts_with(['{', ' ']) {
            return None;
        }
        rest.rsplit(' ').next()?.parse::<f64>().ok()
    };
    text.lines().filter_map(of).sum()
}
