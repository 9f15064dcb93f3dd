//! Memory that stands idle, ready for runs to come: prepared sandboxes and warm processes.
//!
//! **Invariants.** Idle memory is counted against the same limit as that of runs, so that no sum of both can hurt
//! the host. It never makes a run wait: a run is admitted as if nothing stood idle, and those who hold
//! idle memory are told at once how much of it they should give back.

use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

use super::{Admission, Shared};

/// What those who hold idle memory should do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pressure {
    /// Bytes of idle reservations to give back now, because runs need them or the host is short of memory; 0 is none.
    pub shrink_bytes: u64,
    /// Runs wait for capacity: whatever is made ahead of need now takes time from them.
    pub runs_wait: bool,
}

/// Memory set aside for something that stands idle; dropping it gives it back.
///
/// Whoever hands an idle sandbox to a run drops this first: the run's own permit covers it from there.
#[must_use = "the memory is given back when it is dropped"]
pub struct IdleReservation {
    shared: Arc<Shared>,
    bytes: u64,
}

impl Admission {
    /// Sets memory aside for something that stands idle. None when runs and other idle things leave less
    /// than `bytes` of the limit in force, or when the daemon is stopping; then nothing is to be made.
    pub fn reserve_idle(&self, bytes: u64) -> Option<IdleReservation> {
        let mut state = self.shared.lock();
        state.core.reserve_idle(bytes).then(|| IdleReservation { shared: Arc::clone(&self.shared), bytes })
    }

    /// What those who hold idle memory should do, now and whenever it changes.
    #[must_use]
    pub fn pressure(&self) -> watch::Receiver<Pressure> {
        self.shared.pressure.subscribe()
    }
}

impl IdleReservation {
    /// How much it is.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl fmt::Debug for IdleReservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdleReservation").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl Drop for IdleReservation {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.core.release_idle(self.bytes);
        self.shared.publish_pressure(&state);
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::Machine;
    use super::super::tests::request;
    use super::super::{AdmissionConfig, Request};
    use super::*;

    const MIB: u64 = 1024 * 1024;

    /// A budget of 3 GiB and four runs at once.
    fn admission() -> Admission {
        Admission::new(AdmissionConfig::default(), Machine::fixed(2, 4096 * MIB))
    }

    fn run(mib: u64) -> Request {
        Request { memory_bytes: mib * MIB, ..request("a", "u") }
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_never_waits_for_what_stands_idle_and_the_holders_are_told() {
        let admission = admission();
        let mut pressure = admission.pressure();
        let idle: Vec<_> = (0..6).map(|_| admission.reserve_idle(512 * MIB).unwrap()).collect();
        assert!(admission.reserve_idle(1).is_none(), "the budget is used up");
        assert_eq!((admission.snapshot().idle_bytes, *pressure.borrow_and_update()), (3072 * MIB, Pressure::default()));

        let permit =
            tokio::time::timeout(std::time::Duration::ZERO, admission.admit(run(1024))).await.unwrap().unwrap();
        pressure.changed().await.unwrap();
        assert_eq!(*pressure.borrow_and_update(), Pressure { shrink_bytes: 1024 * MIB, runs_wait: false });
        drop(idle);
        pressure.changed().await.unwrap();
        assert_eq!(*pressure.borrow_and_update(), Pressure::default());
        assert!(admission.reserve_idle(2049 * MIB).is_none());
        assert_eq!(admission.reserve_idle(2048 * MIB).unwrap().bytes(), 2048 * MIB);
        drop(permit);
        assert_eq!(admission.snapshot().idle_bytes, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_known_whether_runs_wait_and_at_the_end_all_is_asked_back() {
        let admission = admission();
        let pressure = admission.pressure();
        let mut permits = Vec::new();
        for _ in 0..4 {
            permits.push(admission.admit(run(64)).await.unwrap());
        }
        assert!(!pressure.borrow().runs_wait);
        let waiting = admission.enqueue(run(64)).unwrap();
        assert!(pressure.borrow().runs_wait);
        drop(waiting);
        assert!(!pressure.borrow().runs_wait);
        let idle = admission.reserve_idle(64 * MIB);
        admission.close();
        assert_eq!(pressure.borrow().shrink_bytes, 64 * MIB);
        drop(idle);
        assert_eq!(pressure.borrow().shrink_bytes, 0);
        assert!(admission.reserve_idle(1).is_none());
    }
}
