//! Admission: a run starts when its share of CPU and its memory fit what is left of the budgets.
//!
//! [`core`] decides and does no I/O ([`budget`]: what fits; [`queue`]: who is next; [`speed`]: when to come
//! again). This module is the thin shell around it: it wakes those who were admitted, lets those
//! go whose client has gone, and gives reservations back when a [`Permit`] is dropped. [`pressure`]
//! watches the host and moves the limit in force.
//!
//! **Invariants.** A reservation lives exactly as long as its permit, whatever is dropped or cancelled
//! on the way. The lock is held for decisions only, never across an await, and nothing that takes it is
//! dropped under it.

pub mod budget;
pub mod config;
pub mod core;
mod idle;
pub mod memory;
pub mod pressure;
pub mod queue;
pub mod speed;
mod waiting;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

pub use self::budget::Resources;
pub use self::config::{AdmissionConfig, Class};
pub use self::core::{AdmissionError, Snapshot, Waiters};
pub use self::idle::{IdleReservation, Pressure};
pub use self::queue::RoomKey;
pub use self::waiting::Waiting;

use self::core::{Core, QueueLimits};
use self::memory::Machine;
use self::queue::{EntryId, Party};
use crate::ids::UserId;

/// A run that asks to be admitted.
#[derive(Debug, Clone)]
pub struct Request {
    /// Who takes turns with whom.
    pub room: RoomKey,
    /// Whose it is within the room.
    pub user: UserId,
    /// As [`AdmissionConfig::class`] says.
    pub class: Class,
    /// The client's own: larger goes sooner among its user's runs.
    pub priority: i32,
    /// Thousandths of a core; none stands for `cpu-per-run`. More than the whole budget counts as all of it.
    pub cpu_millis: Option<u64>,
    /// Bytes: the largest memory limit of its stages, with what its tmpfs may hold counted in that limit.
    pub memory_bytes: u64,
    /// How long it may wait; `queue-wait` is the bound.
    pub wait: Option<Duration>,
}

/// A place in the queue: 0 is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// How many are before it.
    pub position: usize,
    /// How many wait in all.
    pub queue_length: usize,
}

/// The handle that everybody shares.
#[derive(Clone)]
pub struct Admission {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    pressure: watch::Sender<Pressure>,
    machine: Machine,
}

struct State {
    config: AdmissionConfig,
    core: Core,
    waiters: HashMap<EntryId, Waiter>,
    places_changed: bool,
}

/// Where those who wait are told of it.
struct Waiter {
    decided: oneshot::Sender<Result<Permit, AdmissionError>>,
    place: watch::Sender<Place>,
}

/// Messages that must be sent, and dropped if nobody listens, only after the lock is released: what is
/// dropped may be a permit, which takes the lock.
#[must_use]
#[derive(Default)]
struct Decisions(Vec<(Waiter, Result<Permit, AdmissionError>)>);

impl Decisions {
    fn announce(self) {
        for (waiter, decision) in self.0 {
            let _nobody_listens = waiter.decided.send(decision);
        }
    }
}

impl Admission {
    /// Admission to this machine. [`Admission::watch`] must run beside it for pressure and positions.
    #[must_use]
    pub fn new(config: AdmissionConfig, machine: Machine) -> Self {
        let core = Core::new(machine.budget(&config), queue_limits(&config));
        let state = State { config, core, waiters: HashMap::new(), places_changed: false };
        let pressure = watch::Sender::new(Pressure::default());
        Self { shared: Arc::new(Shared { state: Mutex::new(state), pressure, machine }) }
    }

    /// Waits until the run may start.
    ///
    /// Dropping the future leaves the queue at once.
    ///
    /// # Errors
    /// [`AdmissionError`].
    pub async fn admit(&self, request: Request) -> Result<Permit, AdmissionError> {
        self.enqueue(request)?.admitted().await
    }

    /// Takes a place in the queue, or is refused at once.
    ///
    /// # Errors
    /// `QueueFull`, `TooLarge`, `Closed`.
    pub fn enqueue(&self, request: Request) -> Result<Waiting, AdmissionError> {
        let now = Instant::now();
        let (decided, decision) = oneshot::channel();
        let mut decisions = Decisions::default();
        let mut state = self.shared.lock();
        let need = Resources {
            cpu_millis: request.cpu_millis.unwrap_or(state.config.cpu_per_run_millis),
            memory_bytes: request.memory_bytes,
        };
        let party = Party { class: request.class, room: request.room, user: request.user };
        let entered = state.core.enter(party, request.priority, need, now)?;
        if let Some(waiter) = entered.gave_way.and_then(|id| state.waiters.remove(&id)) {
            decisions.0.push((waiter, Err(AdmissionError::QueueFull)));
        }
        // Its exact place comes with the next publication; until then the last is a safe guess.
        let queue_length = state.core.queue().len();
        let (place, places) = watch::channel(Place { position: queue_length - 1, queue_length });
        state.waiters.insert(entered.id, Waiter { decided, place });
        state.places_changed = true;
        let deadline = now + request.wait.unwrap_or(state.config.queue_wait).min(state.config.queue_wait);
        self.shared.admit_next(&mut state, &mut decisions, now);
        drop(state);
        decisions.announce();
        Ok(Waiting::new(self.shared.clone(), entered.id, decision, places, deadline))
    }

