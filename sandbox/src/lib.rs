//! What the unprivileged daemon and the privileged spawner say to each other.
//!
//! Plain data only: [`spec`] is what is asked for, [`outcome`] what came of it, [`wire`] the frames
//! that carry both over one `SOCK_SEQPACKET` Unix socket.
//!
//! **Invariant.** Nothing here knows rooms, JSON, HTTP or an async runtime.
#![forbid(unsafe_code)]

pub mod outcome;
pub mod spec;
pub mod wire;
