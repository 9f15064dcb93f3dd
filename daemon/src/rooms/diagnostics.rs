//! What operators may see of rooms and do to them.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use thiserror::Error;

use super::bus::{Bus, BusError};
use super::create::{CreateError, create_room};
use super::event::RoomEvent;
use super::registry::RoomRegistry;
use super::state::Room;
use crate::ids::RoomId;

/// Rooms that an overview lists, the fullest first.
const LISTED: usize = 1_000;

/// A room's counter was not moved.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AdvanceError {
    /// No room of that name was ever used.
    #[error("Room not found")]
    NoRoom,
    /// It would go back.
    #[error("toSequence must be above the room's sequence, which is {0}")]
    NotAhead(u64),
    /// The room cannot be reached.
    #[error(transparent)]
    Bus(#[from] BusError),
}

/// The rooms of this daemon as operators see them.
pub struct Diagnostics {
    registry: Arc<RoomRegistry>,
    bus: Arc<dyn Bus>,
}

impl Diagnostics {
    /// Over these rooms.
    #[must_use]
    pub const fn new(registry: Arc<RoomRegistry>, bus: Arc<dyn Bus>) -> Self {
        Self { registry, bus }
    }

    /// Figures over all rooms in memory.
    #[must_use]
    pub fn overview(&self) -> Value {
        let mut rooms = self.registry.overview();
        let sum = |field: &str| rooms.iter().filter_map(|room| room[field].as_u64()).sum::<u64>();
        let (count, members, buffered) = (rooms.len(), sum("memberCount"), sum("bufferedMessages"));
        rooms.sort_by_key(|room| std::cmp::Reverse(room["memberCount"].as_u64()));
        rooms.truncate(LISTED);
        json!({"activeRooms": count, "members": members, "bufferedMessages": buffered, "rooms": rooms})
    }

    /// One room, in memory or stored; none when it was never used or cannot be read.
    pub async fn room(&self, room: &RoomId) -> Option<Value> {
        if let Some(view) = self.registry.diagnostics(room) {
            return Some(view);
        }
        match self.registry.store().load_room(room).await {
            Ok(stored) => stored.map(|stored| Room::restore(stored, 0).diagnostics()),
            Err(error) => {
                tracing::warn!(%room, %error, "a room cannot be read");
                None
            }
        }
    }

    /// Moves a room's counter on to `to`, and its clients on to what they have sent since.
    ///
    /// # Errors
    /// [`AdvanceError`] when it is not moved.
    pub async fn force_advance(&self, room: &RoomId, to: u64) -> Result<Value, AdvanceError> {
        let before = self.room(room).await.ok_or(AdvanceError::NoRoom)?;
        let published = self.bus.publish(room, RoomEvent::Advanced { to }).await?;
        let released = self.registry.advance_clients(room, to);
        if !published.accepted && released == 0 {
            return Err(AdvanceError::NotAhead(published.sequence));
        }
        Ok(self.room(room).await.unwrap_or(before))
    }

    /// Makes a room of an unused name.
    ///
    /// # Errors
    /// [`CreateError`] when it is not kept.
    pub async fn create(&self) -> Result<RoomId, CreateError> {
        create_room(&self.registry, &*self.bus).await
    }

    /// Saves what changed and lets rooms that nobody uses leave memory now; how many did.
    pub async fn cleanup(&self) -> usize {
        self.registry.save().await;
        self.registry.evict(Duration::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rooms::bus::LocalBus;
    use crate::rooms::limits::RoomLimits;
    use crate::rooms::store::MemoryStore;

    #[tokio::test]
    async fn a_counter_is_moved_on_and_kept() {
        let registry = RoomRegistry::new(RoomLimits::default(), Arc::new(MemoryStore::default()));
        let bus = Arc::new(LocalBus::new(Arc::clone(&registry)));
        let diagnostics = Diagnostics::new(Arc::clone(&registry), bus);
        let room = RoomId::new("r").unwrap();
        assert_eq!(diagnostics.room(&room).await, None);
        assert_eq!(diagnostics.force_advance(&room, 5).await, Err(AdvanceError::NoRoom));
        registry.store().create_room(&Room::new(room.clone(), 1).stored()).await.unwrap();
        assert_eq!(diagnostics.room(&room).await.unwrap()["sequence"], 0);
        assert_eq!(diagnostics.force_advance(&room, 5).await.unwrap()["sequence"], 5);
        assert_eq!(diagnostics.force_advance(&room, 5).await, Err(AdvanceError::NotAhead(5)));
        assert_eq!(diagnostics.overview()["activeRooms"], 1);
        assert_eq!(diagnostics.cleanup().await, 1);
        assert_eq!(diagnostics.overview()["activeRooms"], 0);
        assert_eq!(diagnostics.room(&room).await.unwrap()["nextExpectedSequence"], 6);
    }
}
