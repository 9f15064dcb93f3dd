//! How fast the queue moves, and thus when to come again.

use std::time::Duration;

/// Never tell anybody to come back sooner, or they come in a storm.
pub const RETRY_MIN: Duration = Duration::from_secs(1);
/// Never tell anybody to come back later: the estimate is about a queue of seconds.
pub const RETRY_MAX: Duration = Duration::from_secs(60);

/// The weight of the newest value in the moving mean.
const WEIGHT: f64 = 0.1;

/// The moving mean of how long a reservation is held. With the number of runs under way it says how many
/// places come free per second (Little's law), which holds from the first completions on and does not go
/// stale while the machine idles, as a count of completions would.
#[derive(Debug, Clone, Copy, Default)]
pub struct Speed {
    mean: Option<f64>,
}

impl Speed {
    /// A run ended that held its reservation for so long.
    pub fn completed(&mut self, held: Duration) {
        let held = held.as_secs_f64();
        self.mean = Some(self.mean.map_or(held, |mean| mean + WEIGHT * (held - mean)));
    }

    /// The mean; a second while nothing is known.
    #[must_use]
    pub fn mean_held(&self) -> Duration {
        Duration::from_secs_f64(self.mean.unwrap_or(1.0))
    }

    /// When a newcomer would be served behind `queued` others with `running` under way: whole seconds,
    /// [`RETRY_MIN`] to [`RETRY_MAX`].
    #[must_use]
    pub fn retry_after(&self, queued: usize, running: usize) -> Duration {
        let turns = queued.saturating_add(1) as f64 / running.max(1) as f64;
        let seconds = (turns * self.mean_held().as_secs_f64()).ceil();
        Duration::from_secs(seconds.clamp(0.0, RETRY_MAX.as_secs_f64()) as u64).clamp(RETRY_MIN, RETRY_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_estimate_follows_the_real_speed() {
        let mut speed = Speed::default();
        for _ in 0..100 {
            speed.completed(Duration::from_millis(300));
        }
        assert_eq!(speed.retry_after(99, 4), Duration::from_secs(8), "100 x 0.3 s / 4 = 7.5 s");
        for _ in 0..100 {
            speed.completed(Duration::from_millis(30));
        }
        assert_eq!(speed.retry_after(99, 4), RETRY_MIN);
        assert_eq!(speed.retry_after(usize::MAX, 0), RETRY_MAX);
    }
}
