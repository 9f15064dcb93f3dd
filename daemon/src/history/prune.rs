//! Forgetting what is old, or too much.
//!
//! Rows go in batches, each a transaction of its own that begins when no other write waits and ends when its time is
//! up, however few rows that were: a slow disk makes small batches. Between two batches as much time passes as the
//! last one took, and while the write-ahead log is long nothing is pruned at all: what pruning adds to it must be
//! copied, and a log that reaches its bound would hold every write up.

use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension, params};

use super::timestamp::Timestamp;
use super::{Commit, History, HistoryError};

/// What a batch may take, its commit apart; a write waits for one batch at most.
const BATCH_TIME: Duration = Duration::from_millis(5);
/// The longest pause between two batches.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);
/// Rows that are looked up at once: the time is looked at in between.
const LOOKED_UP: usize = 32;
/// How often a log that is long is looked at.
const LOG_INTERVAL: Duration = Duration::from_millis(20);
/// A row that is taken for large when rows go for their size.
const LARGE_ROW_BYTES: u64 = 16 << 10;

/// What a pruning removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pruned {
    /// Executions.
    pub executions: u64,
    /// Room messages.
    pub messages: u64,
    /// Recordings.
    pub recordings: u64,
    /// Rooms.
    pub rooms: u64,
    /// Pages given back to the file system, by the bound on size.
    pub pages: u64,
}

/// One kind of thing that grows old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Executions,
    Messages,
    Recordings,
    Rooms,
}

impl Kind {
    /// What has not ended is not old, whatever the clock says.
    pub(super) const OLD_EXECUTIONS: &str = "
        SELECT id FROM executions WHERE created_at < ?1 AND completed_at IS NOT NULL ORDER BY created_at, id LIMIT ?2";

    /// The rows that are older than a time, oldest first, and what removes one of them.
    const fn sql(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Executions => {
                (Self::OLD_EXECUTIONS, &["DELETE FROM programs WHERE id = ?1", "DELETE FROM executions WHERE id = ?1"])
            }
            Self::Messages => (
                "SELECT id FROM messages WHERE created_at < ?1 ORDER BY created_at LIMIT ?2",
                &["DELETE FROM messages WHERE id = ?1"],
            ),
            Self::Recordings => (
                "SELECT rowid FROM recordings WHERE started_at < ?1 ORDER BY started_at LIMIT ?2",
                &["DELETE FROM recordings WHERE rowid = ?1"],
            ),
            Self::Rooms => (
                "SELECT rowid FROM rooms r WHERE updated_at < ?1
                 AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.room_id = r.room_id) ORDER BY updated_at LIMIT ?2",
                &["DELETE FROM rooms WHERE rowid = ?1"],
            ),
        }
    }

    /// Removes those older than `before`, oldest first, until `most` are gone or the time is up.
    fn delete(self, connection: &Connection, before: Timestamp, most: u64) -> rusqlite::Result<Batch> {
        let begun = Instant::now();
        let (old, removals) = self.sql();
        let mut removed = 0;
        while removed < most {
            let look_up = (most - removed).min(LOOKED_UP as u64);
            let ids: Vec<i64> = connection
                .prepare_cached(old)?
                .query_map(params![before, look_up.cast_signed()], |row| row.get(0))?
                .collect::<rusqlite::Result<_>>()?;
            if ids.is_empty() {
                return Ok(Batch { removed, more: false });
            }
            for id in ids {
                for removal in removals {
                    connection.prepare_cached(removal)?.execute([id])?;
                }
                removed += 1;
                if begun.elapsed() >= BATCH_TIME {
                    return Ok(Batch { removed, more: true });
                }
            }
        }
        Ok(Batch { removed, more: true })
    }

    fn count(self, pruned: &mut Pruned, rows: u64) {
        match self {
            Self::Executions => pruned.executions += rows,
            Self::Messages => pruned.messages += rows,
            Self::Recordings => pruned.recordings += rows,
            Self::Rooms => pruned.rooms += rows,
        }
    }
}

/// The file's size in pages.
#[derive(Debug, Clone, Copy)]
struct Size {
    page_bytes: u64,
    all: u64,
    free: u64,
}

