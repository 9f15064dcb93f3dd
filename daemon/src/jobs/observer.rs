//! Who is told what happens to an execution of a room, in order, while the room's lock is held.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::execution::{Finished, Head};

/// One of a program's two output streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Told of every execution of a real room (never of `standalone`).
///
/// `started` and `finished` are awaited with the room's lock held, so that what they announce never
/// overlaps another execution of the room. `finished` follows `started` exactly once, whatever happens.
pub trait RoomObserver: Send + Sync + 'static {
    /// It waits at this place (0 runs next); called again when the place changes.
    fn queued<'a>(&'a self, head: &'a Arc<Head>, position: usize, queue_length: usize) -> BoxFuture<'a, ()>;
    /// It holds lock and capacity and is about to run.
    fn started<'a>(&'a self, head: &'a Arc<Head>) -> BoxFuture<'a, ()>;
    /// It printed; at most a few calls a second and bounded in bytes. `offset` counts the stream's bytes before.
    fn output<'a>(&'a self, head: &'a Arc<Head>, stream: Stream, data: &'a str, offset: u64) -> BoxFuture<'a, ()>;
    /// It ended and is in the history.
    fn finished<'a>(&'a self, execution: &'a Arc<Finished>) -> BoxFuture<'a, ()>;
}
