//! How much of something was asked for lately.

use std::time::{Duration, Instant};

/// Parts into which the remembered time is cut.
const SLOTS: u32 = 10;
/// Requests within this of the first of them come at once: no refill can help those.
const BURST: Duration = Duration::from_millis(500);

/// The largest burst of each part of the last while.
#[derive(Debug, Clone)]
pub struct Demand {
    slots: [u32; SLOTS as usize],
    /// When the newest slot began.
    slot: Instant,
    burst: Instant,
    count: u32,
    last: Option<Instant>,
}

impl Demand {
    /// None so far.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        Self { slots: [0; SLOTS as usize], slot: now, burst: now, count: 0, last: None }
    }

    /// One more was asked for; `keep` is how long that is remembered.
    pub fn record(&mut self, now: Instant, keep: Duration) {
        self.advance(now, keep);
        if self.last.is_none() || now.saturating_duration_since(self.burst) > BURST {
            (self.burst, self.count) = (now, 0);
        }
        self.count = self.count.saturating_add(1);
        self.slots[0] = self.slots[0].max(self.count);
        self.last = Some(now);
    }

    /// The largest number that was asked for at once within `keep`.
    pub fn peak(&mut self, now: Instant, keep: Duration) -> u32 {
        self.advance(now, keep);
        self.slots.iter().copied().max().unwrap_or(0)
    }

    /// Since when nothing was asked for; none if nothing ever was.
    #[must_use]
    pub fn idle(&self, now: Instant) -> Option<Duration> {
        self.last.map(|last| now.saturating_duration_since(last))
    }

    fn advance(&mut self, now: Instant, keep: Duration) {
        let length = (keep / SLOTS).max(Duration::from_millis(1));
        let passed = now.saturating_duration_since(self.slot).as_nanos() / length.as_nanos();
        let passed = u32::try_from(passed).unwrap_or(u32::MAX);
        if passed >= SLOTS {
            self.slots = [0; SLOTS as usize];
            self.slot = now;
            return;
        }
        for _ in 0..passed {
            self.slots.rotate_right(1);
            self.slots[0] = 0;
        }
        self.slot += length * passed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP: Duration = Duration::from_secs(600);

    fn after(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    #[test]
    fn a_burst_is_remembered_for_a_while_and_no_longer() {
        let start = Instant::now();
        let mut demand = Demand::new(start);
        assert_eq!((demand.peak(start, KEEP), demand.idle(start)), (0, None));
        for n in 0..30 {
            demand.record(after(start, n * 3), KEEP);
        }
        assert_eq!(demand.peak(after(start, 100), KEEP), 30);
        for n in 0..50 {
            demand.record(after(start, 10_000 + n * 2000), KEEP);
        }
        assert_eq!(demand.peak(after(start, 200_000), KEEP), 30, "slow use after it does not hide it");
        assert_eq!(demand.peak(after(start, 530_000), KEEP), 30);
        assert_eq!(demand.peak(after(start, 601_000), KEEP), 1, "only the slow use is left");
        assert_eq!(demand.peak(after(start, 2_000_000), KEEP), 0);
        assert_eq!(demand.idle(after(start, 2_000_000)), Some(Duration::from_millis(2_000_000 - 108_000)));
    }

    #[test]
    fn what_comes_later_is_another_burst() {
        let start = Instant::now();
        let mut demand = Demand::new(start);
        for n in 0..20 {
            demand.record(after(start, n * 200), KEEP);
        }
        assert_eq!(demand.peak(after(start, 4000), KEEP), 3);
    }
}
