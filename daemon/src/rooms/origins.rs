//! Which message of a client an execution came from, so that what is announced of it carries its number.
//!
//! An execution may start before the call that submitted it returns with its id: whoever asks for the
//! origin meanwhile waits for that call.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::ids::{ExecutionId, RoomId, UserId};

/// The longest an announcement waits for a submission to return; then it goes without the number.
const PATIENCE: Duration = Duration::from_secs(2);

/// The executions that came from sockets of this daemon and are not announced as finished yet.
#[derive(Default)]
pub struct Origins {
    inner: Mutex<Inner>,
    changed: Notify,
}

#[derive(Default)]
struct Inner {
    submitting: HashMap<(RoomId, UserId), usize>,
    known: HashMap<ExecutionId, Origin>,
}

#[derive(Debug, Clone, Copy)]
struct Origin {
    client_sequence: Option<u64>,
    holders: usize,
}

/// A submission that has not returned yet.
pub struct Submitting {
    origins: Arc<Origins>,
    key: (RoomId, UserId),
}

/// Keeps an execution's origin known; when the last one goes, so does the origin.
pub struct Known {
    origins: Arc<Origins>,
    id: ExecutionId,
}

impl Origins {
    /// A submission is about to be made.
    #[must_use]
    pub fn submitting(self: &Arc<Self>, room: &RoomId, user: &UserId) -> Submitting {
        let key = (room.clone(), user.clone());
        *self.lock().submitting.entry(key.clone()).or_default() += 1;
        Submitting { origins: Arc::clone(self), key }
    }

    /// The number of the message that asked for this execution.
    pub async fn client_sequence(&self, id: &ExecutionId, room: &RoomId, user: &UserId) -> Option<u64> {
        let key = (room.clone(), user.clone());
        let found = async {
            loop {
                let mut changed = std::pin::pin!(self.changed.notified());
                changed.as_mut().enable();
                {
                    let inner = self.lock();
                    if let Some(origin) = inner.known.get(id) {
                        return origin.client_sequence;
                    }
                    if !inner.submitting.contains_key(&key) {
                        return None;
                    }
                }
                changed.await;
            }
        };
        tokio::time::timeout(PATIENCE, found).await.ok().flatten()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Submitting {
    /// It returned with this id.
    #[must_use]
    pub fn known(self, id: &ExecutionId, client_sequence: Option<u64>) -> Known {
        let mut inner = self.origins.lock();
        let origin = inner.known.entry(id.clone()).or_insert(Origin { client_sequence, holders: 0 });
        origin.holders += 1;
        drop(inner);
        Known { origins: Arc::clone(&self.origins), id: id.clone() }
    }
}

impl Drop for Submitting {
    fn drop(&mut self) {
        let mut inner = self.origins.lock();
        if let Some(count) = inner.submitting.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                inner.submitting.remove(&self.key);
            }
        }
        drop(inner);
        self.origins.changed.notify_waiters();
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        let mut inner = self.origins.lock();
        if let Some(origin) = inner.known.get_mut(&self.id) {
            origin.holders -= 1;
            if origin.holders == 0 {
                inner.known.remove(&self.id);
            }
        }
    }
}
