//! The history on real files.

mod executions;
mod paging;
mod pruning;
mod rooms;
mod storage;

use std::path::PathBuf;
use std::time::Duration;

use rusqlite::Connection;
use tempfile::TempDir;

use super::{Commit, History, Options, Timestamp};
use crate::ids::{CorrelationId, ExecutionId, RoomId, UserId};
use crate::jobs::execution::{Finished, Head, RunResult, Status, Truncated};

/// A file of its own in a directory of its own.
struct Place {
    directory: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("history.db")
    }

    fn open(&self) -> History {
        self.open_with(Options::default())
    }

    fn open_with(&self, options: Options) -> History {
        History::open(&self.path(), options).unwrap()
    }

    /// Another program's connection.
    fn raw(&self) -> Connection {
        Connection::open(self.path()).unwrap()
    }
}

fn room(name: &str) -> RoomId {
    RoomId::new(name).unwrap()
}

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

/// An execution queued at `at`, by number.
fn head(number: u64, at: i64) -> Head {
    let id = ExecutionId::new(&format!("exec-{at}-{number}")).unwrap();
    Head {
        correlation_id: CorrelationId::from(&id),
        id,
        room: room("r1"),
        user: user("u1"),
        username: "Ada".into(),
        language: "python".into(),
        code: format!("print({number})"),
        stdin: "in".into(),
        args: vec![],
        files: vec![],
        priority: 0,
        queued_at: at,
    }
}

/// Ran well.
fn finished(head: Head, completed_at: i64) -> Finished {
    let result = RunResult {
        success: true,
        status: Status::Completed,
        output: "out\n".into(),
        error: None,
        execution_time: 12,
        stdout: "out\n".into(),
        stderr: String::new(),
        exit_code: Some(0),
        signal: None,
        compile: None,
        truncated: Truncated::default(),
        limit: None,
        cpu_time: 7,
        wall_time: 11,
        memory: 4096,
        queue_time: 1,
    };
    Finished { started_at: Some(head.queued_at + 1), head, completed_at, result }
}

/// Plain data without `PartialEq`: equal when it prints equal.
fn assert_same(left: &Finished, right: &Finished) {
    assert_eq!(format!("{left:?}"), format!("{right:?}"));
}

/// Waits for what must come, not for a time.
async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(30), wait).await.is_ok(), "never happened: {what}");
}

fn now() -> i64 {
    Timestamp::now().0
}
