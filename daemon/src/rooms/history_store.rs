//! Rooms kept in the history's database.

use futures_util::future::BoxFuture;

use super::store::{LoggedMessage, Recording, RoomStore, StoreError, StoredRoom};
use crate::history::{self, History, HistoryError, Timestamp};
use crate::ids::RoomId;

impl From<HistoryError> for StoreError {
    fn from(error: HistoryError) -> Self {
        Self(error.to_string())
    }
}

impl RoomStore for History {
    fn load_room<'a>(&'a self, room: &'a RoomId) -> BoxFuture<'a, Result<Option<StoredRoom>, StoreError>> {
        Box::pin(async move {
            Ok(Self::load_room(self, room).await?.map(|kept| StoredRoom {
                room: kept.room,
                code: kept.code,
                language: kept.language,
                sequence: kept.sequence,
                execution_count: kept.execution_count,
                last_execution_at: kept.last_execution_at.map(|at| at.0),
            }))
        })
    }

    /// The messages are queued before the room, and the history commits what one caller queues in that order:
    /// when this returns `Ok`, all are committed.
    fn save_room<'a>(
        &'a self,
        room: &'a StoredRoom,
        messages: &'a [LoggedMessage],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            for message in messages {
                let (kind, at) = (message.event, Timestamp(message.at));
                let user = message.user.as_ref();
                self.append_message(&room.room, message.sequence, kind, &message.payload, user, at).await?;
            }
            let now = Timestamp::now();
            let kept = history::StoredRoom {
                room: room.room.clone(),
                code: room.code.clone(),
                language: room.language.clone(),
                sequence: room.sequence,
                execution_count: room.execution_count,
                last_execution_at: room.last_execution_at.map(Timestamp),
                created_at: now,
                updated_at: now,
            };
            Ok(Self::save_room(self, &kept).await?)
        })
    }

    fn create_room<'a>(&'a self, room: &'a StoredRoom) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move { Ok(Self::create_room(self, &room.room).await?) })
    }

    fn save_recording<'a>(&'a self, recording: &'a Recording) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let kept = history::Recording {
                recording_id: recording.id.clone(),
                room_id: recording.room.to_string(),
                host: recording.started_by.clone(),
                from_sequence: recording.from_sequence,
                to_sequence: Some(recording.to_sequence),
                started_at: Timestamp(recording.started_at),
                stopped_at: Some(Timestamp(recording.stopped_at)),
            };
            Ok(Self::save_recording(self, &kept).await?)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::history::Options;
    use crate::ids::UserId;
    use crate::rooms::event::RoomEvent;
    use crate::rooms::limits::RoomLimits;
    use crate::rooms::members::{Dialect, Member, MemberId};
    use crate::rooms::registry::RoomRegistry;
    use crate::rooms::state::{FIRST_LANGUAGE, Room, WELCOME};

    #[tokio::test]
    async fn a_room_survives_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("history.db");
        let room = RoomId::new("r").unwrap();
        let by = MemberId::new("a");
        let history = History::open(&path, Options::default()).unwrap();
        let registry = RoomRegistry::new(RoomLimits::default(), Arc::new(history.clone()));
        let member = Member {
            id: by.clone(),
            user: UserId::new("u").unwrap(),
            username: "A".to_owned(),
            color: None,
            dialect: Dialect::Current,
            cursor_name: None,
            place: 0,
        };
        registry.apply(&room, RoomEvent::Joined(member)).await.unwrap();
        let start = RoomEvent::RecordingStarted { by: by.clone(), recording_id: "rec".to_owned() };
        registry.apply(&room, start).await.unwrap();
        let code = RoomEvent::CodeChanged { by: by.clone(), code: "kept".to_owned(), client_sequence: Some(1) };
        registry.apply(&room, code).await.unwrap();
        let language =
            RoomEvent::LanguageChanged { by: by.clone(), language: "python".to_owned(), client_sequence: None };
        registry.apply(&room, language).await.unwrap();
        registry.apply(&room, RoomEvent::Left(by)).await.unwrap();
        registry.save().await;
        drop(registry);
        history.close().await;

        let history = History::open(&path, Options::default()).unwrap();
        let store: &dyn RoomStore = &history;
        let kept = store.load_room(&room).await.unwrap().unwrap();
        assert_eq!((kept.code.as_str(), kept.language.as_str(), kept.sequence), ("kept", "python", 2));
        let messages = history.messages_between(&room, 0, 9).await.unwrap();
        assert_eq!(messages.len(), 2);
        assert_eq!((messages[0].kind.as_str(), messages[0].user_id.as_deref()), ("code-update", Some("u")));
        assert_eq!(messages[0].payload["clientSequence"], 1);
        let recording = history.recording("rec").await.unwrap().unwrap();
        assert_eq!((recording.from_sequence, recording.to_sequence), (1, Some(2)));
    }

    #[tokio::test]
    async fn a_new_room_is_the_same_on_both_sides() {
        let directory = tempfile::tempdir().unwrap();
        let history = History::open(&directory.path().join("history.db"), Options::default()).unwrap();
        let store: &dyn RoomStore = &history;
        let stored = Room::new(RoomId::new("abc123").unwrap(), 1).stored();
        assert_eq!(store.create_room(&stored).await, Ok(true));
        assert_eq!(store.create_room(&stored).await, Ok(false));
        assert_eq!(store.load_room(&stored.room).await.unwrap().as_ref(), Some(&stored));
        assert_eq!((history::NEW_ROOM_CODE, history::NEW_ROOM_LANGUAGE), (WELCOME, FIRST_LANGUAGE));
    }
}
