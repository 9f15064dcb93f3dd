//! The database's layout and its versions.
//!
//! **Invariant.** A released migration never changes; a new layout is a new entry of [`MIGRATIONS`]. The file's
//! `user_version` is the number of migrations applied to it.
//!
//! An execution's texts that are written once, when it is queued, stand apart in `programs`, so that its start and
//! its end rewrite a small row, and a history page reads no code.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::error::HistoryError;

/// Marks the file as ours (`CRNK`).
const APPLICATION_ID: i64 = 0x4352_4e4b;

/// `stdout` is NULL when it equals `output`, as it mostly does. `truncated` is a set of bits: output, stdout, stderr.
/// The room's index serves the history (order and cursor) and the statistics (it holds all they sum up).
const VERSION_1: &str = "
CREATE TABLE executions (
    id             INTEGER PRIMARY KEY,
    execution_id   TEXT NOT NULL UNIQUE,
    correlation_id TEXT NOT NULL,
    room_id        TEXT NOT NULL,
    user_id        TEXT NOT NULL,
    username       TEXT NOT NULL,
    language       TEXT NOT NULL,
    status         TEXT NOT NULL,
    priority       INTEGER NOT NULL,
    created_at     INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL,
    queued_at      INTEGER NOT NULL,
    started_at     INTEGER,
    completed_at   INTEGER,
    success        INTEGER,
    execution_time INTEGER,
    exit_code      INTEGER,
    signal         TEXT,
    limit_hit      TEXT,
    cpu_time       INTEGER,
    wall_time      INTEGER,
    memory         INTEGER,
    queue_time     INTEGER,
    truncated      INTEGER,
    error          TEXT,
    output         TEXT,
    stdout         TEXT,
    stderr         TEXT,
    compile        TEXT
) STRICT;
CREATE INDEX executions_by_room ON executions (room_id, completed_at, id, success, execution_time)
    WHERE completed_at IS NOT NULL;
CREATE INDEX executions_by_user ON executions (user_id, completed_at, id) WHERE completed_at IS NOT NULL;
CREATE INDEX executions_by_correlation ON executions (room_id, user_id, correlation_id);
CREATE INDEX executions_by_age ON executions (created_at);
CREATE INDEX executions_unfinished ON executions (id) WHERE completed_at IS NULL;

CREATE TABLE programs (
    id    INTEGER PRIMARY KEY,
    code  TEXT NOT NULL,
    stdin TEXT NOT NULL,
    args  TEXT,
    files TEXT
) STRICT;

CREATE TABLE rooms (
    room_id           TEXT PRIMARY KEY,
    code              TEXT NOT NULL,
    language          TEXT NOT NULL,
    sequence          INTEGER NOT NULL,
    execution_count   INTEGER NOT NULL,
    last_execution_at INTEGER,
    created_at        INTEGER NOT NULL,
    updated_at        INTEGER NOT NULL
) STRICT;
CREATE INDEX rooms_by_age ON rooms (updated_at);

CREATE TABLE messages (
    id         INTEGER PRIMARY KEY,
    room_id    TEXT NOT NULL,
    sequence   INTEGER NOT NULL,
    type       TEXT NOT NULL,
    user_id    TEXT,
    created_at INTEGER NOT NULL,
    payload    TEXT NOT NULL,
    UNIQUE (room_id, sequence)
) STRICT;
CREATE INDEX messages_by_age ON messages (created_at);

CREATE TABLE recordings (
    recording_id  TEXT PRIMARY KEY,
    room_id       TEXT NOT NULL,
    host          TEXT NOT NULL,
    from_sequence INTEGER NOT NULL,
    to_sequence   INTEGER,
    started_at    INTEGER NOT NULL,
    stopped_at    INTEGER
) STRICT;
CREATE INDEX recordings_by_age ON recordings (started_at);

CREATE TABLE probe (id INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT;
";

const MIGRATIONS: &[&str] = &[VERSION_1];

/// The version this release writes.
pub(super) const fn newest() -> i64 {
    MIGRATIONS.len() as i64
}

/// The file's version, without changing a byte of it.
///
/// # Errors
/// [`HistoryError::Foreign`] for a database of another program, [`HistoryError::Newer`] for one of a later release.
pub(super) fn version(connection: &Connection, path: &Path) -> Result<i64, HistoryError> {
    let pragma =
        |name: &str| -> Result<i64, HistoryError> { Ok(connection.pragma_query_value(None, name, |row| row.get(0))?) };
    let (found, owner) = (pragma("user_version")?, pragma("application_id")?);
    let empty: bool = connection.query_row("SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema)", [], |row| row.get(0))?;
    if !(owner == APPLICATION_ID || (owner == 0 && found == 0 && empty)) {
        return Err(HistoryError::Foreign { path: path.to_owned() });
    }
    let known = newest();
    if found > known { Err(HistoryError::Newer { path: path.to_owned(), found, known }) } else { Ok(found) }
}

/// Brings the file from a version to the newest, each step in a transaction of its own.
pub(super) fn migrate(connection: &mut Connection, found: i64) -> Result<(), HistoryError> {
    for (version, sql) in (1_i64..).zip(MIGRATIONS).filter(|(version, _)| *version > found) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
    }
    Ok(())
}
