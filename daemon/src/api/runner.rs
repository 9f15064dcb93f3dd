//! The little that the HTTP layer needs of the jobs, as a trait, so that its tests run without a sandbox.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::ids::{CorrelationId, ExecutionId};
use crate::jobs::execution::Finished;
use crate::jobs::{Jobs, QueueSnapshot, Refusal, Submission};

/// Who takes submissions on.
pub trait Runner: Send + Sync + 'static {
    /// See [`Jobs::submit`].
    fn submit(&self, submission: Submission) -> BoxFuture<'_, Result<Accepted, Refusal>>;
    /// See [`Jobs::cancel`].
    fn cancel(&self, id: &ExecutionId) -> bool;
    /// See [`Jobs::queue`].
    fn queue(&self) -> QueueSnapshot;
}

/// A submission that was taken on; dropping `result` gives its place in the queue back.
pub struct Accepted {
    /// The execution.
    pub id: ExecutionId,
    /// The caller's id or the execution's own.
    pub correlation_id: CorrelationId,
    /// Whether the result is an earlier execution's, not run again.
    pub replayed: bool,
    /// The end of it.
    pub result: BoxFuture<'static, Result<Arc<Finished>, Refusal>>,
}

impl Runner for Jobs {
    fn submit(&self, submission: Submission) -> BoxFuture<'_, Result<Accepted, Refusal>> {
        async move {
            let ticket = Self::submit(self, submission).await?;
            Ok(Accepted {
                id: ticket.id.clone(),
                correlation_id: ticket.correlation_id.clone(),
                replayed: ticket.replayed,
                result: ticket.result().boxed(),
            })
        }
        .boxed()
    }

    fn cancel(&self, id: &ExecutionId) -> bool {
        Self::cancel(self, id)
    }

    fn queue(&self) -> QueueSnapshot {
        Self::queue(self)
    }
}
