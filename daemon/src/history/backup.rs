//! A copy of the database while it is in use.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use thiserror::Error;

/// No copy was made.
#[derive(Debug, Error)]
pub enum BackupError {
    /// There is a file already, or it cannot be made or read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// SQLite's.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// What was copied is damaged.
    #[error("the copy fails SQLite's integrity check: {0}")]
    Damaged(String),
}

/// How long a checkpoint of the service may be waited for.
const BUSY: Duration = Duration::from_secs(30);

/// Copies the database at `from` into the new file `to`, its owner's alone, and checks the copy; gives its size in bytes.
/// What is committed when it begins is in it. Writers go on meanwhile (`VACUUM INTO`, <https://sqlite.org/lang_vacuum.html>).
///
/// # Errors
/// [`BackupError`]; the file is not there then.
pub fn backup(from: &Path, to: &Path) -> Result<u64, BackupError> {
    // Made empty and private beforehand, which SQLite takes for new: nobody else reads what students wrote.
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    copy(from, to).inspect_err(|_| drop(std::fs::remove_file(to)))
}

fn copy(from: &Path, to: &Path) -> Result<u64, BackupError> {
    let source = Connection::open_with_flags(from, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    source.busy_timeout(BUSY)?;
    source.execute("VACUUM INTO ?1", [to.to_string_lossy()])?;
    let copy = Connection::open_with_flags(to, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let verdict: String = copy.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Err(BackupError::Damaged(verdict));
    }
    let file = File::open(to)?;
    file.sync_all()?;
    Ok(file.metadata()?.len())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_is_committed_is_copied_beside_a_writer() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("a"), dir.path().join("b"));
        let writer = Connection::open(&from).unwrap();
        writer.pragma_update(None, "journal_mode", "wal").unwrap();
        writer.execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (1); BEGIN; INSERT INTO t VALUES (2);").unwrap();
        assert!(backup(&from, &to).unwrap() > 0);
        writer.execute_batch("COMMIT").unwrap();
        let count: i64 =
            Connection::open(&to).unwrap().query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap();
        assert_eq!(count, 1);
        assert_eq!(std::fs::metadata(&to).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(backup(&from, &to), Err(BackupError::Io(_))), "nothing is overwritten");
    }

    #[test]
    fn without_a_history_there_is_no_copy() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("b");
        assert!(backup(&dir.path().join("none"), &to).is_err());
        assert!(!to.exists());
    }
}
