//! Who is admitted, refused and let go: the queue and the budget together. No I/O; the time comes in as
//! an argument.

use std::collections::HashMap;
use std::time::Duration;

use thiserror::Error;
use tokio::time::Instant;

use super::budget::{Budget, Resources};
use super::idle::Pressure;
use super::queue::{EntryId, FairQueue, Party, RoomKey};
use super::speed::Speed;

/// Why a run was not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AdmissionError {
    /// As many wait as may, and nobody has to give way to this one.
    #[error("the queue is full")]
    QueueFull,
    /// Its turn did not come in time.
    #[error("no capacity came free in time")]
    WaitOver,
    /// It needs more memory than the whole budget.
    #[error("a run of {needed} bytes exceeds the memory budget of {budget} bytes")]
    TooLarge {
        /// What it asked for.
        needed: u64,
        /// All there is.
        budget: u64,
    },
    /// The daemon is stopping.
    #[error("admission is closed")]
    Closed,
}

/// Bounds of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimits {
    /// Entries that may wait.
    pub length: usize,
    /// How often a large one may be passed.
    pub overtakes: u32,
}

/// What came of entering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entered {
    /// The newcomer's name in the queue.
    pub id: EntryId,
    /// Who had to give way to it.
    pub gave_way: Option<EntryId>,
}

/// One who was admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admitted {
    /// Its name in the queue.
    pub id: EntryId,
    /// What is now reserved for it.
    pub reserved: Resources,
    /// Since when it had waited.
    pub since: Instant,
}

/// The runs of one room that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Waiters {
    /// How many.
    pub length: usize,
    /// How long the oldest has waited.
    pub oldest_age: Duration,
}

/// One moment of the admission, for the queue's status and the metrics.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Reservations that live.
    pub running: usize,
    /// Entries that wait.
    pub queued: usize,
    /// All there is.
    pub budget: Resources,
    /// What may be reserved at the moment: less memory than the budget while the host is short of it,
    /// more CPU while the cores idle.
    pub limit: Resources,
    /// What is reserved.
    pub reserved: Resources,
    /// Bytes that stand idle, ready for runs to come; not part of `reserved`.
    pub idle_bytes: u64,
    /// The mean time for which a reservation is held.
    pub mean_held: Duration,
    /// Rooms (and those who count as one) in which something waits.
    pub rooms: HashMap<RoomKey, Waiters>,
}

/// The deciding part.
#[derive(Debug)]
pub struct Core {
    budget: Budget,
    queue: FairQueue,
    limits: QueueLimits,
    speed: Speed,
    closed: bool,
}

impl Core {
    /// An open, empty one.
    #[must_use]
    pub fn new(total: Resources, limits: QueueLimits) -> Self {
        Self { budget: Budget::new(total), queue: FairQueue::default(), limits, speed: Speed::default(), closed: false }
    }

    /// The budget.
    #[must_use]
    pub const fn budget(&self) -> &Budget {
        &self.budget
    }

    /// The queue.
    #[must_use]
    pub const fn queue(&self) -> &FairQueue {
        &self.queue
    }

    /// Puts a run into the queue, from where [`Core::admit_one`] takes it, at once if its turn is now.
    ///
    /// CPU above the budget is cut to it: it only means that the run has the machine for itself.
    ///
    /// # Errors
    /// `Closed`, `TooLarge` and `QueueFull`.
    pub fn enter(
        &mut self,
        party: Party,
        priority: i32,
        need: Resources,
        now: Instant,
    ) -> Result<Entered, AdmissionError> {
        let total = self.budget.total();
        if self.closed {
            return Err(AdmissionError::Closed);
        }
        if need.memory_bytes > total.memory_bytes {
            return Err(AdmissionError::TooLarge { needed: need.memory_bytes, budget: total.memory_bytes });
        }
        let need = Resources { cpu_millis: need.cpu_millis.min(total.cpu_millis), ..need };
        let starts_now = self.queue.is_empty() && self.budget.fits(need);
        let gave_way = if starts_now || self.queue.len() < self.limits.length {
            None
        } else {
            Some(self.queue.who_gives_way(&party, self.limits.length).ok_or(AdmissionError::QueueFull)?)
        };
        if let Some(victim) = gave_way {
            self.queue.remove(victim);
        }
        Ok(Entered { id: self.queue.push(party, priority, need, now), gave_way })
    }

    /// Admits the next one; to be called until none is left after whatever changed.
    pub fn admit_one(&mut self) -> Option<Admitted> {
        let entry = self.queue.pop_fitting(self.limits.overtakes, |need| self.budget.fits(need))?;
        let reserved = self.budget.reserve(entry.need);
        debug_assert!(reserved);
        Some(Admitted { id: entry.id, reserved: entry.need, since: entry.since })
    }

    /// An entry's client has gone or its wait is over; false when it waits no more.
    pub fn leave(&mut self, id: EntryId) -> bool {
        self.queue.remove(id).is_some()
    }

    /// A run ended.
    pub fn release(&mut self, reserved: Resources, held: Duration) {
        self.speed.completed(held);
        self.budget.release(reserved);
    }

    /// A run needs less from now on.
    pub fn shrink(&mut self, part: Resources) {
        self.budget.shrink(part);
    }

    /// Sets memory aside for what stands idle; false when it does not fit, or nobody is let in any more.
    pub fn reserve_idle(&mut self, bytes: u64) -> bool {
        !self.closed && self.budget.reserve_idle(bytes)
    }

    /// Something that stood idle is gone, or has become a run's.
    pub fn release_idle(&mut self, bytes: u64) {
        self.budget.release_idle(bytes);
    }

    /// What those who hold idle memory should do.
    #[must_use]
    pub fn pressure(&self) -> Pressure {
        let shrink_bytes = if self.closed { self.budget.idle_bytes() } else { self.budget.idle_excess() };
        Pressure { shrink_bytes, runs_wait: !self.queue.is_empty() }
    }

    /// What may be reserved at the moment.
    pub fn set_limit(&mut self, limit: Resources) {
        self.budget.set_limit(limit);
    }

    /// New budget and bounds. Whoever waits goes on waiting, even where the queue is now too long.
    pub fn reconfigure(&mut self, total: Resources, limits: QueueLimits) {
        self.budget.set_total(total);
        self.limits = limits;
    }

    /// Lets nobody in any more.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// How fast places come free.
    #[must_use]
    pub const fn speed(&self) -> &Speed {
        &self.speed
    }

    /// When somebody who is refused now should come again.
    #[must_use]
    pub fn retry_after(&self) -> Duration {
        self.speed.retry_after(self.queue.len(), self.budget.running())
    }

    /// This moment.
    #[must_use]
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        let mut rooms: HashMap<RoomKey, Waiters> = HashMap::new();
        for (party, entry) in self.queue.iter() {
            let room = rooms.entry(party.room.clone()).or_default();
            room.length += 1;
            room.oldest_age = room.oldest_age.max(now.saturating_duration_since(entry.since));
        }
        Snapshot {
            running: self.budget.running(),
            queued: self.queue.len(),
            budget: self.budget.total(),
            limit: self.budget.limit(),
            reserved: self.budget.reserved(),
            idle_bytes: self.budget.idle_bytes(),
            mean_held: self.speed.mean_held(),
            rooms,
        }
    }
}
