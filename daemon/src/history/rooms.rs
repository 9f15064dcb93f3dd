//! Rooms as they are kept between visits.

use rusqlite::{OptionalExtension, params};

use super::timestamp::Timestamp;
use super::{History, HistoryError};
use crate::ids::RoomId;

/// The code of a new room.
pub const NEW_ROOM_CODE: &str = "//Welcome to JustCoding";
/// The language of a new room.
pub const NEW_ROOM_LANGUAGE: &str = "javascript";

/// A room's lasting state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRoom {
    /// Which.
    pub room: RoomId,
    /// The editor's text.
    pub code: String,
    /// The language chosen.
    pub language: String,
    /// The last number given to a message.
    pub sequence: u64,
    /// Executions so far.
    pub execution_count: u64,
    /// When the last one ended.
    pub last_execution_at: Option<Timestamp>,
    /// When the room was made.
    pub created_at: Timestamp,
    /// When anything of this last changed; retention counts from here.
    pub updated_at: Timestamp,
}

impl StoredRoom {
    /// A new room, as the contract has it.
    #[must_use]
    pub fn new(room: RoomId, now: Timestamp) -> Self {
        Self {
            room,
            code: NEW_ROOM_CODE.to_owned(),
            language: NEW_ROOM_LANGUAGE.to_owned(),
            sequence: 0,
            execution_count: 0,
            last_execution_at: None,
            created_at: now,
            updated_at: now,
        }
    }
}

const INSERT: &str = "
    INSERT INTO rooms (room_id, code, language, sequence, execution_count, last_execution_at, created_at, updated_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (room_id) DO ";

impl History {
    /// A room as it was saved. Its `sequence` is never below the newest logged message's: a crash between the two
    /// gives no number twice.
    ///
    /// # Errors
    /// [`HistoryError`] when it cannot be read.
    pub async fn load_room(&self, room: &RoomId) -> Result<Option<StoredRoom>, HistoryError> {
        let room = room.clone();
        self.read(move |connection| {
            let sql = "
                SELECT code, language,
                       max(sequence, coalesce((SELECT max(sequence) FROM messages m WHERE m.room_id = r.room_id), 0)),
                       execution_count, last_execution_at, created_at, updated_at
                FROM rooms r WHERE room_id = ?1";
            connection
                .prepare_cached(sql)?
                .query_row([room.as_str()], |row| {
                    Ok(StoredRoom {
                        room: room.clone(),
                        code: row.get(0)?,
                        language: row.get(1)?,
                        sequence: row.get::<_, i64>(2)?.cast_unsigned(),
                        execution_count: row.get::<_, i64>(3)?.cast_unsigned(),
                        last_execution_at: row.get(4)?,
                        created_at: row.get(5)?,
                        updated_at: row.get(6)?,
                    })
                })
                .optional()
        })
        .await
    }

    /// Saves a room, new or known (whose `created_at` stays); committed when this returns.
    ///
    /// # Errors
    /// [`HistoryError`] when it is not saved.
    pub async fn save_room(&self, room: &StoredRoom) -> Result<(), HistoryError> {
        self.insert_room(
            room.clone(),
            "UPDATE SET code = excluded.code, language = excluded.language, sequence = excluded.sequence,
                 execution_count = excluded.execution_count, last_execution_at = excluded.last_execution_at,
                 updated_at = excluded.updated_at",
        )
        .await
        .map(drop)
    }

    /// Makes a new room; false when there is one of that name already. Of any number of callers with one name,
    /// one gets true.
    ///
    /// # Errors
    /// [`HistoryError`] when it is not made.
    pub async fn create_room(&self, room: &RoomId) -> Result<bool, HistoryError> {
        self.insert_room(StoredRoom::new(room.clone(), Timestamp::now()), "NOTHING").await
    }

    async fn insert_room(&self, room: StoredRoom, conflict: &'static str) -> Result<bool, HistoryError> {
        self.write(move |connection| {
            let changed = connection.prepare_cached(&format!("{INSERT}{conflict}"))?.execute(params![
                room.room.as_str(),
                room.code,
                room.language,
                room.sequence.cast_signed(),
                room.execution_count.cast_signed(),
                room.last_execution_at,
                room.created_at,
                room.updated_at,
            ])?;
            Ok(changed == 1)
        })
        .await
    }
}
