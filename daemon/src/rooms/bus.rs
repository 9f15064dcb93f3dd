//! The one way in which something happens to a room.
//!
//! Publishing gives the event its place among the room's events, and its number if it takes one, and
//! brings it to every daemon that serves the room, in one step: members hear events in the order of their
//! numbers because there is no moment between the two.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use thiserror::Error;

use super::event::RoomEvent;
use super::registry::RoomRegistry;
use super::store::StoreError;
use crate::ids::RoomId;

/// An event did not reach its room.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BusError {
    /// The room could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No more rooms fit into memory.
    #[error("the service holds as many rooms as it can")]
    TooManyRooms,
}

/// An event reached its room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// False when the room refused it (and told so who sent it).
    pub accepted: bool,
    /// The room's last number after it.
    pub sequence: u64,
}

/// Brings events to rooms.
pub trait Bus: Send + Sync + 'static {
    /// Applies an event to a room everywhere. When it returns, the members on this daemon have been sent
    /// what they are told of it.
    fn publish<'a>(&'a self, room: &'a RoomId, event: RoomEvent) -> BoxFuture<'a, Result<Published, BusError>>;

    /// Whether no daemon knows a room of this name; from then on it is this daemon's to make.
    fn reserve<'a>(&'a self, _room: &'a RoomId) -> BoxFuture<'a, bool> {
        Box::pin(std::future::ready(true))
    }

    /// What is degraded, as one sentence for `/health`.
    fn health(&self) -> Option<String> {
        None
    }

    /// The last thing at a stop in good order, when all connections are closed: other daemons are not to wait for
    /// what this one may have left in its rooms.
    fn leave(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// The bus of a daemon that serves its rooms alone.
pub struct LocalBus {
    registry: Arc<RoomRegistry>,
}

impl LocalBus {
    /// Over these rooms.
    #[must_use]
    pub const fn new(registry: Arc<RoomRegistry>) -> Self {
        Self { registry }
    }
}

impl Bus for LocalBus {
    fn publish<'a>(&'a self, room: &'a RoomId, event: RoomEvent) -> BoxFuture<'a, Result<Published, BusError>> {
        Box::pin(self.registry.apply(room, event))
    }
}
