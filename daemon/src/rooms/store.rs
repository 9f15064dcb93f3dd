//! What rooms need kept: their state, the log of their numbered messages, their recordings.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use futures_util::future::BoxFuture;
use serde_json::Value;
use thiserror::Error;

use crate::ids::{RoomId, UserId};

/// The store could not do it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the room store failed: {0}")]
pub struct StoreError(pub String);

/// A room as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRoom {
    /// Which.
    pub room: RoomId,
    /// All of its code.
    pub code: String,
    /// Its language's name.
    pub language: String,
    /// The last number given.
    pub sequence: u64,
    /// Executions that were started.
    pub execution_count: u64,
    /// Unix milliseconds of the last start.
    pub last_execution_at: Option<i64>,
}

/// One numbered message of a room, as the members of the current dialect were told it.
#[derive(Debug, Clone, PartialEq)]
pub struct LoggedMessage {
    /// The room's number.
    pub sequence: u64,
    /// Unix milliseconds.
    pub at: i64,
    /// The event's name on the wire.
    pub event: &'static str,
    /// Whose doing it was.
    pub user: Option<UserId>,
    /// As it was sent; results without the streams.
    pub payload: Value,
}

/// A stretch of a room's log, both ends included; empty when `to_sequence` is below `from_sequence`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    /// What it is found by.
    pub id: String,
    /// Where.
    pub room: RoomId,
    /// The host who started it.
    pub started_by: String,
    /// Unix milliseconds.
    pub started_at: i64,
    /// Unix milliseconds.
    pub stopped_at: i64,
    /// The first number that could be given in it.
    pub from_sequence: u64,
    /// The last number given in it.
    pub to_sequence: u64,
}

/// Where rooms are kept.
pub trait RoomStore: Send + Sync + 'static {
    /// The room as it was saved last; none when it never was.
    fn load_room<'a>(&'a self, room: &'a RoomId) -> BoxFuture<'a, Result<Option<StoredRoom>, StoreError>>;

    /// Saves a room and the messages since its last saving, together or not at all.
    fn save_room<'a>(
        &'a self,
        room: &'a StoredRoom,
        messages: &'a [LoggedMessage],
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Makes a room; false when its id is taken.
    fn create_room<'a>(&'a self, room: &'a StoredRoom) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// Keeps a finished recording.
    fn save_recording<'a>(&'a self, recording: &'a Recording) -> BoxFuture<'a, Result<(), StoreError>>;
}

/// Keeps rooms in memory alone: for tests.
#[derive(Debug, Default)]
pub struct MemoryStore {
    inner: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    rooms: HashMap<RoomId, StoredRoom>,
    messages: HashMap<RoomId, Vec<LoggedMessage>>,
    recordings: Vec<Recording>,
    failing: bool,
}

impl MemoryStore {
    /// From now on everything fails, or nothing.
    pub fn fail(&self, failing: bool) {
        self.lock().failing = failing;
    }

    /// The log of a room.
    #[must_use]
    pub fn messages(&self, room: &RoomId) -> Vec<LoggedMessage> {
        self.lock().messages.get(room).cloned().unwrap_or_default()
    }

    /// Every finished recording.
    #[must_use]
    pub fn recordings(&self) -> Vec<Recording> {
        self.lock().recordings.clone()
    }

    /// The room as it was saved last.
    #[must_use]
    pub fn room(&self, room: &RoomId) -> Option<StoredRoom> {
        self.lock().rooms.get(room).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn working(&self) -> Result<std::sync::MutexGuard<'_, Kept>, StoreError> {
        let kept = self.lock();
        if kept.failing { Err(StoreError("told to fail".to_owned())) } else { Ok(kept) }
    }
}

impl RoomStore for MemoryStore {
    fn load_room<'a>(&'a self, room: &'a RoomId) -> BoxFuture<'a, Result<Option<StoredRoom>, StoreError>> {
        Box::pin(async move { Ok(self.working()?.rooms.get(room).cloned()) })
    }

    fn save_room<'a>(
        &'a self,
        room: &'a StoredRoom,
        messages: &'a [LoggedMessage],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let mut kept = self.working()?;
            kept.rooms.insert(room.room.clone(), room.clone());
            kept.messages.entry(room.room.clone()).or_default().extend_from_slice(messages);
            Ok(())
        })
    }

    fn create_room<'a>(&'a self, room: &'a StoredRoom) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move {
            let mut kept = self.working()?;
            if kept.rooms.contains_key(&room.room) {
                return Ok(false);
            }
            kept.rooms.insert(room.room.clone(), room.clone());
            Ok(true)
        })
    }

    fn save_recording<'a>(&'a self, recording: &'a Recording) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.working()?.recordings.push(recording.clone());
            Ok(())
        })
    }
}
