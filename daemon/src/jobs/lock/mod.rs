//! Room locks: one running execution a room, first come first served.
//!
//! [`RoomLocks::enqueue`] takes a place in the room's queue, [`Waiting::acquire`] waits for the room, and the
//! [`RoomGuard`] holds it until it is dropped. Whoever drops a `Waiting` (or the future of its `acquire`)
//! leaves the queue at once. `standalone` is no room: the caller does not lock it.
//!
//! **Invariant.** Two guards of one room never exist at the same time in one daemon.

mod memory;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::watch;
use tokio::time::timeout_at;

use super::RoomQueue;
use crate::ids::RoomId;
use memory::{Entry, Hold, Table};

/// Why a room is not held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LockError {
    /// Somebody else held it for the whole wait.
    #[error("the room is busy with another execution")]
    Busy,
}

/// A place in a room's queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// How many wait before it; 0 runs next.
    pub position: usize,
    /// How many waited, itself included, when it came to this position.
    pub queue_length: usize,
}

/// The locks of all rooms; clones share them.
#[derive(Clone)]
pub struct RoomLocks {
    table: Arc<Table>,
}

/// A place in a room's queue that may be waited on; dropping it leaves the queue.
#[must_use = "dropping it leaves the queue"]
pub struct Waiting {
    entry: Entry,
}

/// The room is held until this is dropped; dropping never blocks.
#[must_use = "dropping it releases the room"]
pub struct RoomGuard {
    _hold: Hold,
}

impl RoomLocks {
    /// Locks of this daemon alone.
    #[must_use]
    pub fn in_memory() -> Self {
        Self { table: Arc::default() }
    }

    /// Takes the last place of a room's queue.
    pub fn enqueue(&self, room: &RoomId) -> Waiting {
        Waiting { entry: self.table.enqueue(room) }
    }

    /// Waits for a room, at most this long.
    ///
    /// # Errors
    /// [`LockError::Busy`] when the wait is over.
    pub async fn acquire(&self, room: &RoomId, wait: Duration) -> Result<RoomGuard, LockError> {
        self.enqueue(room).acquire(wait).await
    }

    /// How many wait in a room, without the one that holds it, and for how long.
    #[must_use]
    pub fn queue(&self, room: &RoomId) -> RoomQueue {
        self.table.queue(room)
    }

    /// The queues of all rooms in which something waits.
    #[must_use]
    pub fn queues(&self) -> HashMap<RoomId, RoomQueue> {
        self.table.queues()
    }

    /// Rooms that are held or waited for; all others take no memory.
    #[must_use]
    pub fn rooms(&self) -> usize {
        self.table.rooms()
    }
}

impl Waiting {
    /// The place in this daemon's queue, marked as changed whenever the position is (and once when it turns
    /// out that another daemon holds the room). The channel closes when the wait is over.
    #[must_use]
    pub fn place(&self) -> watch::Receiver<Place> {
        self.entry.place()
    }

    /// Whether somebody of this daemon holds the room or waits before it.
    #[must_use]
    pub fn must_wait(&self) -> bool {
        !self.entry.is_called()
    }

    /// Waits for the room, at most this long since it was queued.
    ///
    /// # Errors
    /// [`LockError::Busy`] when the wait is over.
    pub async fn acquire(self, wait: Duration) -> Result<RoomGuard, LockError> {
        let deadline = self.entry.since() + wait;
        let turn = timeout_at(deadline, self.entry.turn()).await.map_err(|_| LockError::Busy)?;
        Ok(RoomGuard { _hold: turn.hold() })
    }
}

#[cfg(test)]
mod tests;