    /// When somebody who is refused now should come again, by the queue's real speed: 1 to 60 s.
    #[must_use]
    pub fn retry_after(&self) -> Duration {
        self.shared.lock().core.retry_after()
    }

    /// When somebody should come again who is refused in a queue of `waiting` that is served one by one: 1 to 60 s.
    #[must_use]
    pub fn retry_after_in_turn(&self, waiting: usize) -> Duration {
        self.shared.lock().core.speed().retry_after(waiting, 1)
    }

    /// What waits and runs.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.shared.lock().core.snapshot(Instant::now())
    }

    /// All there is to reserve.
    #[must_use]
    pub fn budget(&self) -> Resources {
        self.shared.machine.budget(&self.shared.lock().config)
    }

    /// All there would be to reserve by another configuration.
    #[must_use]
    pub fn budget_by(&self, config: &AdmissionConfig) -> Resources {
        self.shared.machine.budget(config)
    }

    /// Whether runs wait for capacity.
    #[must_use]
    pub fn runs_wait(&self) -> bool {
        self.shared.pressure.borrow().runs_wait
    }

    /// Whether less than half of the memory may be reserved at the moment, because the host cannot give it.
    #[must_use]
    pub fn is_short_of_memory(&self) -> bool {
        let state = self.shared.lock();
        let budget = state.core.budget();
        budget.limit().memory_bytes < budget.total().memory_bytes / 2
    }

    /// Whether as many wait as may, somebody at all.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let state = self.shared.lock();
        let queued = state.core.queue().len();
        queued > 0 && queued >= state.config.queue_length
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> AdmissionConfig {
        self.shared.lock().config.clone()
    }

    /// Puts another configuration in force. Nothing that runs or waits is dropped.
    pub fn reconfigure(&self, config: AdmissionConfig) {
        self.shared.change(|state| {
            state.core.reconfigure(self.shared.machine.budget(&config), queue_limits(&config));
            state.config = config;
        });
    }

    /// Admits nobody any more and refuses all who wait; what runs is left alone.
    pub fn close(&self) {
        let mut state = self.shared.lock();
        state.core.close();
        let waiters: Vec<_> = state.waiters.drain().collect();
        for (id, _) in &waiters {
            state.core.leave(*id);
        }
        self.shared.publish_pressure(&state);
        drop(state);
        Decisions(waiters.into_iter().map(|(_, waiter)| (waiter, Err(AdmissionError::Closed))).collect()).announce();
    }

    /// Tells those who wait of their places, if any has changed.
    fn publish_places(&self) {
        let mut state = self.shared.lock();
        if !std::mem::take(&mut state.places_changed) {
            return;
        }
        let order = state.core.queue().order();
        let queue_length = order.len();
        for (position, id) in order.into_iter().enumerate() {
            if let Some(waiter) = state.waiters.get(&id) {
                let place = Place { position, queue_length };
                waiter.place.send_if_modified(|old| std::mem::replace(old, place) != place);
            }
        }
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission").finish_non_exhaustive()
    }
}

impl Shared {
    /// A panic elsewhere must not end admission: every change under the lock is complete in itself.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes something and admits whoever fits then.
    fn change(self: &Arc<Self>, change: impl FnOnce(&mut State)) {
        let mut decisions = Decisions::default();
        let mut state = self.lock();
        change(&mut state);
        self.admit_next(&mut state, &mut decisions, Instant::now());
        drop(state);
        decisions.announce();
    }

    fn admit_next(self: &Arc<Self>, state: &mut State, decisions: &mut Decisions, now: Instant) {
        while let Some(admitted) = state.core.admit_one() {
            state.places_changed = true;
            let permit = Permit {
                shared: self.clone(),
                reserved: admitted.reserved,
                admitted: now,
                waited: now.saturating_duration_since(admitted.since),
            };
            if let Some(waiter) = state.waiters.remove(&admitted.id) {
                decisions.0.push((waiter, Ok(permit)));
            } else {
                debug_assert!(false, "an entry without a waiter");
            }
        }
        self.publish_pressure(state);
    }

    fn publish_pressure(&self, state: &State) {
        let now = state.core.pressure();
        self.pressure.send_if_modified(|old| std::mem::replace(old, now) != now);
    }
}

const fn queue_limits(config: &AdmissionConfig) -> QueueLimits {
    QueueLimits { length: config.queue_length, overtakes: config.overtakes }
}

/// The right to run; gives its reservation back when dropped.
#[must_use = "the reservation is given back when it is dropped"]
pub struct Permit {
    shared: Arc<Shared>,
    reserved: Resources,
    admitted: Instant,
    waited: Duration,
}

impl Permit {
    /// What is reserved.
    #[must_use]
    pub const fn reserved(&self) -> Resources {
        self.reserved
    }

    /// How long it waited in the queue.
    #[must_use]
    pub const fn waited(&self) -> Duration {
        self.waited
    }

    /// Gives back the memory above `memory_bytes`: a compile stage that needed more is over.
    pub fn shrink_memory(&mut self, memory_bytes: u64) {
        let part = self.reserved.memory_bytes.saturating_sub(memory_bytes);
        if part > 0 {
            self.reserved.memory_bytes -= part;
            self.shared.change(|state| state.core.shrink(Resources { cpu_millis: 0, memory_bytes: part }));
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("reserved", &self.reserved).finish_non_exhaustive()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let held = self.admitted.elapsed();
        self.shared.change(|state| state.core.release(self.reserved, held));
    }
}

#[cfg(test)]
mod tests;
