//! One room: an event goes in, what its members are told comes out. No I/O, no clock.
//!
//! **Invariants.** Every event that [`RoomEvent::is_numbered`] and is applied takes exactly the next
//! number; nothing else takes one. Only an operator's [`RoomEvent::Advanced`] skips some, and tells everyone. A
//! member's state depends only on the events and their order, so that several daemons that apply the same events
//! hold the same room.

mod restate;

use serde_json::{Map, Value, json};

use super::event::{Audience, Body, Outgoing, RoomEvent};
use super::members::{Dialect, Joining, Member, MemberId, Members};
use super::store::{LoggedMessage, Recording, StoredRoom};
use crate::ids::{ExecutionId, RoomId, UserId};
use crate::jobs::response::iso8601;
pub use restate::Restated;

/// The code of a new room.
pub const WELCOME: &str = "//Welcome to JustCoding";
/// The language of a new room.
pub const FIRST_LANGUAGE: &str = "javascript";

/// Why a recording is not started: who asked is not the host.
pub const ONLY_HOST_STARTS: &str = "only the host may start a recording";
/// Why a recording is not started: there is one.
pub const ALREADY_RECORDING: &str = "a recording is already running";
/// Why a recording is not stopped: who asked is not the host.
pub const ONLY_HOST_STOPS: &str = "only the host may stop a recording";
/// Why a recording is not stopped: there is none.
pub const NOT_RECORDING: &str = "no recording is running";

/// Why a room of at most `members` connections cannot be joined.
#[must_use]
pub fn full(members: usize) -> String {
    format!("the room is full: it takes at most {members} connections")
}

/// What applying an event did.
#[derive(Debug, Default)]
pub struct Applied {
    /// False when the event was refused; the refused one is told by an `error`.
    pub accepted: bool,
    /// What the members are told, in this order.
    pub outgoing: Vec<Outgoing>,
    /// What belongs into the room's log.
    pub logged: Option<LoggedMessage>,
    /// A recording that ended.
    pub recording: Option<Recording>,
}

#[derive(Debug, Default)]
struct ExecutionState {
    current: Option<ExecutionId>,
    last_at: Option<i64>,
    count: u64,
}

/// A recording that goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveRecording {
    /// What it will be found by.
    pub id: String,
    /// The host who started it.
    pub started_by: String,
    /// Unix milliseconds.
    pub started_at: i64,
    /// The first number that could be given in it.
    pub from_sequence: u64,
}

/// One room in memory.
#[derive(Debug)]
pub struct Room {
    id: RoomId,
    code: String,
    language: String,
    sequence: u64,
    execution: ExecutionState,
    members: Members,
    max_members: usize,
    recording: Option<ActiveRecording>,
}

impl Room {
    /// A new room.
    #[must_use]
    pub fn new(id: RoomId, max_members: usize) -> Self {
        Self {
            id,
            code: WELCOME.to_owned(),
            language: FIRST_LANGUAGE.to_owned(),
            sequence: 0,
            execution: ExecutionState::default(),
            members: Members::default(),
            max_members,
            recording: None,
        }
    }

    /// A room as it was saved: nobody is in it and nothing runs.
    #[must_use]
    pub fn restore(stored: StoredRoom, max_members: usize) -> Self {
        Self {
            code: stored.code,
            language: stored.language,
            sequence: stored.sequence,
            execution: ExecutionState {
                current: None,
                last_at: stored.last_execution_at,
                count: stored.execution_count,
            },
            ..Self::new(stored.room, max_members)
        }
    }

    /// What is kept of it.
    #[must_use]
    pub fn stored(&self) -> StoredRoom {
        StoredRoom {
            room: self.id.clone(),
            code: self.code.clone(),
            language: self.language.clone(),
            sequence: self.sequence,
            execution_count: self.execution.count,
            last_execution_at: self.execution.last_at,
        }
    }

    /// Which room.
    #[must_use]
    pub const fn id(&self) -> &RoomId {
        &self.id
    }

    /// The last number given.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Who is in it.
    #[must_use]
    pub const fn members(&self) -> &Members {
        &self.members
    }

