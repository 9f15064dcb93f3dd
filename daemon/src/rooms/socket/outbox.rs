//! What waits for a reader that does not keep up.
//!
//! **Invariant.** What was sent arrives in order and without holes, or the connection is given up: only
//! messages marked as droppable are left out.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use socketioxide::socket::Socket;
use socketioxide::{SendError, SocketError};

use crate::rooms::delivery::Wire;

/// How often a slow reader is tried again.
const RETRY: Duration = Duration::from_millis(10);

/// The way to one client.
pub struct Outbox {
    socket: Weak<Socket>,
    /// The library counts the socket as connected. It does so only after it has told the client, which may be faster.
    connected: AtomicBool,
    max_messages: usize,
    max_bytes: usize,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    queue: VecDeque<Wire>,
    bytes: usize,
    closed: bool,
}

/// What came of sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// On its way, or waiting, or left out as it may be.
    Yes,
    /// The reader is too slow: the connection is being closed. Told once.
    GivenUp,
}

enum Emitted {
    Yes,
    Full,
    Closed,
}

impl Outbox {
    /// To this client.
    #[must_use]
    pub fn new(socket: &Arc<Socket>, max_messages: usize, max_bytes: usize) -> Arc<Self> {
        let connected = AtomicBool::new(false);
        Arc::new(Self { socket: Arc::downgrade(socket), connected, max_messages, max_bytes, waiting: Mutex::default() })
    }

    /// Sends, in the order of the calls; never blocks.
    pub fn send(self: &Arc<Self>, wire: &Wire) -> Sent {
        let mut waiting = self.lock();
        if waiting.closed {
            return Sent::Yes;
        }
        let first = waiting.queue.is_empty();
        if first {
            match self.emit(wire) {
                Emitted::Full => {}
                Emitted::Yes => return Sent::Yes,
                Emitted::Closed => {
                    waiting.closed = true;
                    return Sent::Yes;
                }
            }
        }
        if wire.droppable {
            return Sent::Yes;
        }
        waiting.bytes += wire.payload.get().len();
        waiting.queue.push_back(wire.clone());
        if waiting.queue.len() > self.max_messages || waiting.bytes > self.max_bytes {
            *waiting = Waiting { closed: true, ..Waiting::default() };
            drop(waiting);
            tokio::spawn(disconnect(self.socket.clone()));
            return Sent::GivenUp;
        }
        drop(waiting);
        if first {
            tokio::spawn(Arc::clone(self).drain());
        }
        Sent::Yes
    }

    /// Nothing more is sent; what waits is forgotten.
    pub fn close(&self) {
        *self.lock() = Waiting { closed: true, ..Waiting::default() };
    }

    /// Closes the connection, however full it is.
    pub fn disconnect(&self) {
        self.close();
        tokio::spawn(disconnect(self.socket.clone()));
    }

    /// Runs while something waits: who makes the queue non-empty starts it.
    async fn drain(self: Arc<Self>) {
        loop {
            tokio::time::sleep(RETRY).await;
            let mut waiting = self.lock();
            while let Some(wire) = waiting.queue.front() {
                match self.emit(wire) {
                    Emitted::Full => break,
                    Emitted::Yes => {}
                    Emitted::Closed => {
                        *waiting = Waiting { closed: true, ..Waiting::default() };
                        return;
                    }
                }
                let sent = waiting.queue.pop_front().map_or(0, |wire| wire.payload.get().len());
                waiting.bytes -= sent;
            }
            if waiting.queue.is_empty() {
                return;
            }
        }
    }

    fn emit(&self, wire: &Wire) -> Emitted {
        let Some(socket) = self.socket.upgrade() else { return Emitted::Closed };
        // A socket that is not connected yet looks like one that is closed.
        if !self.connected.load(Ordering::Relaxed) {
            if !socket.connected() {
                return Emitted::Full;
            }
            self.connected.store(true, Ordering::Relaxed);
        }
        // As a tuple: a bare array would be taken for several arguments.
        match socket.emit(wire.event, &(&*wire.payload,)) {
            Ok(()) => Emitted::Yes,
            Err(SendError::Socket(SocketError::InternalChannelFull)) => Emitted::Full,
            Err(SendError::Socket(SocketError::Closed)) => Emitted::Closed,
            Err(SendError::Serialize(error)) => {
                tracing::error!(event = wire.event, %error, "a message cannot be written");
                Emitted::Closed
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The library takes a disconnection only when its own buffer has room; a reader that never reads is
/// ended by its heartbeat instead.
async fn disconnect(socket: Weak<Socket>) {
    while let Some(socket) = socket.upgrade().filter(|socket| socket.connected()) {
        if socket.disconnect().is_ok() {
            return;
        }
        tokio::time::sleep(RETRY).await;
    }
}
