//! The sandbox: what the unprivileged daemon and the privileged spawner say to each other, and the spawner's system calls.
//!
//! [`spec`] is what is asked for, [`outcome`] what came of it, [`wire`] the frames that carry both over one
//! `SOCK_SEQPACKET` Unix socket, [`fork`] what is said to interpreters started ahead of need, [`socket`] the sending and receiving of frames with descriptors. [`sys`] holds every
//! unsafe block of the project.
//!
//! **Invariant.** Nothing here knows rooms, JSON, HTTP or an async runtime.

pub mod confine;
pub mod fork;
pub mod outcome;
pub mod report;
pub mod socket;
pub mod spec;
pub mod sys;
pub mod wire;
