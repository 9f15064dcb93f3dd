//! Connections that only read, apart from the writer and from the async threads.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::connect;
use super::error::HistoryError;
use super::options::Options;

/// As many connections as configured, opened when first needed.
pub(super) struct Readers {
    path: PathBuf,
    options: Arc<Options>,
    permits: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Readers {
    pub(super) fn new(path: PathBuf, options: Arc<Options>) -> Self {
        let permits = Arc::new(Semaphore::new(options.readers.max(1)));
        Self { path, options, permits, idle: Arc::default() }
    }

    /// Asks on a thread that may block. A query whose caller went away ends all the same and gives its place back.
    pub(super) async fn read<T, F>(&self, query: F) -> Result<T, HistoryError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| HistoryError::Closed)?;
        let idle = Arc::clone(&self.idle);
        let connection = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let (path, options) = (self.path.clone(), Arc::clone(&self.options));
        let answer = tokio::task::spawn_blocking(move || {
            let connection = match connection {
                Some(connection) => connection,
                None => connect::reader(&path, &options)?,
            };
            let answer = query(&connection).map_err(HistoryError::from);
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            drop(permit);
            answer
        });
        answer.await.map_err(|_| HistoryError::Closed)?
    }

    /// Lets nobody in any more and closes what is idle.
    pub(super) fn close(&self) {
        self.permits.close();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
