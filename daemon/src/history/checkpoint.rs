//! Moving the write-ahead log's pages into the main file, off the writer's way.
//!
//! A checkpoint copies pages and syncs two files, which takes as long as the disk likes; the writer goes on meanwhile.
//! A log that is written without a pause would never be copied to its very end, and so never start again from its
//! beginning: once it is longer than [`LONG_LOG`], the writer copies the last pages itself, few by then.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::connect;
use super::error::HistoryError;
use super::options::Options;

/// Pages (4 KiB each) in the log from which the writer helps: 16 MiB.
const LONG_LOG: i64 = 4096;
/// At most one round in this time.
const PAUSE: Duration = Duration::from_millis(200);

/// The thread that checkpoints, as its owner sees it.
pub(super) struct Checkpointer {
    wake: SyncSender<()>,
    long_log: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Checkpointer {
    pub(super) fn start(path: &Path, options: &Options) -> Result<Self, HistoryError> {
        let connection = connect::checkpointer(path, options)?;
        let (wake, woken) = sync_channel(1);
        let long_log = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&long_log);
        let thread = std::thread::Builder::new()
            .name("history-sync".into())
            .spawn(move || run(&connection, &woken, &flag))
            .map_err(|error| HistoryError::open(path, &error))?;
        Ok(Self { wake, long_log, thread })
    }

    /// Called by the writer after a commit.
    pub(super) fn committed(&self, writer: &Connection) {
        if self.long_log.swap(false, Ordering::Relaxed) {
            let _ = checkpoint(writer);
        }
        // Full means that it is awake already.
        let _ = self.wake.try_send(());
    }

    pub(super) fn stop(self) {
        drop(self.wake);
        let _ = self.thread.join();
    }
}

fn run(connection: &Connection, woken: &Receiver<()>, long_log: &AtomicBool) {
    let mut pending = false;
    while pending || woken.recv().is_ok() {
        let begun = Instant::now();
        match checkpoint(connection) {
            Ok(pages) => long_log.store(pages > LONG_LOG, Ordering::Relaxed),
            // The writer meets the same fault and reports it; the log keeps everything until it is gone.
            Err(error) => tracing::debug!(%error, "checkpoint"),
        }
        pending = false;
        loop {
            match woken.recv_timeout(PAUSE.saturating_sub(begun.elapsed())) {
                Ok(()) => pending = true,
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}

/// Copies what no reader holds back and no writer needs to wait for; gives the log's length in pages.
fn checkpoint(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get(1))
}
