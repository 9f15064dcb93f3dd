//! New rooms' names: 6 hexadecimal characters, unused so far.

use rand::Rng;
use thiserror::Error;

use super::registry::RoomRegistry;
use super::state::Room;
use super::store::StoreError;
use crate::ids::RoomId;

/// Names that are tried before giving up; 16 million exist.
const TRIES: usize = 64;

/// No room could be made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CreateError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Every name that was tried is taken.
    #[error("no free room name was found")]
    NoneFree,
}

/// Makes a room of a new name and keeps it.
///
/// # Errors
/// [`CreateError`] when it is not kept.
pub async fn create_room(registry: &RoomRegistry) -> Result<RoomId, CreateError> {
    for _ in 0..TRIES {
        let name = format!("{:06x}", rand::rng().random_range(0..1_u32 << 24));
        let Ok(id) = RoomId::new(&name) else { continue };
        // One that is in memory may have a member and nothing saved yet.
        if registry.diagnostics(&id).is_some() {
            continue;
        }
        let room = Room::new(id.clone(), registry.limits().members);
        if registry.store().create_room(&room.stored()).await? {
            return Ok(id);
        }
    }
    Err(CreateError::NoneFree)
}
