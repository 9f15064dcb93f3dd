//! What can go wrong with the history, in words an operator can act on.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;
use thiserror::Error;

/// The history could not be opened, read or written. Clonable, because one failed commit fails a whole group.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HistoryError {
    /// The file system or the configured bound leaves no room.
    #[error("the history's disk is full: {0}")]
    Full(String),
    /// Another program holds the database's lock.
    #[error("the history is locked by another program: {0}")]
    Locked(String),
    /// The file's content is damaged.
    #[error("the history is damaged: {0}")]
    Corrupt(String),
    /// The operating system refused to read or write.
    #[error("the history cannot be read or written: {0}")]
    Io(String),
    /// The file cannot be made or opened.
    #[error("{path}: {reason}")]
    Open {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        reason: String,
    },
    /// Another daemon uses the file.
    #[error("{path}: in use by another daemon")]
    InUse {
        /// The lock file.
        path: PathBuf,
    },
    /// The file belongs to some other program.
    #[error("{path}: an SQLite file, but not a history of this program")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A later release wrote the file.
    #[error(
        "{path}: schema version {found} is newer than {known}, the newest this release knows; run the newer release, or restore a backup"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// The history was closed.
    #[error("the history is closed")]
    Closed,
    /// Anything else that SQLite says; a mistake of ours.
    #[error("the history refused a statement: {0}")]
    Statement(String),
}

impl HistoryError {
    /// Whether the storage is at fault, so that every other write would fail as well until it is repaired.
    #[must_use]
    pub const fn is_storage_fault(&self) -> bool {
        matches!(self, Self::Full(_) | Self::Locked(_) | Self::Corrupt(_) | Self::Io(_))
    }

    /// Names the file, where it is not named yet.
    #[must_use]
    pub(super) fn at(self, path: &Path) -> Self {
        let named = |text: String| format!("{}: {text}", path.display());
        match self {
            Self::Full(text) => Self::Full(named(text)),
            Self::Locked(text) => Self::Locked(named(text)),
            Self::Corrupt(text) => Self::Corrupt(named(text)),
            Self::Io(text) => Self::Io(named(text)),
            Self::Statement(text) => Self::Statement(named(text)),
            named => named,
        }
    }

    pub(super) fn open(path: &Path, error: &std::io::Error) -> Self {
        Self::Open { path: path.to_owned(), reason: error.to_string() }
    }
}

impl From<rusqlite::Error> for HistoryError {
    fn from(error: rusqlite::Error) -> Self {
        let text = error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full(text),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed) => {
                Self::Locked(text)
            }
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Corrupt(text),
            Some(
                ErrorCode::SystemIoFailure
                | ErrorCode::CannotOpen
                | ErrorCode::ReadOnly
                | ErrorCode::PermissionDenied
                | ErrorCode::OutOfMemory,
            ) => Self::Io(text),
            _ if matches!(error, rusqlite::Error::FromSqlConversionFailure(..)) => Self::Corrupt(text),
            _ => Self::Statement(text),
        }
    }
}
