//! The little that rooms need of [`Jobs`]; a trait, so that tests can run nothing.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::ids::{CorrelationId, ExecutionId, RoomId, UserId};
use crate::jobs::execution::Finished;
use crate::jobs::{InputError, Jobs, Refusal, Submission};

/// A submission that was taken on. Dropping `result` lets go of it: see [`crate::jobs::Ticket`].
pub struct Run {
    /// The execution.
    pub id: ExecutionId,
    /// The caller's id or the execution's own.
    pub correlation_id: CorrelationId,
    /// Whether the result is an earlier execution's, not run again.
    pub replayed: bool,
    /// Its end.
    pub result: BoxFuture<'static, Result<Arc<Finished>, Refusal>>,
}

/// Runs programs.
pub trait Runner: Send + Sync + 'static {
    /// Takes a submission on: see [`Jobs::submit`].
    fn submit(&self, submission: Submission) -> BoxFuture<'_, Result<Run, Refusal>>;
    /// See [`Jobs::cancel`].
    fn cancel(&self, id: &ExecutionId) -> bool;
    /// See [`Jobs::find`].
    fn find(&self, room: &RoomId, user: &UserId, correlation_id: &CorrelationId) -> Option<ExecutionId>;
    /// See [`Jobs::input`].
    ///
    /// # Errors
    /// [`InputError`] when there is nobody to read it.
    fn input(&self, id: &ExecutionId, data: &str) -> Result<(), InputError>;
}

impl Runner for Jobs {
    fn submit(&self, submission: Submission) -> BoxFuture<'_, Result<Run, Refusal>> {
        Box::pin(async move {
            let ticket = Jobs::submit(self, submission).await?;
            Ok(Run {
                id: ticket.id.clone(),
                correlation_id: ticket.correlation_id.clone(),
                replayed: ticket.replayed,
                result: Box::pin(ticket.result()),
            })
        })
    }

    fn cancel(&self, id: &ExecutionId) -> bool {
        Jobs::cancel(self, id)
    }

    fn find(&self, room: &RoomId, user: &UserId, correlation_id: &CorrelationId) -> Option<ExecutionId> {
        Jobs::find(self, room, user, correlation_id)
    }

    fn input(&self, id: &ExecutionId, data: &str) -> Result<(), InputError> {
        Jobs::input(self, id, data)
    }
}
