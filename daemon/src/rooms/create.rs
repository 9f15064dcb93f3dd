//! New rooms' names: 6 hexadecimal characters, unused so far.

use thiserror::Error;

use super::bus::Bus;
use super::registry::RoomRegistry;
use super::state::Room;
use super::store::StoreError;
use crate::ids::RoomId;

/// Names that are tried; with a million rooms made, that many misses in a row come once in 10^39 times.
const TRIES: usize = 32;

/// No room could be made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CreateError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Every name that was tried is taken.
    #[error("no unused room name was found")]
    NoneFree,
}

/// Makes a room of a new name and keeps it.
///
/// # Errors
/// [`CreateError`] when it is not kept.
pub async fn create_room(registry: &RoomRegistry, bus: &dyn Bus) -> Result<RoomId, CreateError> {
    for _ in 0..TRIES {
        let Ok(id) = RoomId::new(&format!("{:06x}", rand::random::<u32>() >> 8)) else { continue };
        // One that is in memory may have a member and nothing saved yet; one of another daemon may not be here at all.
        if registry.diagnostics(&id).is_some() || !bus.reserve(&id).await {
            continue;
        }
        let room = Room::new(id.clone(), registry.limits().members);
        if registry.store().create_room(&room.stored()).await? {
            return Ok(id);
        }
    }
    Err(CreateError::NoneFree)
}
