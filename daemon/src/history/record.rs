//! The history's record as a client reads it, and the way from a row to it.

use rusqlite::Row;
use rusqlite::types::Type;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::timestamp::Timestamp;
use crate::ids::{CorrelationId, ExecutionId, RoomId, UserId};
use crate::jobs::execution::{CompileResult, Finished, Head, RunResult, Status, StoredFile, Truncated};

/// One execution. Field names and order are the contract's.
///
/// Pages of a history leave out the bulk: `code` and `stdin`, and of `metadata` the separate streams, the compile
/// stage, arguments and files. What is not known yet is null.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Unique.
    pub execution_id: String,
    /// The caller's, or the execution id when it gave none.
    pub correlation_id: String,
    /// Where.
    pub room_id: String,
    /// Who.
    pub user_id: String,
    /// The name shown to the others.
    pub username: String,
    /// As the client wrote it.
    pub language: String,
    /// The main file; not in pages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// All of stdin; not in pages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
    /// As in the `/compile` response.
    pub output: Option<String>,
    /// As in the `/compile` response.
    pub error: Option<String>,
    /// As in the `/compile` response.
    pub success: Option<bool>,
    /// Milliseconds, as in the `/compile` response.
    pub execution_time: Option<u64>,
    /// When it was queued.
    pub queued_at: Timestamp,
    /// When it started, if it did.
    pub started_at: Option<Timestamp>,
    /// When it ended, if it has.
    pub completed_at: Option<Timestamp>,
    /// Where it stands.
    pub status: Status,
    /// As asked for.
    pub priority: i32,
    /// Everything else.
    pub metadata: Metadata,
    /// When the record was made; retention counts from here.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// What the original's record has no field for.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// The run stage's exit code, when it exited.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<String>,
    /// The limit that ended it.
    pub limit: Option<String>,
    /// CPU milliseconds.
    pub cpu_time: Option<u64>,
    /// Wall milliseconds.
    pub wall_time: Option<u64>,
    /// Peak bytes.
    pub memory: Option<u64>,
    /// Milliseconds spent waiting.
    pub queue_time: Option<u64>,
    /// What was cut.
    pub truncated: Option<Truncated>,
    /// What pages leave out.
    #[serde(flatten)]
    pub bulk: Option<Bulk>,
}

/// The part of the metadata that may be large.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Bulk {
    /// The run stage's stdout.
    pub stdout: Option<String>,
    /// The run stage's stderr.
    pub stderr: Option<String>,
    /// The compile stage.
    pub compile: Option<CompileResult>,
    /// The program's arguments.
    pub args: Vec<String>,
    /// Further files.
    pub files: Vec<StoredFile>,
}

/// The columns of a page's entry, in the order [`Record::from_row`] reads them.
pub(super) const ENTRY: &str = "
    e.id, e.execution_id, e.correlation_id, e.room_id, e.user_id, e.username, e.language,
    e.status, e.priority, e.created_at, e.updated_at, e.queued_at, e.started_at, e.completed_at,
    e.success, e.execution_time, e.exit_code, e.signal, e.limit_hit, e.cpu_time, e.wall_time, e.memory,
    e.queue_time, e.truncated, e.error, e.output";

/// The columns that follow for a whole record.
pub(super) const WHOLE: &str = ", coalesce(e.stdout, e.output), e.stderr, e.compile, p.code, p.stdin, p.args, p.files";

impl Record {
    /// From the columns [`ENTRY`].
    pub(super) fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            execution_id: row.get(1)?,
            correlation_id: row.get(2)?,
            room_id: row.get(3)?,
            user_id: row.get(4)?,
            username: row.get(5)?,
            language: row.get(6)?,
            code: None,
            stdin: None,
            status: status(row, 7)?,
            priority: row.get(8)?,
            created_at: row.get(9)?,
            updated_at: row.get(10)?,
            queued_at: row.get(11)?,
            started_at: row.get(12)?,
            completed_at: row.get(13)?,
            success: row.get(14)?,
            execution_time: count(row, 15)?,
            metadata: Metadata {
                exit_code: row.get(16)?,
                signal: row.get(17)?,
                limit: row.get(18)?,
                cpu_time: count(row, 19)?,
                wall_time: count(row, 20)?,
                memory: count(row, 21)?,
                queue_time: count(row, 22)?,
                truncated: row.get::<_, Option<u8>>(23)?.map(cuts),
                bulk: None,
            },
            error: row.get(24)?,
            output: row.get(25)?,
        })
    }

    /// From the columns [`ENTRY`] and [`WHOLE`].
    pub(super) fn from_whole_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let mut record = Self::from_row(row)?;
        record.metadata.bulk = Some(Bulk {
            stdout: row.get(26)?,
            stderr: row.get(27)?,
            compile: json(row, 28)?,
            args: json(row, 31)?.unwrap_or_default(),
            files: json(row, 32)?.unwrap_or_default(),
        });
        record.code = row.get(29)?;
        record.stdin = row.get(30)?;
        Ok(record)
    }
}

