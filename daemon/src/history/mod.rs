//! What happened: executions, rooms, their messages, in one SQLite file.
//!
//! One thread writes and commits in groups ([`writer`]), another moves the log into the main file ([`checkpoint`]),
//! a few connections read ([`readers`]). In WAL mode none of them waits for another.
//!
//! **Invariants.**
//! - A record is committed when the call that records it returns `Ok`, and survives the end of any process; the few
//!   calls that return earlier say so. See [`Durability`] for power cuts.
//! - What one caller records one after another is committed in that order.
//! - A call whose future is dropped has still happened, if it was queued.
//! - Nothing here decides what an execution or a room is: it keeps what `jobs` and `rooms` say.

mod backup;
mod checkpoint;
mod connect;
mod cursor;
mod error;
mod executions;
mod messages;
mod options;
mod prune;
mod queries;
mod readers;
mod record;
mod rooms;
mod schema;
mod timestamp;
mod writer;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

pub use backup::{BackupError, backup};
use checkpoint::{Backlog, Checkpointer};
pub use cursor::{BadCursor, Cursor};
pub use error::HistoryError;
pub use executions::INTERRUPTED;
pub use messages::{Gap, MAX_MESSAGES, Recording, StoredMessage};
pub use options::{Durability, Options};
pub use prune::Pruned;
pub use queries::{MAX_PAGE, Page, RoomStats};
use readers::Readers;
pub use record::{Bulk, Metadata, Record};
pub use rooms::{NEW_ROOM_CODE, NEW_ROOM_LANGUAGE, StoredRoom};
pub use timestamp::Timestamp;
pub use writer::{Activity, Commit, Fault};
use writer::{Awaited, Detached, Health, Request, Writer};

/// The handle that everybody shares; cheap to clone. The last one dropped ends the threads and closes the file,
/// which takes as long as what is queued.
#[derive(Clone)]
pub struct History {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    options: Arc<Options>,
    requests: Sender<Request>,
    permits: Arc<Semaphore>,
    readers: Readers,
    health: Health,
    activity: Arc<Activity>,
    log: Backlog,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl History {
    /// Opens the file, making it (mode 0600) where there is none, in a directory that exists; brings it to this
    /// release's schema, checks it ([`Options::check_up_to_bytes`]), and closes what an earlier daemon left queued
    /// or running as failed, [`INTERRUPTED`]. Blocks; meant for the start.
    ///
    /// # Errors
    /// [`HistoryError`], which names the file, or what is wrong within.
    pub fn open(path: &Path, options: Options) -> Result<Self, HistoryError> {
        Self::open_file(path, options).map_err(|error| error.at(path))
    }

    fn open_file(path: &Path, options: Options) -> Result<Self, HistoryError> {
        let lock = connect::lock(path)?;
        let connection = connect::writer(path, &options)?;
        let interrupted = executions::close_interrupted(&connection, Timestamp::now())?;
        if interrupted > 0 {
            tracing::warn!(executions = interrupted, "closed what an earlier run of the daemon left unfinished");
        }
        let checkpointer = Checkpointer::start(path, &options)?;
        let log = checkpointer.backlog();
        let (sender, requests) = channel();
        let health = Health::default();
        let activity = Arc::new(Activity::default());
        let writer = Writer {
            checkpointer,
            connection,
            health: health.clone(),
            activity: Arc::clone(&activity),
            requests,
            lock,
        };
        let thread = std::thread::Builder::new()
            .name("history-write".into())
            .spawn(move || writer.run())
            .map_err(|error| HistoryError::open(path, &error))?;
        let options = Arc::new(options);
        Ok(Self {
            inner: Arc::new(Inner {
                path: path.to_owned(),
                permits: Arc::new(Semaphore::new(options.max_pending_writes.clamp(1, Semaphore::MAX_PERMITS))),
                readers: Readers::new(path.to_owned(), Arc::clone(&options)),
                options,
                requests: sender,
                health,
                activity,
                log,
                thread: Mutex::new(Some(thread)),
            }),
        })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Why it cannot be written, while it cannot. Once the cause is gone this becomes none by itself within about a
    /// second, whether anybody writes or not.
    #[must_use]
    pub fn health(&self) -> Option<Fault> {
        self.inner.health.get()
    }

    /// Writes that wait for their commit, at most [`Options::max_pending_writes`].
    #[must_use]
    pub fn pending_writes(&self) -> usize {
        let all = self.inner.options.max_pending_writes.clamp(1, Semaphore::MAX_PERMITS);
        all.saturating_sub(self.inner.permits.available_permits())
    }

    /// Counters since the file was opened.
    #[must_use]
    pub fn activity(&self) -> &Activity {
        &self.inner.activity
    }

    /// Waits until everything queued before is committed (or has failed, and was logged).
    ///
    /// # Errors
    /// [`HistoryError`] when nothing can be committed.
    pub async fn flush(&self) -> Result<(), HistoryError> {
        self.write(|_| Ok(())).await
    }

    /// Writes what is queued, ends the threads and closes the file; later calls, on any handle, give
    /// [`HistoryError::Closed`].
    pub async fn close(&self) {
        let inner = Arc::clone(&self.inner);
        // Waiting for threads is no work for an async one. Only a runtime that stops loses this, and then the
        // last handle's end does the same.
        let _ = tokio::task::spawn_blocking(move || inner.stop()).await;
    }

    fn is_closed(&self) -> bool {
        self.inner.permits.is_closed()
    }

    /// How much of the write-ahead log is still to be copied.
    fn log(&self) -> &Backlog {
        &self.inner.log
    }

    fn options(&self) -> &Options {
        &self.inner.options
    }

    async fn read<T, F>(&self, query: F) -> Result<T, HistoryError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.inner.readers.read(query).await
    }

    /// Returns after the commit, as soon as may be. `apply` may be called twice, see [`writer::Write::apply`].
    async fn write<T, F>(&self, apply: F) -> Result<T, HistoryError>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.write_by(Commit::Now, apply).await
    }

    /// As [`History::write`], committed when it is due.
    async fn write_by<T, F>(&self, due: Commit, apply: F) -> Result<T, HistoryError>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let permit = self.permit().await?;
        let (reply, answer) = oneshot::channel();
        self.queue(Request::Write(Box::new(Awaited { apply, due, value: None, reply }), permit))?;
        answer.await.map_err(|_| HistoryError::Closed)?
    }

    /// Returns once queued.
    async fn write_detached<F>(&self, what: &'static str, apply: F) -> Result<(), HistoryError>
    where
        F: FnMut(&Connection) -> rusqlite::Result<()> + Send + 'static,
    {
        let permit = self.permit().await?;
        self.queue(Request::Write(Box::new(Detached { what, apply }), permit))
    }

    async fn permit(&self) -> Result<OwnedSemaphorePermit, HistoryError> {
        Arc::clone(&self.inner.permits).acquire_owned().await.map_err(|_| HistoryError::Closed)
    }

    fn queue(&self, request: Request) -> Result<(), HistoryError> {
        self.inner.requests.send(request).map_err(|_| HistoryError::Closed)
    }
}

impl Inner {
    fn stop(&self) {
        self.permits.close();
        // Before the writer: the last connection to close tidies the log up, and a reading one cannot.
        self.readers.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = self.requests.send(Request::Stop);
            let _ = thread.join();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop();
    }
}
