//! Recording an execution from `queued` to its end.

use rusqlite::{Connection, named_params, params};
use serde::Serialize;

use super::record::cut_bits;
use super::timestamp::Timestamp;
use super::{Commit, History, HistoryError};
use crate::ids::ExecutionId;
use crate::jobs::execution::{Finished, Head, Status};

/// What a client reads of an execution that the daemon's end cut short.
pub const INTERRUPTED: &str = "interrupted";

impl History {
    /// Records a new execution as `queued`; committed when this returns.
    ///
    /// # Errors
    /// [`HistoryError`] when it is not recorded: it must not run then.
    pub async fn record_queued(&self, head: &Head, due: Commit) -> Result<(), HistoryError> {
        let head = head.clone();
        self.write_by(due, move |connection| insert(connection, &head).map(drop)).await
    }

    /// Records that an execution started. Returns once the write is queued, not committed, so that a run need not
    /// wait for it: it is committed before whatever is recorded next, [`History::record_finished`] above all, and
    /// that carries the start once more.
    ///
    /// # Errors
    /// [`HistoryError::Closed`]. A failing write is logged and shows in [`History::health`].
    pub async fn record_started(&self, id: &ExecutionId, unix_ms: i64) -> Result<(), HistoryError> {
        let id = id.clone();
        self.write_detached("record_started", move |connection| {
            let sql = "UPDATE executions SET status = 'running', started_at = ?2, updated_at = ?2
                       WHERE execution_id = ?1 AND completed_at IS NULL";
            connection.prepare_cached(sql)?.execute(params![id.as_str(), unix_ms]).map(drop)
        })
        .await
    }

    /// Records an execution's end; committed when this returns. One that was not recorded as queued (refused before
    /// that, or the storage was at fault) is recorded whole. May be repeated after an error.
    ///
    /// # Errors
    /// [`HistoryError`] when it is not recorded.
    pub async fn record_finished(&self, finished: &Finished, due: Commit) -> Result<(), HistoryError> {
        let finished = finished.clone();
        self.write_by(due, move |connection| finish(connection, &finished)).await
    }
}

fn insert(connection: &Connection, head: &Head) -> rusqlite::Result<i64> {
    let sql = "INSERT INTO executions (execution_id, correlation_id, room_id, user_id, username, language, status,
                                       priority, created_at, updated_at, queued_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'queued', ?7, ?8, ?8, ?8)";
    let id = connection.prepare_cached(sql)?.insert(params![
        head.id.as_str(),
        head.correlation_id.as_str(),
        head.room.as_str(),
        head.user.as_str(),
        head.username,
        head.language,
        head.priority,
        head.queued_at,
    ])?;
    let sql = "INSERT INTO programs (id, code, stdin, args, files) VALUES (?1, ?2, ?3, ?4, ?5)";
    connection.prepare_cached(sql)?.execute(params![
        id,
        head.code,
        head.stdin,
        list(&head.args)?,
        list(&head.files)?
    ])?;
    Ok(id)
}

fn finish(connection: &Connection, finished: &Finished) -> rusqlite::Result<()> {
    if update(connection, finished)? == 0 {
        insert(connection, &finished.head)?;
        update(connection, finished)?;
    }
    Ok(())
}

fn update(connection: &Connection, finished: &Finished) -> rusqlite::Result<usize> {
    let sql = "
        UPDATE executions SET
            status = :status, updated_at = :completed_at, started_at = :started_at, completed_at = :completed_at,
            success = :success, execution_time = :execution_time, exit_code = :exit_code, signal = :signal,
            limit_hit = :limit, cpu_time = :cpu_time, wall_time = :wall_time, memory = :memory,
            queue_time = :queue_time, truncated = :truncated, error = :error, output = :output,
            stdout = nullif(:stdout, :output), stderr = :stderr, compile = :compile
        WHERE execution_id = :id";
    let result = &finished.result;
    connection.prepare_cached(sql)?.execute(named_params! {
        ":id": finished.head.id.as_str(),
        ":status": result.status.name(),
        ":started_at": finished.started_at,
        ":completed_at": finished.completed_at,
        ":success": result.success,
        ":execution_time": signed(result.execution_time),
        ":exit_code": result.exit_code,
        ":signal": result.signal,
        ":limit": result.limit,
        ":cpu_time": signed(result.cpu_time),
        ":wall_time": signed(result.wall_time),
        ":memory": signed(result.memory),
        ":queue_time": signed(result.queue_time),
        ":truncated": cut_bits(result.truncated),
        ":error": result.error,
        ":output": result.output,
        ":stdout": result.stdout,
        ":stderr": result.stderr,
        ":compile": result.compile.as_ref().map(json).transpose()?,
    })
}

pub(super) const INTERRUPT: &str = "
    UPDATE executions SET status = ?2, success = 0, error = ?3, output = 'No output', stdout = '', stderr = '',
        execution_time = 0, completed_at = ?1, updated_at = ?1
    WHERE completed_at IS NULL";

/// Closes what an earlier daemon left queued or running; gives how many there were. Their time is zero: nobody
/// measured it, and the time the daemon was down is not the program's.
pub(super) fn close_interrupted(connection: &Connection, now: Timestamp) -> rusqlite::Result<usize> {
    connection.execute(INTERRUPT, params![now, Status::Failed.name(), INTERRUPTED])
}

/// NULL for none, which most executions have.
fn list<T: Serialize>(items: &[T]) -> rusqlite::Result<Option<String>> {
    if items.is_empty() { Ok(None) } else { json(&items).map(Some) }
}

pub(super) fn json<T: Serialize + ?Sized>(value: &T) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

/// Milliseconds and bytes beyond what SQLite holds are no real ones.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