impl Size {
    fn of(connection: &Connection) -> rusqlite::Result<Self> {
        let pragma = |name: &str| -> rusqlite::Result<u64> {
            connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).map(i64::cast_unsigned)
        };
        Ok(Self { page_bytes: pragma("page_size")?, all: pragma("page_count")?, free: pragma("freelist_count")? })
    }

    const fn used_bytes(self) -> u64 {
        self.all.saturating_sub(self.free) * self.page_bytes
    }

    const fn file_bytes(self) -> u64 {
        self.all * self.page_bytes
    }
}

/// What one transaction removed.
struct Batch {
    removed: u64,
    /// Whether there may be more.
    more: bool,
}

impl History {
    /// Removes what is older than it is to be kept, then, where there is a bound on size, the oldest executions and
    /// messages until the file fits. To be called at start and hourly.
    ///
    /// # Errors
    /// [`HistoryError`] when a batch fails; those before it stay removed.
    pub async fn prune_once(&self, now: Timestamp) -> Result<Pruned, HistoryError> {
        let mut pruned = Pruned::default();
        let options = self.options();
        let (executions, messages, rooms) = (options.keep_executions, options.keep_messages, options.keep_rooms);
        for (kind, keep) in [
            (Kind::Executions, executions),
            (Kind::Messages, messages),
            (Kind::Recordings, messages),
            (Kind::Rooms, rooms),
        ] {
            let before = now.minus(keep);
            while self.prune_batch(kind, before, u64::MAX, &mut pruned).await? {}
        }
        if let Some(bound) = options.max_bytes {
            self.shrink(bound, &mut pruned).await?;
        }
        if pruned != Pruned::default() {
            tracing::info!(?pruned, "pruned the history");
        }
        Ok(pruned)
    }

    /// Whether there may be more.
    async fn prune_batch(
        &self,
        kind: Kind,
        before: Timestamp,
        most: u64,
        pruned: &mut Pruned,
    ) -> Result<bool, HistoryError> {
        let batch = self.batch(move |connection| kind.delete(connection, before, most)).await?;
        kind.count(pruned, batch.removed);
        Ok(batch.more)
    }

    /// Writes a batch when nothing else is to be written, and lets the others go on.
    async fn batch<T: Send + 'static>(
        &self,
        apply: impl FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, HistoryError> {
        while self.log().is_long() && !self.is_closed() {
            tokio::time::sleep(LOG_INTERVAL).await;
        }
        let begun = Instant::now();
        let done = self.write_by(Commit::Last, apply).await?;
        tokio::time::sleep(begun.elapsed().min(LONGEST_PAUSE)).await;
        Ok(done)
    }

    async fn shrink(&self, bound: u64, pruned: &mut Pruned) -> Result<(), HistoryError> {
        loop {
            let excess = self.write(Size::of).await?.used_bytes().saturating_sub(bound);
            let Some(kind) = self.oldest().await?.filter(|_| excess > 0) else { break };
            // Large rows are not to take the young ones with them, nor one kind the young ones of the other.
            let most = (excess / LARGE_ROW_BYTES).clamp(1, LOOKED_UP as u64);
            let so_far = *pruned;
            self.prune_batch(kind, Timestamp(i64::MAX), most, pruned).await?;
            if *pruned == so_far {
                break;
            }
        }
        loop {
            let size = self.write(Size::of).await?;
            if size.file_bytes() <= bound || size.free == 0 {
                return Ok(());
            }
            self.batch(|connection| {
                let begun = Instant::now();
                // Each step frees a page and is a row.
                let mut statement = connection.prepare("PRAGMA incremental_vacuum")?;
                let mut rows = statement.query([])?;
                while rows.next()?.is_some() && begun.elapsed() < BATCH_TIME {}
                Ok(())
            })
            .await?;
            let after = self.write(Size::of).await?;
            if after.all >= size.all {
                return Ok(());
            }
            pruned.pages += size.all - after.all;
        }
    }

    /// Which of the two that fill the disk holds the oldest row; none when both are empty.
    async fn oldest(&self) -> Result<Option<Kind>, HistoryError> {
        self.read(|connection| {
            let oldest = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).optional();
            let execution =
                oldest("SELECT created_at FROM executions WHERE completed_at IS NOT NULL ORDER BY created_at LIMIT 1")?;
            let message = oldest("SELECT created_at FROM messages ORDER BY created_at LIMIT 1")?;
            Ok(match (execution, message) {
                (Some(execution), Some(message)) if message < execution => Some(Kind::Messages),
                (Some(_), _) => Some(Kind::Executions),
                (None, Some(_)) => Some(Kind::Messages),
                (None, None) => None,
            })
        })
        .await
    }
}
