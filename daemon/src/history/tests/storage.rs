//! The file: its mode, its lock, its versions, its faults.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::super::HistoryError;
use super::*;

fn error(place: &Place) -> HistoryError {
    History::open(&place.path(), Options::default()).err().unwrap()
}

#[tokio::test]
async fn only_the_owner_may_read_the_files() {
    let place = Place::new();
    let history = place.open();
    history.record_queued(&head(1, 1), Commit::Now).await.unwrap();
    let mut names = Vec::new();
    for entry in std::fs::read_dir(place.directory.path()).unwrap() {
        let entry = entry.unwrap();
        names.push(entry.file_name().into_string().unwrap());
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{names:?}");
    }
    names.sort();
    assert_eq!(names, ["history.db", "history.db-shm", "history.db-wal", "history.db.lock"]);
    history.close().await;
    assert!(!place.directory.path().join("history.db-wal").exists(), "the log is tidied up");
}

#[tokio::test]
async fn a_second_daemon_is_kept_out_until_the_first_has_ended() {
    let place = Place::new();
    let history = place.open();
    assert!(matches!(error(&place), HistoryError::InUse { .. }));
    let other = history.clone();
    history.close().await;
    assert_eq!(other.record_queued(&head(1, 1), Commit::Now).await, Err(HistoryError::Closed));
    assert_eq!(other.finished(&head(1, 1).id).await.err(), Some(HistoryError::Closed));
    place.open().record_queued(&head(1, 1), Commit::Now).await.unwrap();
}

#[tokio::test]
async fn everything_queued_is_written_before_it_closes() {
    let place = Place::new();
    let history = place.open();
    for sequence in 1..=500 {
        let payload = serde_json::json!({"code": "x"});
        history.append_message(&room("r"), sequence, "code-update", &payload, None, Timestamp(1)).await.unwrap();
    }
    drop(history);
    assert_eq!(place.open().message_count(&room("r")).await.unwrap(), 500);
}

#[test]
fn a_newer_schema_is_refused_and_left_alone() {
    let place = Place::new();
    drop(place.open());
    place.raw().pragma_update(None, "user_version", 99).unwrap();
    let before = std::fs::read(place.path()).unwrap();
    let error = error(&place);
    assert!(matches!(error, HistoryError::Newer { found: 99, known: 1, .. }), "{error}");
    assert!(error.to_string().contains("schema version 99 is newer than 1"), "{error}");
    assert_eq!(std::fs::read(place.path()).unwrap(), before);
}

#[test]
fn a_foreign_or_damaged_file_is_refused_and_left_alone() {
    let place = Place::new();
    place.raw().execute_batch("CREATE TABLE theirs (a)").unwrap();
    let before = std::fs::read(place.path()).unwrap();
    assert!(matches!(error(&place), HistoryError::Foreign { .. }));
    assert_eq!(std::fs::read(place.path()).unwrap(), before);

    let place = Place::new();
    std::fs::write(place.path(), "not a database, but long enough to be looked at as one".repeat(100)).unwrap();
    let error = error(&place);
    assert!(matches!(error, HistoryError::Corrupt(_)), "{error}");
    assert!(error.to_string().contains("history.db"), "{error}");
}

#[tokio::test]
async fn a_damaged_page_is_found_when_opening() {
    let place = Place::new();
    let history = place.open();
    for number in 0..200 {
        history.record_finished(&finished(head(number, 1), 2), Commit::Now).await.unwrap();
    }
    history.close().await;
    drop(history);
    let mut bytes = std::fs::read(place.path()).unwrap();
    let middle = bytes.len() / 4096 / 2 * 4096;
    bytes[middle..middle + 4096].fill(0xa5);
    std::fs::write(place.path(), bytes).unwrap();
    let error = error(&place);
    assert!(matches!(error, HistoryError::Corrupt(_)), "{error}");
}

#[test]
fn a_directory_that_is_not_there_is_named() {
    let error = History::open("/nonexistent/history.db".as_ref(), Options::default()).err().unwrap();
    assert_eq!(error.to_string(), "/nonexistent/history.db.lock: No such file or directory (os error 2)");
}

#[tokio::test]
async fn a_full_disk_fails_writes_and_heals_by_itself() {
    let place = Place::new();
    let history = place.open();
    let known = finished(head(1, 1), 2);
    history.record_finished(&known, Commit::Now).await.unwrap();
    assert_eq!(history.health(), None);

    let pages: i64 =
        history.write(|connection| connection.pragma_query_value(None, "page_count", |row| row.get(0))).await.unwrap();
    let bound = |pages: i64| {
        history.write(move |connection| {
            connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |row| row.get::<_, i64>(0))
        })
    };
    bound(pages).await.unwrap();
    let mut large = head(2, 1);
    large.code = "x".repeat(300_000);
    let failed = history.record_queued(&large, Commit::Now).await;
    assert!(matches!(failed, Err(HistoryError::Full(_))), "{failed:?}");
    let fault = history.health().unwrap();
    assert!(matches!(fault.error, HistoryError::Full(_)));
    assert!(now() - fault.since.0 < 30_000);
    assert_same(&history.finished(&known.head.id).await.unwrap().unwrap(), &known);
    assert!(history.execution(&large.id).await.unwrap().is_none(), "nothing of it is left");
    let again = history.record_queued(&large, Commit::Now).await;
    assert!(again.is_err());
    assert_eq!(history.health().unwrap().since, fault.since, "it is the same fault");

    // The raise is a write of its own and succeeds, which is a recovery already: fail once more, directly, so that
    // only the probe can find out.
    let raised = history
        .write(move |connection| {
            connection.query_row("PRAGMA max_page_count = 1000000", [], |row| row.get::<_, i64>(0))?;
            Err::<(), _>(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL), None))
        })
        .await;
    assert!(raised.is_err() && history.health().is_some());
    eventually("health without a write", || history.health().is_none()).await;
    history.record_queued(&large, Commit::Now).await.unwrap();
}

#[tokio::test]
async fn a_locked_file_fails_writes_within_the_wait_and_heals_by_itself() {
    let place = Place::new();
    let history = place.open_with(Options { busy_timeout: Duration::from_millis(30), ..Options::default() });
    let mut raw = place.raw();
    let held = raw.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
    let failed = history.record_queued(&head(1, 1), Commit::Now).await;
    assert!(matches!(failed, Err(HistoryError::Locked(_))), "{failed:?}");
    assert!(history.health().is_some());
    assert!(history.execution(&head(1, 1).id).await.unwrap().is_none(), "reading goes on");
    drop(held);
    eventually("health without a write", || history.health().is_none()).await;
    history.record_queued(&head(1, 1), Commit::Now).await.unwrap();
}

#[tokio::test]
async fn the_log_does_not_outgrow_its_bound_under_continuous_writing() {
    let place = Place::new();
    let bound = 16 << 20;
    let history = place.open_with(Options { max_log_bytes: bound, ..Options::default() });
    let log = place.directory.path().join("history.db-wal");
    let mut largest = 0;
    let mut large = head(0, 1);
    large.code = "x".repeat(200_000);
    // Six times the bound.
    for number in 0..500 {
        large.id = ExecutionId::new(&format!("exec-{number}")).unwrap();
        history.record_queued(&large, Commit::Now).await.unwrap();
        largest = largest.max(std::fs::metadata(&log).unwrap().len());
    }
    // Passed by one commit, and by what each page has for a header.
    assert!(largest < bound + (1 << 20), "the log grew to {largest} bytes");
}
