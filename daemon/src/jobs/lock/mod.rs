//! Room locks: one running execution a room, first come first served.
//!
//! [`RoomLocks::enqueue`] takes a place in the room's queue, [`Waiting::acquire`] waits for the room, and the
//! [`RoomGuard`] holds it until it is dropped. Whoever drops a `Waiting` (or the future of its `acquire`)
//! leaves the queue at once. `standalone` is no room: the caller does not lock it.
//!
//! With Redis, several daemons share their rooms: the first in line of each daemon's queue competes for a key.
//! When Redis cannot be used, the daemon goes on alone, says so in [`RoomLocks::health`], and returns by itself.
//!
//! **Invariant.** Two guards of one room never exist at the same time in one daemon, whatever Redis does.

mod memory;
mod redis;
mod releases;
mod script;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout_at;

use super::RoomQueue;
use crate::ids::RoomId;
pub use crate::redis_link::BadRedisUrl;
use crate::redis_link::client;
use memory::{Entry, Hold, Table};
use redis::Shared;
use releases::Timing;

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
    shared: Option<Arc<Shared>>,
}

/// A place in a room's queue that may be waited on; dropping it leaves the queue.
#[must_use = "dropping it leaves the queue"]
pub struct Waiting {
    entry: Entry,
    room: RoomId,
    shared: Option<Arc<Shared>>,
}

/// The room is held until this is dropped; dropping never blocks.
#[must_use = "dropping it releases the room"]
pub struct RoomGuard {
    _held: Held,
}

enum Held {
    Here {
        _hold: Hold,
    },
    /// A task of its own keeps the room until this is dropped.
    InRedis {
        _keeper: oneshot::Sender<()>,
    },
}

impl RoomLocks {
    /// Locks of this daemon alone.
    #[must_use]
    pub fn in_memory() -> Self {
        Self { table: Arc::default(), shared: None }
    }

    /// Locks shared by all daemons that use this Redis; returns when it is known whether it answers, which takes
    /// at most a second. It is no error that it does not: it is tried again in the background.
    ///
    /// # Errors
    /// [`BadRedisUrl`] when the address is none.
    pub async fn in_redis(url: &str) -> Result<Self, BadRedisUrl> {
        Self::with_timing(url, Timing::default()).await
    }

    async fn with_timing(url: &str, timing: Timing) -> Result<Self, BadRedisUrl> {
        let client = client(url)?;
        let table = Arc::default();
        let shared = Arc::new(Shared::start(client, Arc::clone(&table), timing));
        shared.settled().await;
        Ok(Self { table, shared: Some(shared) })
    }

    /// Checks an address without connecting.
    ///
    /// # Errors
    /// [`BadRedisUrl`] when [`RoomLocks::in_redis`] would not take it.
    pub fn check_url(url: &str) -> Result<(), BadRedisUrl> {
        client(url).map(drop)
    }

    /// What is degraded, as one sentence for `/health`.
    #[must_use]
    pub fn health(&self) -> Option<String> {
        self.shared.as_ref()?.health()
    }

    /// Waits until the rooms whose guards were dropped are released in Redis, for a stop in good order.
    pub async fn released(&self) {
        if let Some(shared) = &self.shared {
            shared.released().await;
        }
    }

    /// Takes the last place of a room's queue.
    pub fn enqueue(&self, room: &RoomId) -> Waiting {
        Waiting { entry: self.table.enqueue(room), room: room.clone(), shared: self.shared.clone() }
    }

    /// Waits for a room, at most this long.
    ///
    /// # Errors
    /// [`LockError::Busy`] when the wait is over.
    pub async fn acquire(&self, room: &RoomId, wait: Duration) -> Result<RoomGuard, LockError> {
        self.enqueue(room).acquire(wait).await
    }

    /// How many of this daemon wait in a room, without the one that holds it, and for how long.
    #[must_use]
    pub fn queue(&self, room: &RoomId) -> RoomQueue {
        self.table.queue(room)
    }

    /// The queues of all rooms in which something of this daemon waits.
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
        let held = match &self.shared {
            None => Held::Here { _hold: turn.hold() },
            Some(shared) => {
                let claim = shared.claim(&self.room, &turn, deadline).await?;
                Held::InRedis { _keeper: shared.keep(claim, turn.hold()) }
            }
        };
        Ok(RoomGuard { _held: held })
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod redis_tests;
