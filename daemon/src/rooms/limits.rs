//! The bounds on everything that a room or a socket holds. Input is hostile: nothing grows without one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::config::{Config, Limits};

/// Bounds of rooms and sockets; the defaults are the contract's where it names one.
#[derive(Debug, Clone)]
pub struct RoomLimits {
    /// Of texts, which may change while the rooms live.
    pub texts: Arc<TextLimits>,
    /// Bytes of one `execution-input`.
    pub input_bytes: usize,
    /// Unicode characters of one chat message; what is beyond is cut.
    pub chat_chars: usize,
    /// Bytes of JSON of one `debug-state`.
    pub debug_state_bytes: usize,
    /// Bytes of JSON of a cursor's `position` and of its `selection`, each.
    pub cursor_bytes: usize,
    /// How deep JSON that is passed on may nest.
    pub json_depth: usize,
    /// Sockets in one room.
    pub members: usize,
    /// Rooms in memory.
    pub rooms: usize,
    /// Messages that wait for a missing one, in one room.
    pub buffered_messages: usize,
    /// Bytes of those messages.
    pub buffered_bytes: usize,
    /// How long such a message waits.
    pub gap_wait: Duration,
    /// Longest time between a change and its being in the store.
    pub save_within: Duration,
    /// How long a room without members or runs stays in memory.
    pub idle: Duration,
    /// Events of one socket in a second, on average.
    pub events_per_second: u32,
    /// Events of one socket in one burst.
    pub events_burst: u32,
    /// Events of one socket that wait to be handled.
    pub mailbox_messages: usize,
    /// Bytes of those events.
    pub mailbox_bytes: usize,
    /// Messages that wait for a slow reader before it is disconnected.
    pub outbox_messages: usize,
    /// Bytes of those messages.
    pub outbox_bytes: usize,
    /// Bytes of one message from a client; a larger one ends its connection.
    pub payload_bytes: u64,
    /// Runs of one socket that wait or run.
    pub runs_per_socket: usize,
}

/// Bounds on texts, in Unicode characters. All who hold the limits of the rooms see a change at once.
#[derive(Debug)]
pub struct TextLimits {
    code: AtomicUsize,
    stdin: AtomicUsize,
}

impl TextLimits {
    const fn new(code: usize, stdin: usize) -> Self {
        Self { code: AtomicUsize::new(code), stdin: AtomicUsize::new(stdin) }
    }

    /// Of a room's code and of a program to run.
    #[must_use]
    pub fn code(&self) -> usize {
        self.code.load(Ordering::Relaxed)
    }

    /// Of a program's stdin.
    #[must_use]
    pub fn stdin(&self) -> usize {
        self.stdin.load(Ordering::Relaxed)
    }

    /// Takes over what SIGHUP may change.
    pub fn reload(&self, limits: &Limits) {
        self.code.store(limits.code_chars, Ordering::Relaxed);
        self.stdin.store(limits.stdin_chars, Ordering::Relaxed);
    }
}

impl Default for RoomLimits {
    fn default() -> Self {
        Self {
            texts: Arc::new(TextLimits::new(10_000, 1_000)),
            input_bytes: 16 << 10,
            chat_chars: 1_000,
            debug_state_bytes: 32 << 10,
            cursor_bytes: 1 << 10,
            json_depth: 32,
            members: 200,
            rooms: 10_000,
            buffered_messages: 1_000,
            buffered_bytes: 4 << 20,
            gap_wait: Duration::from_secs(30),
            save_within: Duration::from_secs(2),
            idle: Duration::from_secs(60),
            events_per_second: 300,
            events_burst: 1_200,
            mailbox_messages: 1_500,
            mailbox_bytes: 2 << 20,
            outbox_messages: 4_096,
            outbox_bytes: 16 << 20,
            payload_bytes: 512 << 10,
            runs_per_socket: 64,
        }
    }
}

impl RoomLimits {
    /// What the configuration says, and the defaults where it says nothing.
    #[must_use]
    pub fn from_config(config: &Config) -> Self {
        let (rooms, limits) = (&config.rooms, &config.reloadable.limits);
        Self {
            texts: Arc::new(TextLimits::new(limits.code_chars, limits.stdin_chars)),
            chat_chars: rooms.chat_chars,
            buffered_messages: rooms.message_buffer,
            gap_wait: rooms.message_buffer_wait,
            save_within: rooms.save_interval,
            idle: rooms.idle_after,
            events_per_second: rooms.events_per_second,
            events_burst: rooms.events_burst,
            members: rooms.max_members,
            rooms: rooms.max_rooms,
            outbox_messages: rooms.send_buffer,
            payload_bytes: u64::try_from(rooms.message_size).unwrap_or(u64::MAX),
            ..Self::default()
        }
    }
}
