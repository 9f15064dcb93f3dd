//! How the history is kept: how long, how large, how durable.

use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What a committed record survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// The end of any process, by SIGKILL too: the record is in the kernel's hands (`synchronous=NORMAL`).
    /// A power cut may lose the last moments before it, never the database's consistency.
    #[default]
    ProcessCrash,
    /// A power cut too: one fsync per group of writes (`synchronous=FULL`).
    PowerLoss,
}

/// The history's settings.
#[derive(Debug, Clone)]
pub struct Options {
    /// What a committed record survives.
    pub durability: Durability,
    /// Executions are kept this long from `createdAt`.
    pub keep_executions: Duration,
    /// Room messages and recordings are kept this long.
    pub keep_messages: Duration,
    /// Rooms are kept this long from their last change. Never shorter than `keep_messages` in effect:
    /// a room with messages stays.
    pub keep_rooms: Duration,
    /// Bytes of the main database file above which the oldest executions and messages go, whatever their age.
    /// The write-ahead log comes on top.
    pub max_bytes: Option<u64>,
    /// Bytes of the write-ahead log beyond which writes wait for the disk. At least 16 MiB in effect.
    pub max_log_bytes: u64,
    /// Connections that read, each with at most one query at a time.
    pub readers: usize,
    /// Writes that wait for their commit; further callers wait to be let in.
    pub max_pending_writes: usize,
    /// How long a write waits for another program's lock before it fails.
    pub busy_timeout: Duration,
    /// A file up to this many bytes is checked page by page (`PRAGMA quick_check`) when opened. Of a larger one
    /// only header and schema are: reading gigabytes would hold the start up.
    pub check_up_to_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            durability: Durability::default(),
            keep_executions: 30 * DAY,
            keep_messages: 30 * DAY,
            keep_rooms: 365 * DAY,
            max_bytes: None,
            max_log_bytes: 256 << 20,
            readers: 4,
            max_pending_writes: 1024,
            busy_timeout: Duration::from_secs(2),
            check_up_to_bytes: 64 << 20,
        }
    }
}
