//! Rooms: who is there, what they share, in which order they hear of it.
//!
//! What a client sends is checked ([`input`]) and put into its own order ([`order`]); what comes of it is a
//! [`event::RoomEvent`] that goes over the [`bus`]; [`state::Room`] applies it without I/O and says what each
//! member is told; [`delivery`] sends that. [`registry`] holds the rooms, [`announcer`] brings in what
//! `jobs` does, [`socket`] is the glue to Socket.IO.

pub mod announcer;
pub mod bus;
pub mod delivery;
pub mod event;
pub mod ids;
pub mod input;
pub mod limits;
pub mod members;
pub mod order;
pub mod origins;
pub mod redis_bus;
pub mod registry;
mod replica;
pub mod runner;
pub mod socket;
pub mod state;
pub mod store;
pub mod text;
