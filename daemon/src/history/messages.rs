//! The log of a room's numbered messages, and recordings: named stretches of it.

use rusqlite::{OptionalExtension, Row, params};
use serde::Serialize;
use serde_json::Value;

use super::executions::json;
use super::record::damaged;
use super::timestamp::Timestamp;
use super::{History, HistoryError};
use crate::ids::{RoomId, UserId};

/// Gaps that are listed at most.
const MAX_GAPS: u32 = 1000;
/// Messages that one question gives at most.
pub const MAX_MESSAGES: usize = 10_000;

/// A message that took a number of its room.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredMessage {
    /// The room's number.
    pub sequence: u64,
    /// The event's name.
    #[serde(rename = "type")]
    pub kind: String,
    /// Who caused it, where that is known.
    pub user_id: Option<String>,
    /// When it was sent.
    pub timestamp: Timestamp,
    /// As it was sent.
    pub payload: Value,
}

/// A stretch of a room's log in which numbers are missing, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// The first missing number.
    pub from: u64,
    /// The last missing number.
    pub to: u64,
}

/// A recording: a stretch of a room's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Recording {
    /// Unique.
    pub recording_id: String,
    /// Where.
    pub room_id: String,
    /// Who started it.
    pub host: String,
    /// The first message's number.
    pub from_sequence: u64,
    /// The last one's; none while it runs.
    pub to_sequence: Option<u64>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended; none while it runs.
    pub stopped_at: Option<Timestamp>,
}

const COLUMNS: &str = "sequence, type, user_id, created_at, payload";

impl History {
    /// Appends to a room's log. Returns once the write is queued, not committed: editing does not wait for the
    /// disk. [`History::flush`] waits. A number that is in the log already is overwritten.
    ///
    /// # Errors
    /// [`HistoryError::Closed`]. A failing write is logged and shows in [`History::health`].
    pub async fn append_message(
        &self,
        room: &RoomId,
        sequence: u64,
        kind: &'static str,
        payload: &Value,
        user: Option<&UserId>,
        timestamp: Timestamp,
    ) -> Result<(), HistoryError> {
        let (room, user) = (room.clone(), user.cloned());
        let payload = json(payload)?;
        self.write_detached("append_message", move |connection| {
            let sql = "INSERT INTO messages (room_id, sequence, type, user_id, created_at, payload)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                       ON CONFLICT (room_id, sequence) DO UPDATE SET type = excluded.type,
                           user_id = excluded.user_id, created_at = excluded.created_at, payload = excluded.payload";
            let user = user.as_ref().map(UserId::as_str);
            let parameters = params![room.as_str(), sequence.cast_signed(), kind, user, timestamp, payload];
            connection.prepare_cached(sql)?.execute(parameters).map(drop)
        })
        .await
    }

    /// A room's messages, newest first: `limit` of them (at most [`MAX_MESSAGES`]) behind the first `offset`.
    ///
    /// # Errors
    /// [`HistoryError`] when it cannot be read.
    pub async fn messages(
        &self,
        room: &RoomId,
        limit: usize,
        offset: usize,
    ) -> Result<Vec<StoredMessage>, HistoryError> {
        let room = room.clone();
        let limit = bound(limit.min(MAX_MESSAGES));
        self.read(move |connection| {
            let sql =
                format!("SELECT {COLUMNS} FROM messages WHERE room_id = ?1 ORDER BY sequence DESC LIMIT ?2 OFFSET ?3");
            let mut statement = connection.prepare_cached(&sql)?;
            statement.query_map(params![room.as_str(), limit, bound(offset)], message)?.collect()
        })
        .await
    }

