//! When to try again what failed.

use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_secs(1);
const MOST: Duration = Duration::from_secs(300);
/// So many failures in a row are more than an accident.
const BAD: u32 = 3;

/// Failures in a row, and the pause after them: 1 s, twice as long after each, at most 5 minutes.
#[derive(Debug, Clone, Default)]
pub struct Backoff {
    failures: u32,
    until: Option<Instant>,
}

impl Backoff {
    /// Whether it may be tried.
    #[must_use]
    pub fn ready(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| now >= until)
    }

    /// It failed again. Whether this is the first of a row, which is worth a line in the log.
    pub fn failed(&mut self, now: Instant) -> bool {
        let pause = FIRST.saturating_mul(1 << self.failures.min(16)).min(MOST);
        self.failures = self.failures.saturating_add(1);
        self.until = Some(now + pause);
        self.failures == 1
    }

    /// It worked. Whether it had failed before.
    pub fn worked(&mut self) -> bool {
        std::mem::take(self).failures > 0
    }

    /// Whether it fails again and again.
    #[must_use]
    pub const fn is_bad(&self) -> bool {
        self.failures >= BAD
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_most() {
        let start = Instant::now();
        let mut backoff = Backoff::default();
        assert!(backoff.ready(start) && !backoff.is_bad());
        let mut pauses = Vec::new();
        for n in 0..40 {
            assert_eq!(backoff.failed(start), n == 0);
            pauses.push(backoff.until.unwrap() - start);
        }
        assert_eq!(pauses[..4], [1, 2, 4, 8].map(Duration::from_secs));
        assert_eq!(pauses[39], MOST);
        assert!(backoff.is_bad() && !backoff.ready(start + MOST / 2) && backoff.ready(start + MOST));
        assert!(backoff.worked() && backoff.ready(start) && !backoff.worked());
    }
}
