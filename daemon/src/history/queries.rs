//! What is asked of the recorded executions.

use std::time::Duration;

use rusqlite::{OptionalExtension, ToSql, named_params, params};
use serde::{Serialize, Serializer};

use super::cursor::Cursor;
use super::record::{self, ENTRY, Record, WHOLE};
use super::timestamp::Timestamp;
use super::{History, HistoryError};
use crate::ids::{CorrelationId, ExecutionId, RoomId, UserId};
use crate::jobs::execution::Finished;

/// Entries of a page at most; a larger limit is taken for this.
pub const MAX_PAGE: usize = 500;

/// Finished executions, newest first by `completedAt` (by recording order where that is equal). Those that are
/// queued or running have no place in this order and are not here.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The entries, without their bulk.
    pub entries: Vec<Record>,
    /// Where the next page begins; none when this was the last.
    pub next: Option<Cursor>,
}

/// Sums over a room's executions that finished within a stretch of time.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RoomStats {
    /// All.
    pub total_executions: u64,
    /// Those with `success`.
    pub successful_executions: u64,
    /// The others.
    pub failed_executions: u64,
    /// Milliseconds; zero when there are none.
    #[serde(serialize_with = "whole_where_it_is")]
    pub avg_execution_time: f64,
    /// Milliseconds.
    pub total_execution_time: u64,
}

impl History {
    /// A page of a room's finished executions.
    ///
    /// # Errors
    /// [`HistoryError`] when it cannot be read.
    pub async fn by_room(&self, room: &RoomId, limit: usize, before: Option<Cursor>) -> Result<Page, HistoryError> {
        self.page("room_id", room.as_str().to_owned(), limit, before).await
    }

    /// A page of a user's finished executions, in all rooms.
    ///
    /// # Errors
    /// [`HistoryError`] when it cannot be read.
    pub async fn by_user(&self, user: &UserId, limit: usize, before: Option<Cursor>) -> Result<Page, HistoryError> {
        self.page("user_id", user.as_str().to_owned(), limit, before).await
    }

    async fn page(
        &self,
        column: &'static str,
        value: String,
        limit: usize,
        before: Option<Cursor>,
    ) -> Result<Page, HistoryError> {
        let limit = limit.clamp(1, MAX_PAGE);
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(&page_sql(column, before.is_some()))?;
            // One more than asked for tells whether there is a next page.
            let rows_wanted = i64::try_from(limit + 1).unwrap_or(i64::MAX);
            let mut parameters: Vec<(&str, &dyn ToSql)> = vec![(":value", &value), (":limit", &rows_wanted)];
            if let Some(cursor) = &before {
                parameters.extend([(":completed_at", &cursor.completed_at as &dyn ToSql), (":id", &cursor.id)]);
            }
            let mut rows = statement.query(parameters.as_slice())?;
            let mut page = Page { entries: Vec::with_capacity(limit.min(64)), next: None };
            let mut last = None;
            while let Some(row) = rows.next()? {
                if page.entries.len() == limit {
                    page.next = last;
                    break;
                }
                let entry = Record::from_row(row)?;
                last = entry
                    .completed_at
                    .map(|completed_at| row.get(0).map(|id| Cursor { completed_at, id }))
                    .transpose()?;
                page.entries.push(entry);
            }
            Ok(page)
        })
        .await
    }

    /// A whole record, whatever its status.
    ///
    /// # Errors
    /// [`HistoryError`] when it cannot be read.
    pub async fn execution(&self, id: &ExecutionId) -> Result<Option<Record>, HistoryError> {
        let id = id.clone();
        self.read(move |connection| {
            connection
                .prepare_cached(&whole("e.execution_id = ?1"))?
                .query_row([id.as_str()], Record::from_whole_row)
                .optional()
        })
        .await
    }

    /// An execution as it was recorded at its end; none while it is unfinished or unknown.
    ///
    /// # Errors
    /// [`HistoryError`] when it cannot be read.
    pub async fn finished(&self, id: &ExecutionId) -> Result<Option<Finished>, HistoryError> {
        let id = id.clone();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(&whole("e.execution_id = ?1"))?;
            Ok(statement.query_row([id.as_str()], record::finished).optional()?.flatten())
        })
        .await
    }

    /// What a repeated correlation id gets: the newest finished execution of that room, user and correlation id
    /// **that started**. One that never did (room busy, overloaded, cancelled or interrupted while it waited) has
    /// no result to repeat, and a retry may run.
    ///
    /// # Errors
    /// [`HistoryError`] when it cannot be read.
    pub async fn find_by_correlation(
        &self,
        room: &RoomId,
        user: &UserId,
        correlation_id: &CorrelationId,
    ) -> Result<Option<Finished>, HistoryError> {
        let (room, user, correlation_id) = (room.clone(), user.clone(), correlation_id.clone());
        self.read(move |connection| {
            let parameters = params![room.as_str(), user.as_str(), correlation_id.as_str()];
            let mut statement = connection.prepare_cached(&whole(BY_CORRELATION))?;
            Ok(statement.query_row(parameters, record::finished).optional()?.flatten())
        })
        .await
    }

    /// Sums over the room's executions that finished within the last `range`.
    ///
    /// # Errors
    /// [`HistoryError`] when it cannot be read.
    pub async fn room_stats(&self, room: &RoomId, range: Duration) -> Result<RoomStats, HistoryError> {
        let room = room.clone();
        let since = Timestamp::now().minus(range);
        self.read(move |connection| {
            connection.prepare_cached(STATS)?.query_row(
                named_params! { ":room": room.as_str(), ":since": since },
                |row| {
                    let [total, successful, time] =
                        [0, 1, 2].map(|column| row.get::<_, i64>(column).map(i64::cast_unsigned));
                    let (total, successful, time) = (total?, successful?, time?);
                    Ok(RoomStats {
                        total_executions: total,
                        successful_executions: successful,
                        failed_executions: total.saturating_sub(successful),
                        // Exact up to 2^53 ms, which is 285,000 years.
                        avg_execution_time: if total == 0 { 0.0 } else { time as f64 / total as f64 },
                        total_execution_time: time,
                    })
                },
            )
        })
        .await
    }
}

pub(super) const STATS: &str = "
    SELECT count(*), coalesce(sum(success), 0), coalesce(sum(execution_time), 0) FROM executions
    WHERE room_id = :room AND completed_at >= :since";

pub(super) const BY_CORRELATION: &str = "
    e.room_id = ?1 AND e.user_id = ?2 AND e.correlation_id = ?3
    AND e.started_at IS NOT NULL AND e.completed_at IS NOT NULL ORDER BY e.id DESC LIMIT 1";

pub(super) fn page_sql(column: &str, behind_cursor: bool) -> String {
    let place = if behind_cursor { "AND (completed_at, id) < (:completed_at, :id)" } else { "" };
    format!(
        "SELECT {ENTRY} FROM executions e WHERE {column} = :value AND completed_at IS NOT NULL {place}
         ORDER BY completed_at DESC, id DESC LIMIT :limit"
    )
}

pub(super) fn whole(condition: &str) -> String {
    format!("SELECT {ENTRY}{WHOLE} FROM executions e LEFT JOIN programs p ON p.id = e.id WHERE {condition}")
}

/// JavaScript writes 12, not 12.0, and so does this.
fn whole_where_it_is<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if value.fract() == 0.0 && *value >= 0.0 && *value < 9e15 {
        serializer.serialize_u64(*value as u64)
    } else {
        serializer.serialize_f64(*value)
    }
}
