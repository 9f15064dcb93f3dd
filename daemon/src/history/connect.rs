//! Opening the file and its connections.
//!
//! **Invariant.** One daemon per file: whoever opens it holds `<file>.lock` until its writer has ended. Two would
//! close each other's running executions as interrupted.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::error::HistoryError;
use super::options::{Durability, Options};
use super::schema;

/// Prepared statements a connection keeps; more than there are.
const STATEMENTS: usize = 64;
/// Pages a reading connection keeps, in KiB (SQLite takes it negative). The kernel's page cache does the rest.
const READER_CACHE: i64 = -4 * 1024;
/// Of the writer: the inner pages of every index at some millions of rows.
const WRITER_CACHE: i64 = -8 * 1024;

/// Takes the lock that keeps a second daemon out.
pub(super) fn lock(path: &Path) -> Result<File, HistoryError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let path = PathBuf::from(name);
    let file = private(&path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(HistoryError::InUse { path }),
        Err(TryLockError::Error(error)) => Err(HistoryError::open(&path, &error)),
    }
}

/// Opens a file, making it with mode 0600 where there is none: it will hold people's code. SQLite gives its log
/// the same mode.
fn private(path: &Path) -> Result<File, HistoryError> {
    let open = || -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
    };
    open().map_err(|error| HistoryError::open(path, &error))
}

/// The connection that writes: makes the file, checks it and brings it to the newest schema.
pub(super) fn writer(path: &Path, options: &Options) -> Result<Connection, HistoryError> {
    // Closed before SQLite opens it: closing any descriptor of the file would drop this process's locks on it.
    let bytes = private(path)?.metadata().map_err(|error| HistoryError::open(path, &error))?.len();
    let mut connection = open(path, options, OpenFlags::SQLITE_OPEN_READ_WRITE, WRITER_CACHE)?;
    let version = schema::version(&connection, path)?;
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| {
        let mode: String = row.get(0)?;
        if mode == "wal" { Ok(()) } else { Err(rusqlite::Error::InvalidQuery) }
    })?;
    connection.pragma_update(
        None,
        "synchronous",
        match options.durability {
            Durability::ProcessCrash => "NORMAL",
            Durability::PowerLoss => "FULL",
        },
    )?;
    // The checkpointer's work, off the writer's way.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    // No journal_size_limit: cutting the log when it starts again held writes up for a quarter of a second. It
    // stays as long as it ever was, within its bound, until the file is closed.
    if bytes <= options.check_up_to_bytes {
        let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if verdict != "ok" {
            return Err(HistoryError::Corrupt(verdict));
        }
    }
    schema::migrate(&mut connection, version)?;
    Ok(connection)
}

/// The write-ahead log beside the database.
pub(super) fn log(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// The connection that moves the log's pages into the main file.
pub(super) fn checkpointer(path: &Path, options: &Options) -> Result<Connection, HistoryError> {
    let connection = open(path, options, OpenFlags::SQLITE_OPEN_READ_WRITE, READER_CACHE)?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    Ok(connection)
}

/// A connection that only reads.
pub(super) fn reader(path: &Path, options: &Options) -> Result<Connection, HistoryError> {
    open(path, options, OpenFlags::SQLITE_OPEN_READ_ONLY, READER_CACHE)
}

fn open(path: &Path, options: &Options, mode: OpenFlags, cache: i64) -> Result<Connection, HistoryError> {
    // No mutex: a connection is used by one thread at a time. No URI: a path is a path.
    let connection = Connection::open_with_flags(path, mode | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(options.busy_timeout)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.pragma_update(None, "cache_size", cache)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    Ok(connection)
}
