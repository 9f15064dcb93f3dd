//! What the parts above need of [`Jobs`], as a trait, so that their tests run without a sandbox.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::execution::Finished;
use super::{InputError, Jobs, QueueSnapshot, Refusal, Submission};
use crate::ids::{CorrelationId, ExecutionId, RoomId, UserId};

/// A submission that was taken on.
pub struct Ticket {
    /// The execution.
    pub id: ExecutionId,
    /// The caller's id or the execution's own.
    pub correlation_id: CorrelationId,
    /// Whether the result is an earlier execution's, not run again.
    pub replayed: bool,
    /// Its end; a [`Refusal`] when it was never started. Dropping it lets go of the execution: when everybody has
    /// who waits for it, one that still waits is cancelled; one that runs ends and is recorded.
    pub result: BoxFuture<'static, Result<Arc<Finished>, Refusal>>,
}

/// Runs programs.
pub trait Runner: Send + Sync + 'static {
    /// See [`Jobs::submit`].
    fn submit(&self, submission: Submission) -> BoxFuture<'_, Result<Ticket, Refusal>>;
    /// See [`Jobs::cancel`].
    fn cancel(&self, id: &ExecutionId) -> bool;
    /// See [`Jobs::find`].
    fn find(&self, room: &RoomId, user: &UserId, correlation_id: &CorrelationId) -> Option<ExecutionId>;
    /// See [`Jobs::input`].
    ///
    /// # Errors
    /// [`InputError`] when there is nobody to read it.
    fn input(&self, id: &ExecutionId, data: &str) -> Result<(), InputError>;
    /// See [`Jobs::queue`].
    fn queue(&self) -> QueueSnapshot;
}

impl Runner for Jobs {
    fn submit(&self, submission: Submission) -> BoxFuture<'_, Result<Ticket, Refusal>> {
        Box::pin(Self::submit(self, submission))
    }

    fn cancel(&self, id: &ExecutionId) -> bool {
        Self::cancel(self, id)
    }

    fn find(&self, room: &RoomId, user: &UserId, correlation_id: &CorrelationId) -> Option<ExecutionId> {
        Self::find(self, room, user, correlation_id)
    }

    fn input(&self, id: &ExecutionId, data: &str) -> Result<(), InputError> {
        Self::input(self, id, data)
    }

    fn queue(&self) -> QueueSnapshot {
        Self::queue(self)
    }
}
