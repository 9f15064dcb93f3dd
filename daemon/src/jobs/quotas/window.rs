//! How much was used within the last minute or hour.

use std::time::Duration;

use tokio::time::Instant;

/// Parts into which the span is cut.
const SLOTS: usize = 60;

/// A sum over a sliding span of time, in sixty slots: what was added counts for the whole span and up to one slot
/// longer, so that no span of that length ever holds more than what was allowed.
#[derive(Debug, Clone)]
pub(super) struct Window {
    slot: Duration,
    slots: [u32; SLOTS + 1],
    /// The slot of `now`, counted from `start`.
    head: u64,
    start: Instant,
    sum: u64,
}

impl Window {
    pub(super) fn new(span: Duration, now: Instant) -> Self {
        Self { slot: span / SLOTS as u32, slots: [0; SLOTS + 1], head: 0, start: now, sum: 0 }
    }

    /// What was added within the span before `now`.
    pub(super) fn sum(&mut self, now: Instant) -> u64 {
        self.advance(now);
        self.sum
    }

    pub(super) fn add(&mut self, amount: u32, now: Instant) {
        self.advance(now);
        let at = self.index(self.head);
        let sum = self.slots[at].saturating_add(amount);
        self.sum += u64::from(sum - self.slots[at]);
        self.slots[at] = sum;
    }

    /// Takes back what was added at `when`, unless it has passed out of the span by itself.
    pub(super) fn take_back(&mut self, amount: u32, when: Instant, now: Instant) {
        self.advance(now);
        let slot = self.slot_of(when);
        if slot + SLOTS as u64 >= self.head {
            let at = self.index(slot);
            let amount = amount.min(self.slots[at]);
            self.slots[at] -= amount;
            self.sum -= u64::from(amount);
        }
    }

    /// How long until the sum is below `bound`, if nothing is added.
    pub(super) fn until_below(&mut self, bound: u64, now: Instant) -> Duration {
        self.advance(now);
        let mut sum = self.sum;
        let mut slot = self.head.saturating_sub(SLOTS as u64);
        while sum >= bound && slot <= self.head {
            sum -= u64::from(self.slots[self.index(slot)]);
            slot += 1;
        }
        if slot == self.head.saturating_sub(SLOTS as u64) {
            return Duration::ZERO;
        }
        // The slot before `slot` leaves the span when the head is SLOTS + 1 slots on from it.
        let gone = self.slot.as_secs_f64() * (slot + SLOTS as u64) as f64;
        Duration::from_secs_f64(gone).saturating_sub(now.saturating_duration_since(self.start))
    }

    fn advance(&mut self, now: Instant) {
        let head = self.slot_of(now).max(self.head);
        // Each slot that the head enters held what is now older than the span.
        for slot in (self.head + 1..=head).take(SLOTS + 1) {
            let at = self.index(slot);
            self.sum -= u64::from(std::mem::take(&mut self.slots[at]));
        }
        self.head = head;
    }

    fn slot_of(&self, when: Instant) -> u64 {
        let slot = when.saturating_duration_since(self.start).as_nanos() / self.slot.as_nanos().max(1);
        u64::try_from(slot).unwrap_or(u64::MAX)
    }

    const fn index(&self, slot: u64) -> usize {
        (slot % (SLOTS as u64 + 1)) as usize
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn what_is_older_than_the_span_is_forgotten() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut window = Window::new(MINUTE, start);
        window.add(3, at(0));
        window.add(2, at(30));
        assert_eq!((window.sum(at(60)), window.sum(at(61)), window.sum(at(91))), (5, 2, 0));
        window.add(1, at(100_000));
        assert_eq!(window.sum(at(100_000)), 1, "after a long rest");
    }

    #[test]
    fn the_time_to_wait_is_exact() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut window = Window::new(MINUTE, start);
        assert_eq!(window.until_below(1, at(0)), Duration::ZERO);
        window.add(3, at(500));
        window.add(2, at(30_000));
        assert_eq!(window.until_below(5, at(40_000)), Duration::from_secs(21), "the first three go at 61 s");
        assert_eq!(window.until_below(2, at(40_000)), Duration::from_secs(51), "all must go, at 91 s");
        assert_eq!(window.until_below(6, at(40_000)), Duration::ZERO);
    }

    #[test]
    fn what_is_taken_back_counts_no_more() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut window = Window::new(MINUTE, start);
        window.add(1, at(0));
        window.add(1, at(10));
        window.take_back(1, at(0), at(20));
        assert_eq!((window.sum(at(20)), window.sum(at(70)), window.sum(at(71))), (1, 1, 0));
        window.add(4, at(80));
        window.take_back(1, at(10), at(80));
        assert_eq!(window.sum(at(80)), 4, "it had passed by itself");
    }

    proptest! {
        #[test]
        fn the_sum_lies_between_the_span_and_one_slot_more(steps in prop::collection::vec((0..20_000u64, 1..5u32), 1..100)) {
            let start = Instant::now();
            let mut window = Window::new(MINUTE, start);
            let mut added: VecDeque<(u64, u64)> = VecDeque::new();
            let mut now = 0;
            for (pause, amount) in steps {
                now += pause;
                let at = start + Duration::from_millis(now);
                window.add(amount, at);
                added.push_back((now, u64::from(amount)));
                let within = |span: u64| added.iter().filter(|(when, _)| now - when < span).map(|(_, n)| n).sum::<u64>();
                let sum = window.sum(at);
                prop_assert!(within(60_000) <= sum && sum <= within(61_001), "{} {} {}", within(60_000), sum, within(61_001));
                let wait = window.until_below(sum, at);
                prop_assert!(window.clone().sum(at + wait) < sum, "{:?} was not enough", wait);
                if let Some(sooner) = wait.checked_sub(Duration::from_millis(1)) {
                    prop_assert!(window.clone().sum(at + sooner) >= sum, "{:?} was too much", wait);
                }
            }
        }
    }
}
