//! What daemons hear of each other through Redis, read.

use std::sync::Arc;

use redis::Msg;
use serde::Deserialize;

use super::script::Names;
use crate::ids::{ExecutionId, RoomId};
use crate::rooms::event::RoomEvent;
use crate::rooms::members::{Member, MemberId};
use crate::rooms::state::{ActiveRecording, Restated};
use crate::rooms::store::StoredRoom;

/// A place in what Redis ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::rooms) struct Cursor {
    /// Since Redis last learned the room from a daemon.
    pub(in crate::rooms) epoch: Arc<str>,
    /// Ordered events since.
    pub(in crate::rooms) revision: u64,
}

/// Where a daemon stands with a room when it begins to follow it.
#[derive(Debug)]
pub(in crate::rooms) struct Standing {
    /// None when it knows something that Redis does not.
    pub(in crate::rooms) cursor: Option<Cursor>,
    pub(in crate::rooms) stored: StoredRoom,
    /// What it runs there, and the event that tells of its interruption, as JSON.
    pub(in crate::rooms) running: Option<(ExecutionId, String)>,
    /// As Redis keeps it.
    pub(in crate::rooms) recording: Option<String>,
    /// Who is connected to it: id, place, JSON.
    pub(in crate::rooms) members: Vec<(MemberId, u64, String)>,
}

/// What comes before an event.
#[derive(Debug)]
pub(in crate::rooms) struct Head {
    pub(in crate::rooms) cursor: Cursor,
    /// The room's last number after it.
    pub(in crate::rooms) sequence: u64,
    /// Unix milliseconds of the server's clock.
    pub(in crate::rooms) at: i64,
    /// Of who joined.
    pub(in crate::rooms) place: u64,
    /// The daemon that published it.
    pub(in crate::rooms) instance: Box<str>,
    /// That daemon's number for it; 0 for what came of following or reaping.
    pub(in crate::rooms) id: u64,
}

/// What was heard of a room.
#[derive(Debug)]
pub(in crate::rooms) enum Heard {
    /// The next event; none when this daemon does not know its kind.
    Event(Head, Option<RoomEvent>),
    /// An event without a place in the order.
    Fleeting(Head, RoomEvent),
    /// All of it.
    State(Cursor, Box<Restated>),
    /// Nothing is missing.
    Level(Cursor),
}

/// A message from Redis.
#[derive(Debug)]
pub(in crate::rooms) struct Message {
    pub(in crate::rooms) room: RoomId,
    /// The attempt to follow that it answers; none when it is for every daemon.
    pub(in crate::rooms) attempt: Option<u64>,
    pub(in crate::rooms) heard: Heard,
}

#[derive(Deserialize)]
struct State {
    epoch: String,
    revision: String,
    sequence: String,
    code: String,
    language: String,
    count: String,
    last: Option<String>,
    execution: Option<String>,
    recording: Option<String>,
    #[serde(default)]
    members: Vec<(String, String)>,
}

impl Message {
    /// None for what is nothing of a room, or not readable.
    pub(super) fn read(names: &Names, message: &Msg) -> Option<Self> {
        let payload = std::str::from_utf8(message.get_payload_bytes()).ok()?;
        let (kind, rest) = payload.split_once('\n')?;
        let (room, attempt, rest) = match names.room_of(message.get_channel_name()) {
            Some(room) => (room, None, rest),
            None => {
                let (attempt, rest) = rest.split_once('\n')?;
                let (room, rest) = rest.split_once('\n')?;
                (RoomId::new(room).ok()?, Some(attempt.parse().ok()?), rest)
            }
        };
        let heard = match kind {
            "event" | "fleeting" => {
                let (head, event) = rest.split_once('\n')?;
                let head = Head::read(head)?;
                let event = serde_json::from_str(event).inspect_err(|error| {
                    tracing::warn!(%room, %error, "another daemon told an event that this one does not know");
                });
                if kind == "event" { Heard::Event(head, event.ok()) } else { Heard::Fleeting(head, event.ok()?) }
            }
            "level" => {
                let (epoch, revision) = rest.split_once(' ')?;
                Heard::Level(Cursor { epoch: epoch.into(), revision: revision.parse().ok()? })
            }
            "state" => {
                let state: State = serde_json::from_str(rest).ok()?;
                let cursor = Cursor { epoch: state.epoch.as_str().into(), revision: state.revision.parse().ok()? };
                Heard::State(cursor, Box::new(state.restated(&room)?))
            }
            _ => return None,
        };
        Some(Self { room, attempt, heard })
    }
}

impl Head {
    fn read(head: &str) -> Option<Self> {
        let mut words = head.split(' ');
        let mut word = || words.next();
        let cursor = Cursor { epoch: word()?.into(), revision: word()?.parse().ok()? };
        let sequence = word()?.parse().ok()?;
        let micros: i64 = word()?.parse().ok()?;
        let place = word()?.parse().ok()?;
        Some(Self { cursor, sequence, at: micros / 1000, place, instance: word()?.into(), id: word()?.parse().ok()? })
    }
}

impl State {
    fn restated(self, room: &RoomId) -> Option<Restated> {
        let stored = StoredRoom {
            room: room.clone(),
            code: self.code,
            language: self.language,
            sequence: self.sequence.parse().ok()?,
            execution_count: self.count.parse().ok()?,
            last_execution_at: self.last.and_then(|last| last.parse().ok()),
        };
        let members = self.members.into_iter().filter_map(|(place, json)| {
            let member: Member = serde_json::from_str(&json).ok()?;
            Some(Member { place: place.parse().ok()?, ..member })
        });
        Some(Restated {
            stored,
            running: self.execution.and_then(|id| ExecutionId::new(&id).ok()),
            recording: self.recording.as_deref().and_then(read_recording),
            members: members.collect(),
        })
    }
}

/// A recording as Redis keeps it: when, its first number, its id, who started it.
pub(in crate::rooms) fn write_recording(recording: &ActiveRecording) -> String {
    let ActiveRecording { id, started_by, started_at, from_sequence } = recording;
    format!("{started_at} {from_sequence} {id} {started_by}")
}

fn read_recording(text: &str) -> Option<ActiveRecording> {
    let mut words = text.splitn(4, ' ');
    let mut word = || words.next();
    let (started_at, from_sequence) = (word()?.parse().ok()?, word()?.parse().ok()?);
    Some(ActiveRecording { id: word()?.to_owned(), started_by: word()?.to_owned(), started_at, from_sequence })
}