    /// A room's messages numbered `from` to `to`, both included, in order; at most the first [`MAX_MESSAGES`].
    ///
    /// # Errors
    /// [`HistoryError`] when it cannot be read.
    pub async fn messages_between(
        &self,
        room: &RoomId,
        from: u64,
        to: u64,
    ) -> Result<Vec<StoredMessage>, HistoryError> {
        let room = room.clone();
        self.read(move |connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM messages WHERE room_id = ?1 AND sequence BETWEEN ?2 AND ?3
                 ORDER BY sequence LIMIT {MAX_MESSAGES}"
            );
            let mut statement = connection.prepare_cached(&sql)?;
            statement.query_map(params![room.as_str(), number(from), number(to)], message)?.collect()
        })
        .await
    }

    /// How many messages a room's log holds.
    ///
    /// # Errors
    /// [`HistoryError`] when it cannot be read.
    pub async fn message_count(&self, room: &RoomId) -> Result<u64, HistoryError> {
        let room = room.clone();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached("SELECT count(*) FROM messages WHERE room_id = ?1")?;
            statement.query_row([room.as_str()], |row| row.get::<_, i64>(0)).map(i64::cast_unsigned)
        })
        .await
    }

    /// Numbers missing between the first and the last message of a room's log, in order, the first 1,000 gaps.
    /// What was pruned at its beginning is no gap.
    ///
    /// # Errors
    /// [`HistoryError`] when it cannot be read.
    pub async fn gaps(&self, room: &RoomId) -> Result<Vec<Gap>, HistoryError> {
        let room = room.clone();
        self.read(move |connection| {
            let sql = format!(
                "SELECT sequence + 1, next - 1 FROM
                     (SELECT sequence, lead(sequence) OVER (ORDER BY sequence) AS next FROM messages WHERE room_id = ?1)
                 WHERE next > sequence + 1 LIMIT {MAX_GAPS}"
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let gap = |row: &Row<'_>| {
                Ok(Gap { from: row.get::<_, i64>(0)?.cast_unsigned(), to: row.get::<_, i64>(1)?.cast_unsigned() })
            };
            statement.query_map([room.as_str()], gap)?.collect()
        })
        .await
    }

    /// Saves a recording, new or known; committed when this returns, and with it the messages appended before.
    ///
    /// # Errors
    /// [`HistoryError`] when it is not saved.
    pub async fn save_recording(&self, recording: &Recording) -> Result<(), HistoryError> {
        let recording = recording.clone();
        self.write(move |connection| {
            let sql = "INSERT OR REPLACE INTO recordings
                           (recording_id, room_id, host, from_sequence, to_sequence, started_at, stopped_at)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
            let parameters = params![
                recording.recording_id,
                recording.room_id,
                recording.host,
                recording.from_sequence.cast_signed(),
                recording.to_sequence.map(u64::cast_signed),
                recording.started_at,
                recording.stopped_at,
            ];
            connection.prepare_cached(sql)?.execute(parameters).map(drop)
        })
        .await
    }

    /// Finds a recording again.
    ///
    /// # Errors
    /// [`HistoryError`] when it cannot be read.
    pub async fn recording(&self, recording_id: &str) -> Result<Option<Recording>, HistoryError> {
        let recording_id = recording_id.to_owned();
        self.read(move |connection| {
            let sql = "SELECT recording_id, room_id, host, from_sequence, to_sequence, started_at, stopped_at
                       FROM recordings WHERE recording_id = ?1";
            connection
                .prepare_cached(sql)?
                .query_row([recording_id], |row| {
                    Ok(Recording {
                        recording_id: row.get(0)?,
                        room_id: row.get(1)?,
                        host: row.get(2)?,
                        from_sequence: row.get::<_, i64>(3)?.cast_unsigned(),
                        to_sequence: row.get::<_, Option<i64>>(4)?.map(i64::cast_unsigned),
                        started_at: row.get(5)?,
                        stopped_at: row.get(6)?,
                    })
                })
                .optional()
        })
        .await
    }
}

fn message(row: &Row<'_>) -> rusqlite::Result<StoredMessage> {
    let payload = row.get_ref(4)?.as_str()?;
    Ok(StoredMessage {
        sequence: row.get::<_, i64>(0)?.cast_unsigned(),
        kind: row.get(1)?,
        user_id: row.get(2)?,
        timestamp: row.get(3)?,
        payload: serde_json::from_str(payload).map_err(|error| damaged(4, error))?,
    })
}

fn bound(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A number from a client: above what the log can hold is the same as its end.
fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
