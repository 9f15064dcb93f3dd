//! Rooms: who is there, what they share, in which order they hear of it.
//!
//! What happens to a room is a [`event::RoomEvent`]; [`state::Room`] applies it without I/O and says what
//! each member is told.

pub mod event;
pub mod limits;
pub mod members;
pub mod order;
pub mod state;
pub mod store;
pub mod text;