    /// Whether nobody is there and nothing runs.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.members.is_empty() && self.execution.current.is_none()
    }

    /// The payload of `room-state`.
    #[must_use]
    pub fn room_state(&self) -> Value {
        json!({
            "code": self.code,
            "language": self.language,
            "sequence": self.sequence,
            "executionState": self.execution_state(),
            "nextExpectedSequence": self.sequence + 1,
        })
    }

    /// The `executionState` of `room-state`.
    #[must_use]
    pub fn execution_state(&self) -> Value {
        json!({
            "isExecuting": self.execution.current.is_some(),
            "currentExecutionId": self.execution.current.as_ref().map(ExecutionId::as_str),
            "lastExecutionAt": self.execution.last_at.map(iso8601),
            "executionCount": self.execution.count,
        })
    }

    /// What operators see of it, without what only its connections know.
    #[must_use]
    pub fn diagnostics(&self) -> Value {
        json!({
            "roomId": self.id,
            "language": self.language,
            "codeLength": self.code.chars().count(),
            "sequence": self.sequence,
            "nextExpectedSequence": self.sequence + 1,
            "executionState": self.execution_state(),
            "memberCount": self.members.len(),
            "recording": self.recording.is_some(),
        })
    }

    /// Applies an event that happened at `at` (Unix milliseconds).
    pub fn apply(&mut self, at: i64, event: RoomEvent) -> Applied {
        match event {
            RoomEvent::Joined(member) => self.joined(at, member),
            RoomEvent::Left(id) => self.left(at, &id),
            RoomEvent::CodeChanged { by, code, client_sequence } => {
                self.changed(at, &by, Change::Code(code), client_sequence)
            }
            RoomEvent::LanguageChanged { by, language, client_sequence } => {
                self.changed(at, &by, Change::Language(language), client_sequence)
            }
            RoomEvent::ExecutionQueued { correlation_id, position, queue_length } => told(
                Audience::Room,
                "execution-queued",
                json!({"correlationId": correlation_id, "position": position, "queueLength": queue_length}),
            ),
            RoomEvent::ExecutionStarted { execution, correlation_id, user, username, client_sequence } => {
                self.execution =
                    ExecutionState { current: Some(execution), last_at: Some(at), count: self.execution.count + 1 };
                let payload = object(json!({
                    "userId": user, "username": username, "correlationId": correlation_id, "timestamp": iso8601(at),
                }));
                self.number(at, "execution-started", Some(user), payload, client_sequence, Audience::Room)
            }
            RoomEvent::ExecutionOutput { correlation_id, stream, data, offset } => told(
                Audience::Room,
                "execution-output",
                json!({"correlationId": correlation_id, "stream": stream.name(), "data": data, "offset": offset}),
            ),
            RoomEvent::ExecutionFinished { execution, response, client_sequence } => {
                if self.execution.current.as_ref() == Some(&execution) {
                    self.execution.current = None;
                }
                let user = response.get("userId").and_then(Value::as_str).and_then(|user| UserId::new(user).ok());
                self.number(at, "execution-result", user, response, client_sequence, Audience::Room)
            }
            RoomEvent::StateRequested { by } => match self.members.get(&by) {
                Some(_) => told(Audience::One(by), "room-state", self.room_state()),
                None => Applied::default(),
            },
            RoomEvent::Advanced { to } if to <= self.sequence => Applied::default(),
            RoomEvent::Advanced { to } => {
                self.sequence = to;
                told(Audience::Room, "room-state", self.room_state())
            }
            RoomEvent::RecordingStarted { by, recording_id } => self.recording_started(at, by, recording_id),
            RoomEvent::RecordingStopped { by } => self.recording_stopped(at, by),
            RoomEvent::Chat { .. }
            | RoomEvent::Typing { .. }
            | RoomEvent::CursorMoved { .. }
            | RoomEvent::DebugState { .. } => self.passed_on(at, event),
        }
    }

    fn joined(&mut self, at: i64, member: Member) -> Applied {
        let host = self.members.host().map(|host| host.id.clone());
        let joining = self.members.join(member.clone(), self.max_members);
        let id = &member.id;
        let mut applied = Applied { accepted: true, ..Applied::default() };
        if joining == Joining::Full {
            applied.accepted = false;
            applied.outgoing.push(error(id.clone(), &full(self.max_members)));
            return applied;
        }
        applied.tell(Audience::One(id.clone()), "room-state", self.room_state());
        if member.dialect == Dialect::Old {
            applied.tell(Audience::One(id.clone()), "code-update", json!(self.code));
        }
        if self.members.is_host(id) {
            applied.tell(Audience::One(id.clone()), "host-assigned", json!({"isHost": true}));
            // Who comes back to a place from before another daemon's members.
            if let Some(former) = host.filter(|former| former != id) {
                applied.tell(Audience::One(former), "host-assigned", json!({"isHost": false}));
            }
        }
        if self.recording.is_some() {
            applied.tell(Audience::One(id.clone()), "recording-started", json!({}));
        }
        if joining == Joining::New {
            let mut payload = presence(&member, "joined", at);
            if let Some(color) = &member.color {
                payload.insert("color".to_owned(), json!(color));
            }
            applied.tell(Audience::Others(id.clone()), "user-joined", Value::Object(payload));
        }
        if joining == Joining::Same {
            applied.tell(Audience::One(id.clone()), "participants-list", self.members.participants_for(id));
        } else {
            self.tell_participants(&mut applied);
        }
        applied
    }

    fn left(&mut self, at: i64, id: &MemberId) -> Applied {
        let was_host = self.members.is_host(id);
        let Some(member) = self.members.leave(id) else { return Applied::default() };
        let mut applied = Applied { accepted: true, ..Applied::default() };
        let others = || Audience::Others(id.clone());
        applied.tell(others(), "user-left", Value::Object(presence(&member, "left", at)));
        let name = member.cursor_name.as_ref().unwrap_or(&member.username);
        applied.tell(others(), "cursor-remove", json!({"username": name}));
        if let Some(host) = self.members.host().filter(|_| was_host) {
            applied.tell(Audience::One(host.id.clone()), "host-assigned", json!({"isHost": true}));
        }
        self.tell_participants(&mut applied);
        if self.members.is_empty() {
            applied.recording = self.end_recording(at);
        }
        applied
    }

    fn changed(&mut self, at: i64, by: &MemberId, change: Change, client_sequence: Option<u64>) -> Applied {
        let Some(member) = self.members.get(by) else { return Applied::default() };
        let (username, user) = (member.username.clone(), member.user.clone());
        let (event, field, text) = match change {
            Change::Code(code) => {
                self.code.clone_from(&code);
                ("code-update", "code", code)
            }
            Change::Language(language) => {
                self.language.clone_from(&language);
                ("language-update", "language", language)
            }
        };
        let payload = object(json!({field: text, "username": username}));
        let mut applied = self.number(at, event, Some(user), payload, client_sequence, Audience::Others(by.clone()));
        for outgoing in &mut applied.outgoing {
            if let Body::Same(current) = std::mem::replace(&mut outgoing.body, Body::Same(Value::Null)) {
                outgoing.body = Body::ByDialect { old: Value::String(text.clone()), current };
            }
        }
        applied
    }

    /// Takes the next number for a message.
    fn number(
        &mut self,
        at: i64,
        event: &'static str,
        user: Option<UserId>,
        mut payload: Map<String, Value>,
        client_sequence: Option<u64>,
        to: Audience,
    ) -> Applied {
        self.sequence += 1;
        payload.insert("sequence".to_owned(), json!(self.sequence));
        if let Some(number) = client_sequence {
            payload.insert("clientSequence".to_owned(), json!(number));
        }
        let mut log = payload.clone();
        for bulky in ["stdout", "stderr", "compile"] {
            log.remove(bulky);
        }
        Applied {
            accepted: true,
            logged: Some(LoggedMessage { sequence: self.sequence, at, event, user, payload: Value::Object(log) }),
            outgoing: vec![Outgoing::new(to, event, Value::Object(payload))],
            recording: None,
        }
    }

    fn passed_on(&mut self, at: i64, event: RoomEvent) -> Applied {
        let (by, name, payload): (MemberId, &'static str, Value) = match event {
            RoomEvent::Chat { by, username, message } => {
                let Some(member) = self.members.get(&by) else { return Applied::default() };
                let username = username.as_ref().unwrap_or(&member.username);
                let payload = json!({"username": username, "message": message, "timestamp": iso8601(at)});
                (by, "receive-chat", payload)
            }
            RoomEvent::Typing { by, username } => {
                let Some(member) = self.members.get(&by) else { return Applied::default() };
                let payload = json!(format!("{} is typing...", username.as_ref().unwrap_or(&member.username)));
                (by, "show-typing", payload)
            }
            RoomEvent::CursorMoved { by, username, position, selection, color } => {
                let Some(member) = self.members.get_mut(&by) else { return Applied::default() };
                let color = color.or_else(|| member.color.clone());
                let username = username.unwrap_or_else(|| member.username.clone());
                let payload =
                    json!({"username": username, "position": position, "selection": selection, "color": color});
                member.cursor_name = Some(username);
                (by, "cursor-update", payload)
            }
            RoomEvent::DebugState { by, state } if self.members.get(&by).is_some() => (by, "debug-state-update", state),
            _ => return Applied::default(),
        };
        let mut applied = told(Audience::Others(by), name, payload);
        for outgoing in &mut applied.outgoing {
            outgoing.droppable = matches!(name, "show-typing" | "cursor-update");
        }
        applied
    }

    fn recording_started(&mut self, at: i64, by: MemberId, id: String) -> Applied {
        let Some(member) = self.members.get(&by) else { return Applied::default() };
        if !self.members.is_host(&by) {
            return refused(by, ONLY_HOST_STARTS);
        }
        if self.recording.is_some() {
            return refused(by, ALREADY_RECORDING);
        }
        let started_by = member.user.to_string();
        self.recording = Some(ActiveRecording { id, started_by, started_at: at, from_sequence: self.sequence + 1 });
        told(Audience::Room, "recording-started", json!({}))
    }

    fn recording_stopped(&mut self, at: i64, by: MemberId) -> Applied {
        if self.members.get(&by).is_none() {
            return Applied::default();
        }
        if !self.members.is_host(&by) {
            return refused(by, ONLY_HOST_STOPS);
        }
        let Some(recording) = self.end_recording(at) else { return refused(by, NOT_RECORDING) };
        let mut applied = told(Audience::Room, "recording-stopped", json!({"recordingId": recording.id}));
        applied.recording = Some(recording);
        applied
    }

    fn end_recording(&mut self, at: i64) -> Option<Recording> {
        self.recording.take().map(|active| Recording {
            id: active.id,
            room: self.id.clone(),
            started_by: active.started_by,
            started_at: active.started_at,
            stopped_at: at,
            from_sequence: active.from_sequence,
            to_sequence: self.sequence,
        })
    }

    fn tell_participants(&self, applied: &mut Applied) {
        for member in self.members.iter() {
            let list = self.members.participants_for(&member.id);
            applied.tell(Audience::One(member.id.clone()), "participants-list", list);
        }
    }
}

enum Change {
    Code(String),
    Language(String),
}

impl Applied {
    fn tell(&mut self, to: Audience, event: &'static str, payload: Value) {
        self.outgoing.push(Outgoing::new(to, event, payload));
    }
}

fn told(to: Audience, event: &'static str, payload: Value) -> Applied {
    Applied { accepted: true, outgoing: vec![Outgoing::new(to, event, payload)], ..Applied::default() }
}

fn refused(by: MemberId, message: &str) -> Applied {
    Applied { outgoing: vec![error(by, message)], ..Applied::default() }
}

fn error(to: MemberId, message: &str) -> Outgoing {
    Outgoing::new(Audience::One(to), "error", json!({"message": message}))
}

fn presence(member: &Member, what: &str, at: i64) -> Map<String, Value> {
    object(json!({
        "message": format!("{} {what} the room", member.username),
        "username": member.username,
        "userId": member.user,
        "timestamp": iso8601(at),
    }))
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
