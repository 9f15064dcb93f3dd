//! What may be reserved and what is. No I/O, no clock.
//!
//! **Invariants.** Reserved never exceeds the limit in force, except by the one run that is let in when
//! nothing runs at all, so that no pressure and no small budget can stall admission for ever. The
//! limit in force never exceeds the budget in memory; in CPU it may, by the measured idle time.
//! What stands idle is never in a run's way: only further idle memory is measured against it.

/// An amount of both resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Resources {
    /// Thousandths of a core.
    pub cpu_millis: u64,
    /// Bytes.
    pub memory_bytes: u64,
}

impl Resources {
    const fn plus(self, other: Self) -> Self {
        Self {
            cpu_millis: self.cpu_millis.saturating_add(other.cpu_millis),
            memory_bytes: self.memory_bytes.saturating_add(other.memory_bytes),
        }
    }

    const fn minus(self, other: Self) -> Self {
        Self {
            cpu_millis: self.cpu_millis.saturating_sub(other.cpu_millis),
            memory_bytes: self.memory_bytes.saturating_sub(other.memory_bytes),
        }
    }

    /// Whether both amounts are at most the other's.
    #[must_use]
    pub const fn within(self, other: Self) -> bool {
        self.cpu_millis <= other.cpu_millis && self.memory_bytes <= other.memory_bytes
    }
}

/// The budget and what is reserved of it.
#[derive(Debug, Clone)]
pub struct Budget {
    total: Resources,
    limit: Resources,
    reserved: Resources,
    running: usize,
    idle_bytes: u64,
}

impl Budget {
    /// An unreserved budget; its limit in force is all of it.
    #[must_use]
    pub const fn new(total: Resources) -> Self {
        let reserved = Resources { cpu_millis: 0, memory_bytes: 0 };
        Self { total, limit: total, reserved, running: 0, idle_bytes: 0 }
    }

    /// All there is.
    #[must_use]
    pub const fn total(&self) -> Resources {
        self.total
    }

    /// What may be reserved at the moment.
    #[must_use]
    pub const fn limit(&self) -> Resources {
        self.limit
    }

    /// What is reserved.
    #[must_use]
    pub const fn reserved(&self) -> Resources {
        self.reserved
    }

    /// Reservations that live.
    #[must_use]
    pub const fn running(&self) -> usize {
        self.running
    }

    /// Changes the budget; what is reserved stays, and is waited for where it is too much.
    pub fn set_total(&mut self, total: Resources) {
        self.total = total;
        self.limit = total;
    }

    /// Changes the limit in force; memory is capped by the budget.
    pub fn set_limit(&mut self, limit: Resources) {
        self.limit =
            Resources { memory_bytes: limit.memory_bytes.min(self.total.memory_bytes), cpu_millis: limit.cpu_millis };
    }

    /// Whether it may be reserved now.
    #[must_use]
    pub const fn fits(&self, amount: Resources) -> bool {
        self.running == 0 || self.reserved.plus(amount).within(self.limit)
    }

    /// Reserves it, if it fits.
    #[must_use]
    pub fn reserve(&mut self, amount: Resources) -> bool {
        let fits = self.fits(amount);
        if fits {
            self.reserved = self.reserved.plus(amount);
            self.running += 1;
        }
        fits
    }

    /// Gives a reservation back.
    pub fn release(&mut self, amount: Resources) {
        debug_assert!(self.running > 0 && amount.within(self.reserved));
        self.reserved = self.reserved.minus(amount);
        self.running = self.running.saturating_sub(1);
    }

    /// Bytes that stand idle, ready for runs to come.
    #[must_use]
    pub const fn idle_bytes(&self) -> u64 {
        self.idle_bytes
    }

    /// Sets memory aside for something that stands idle, if the runs leave so much.
    #[must_use]
    pub fn reserve_idle(&mut self, bytes: u64) -> bool {
        let held = self.reserved.memory_bytes.saturating_add(self.idle_bytes);
        let fits = held.saturating_add(bytes) <= self.limit.memory_bytes;
        if fits {
            self.idle_bytes += bytes;
        }
        fits
    }

    /// Gives idle memory back.
    pub fn release_idle(&mut self, bytes: u64) {
        debug_assert!(bytes <= self.idle_bytes);
        self.idle_bytes = self.idle_bytes.saturating_sub(bytes);
    }

    /// Idle bytes that the runs need by now, or that the limit in force no longer covers.
    #[must_use]
    pub fn idle_excess(&self) -> u64 {
        let held = self.reserved.memory_bytes.saturating_add(self.idle_bytes);
        held.saturating_sub(self.limit.memory_bytes).min(self.idle_bytes)
    }

    /// Gives a part of a reservation back; the run goes on.
    pub fn shrink(&mut self, part: Resources) {
        debug_assert!(part.within(self.reserved));
        self.reserved = self.reserved.minus(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn amount(cpu_millis: u64, memory_bytes: u64) -> Resources {
        Resources { cpu_millis, memory_bytes }
    }

    #[test]
    fn either_resource_can_be_the_one_that_is_missing() {
        let mut budget = Budget::new(amount(1000, 1000));
        assert!(budget.reserve(amount(600, 100)));
        assert!(!budget.reserve(amount(600, 100)), "cpu");
        assert!(!budget.reserve(amount(100, 950)), "memory");
        assert!(budget.reserve(amount(400, 900)), "exactly all");
        budget.release(amount(600, 100));
        assert_eq!((budget.reserved(), budget.running()), (amount(400, 900), 1));
    }

    #[test]
    fn what_stands_idle_takes_only_what_is_left_and_is_in_no_runs_way() {
        let mut budget = Budget::new(amount(1000, 1000));
        assert!(budget.reserve(amount(100, 300)));
        assert!(!budget.reserve_idle(701));
        assert!(budget.reserve_idle(700));
        assert_eq!((budget.idle_bytes(), budget.idle_excess()), (700, 0));
        assert!(budget.reserve(amount(100, 600)), "as if nothing stood idle");
        assert_eq!(budget.idle_excess(), 600);
        budget.release_idle(600);
        assert_eq!(budget.idle_excess(), 0);
        budget.set_limit(amount(1000, 0));
        assert_eq!(budget.idle_excess(), 100, "no more than there is");
    }

    #[test]
    fn one_run_is_let_in_however_low_the_limit() {
        let mut budget = Budget::new(amount(1000, 1000));
        budget.set_limit(amount(0, 0));
        assert!(budget.reserve(amount(500, 500)));
        assert!(!budget.reserve(amount(1, 1)));
    }

    #[test]
    fn the_limit_never_exceeds_the_memory_of_the_budget() {
        let mut budget = Budget::new(amount(1000, 1000));
        budget.set_limit(amount(4000, 9000));
        assert_eq!(budget.limit(), amount(4000, 1000));
    }
}