/// A finished execution as it was recorded, from the columns [`ENTRY`] and [`WHOLE`]; none while it is unfinished.
pub(super) fn finished(row: &Row<'_>) -> rusqlite::Result<Option<Finished>> {
    let record = Record::from_whole_row(row)?;
    let (Some(completed_at), Some(success), Some(bulk)) = (record.completed_at, record.success, record.metadata.bulk)
    else {
        return Ok(None);
    };
    let head = Head {
        id: checked(1, ExecutionId::new(&record.execution_id))?,
        correlation_id: checked(2, CorrelationId::new(&record.correlation_id))?,
        room: checked(3, RoomId::new(&record.room_id))?,
        user: checked(4, UserId::new(&record.user_id))?,
        username: record.username,
        language: record.language,
        code: record.code.unwrap_or_default(),
        stdin: record.stdin.unwrap_or_default(),
        args: bulk.args,
        files: bulk.files,
        priority: record.priority,
        queued_at: record.queued_at.0,
    };
    let result = RunResult {
        success,
        status: record.status,
        output: record.output.unwrap_or_default(),
        error: record.error,
        execution_time: record.execution_time.unwrap_or_default(),
        stdout: bulk.stdout.unwrap_or_default(),
        stderr: bulk.stderr.unwrap_or_default(),
        exit_code: record.metadata.exit_code,
        signal: record.metadata.signal,
        compile: bulk.compile,
        truncated: record.metadata.truncated.unwrap_or_default(),
        limit: record.metadata.limit,
        cpu_time: record.metadata.cpu_time.unwrap_or_default(),
        wall_time: record.metadata.wall_time.unwrap_or_default(),
        memory: record.metadata.memory.unwrap_or_default(),
        queue_time: record.metadata.queue_time.unwrap_or_default(),
    };
    Ok(Some(Finished { head, started_at: record.started_at.map(|at| at.0), completed_at: completed_at.0, result }))
}

/// As the column `truncated` holds it.
pub(super) const fn cut_bits(truncated: Truncated) -> u8 {
    truncated.output as u8 | (truncated.stdout as u8) << 1 | (truncated.stderr as u8) << 2
}

const fn cuts(bits: u8) -> Truncated {
    Truncated { output: bits & 1 != 0, stdout: bits & 2 != 0, stderr: bits & 4 != 0 }
}

fn status(row: &Row<'_>, column: usize) -> rusqlite::Result<Status> {
    use Status::{Cancelled, Completed, Failed, Queued, Running, Timeout};
    let name = row.get_ref(column)?.as_str()?;
    [Queued, Running, Completed, Failed, Timeout, Cancelled]
        .into_iter()
        .find(|status| status.name() == name)
        .ok_or_else(|| damaged(column, format!("unknown status {name:?}")))
}

fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<u64>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(|value| u64::try_from(value).unwrap_or_default()))
}

fn json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<T>> {
    let Some(text) = row.get_ref(column)?.as_str_or_null()? else { return Ok(None) };
    serde_json::from_str(text).map(Some).map_err(|error| damaged(column, error))
}

fn checked<T, E>(column: usize, value: Result<T, E>) -> rusqlite::Result<T>
where
    E: std::error::Error + Send + Sync + 'static,
{
    value.map_err(|error| damaged(column, error))
}

pub(super) fn damaged(
    column: usize,
    reason: impl Into<Box<dyn std::error::Error + Send + Sync + 'static>>,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, reason.into())
}
