//! Moving the write-ahead log's pages into the main file, off the writer's way.
//!
//! A checkpoint copies pages and syncs two files, which takes as long as the disk likes; the writer goes on meanwhile.
//! Three things follow, by the log's length as a share of [`Options::max_log_bytes`]:
//! - A log that is written without a pause is never copied to its very end, and so never starts again from its
//!   beginning. From 1/4 on the writer copies the last pages itself, once few are left. (With gaps of some
//!   milliseconds between writes, as they mostly are, a round does find the end, and the writer never syncs.)
//! - A writer that is faster than the disk would outrun the copying. From 1/2 on it pauses after each commit, for
//!   about twice as long as copying what it wrote will take, [`LONGEST_PAUSE`] at most.
//! - At the whole the writer waits until all is copied. That takes a disk that cannot keep up at all.
//!
//! A short log is only synced: copied to its end it would start again from its beginning, and the first write after that
//! waits for a sync of the disk. A run after a pause, that is; so this happens once in [`FEW`] pages.

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::connect;
use super::error::HistoryError;
use super::options::Options;

/// SQLite's default; a file made with another has pages of another size, and only the shares move.
const PAGE_BYTES: u64 = 4096;
/// A short log. So many pages the writer copies itself to let the log start again: the sync behind takes longer.
const FEW: u64 = 1024;
/// At most one round in this time, while the log is short.
const ROUND: Duration = Duration::from_millis(200);
/// What the writer waits after a commit at most, below the bound.
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// The thread that checkpoints, as the writer sees it.
pub(super) struct Checkpointer {
    wake: SyncSender<()>,
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
    /// The log's length after the last commit, in pages.
    length: u64,
}

/// How much of the log is still to be copied, for whoever has time; clones share it.
#[derive(Clone, Default)]
pub(super) struct Backlog {
    pages: Arc<AtomicU64>,
    long: u64,
}

impl Backlog {
    /// Whether the copying is behind so far that what can wait should.
    pub(super) fn is_long(&self) -> bool {
        self.pages.load(Ordering::Relaxed) > self.long
    }

    fn note(&self, log: &Log) {
        self.pages.store(log.all.saturating_sub(log.copied), Ordering::Relaxed);
    }
}

struct Shared {
    backlog: Backlog,
    /// In pages.
    bound: u64,
    /// Held while a checkpoint runs.
    round: Mutex<()>,
    /// Nearly all is copied and the log is long: the writer is to copy the rest.
    finish: AtomicBool,
    /// What copying a page took in the last round.
    page_nanos: AtomicU64,
}

/// The log's pages, all and those that are in the main file already.
struct Log {
    all: u64,
    copied: u64,
}

impl Checkpointer {
    pub(super) fn start(path: &Path, options: &Options) -> Result<Self, HistoryError> {
        let connection = connect::checkpointer(path, options)?;
        let log_path = connect::log(path);
        let (wake, woken) = sync_channel(1);
        let bound = (options.max_log_bytes / PAGE_BYTES).max(4 * FEW);
        let shared = Arc::new(Shared {
            backlog: Backlog { pages: Arc::default(), long: bound / 32 },
            bound,
            round: Mutex::new(()),
            finish: AtomicBool::new(false),
            page_nanos: AtomicU64::new(0),
        });
        let thread = std::thread::Builder::new()
            .name("history-sync".into())
            .spawn({
                let shared = Arc::clone(&shared);
                move || run(&connection, &log_path, &woken, &shared)
            })
            .map_err(|error| HistoryError::open(path, &error))?;
        Ok(Self { wake, shared, thread, length: 0 })
    }

    /// Called by the writer after a commit, when the callers have their answers.
    pub(super) fn committed(&mut self, writer: &Connection) {
        // A fault shows at the next write.
        let Ok(log) = look(writer, "NOOP") else { return };
        let grown = log.all.checked_sub(self.length).unwrap_or(log.all);
        self.length = log.all;
        let shared = &*self.shared;
        shared.backlog.note(&log);
        if log.all >= shared.bound {
            let _round = shared.round.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = look(writer, "PASSIVE");
        } else if shared.finish.load(Ordering::Relaxed) {
            if let Ok(_round) = shared.round.try_lock() {
                shared.finish.store(false, Ordering::Relaxed);
                let _ = look(writer, "PASSIVE");
            }
        } else if log.all >= shared.bound / 2 {
            let nanos = shared.page_nanos.load(Ordering::Relaxed).saturating_mul(grown * 2);
            std::thread::sleep(Duration::from_nanos(nanos).min(LONGEST_PAUSE));
        }
        // Full means that it is awake already.
        let _ = self.wake.try_send(());
    }

    /// What is still to be copied, now and later.
    pub(super) fn backlog(&self) -> Backlog {
        self.shared.backlog.clone()
    }

    pub(super) fn stop(self) {
        drop(self.wake);
        let _ = self.thread.join();
    }
}

fn run(connection: &Connection, log_path: &Path, woken: &Receiver<()>, shared: &Shared) {
    let mut pending = false;
    let mut copied_before = 0;
    while pending || woken.recv().is_ok() {
        let begun = Instant::now();
        let round = {
            let _round = shared.round.lock().unwrap_or_else(PoisonError::into_inner);
            match look(connection, "NOOP") {
                Ok(log) if log.all < FEW => {
                    sync(log_path);
                    Ok(log)
                }
                _ => look(connection, "PASSIVE"),
            }
        };
        let mut pause = ROUND;
        match round {
            Ok(log) => {
                shared.backlog.note(&log);
                let pages = log.copied.checked_sub(copied_before).unwrap_or(log.copied);
                copied_before = log.copied;
                if let Some(nanos) = begun.elapsed().as_nanos().checked_div(pages.into()) {
                    shared.page_nanos.store(u64::try_from(nanos).unwrap_or(u64::MAX), Ordering::Relaxed);
                }
                if log.all > shared.bound / 4 {
                    shared.finish.store(log.all - log.copied.min(log.all) <= FEW, Ordering::Relaxed);
                    pause = Duration::ZERO;
                }
            }
            // The writer meets the same fault and reports it; the log keeps everything until it is gone.
            Err(error) => tracing::debug!(%error, "checkpoint"),
        }
        pending = false;
        loop {
            match woken.recv_timeout(pause.saturating_sub(begun.elapsed())) {
                Ok(()) => pending = true,
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}

/// So that a power cut loses as little as if it had been copied. A log that is not there has nothing to lose.
fn sync(log_path: &Path) {
    if let Err(error) = File::open(log_path).and_then(|log| log.sync_data()) {
        tracing::debug!(%error, "syncing the log");
    }
}

/// Checkpoints by the given mode: `PASSIVE` copies what no reader holds back and waits for nobody, `NOOP` only looks.
fn look(connection: &Connection, mode: &str) -> rusqlite::Result<Log> {
    let mut statement = connection.prepare_cached(&format!("PRAGMA wal_checkpoint({mode})"))?;
    statement.query_row([], |row| {
        let pages = |column| row.get::<_, i64>(column).map(|pages| u64::try_from(pages).unwrap_or(0));
        Ok(Log { all: pages(1)?, copied: pages(2)? })
    })
}
