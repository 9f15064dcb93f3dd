//! Forgetting what is old, or too much.
//!
//! Rows go in batches, each a write among the others; between two batches every write that waits gets in. A batch
//! is as large as fits into [`BATCH_TIME`], found by measuring, so that a slow disk makes smaller ones.

use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension, params};

use super::timestamp::Timestamp;
use super::{History, HistoryError};

/// What a batch should take, its wait and its commit included; a write waits for one batch at most.
const BATCH_TIME: Duration = Duration::from_millis(10);
const SMALLEST: usize = 32;
const LARGEST: usize = 2048;
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

    /// Removes up to `rows` of those older than `before`, oldest first.
    fn delete(self, connection: &Connection, before: Timestamp, rows: usize) -> rusqlite::Result<u64> {
        let rows = i64::try_from(rows).unwrap_or(i64::MAX);
        let remove = |sql: &str| -> rusqlite::Result<u64> {
            Ok(connection.prepare_cached(sql)?.execute(params![before, rows])? as u64)
        };
        match self {
            Self::Executions => {
                let old = Self::OLD_EXECUTIONS;
                remove(&format!("DELETE FROM programs WHERE id IN ({old})"))?;
                remove(&format!("DELETE FROM executions WHERE id IN ({old})"))
            }
            Self::Messages => remove(
                "DELETE FROM messages WHERE id IN
                     (SELECT id FROM messages WHERE created_at < ?1 ORDER BY created_at LIMIT ?2)",
            ),
            Self::Recordings => remove(
                "DELETE FROM recordings WHERE rowid IN
                     (SELECT rowid FROM recordings WHERE started_at < ?1 ORDER BY started_at LIMIT ?2)",
            ),
            Self::Rooms => remove(
                "DELETE FROM rooms WHERE rowid IN
                     (SELECT rowid FROM rooms r WHERE updated_at < ?1
                      AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.room_id = r.room_id)
                      ORDER BY updated_at LIMIT ?2)",
            ),
        }
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

/// How many rows go at once.
struct Pace {
    rows: usize,
}

impl Pace {
    /// Learns from a batch, then lets as much time pass for the others' writes.
    async fn after(&mut self, took: Duration) {
        if took > BATCH_TIME {
            self.rows = (self.rows / 2).max(SMALLEST);
        } else if took < BATCH_TIME / 2 {
            self.rows = (self.rows * 2).min(LARGEST);
        }
        tokio::time::sleep(took.min(BATCH_TIME)).await;
    }
}

impl History {
    /// Removes what is older than it is to be kept, then, where there is a bound on size, the oldest executions and
    /// messages until the file fits. To be called at start and hourly.
    ///
    /// # Errors
    /// [`HistoryError`] when a batch fails; those before it stay removed.
    pub async fn prune_once(&self, now: Timestamp) -> Result<Pruned, HistoryError> {
        let mut pruned = Pruned::default();
        let mut pace = Pace { rows: SMALLEST };
        let options = self.options();
        let (executions, messages, rooms) = (options.keep_executions, options.keep_messages, options.keep_rooms);
        for (kind, keep) in [
            (Kind::Executions, executions),
            (Kind::Messages, messages),
            (Kind::Recordings, messages),
            (Kind::Rooms, rooms),
        ] {
            let before = now.minus(keep);
            while self.prune_batch(kind, before, &mut pace, &mut pruned).await? {}
        }
        if let Some(bound) = options.max_bytes {
            self.shrink(bound, &mut pace, &mut pruned).await?;
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
        pace: &mut Pace,
        pruned: &mut Pruned,
    ) -> Result<bool, HistoryError> {
        let rows = pace.rows;
        let begun = Instant::now();
        let removed = self.write(move |connection| kind.delete(connection, before, rows)).await?;
        kind.count(pruned, removed);
        let full = removed == rows as u64;
        if full {
            pace.after(begun.elapsed()).await;
        }
        Ok(full)
    }

    async fn shrink(&self, bound: u64, pace: &mut Pace, pruned: &mut Pruned) -> Result<(), HistoryError> {
        loop {
            let excess = self.write(Size::of).await?.used_bytes().saturating_sub(bound);
            let Some(kind) = self.oldest().await?.filter(|_| excess > 0) else { break };
            // Large rows are not to take the young ones with them.
            let rows = usize::try_from(excess / LARGE_ROW_BYTES).unwrap_or(usize::MAX).clamp(1, pace.rows);
            let so_far = *pruned;
            self.prune_batch(kind, Timestamp(i64::MAX), &mut Pace { rows }, pruned).await?;
            if *pruned == so_far {
                break;
            }
        }
        loop {
            let size = self.write(Size::of).await?;
            if size.file_bytes() <= bound || size.free == 0 {
                return Ok(());
            }
            let pages = pace.rows;
            let begun = Instant::now();
            self.write(move |connection| {
                // Each step frees a page and is a row.
                let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
                let mut rows = statement.query([])?;
                while rows.next()?.is_some() {}
                Ok(())
            })
            .await?;
            let took = begun.elapsed();
            let after = self.write(Size::of).await?;
            if after.all >= size.all {
                return Ok(());
            }
            pruned.pages += size.all - after.all;
            pace.after(took).await;
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
