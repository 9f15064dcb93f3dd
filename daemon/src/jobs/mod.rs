//! Executions: from a checked submission to a recorded result.
//!
//! A submission finds or makes its execution (by correlation id), waits for the room's lock and for
//! capacity, runs in a sandbox, is recorded, and is announced. Lock and capacity are released
//! whatever happens on the way.
//!
//! **Invariant.** Nothing here knows HTTP or sockets; rooms are told through [`RoomObserver`].

pub mod admission;
pub mod batch;
pub mod execution;
pub mod idempotency;
pub mod lock;
pub mod observer;
pub mod quotas;
pub mod refusal;
pub mod response;
pub mod submission;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::ids::{CorrelationId, ExecutionId, RoomId, UserId};
use execution::Finished;
pub use observer::{RoomObserver, Stream};
pub use refusal::Refusal;
pub use response::CompileResponse;
pub use submission::{LimitOverrides, Submission};

/// The handle that everybody shares.
#[derive(Clone)]
pub struct Jobs {
    inner: Arc<Inner>,
}

struct Inner {}

/// A submission that was taken on. Dropping every ticket of an execution that still waits cancels it;
/// one that runs ends and is recorded.
pub struct Ticket {
    /// The execution.
    pub id: ExecutionId,
    /// The caller's id or the execution's own.
    pub correlation_id: CorrelationId,
    /// Whether the result is an earlier execution's, not run again.
    pub replayed: bool,
    done: watch::Receiver<Option<Result<Arc<Finished>, Refusal>>>,
}

impl Ticket {
    /// Waits for the end.
    ///
    /// # Errors
    /// [`Refusal`] when it was never started: room busy, no capacity, cancelled while waiting.
    pub async fn result(mut self) -> Result<Arc<Finished>, Refusal> {
        match self.done.wait_for(Option::is_some).await {
            Ok(value) => value.clone().unwrap_or(Err(Refusal::ShuttingDown)),
            Err(_) => Err(Refusal::ShuttingDown),
        }
    }
}

/// The queue of one room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RoomQueue {
    /// Executions that wait, without the one that runs.
    pub length: usize,
    /// How long the oldest of them has waited.
    pub oldest_age: Duration,
}

/// What waits and runs at one moment.
#[derive(Debug, Clone, Default)]
pub struct QueueSnapshot {
    /// Rooms in which something waits.
    pub rooms: HashMap<RoomId, RoomQueue>,
    /// Executions that run.
    pub running: usize,
    /// Executions that wait, in all rooms.
    pub queued: usize,
}

/// Why input could not be given to a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// No such execution runs.
    #[error("no such execution is running")]
    NotRunning,
    /// It was not started as interactive, or its stdin is closed.
    #[error("the execution takes no input")]
    Closed,
    /// More than the program reads is waiting already.
    #[error("the program does not read its input")]
    Full,
}

impl Jobs {
    /// Takes a submission on: it is recorded as queued when this returns.
    ///
    /// # Errors
    /// [`Refusal`] when it cannot even wait: unknown language, full queue, used-up quota.
    pub async fn submit(&self, submission: Submission) -> Result<Ticket, Refusal> {
        let _ = (submission, &self.inner);
        Err(Refusal::ShuttingDown)
    }

    /// Cancels an execution that waits or runs; false when there is none of that id.
    pub fn cancel(&self, id: &ExecutionId) -> bool {
        let _ = id;
        false
    }

    /// The live (queued or running) execution of a room, user and correlation id.
    pub fn find(&self, room: &RoomId, user: &UserId, correlation_id: &CorrelationId) -> Option<ExecutionId> {
        let _ = (room, user, correlation_id);
        None
    }

    /// Appends to the stdin of an interactive execution.
    ///
    /// # Errors
    /// [`InputError`] when there is nobody to read it.
    pub fn input(&self, id: &ExecutionId, data: &str) -> Result<(), InputError> {
        let _ = (id, data);
        Err(InputError::NotRunning)
    }

    /// What waits and runs.
    pub fn queue(&self) -> QueueSnapshot {
        QueueSnapshot::default()
    }
}
