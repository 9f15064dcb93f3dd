//! The wire contract over HTTP, against the built daemon, with real programs.
#![forbid(unsafe_code)]

mod artefacts;
mod batch;
mod compile;
mod cors;
mod diagnostics;
mod errors;
mod health;
mod history;
mod idempotency;
mod languages;
mod limits;
mod piston;
mod precompiled;
mod queue;
mod replay;
mod room_locks;
