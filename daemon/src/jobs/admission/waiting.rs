//! A place in the queue that is held, and left when nobody holds it any more.

use std::sync::Arc;

use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::queue::EntryId;
use super::{AdmissionError, Permit, Place, Shared};

/// A place in the queue. Dropping it leaves the queue at once.
#[must_use = "the place is left when it is dropped"]
pub struct Waiting {
    shared: Arc<Shared>,
    id: EntryId,
    decision: oneshot::Receiver<Result<Permit, AdmissionError>>,
    place: watch::Receiver<Place>,
    deadline: Instant,
}

impl Waiting {
    pub(super) const fn new(
        shared: Arc<Shared>,
        id: EntryId,
        decision: oneshot::Receiver<Result<Permit, AdmissionError>>,
        place: watch::Receiver<Place>,
        deadline: Instant,
    ) -> Self {
        Self { shared, id, decision, place, deadline }
    }

    /// The place; it changes at most ten times a second and ends when the wait does.
    #[must_use]
    pub fn place(&self) -> watch::Receiver<Place> {
        self.place.clone()
    }

    /// Waits until the run may start.
    ///
    /// # Errors
    /// `WaitOver`, `Closed`, and `QueueFull` when it had to give way to somebody else.
    pub async fn admitted(mut self) -> Result<Permit, AdmissionError> {
        let decision = tokio::time::timeout_at(self.deadline, &mut self.decision).await;
        match decision {
            Ok(decision) => decision.unwrap_or(Err(AdmissionError::Closed)),
            Err(_) if self.leave() => Err(AdmissionError::WaitOver),
            // It was decided in the very moment in which the wait ended: what was decided holds.
            Err(_) => (&mut self.decision).await.unwrap_or(Err(AdmissionError::Closed)),
        }
    }

    /// False when it has left already, admitted or refused.
    fn leave(&self) -> bool {
        let mut state = self.shared.lock();
        // Whoever is not among the waiters has been decided upon; there is nothing to leave.
        let Some(waiter) = state.waiters.remove(&self.id) else { return false };
        state.core.leave(self.id);
        state.places_changed = true;
        drop(state);
        drop(waiter);
        // The one who left may have been the one for whom the others held back.
        self.shared.change(|_| ());
        true
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.leave();
    }
}
