//! A room that several daemons serve, as one of them holds it.
//!
//! Redis orders what happens to the room; a replica applies it in that order. Cut off from Redis it goes on
//! alone, and forgets its cursor as soon as it knows something that Redis does not.
//!
//! **Invariants.** While a replica follows, it has applied exactly the events of its cursor's epoch up to its
//! revision. A number that members here were told is never told again: standing elsewhere than Redis, they
//! meet at the higher one.

use std::collections::HashMap;

use serde_json::json;
use tokio::sync::watch;

use super::bus::{BusError, Published};
use super::delivery::Wire;
use super::event::RoomEvent;
use super::members::{Member, MemberId};
use super::redis_bus::message::{Cursor, Head, Heard, Message, Standing, write_recording};
use super::registry::{Live, RoomRegistry, lock};
use super::state::Restated;
use crate::clock::unix_ms;
use crate::ids::{ExecutionId, RoomId};
use crate::jobs::response::iso8601;

/// How a room stands with Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Applies only what happens here.
    Alone,
    /// Asked where the room stands; counts the attempts.
    Asking(u64),
    /// Applies what this connection to Redis says.
    Following(u64),
}

/// What a room that several daemons serve has beside the room.
pub(super) struct Replica {
    pub(super) mode: Mode,
    cursor: Option<Cursor>,
    /// Members whose connections are here.
    here: HashMap<MemberId, Member>,
    /// What runs here, and the event that tells of its interruption, as JSON.
    running: Option<(ExecutionId, String)>,
    /// The last of this daemon's own events that was applied.
    own: u64,
    /// Marked as changed with every event and every change of mode.
    progress: watch::Sender<()>,
}

impl Default for Replica {
    fn default() -> Self {
        Self {
            mode: Mode::Alone,
            cursor: None,
            here: HashMap::new(),
            running: None,
            own: 0,
            progress: watch::Sender::new(()),
        }
    }
}

impl Replica {
    /// Whether this daemon needs the room no more; Redis keeps it.
    pub(super) fn is_idle(&self) -> bool {
        self.here.is_empty() && self.running.is_none() && matches!(self.mode, Mode::Following(_))
    }

    fn note(&mut self, instance: bool, event: &RoomEvent, room: &RoomId, place: u64, at: i64) {
        match event {
            RoomEvent::Joined(member) if instance => {
                self.here.insert(member.id.clone(), Member { place, ..member.clone() });
            }
            RoomEvent::ExecutionStarted { execution, .. } if instance => {
                let interrupted = interrupted(room, event, at);
                self.running = interrupted.map(|interrupted| (execution.clone(), interrupted));
            }
            _ => {}
        }
    }
}

/// What is told of an execution whose daemon died.
pub(super) fn interrupted(room: &RoomId, event: &RoomEvent, at: i64) -> Option<String> {
    let RoomEvent::ExecutionStarted { execution, correlation_id, user, username, client_sequence } = event else {
        return None;
    };
    let response = json!({
        "success": false, "status": "failed", "executionId": execution, "correlationId": correlation_id,
        "userId": user, "username": username, "roomId": room, "output": "", "error": "interrupted",
        "executionTime": 0, "timestamp": iso8601(at),
    });
    let serde_json::Value::Object(response) = response else { return None };
    let client_sequence = *client_sequence;
    serde_json::to_string(&RoomEvent::ExecutionFinished { execution: execution.clone(), response, client_sequence })
        .ok()
}

impl Live {
    fn follow(&mut self, generation: u64, cursor: Option<Cursor>) {
        let Some(replica) = &mut self.replica else { return };
        // Redis has decided who is in.
        self.room.limit_members(usize::MAX);
        replica.mode = Mode::Following(generation);
        if cursor.is_some() {
            replica.cursor = cursor;
        }
    }

    /// Adds the members here that are not in it: another daemon took this one for dead, or does not know it.
    /// False when there were any.
    fn add_missing(&self, restated: &mut Restated) -> bool {
        let here = self.replica.iter().flat_map(|replica| replica.here.values());
        let missing: Vec<_> =
            here.filter(|member| restated.members.iter().all(|there| there.id != member.id)).cloned().collect();
        let complete = missing.is_empty();
        restated.members.extend(missing);
        complete
    }

    fn lose(&mut self) {
        if let Some(replica) = &mut self.replica {
            replica.mode = Mode::Alone;
            replica.progress.send_replace(());
        }
    }
}

impl RoomRegistry {
    /// How a room stands with Redis and where, reading it from the store if need be.
    pub(super) async fn mode(&self, room: &RoomId) -> Result<(Mode, Option<Cursor>, watch::Receiver<()>), BusError> {
        self.with_live(room, |live| {
            let replica = live.replica.get_or_insert_default();
            (replica.mode, replica.cursor.clone(), replica.progress.subscribe())
        })
        .await
    }

    /// Whether this daemon's own event of this number was applied.
    pub(super) async fn has_applied(&self, room: &RoomId, id: u64) -> Result<bool, BusError> {
        self.with_live(room, |live| live.replica.as_ref().is_some_and(|replica| replica.own >= id)).await
    }

    /// The member of this id, if its connection is here.
    pub(super) async fn here(&self, room: &RoomId, member: &MemberId) -> Result<Option<Member>, BusError> {
        self.with_live(room, |live| live.replica.as_ref()?.here.get(member).cloned()).await
    }

    /// What is said of an event that has no effect.
    pub(super) async fn silent(&self, room: &RoomId) -> Result<Published, BusError> {
        self.with_live(room, |live| Published { accepted: false, sequence: live.room.sequence() }).await
    }

    /// Redis knows the room differently: it must be asked for anew.
    pub(super) async fn lose(&self, room: &RoomId) -> Result<(), BusError> {
        self.with_live(room, Live::lose).await
    }

    /// As [`RoomRegistry::lose`], if it is in memory.
    pub(super) fn doubt(&self, room: &RoomId) {
        self.with_present(room, Live::lose);
    }

    /// An event that takes something away is about to be published: it must not be given to Redis any more.
    pub(super) async fn let_go(&self, room: &RoomId, event: &RoomEvent) -> Result<(), BusError> {
        self.with_live(room, |live| {
            let Some(replica) = &mut live.replica else { return };
            match event {
                RoomEvent::Left(id) => drop(replica.here.remove(id)),
                RoomEvent::ExecutionFinished { execution, .. } => {
                    replica.running.take_if(|(running, _)| running == execution);
                }
                _ => {}
            }
        })
        .await
    }

    /// Tells one who wants something that it cannot be; it may not be a member.
    pub(super) async fn refuse(&self, room: &RoomId, to: &MemberId, why: &str) -> Result<Published, BusError> {
        self.with_live(room, |live| {
            if let Some(sink) = live.sinks.get(to) {
                sink.send(&Wire::new("error", &json!({"message": why}), false));
            }
            Published { accepted: false, sequence: live.room.sequence() }
        })
        .await
    }

    /// Applies an event that concerns one member of this daemon alone.
    pub(super) async fn apply_aside(&self, room: &RoomId, event: RoomEvent) -> Result<Published, BusError> {
        self.with_live(room, |live| self.apply_to(live, room, unix_ms(), event)).await
    }

    /// Applies an event without Redis.
    pub(super) async fn apply_alone(&self, room: &RoomId, mut event: RoomEvent) -> Result<Published, BusError> {
        self.with_live(room, |live| {
            let at = unix_ms();
            live.room.limit_members(self.limits().members);
            let place = u64::try_from(at).unwrap_or_default() * 1000;
            let last = live.room.members().iter().last().map_or(0, |last| last.place);
            let place = place.max(last + 1);
            let diverges = event.is_numbered()
                || matches!(
                    event,
                    RoomEvent::Advanced { .. }
                        | RoomEvent::RecordingStarted { .. }
                        | RoomEvent::RecordingStopped { .. }
                );
            if let RoomEvent::Joined(member) = &mut event {
                let present = live.room.members().get(&member.id);
                member.place = present.map_or(place, |present| present.place);
            }
            let mut to = live.room.restated();
            if !live.add_missing(&mut to) {
                let applied = live.room.restate(at, to);
                self.tell(live, room, applied, false);
            }
            let noted = event.clone();
            let published = self.apply_to(live, room, at, event);
            let replica = live.replica.get_or_insert_default();
            replica.mode = Mode::Alone;
            if published.accepted {
                let place = match &noted {
                    RoomEvent::Joined(member) => member.place,
                    _ => 0,
                };
                replica.note(true, &noted, room, place, at);
                if diverges {
                    replica.cursor = None;
                }
            }
            replica.progress.send_replace(());
            published
        })
        .await
    }

    /// Cut off for so long that the members of other daemons cannot be vouched for: only those here stay.
    pub(super) fn stay_alone(&self, room: &RoomId) {
        self.with_present(room, |live| {
            let mut to = live.room.restated();
            let Some(replica) = &mut live.replica else { return };
            replica.mode = Mode::Alone;
            to.members = replica.here.values().cloned().collect();
            to.running = to.running.filter(|id| replica.running.as_ref().is_some_and(|(running, _)| running == id));
            replica.cursor = None;
            replica.progress.send_replace(());
            let applied = live.room.restate(unix_ms(), to);
            self.tell(live, room, applied, false);
        });
    }

    /// Begins to ask where the room stands; gives where it stands here.
    pub(super) async fn ask(&self, room: &RoomId, attempt: u64) -> Result<Standing, BusError> {
        self.with_live(room, |live| {
            let restated = live.room.restated();
            let replica = live.replica.get_or_insert_default();
            replica.mode = Mode::Asking(attempt);
            replica.progress.send_replace(());
            let mut members: Vec<&Member> = replica.here.values().collect();
            members.sort_by_key(|member| member.place);
            let members = members
                .into_iter()
                .filter_map(|member| Some((member.id.clone(), member.place, serde_json::to_string(member).ok()?)));
            Standing {
                cursor: replica.cursor.clone(),
                stored: restated.stored,
                running: replica.running.clone(),
                recording: restated.recording.as_ref().map(write_recording),
                members: members.collect(),
            }
        })
        .await
    }

    /// Applies what Redis says by this connection. False when the room must be asked for anew.
    pub(super) fn hear(&self, instance: &str, generation: u64, message: Message) -> bool {
        let Message { room, attempt, heard } = message;
        self.with_present(&room, |live| {
            let Some(mode) = live.replica.as_ref().map(|replica| replica.mode) else { return true };
            let expected = match attempt {
                Some(attempt) => mode == Mode::Asking(attempt),
                None => mode == Mode::Following(generation),
            };
            if !expected {
                return true;
            }
            let follows = match heard {
                Heard::Event(head, event) => self.hear_event(live, &room, instance, head, event),
                Heard::Fleeting(head, event) => {
                    self.apply_to(live, &room, head.at, event);
                    true
                }
                // Redis forgot the room and learned it from a daemon that knows less.
                Heard::State(_, restated) if restated.stored.sequence < live.room.sequence() => {
                    live.replica.as_mut().is_some_and(|replica| {
                        replica.cursor = None;
                        false
                    })
                }
                Heard::State(cursor, mut restated) => {
                    // It may come from a daemon that Redis knew nothing of those here by.
                    let complete = live.add_missing(&mut restated);
                    let applied = live.room.restate(unix_ms(), *restated);
                    self.tell(live, &room, applied, true);
                    live.follow(generation, Some(cursor));
                    complete
                }
                Heard::Level(cursor) => {
                    let level = live.replica.as_ref().is_some_and(|replica| replica.cursor.as_ref() == Some(&cursor));
                    if level {
                        live.follow(generation, None);
                    }
                    level
                }
            };
            if let Some(replica) = &mut live.replica {
                if !follows {
                    replica.mode = Mode::Alone;
                }
                replica.progress.send_replace(());
            }
            follows
        })
        .unwrap_or(true)
    }

    fn hear_event(&self, live: &mut Live, room: &RoomId, instance: &str, head: Head, event: Option<RoomEvent>) -> bool {
        let Some(replica) = &mut live.replica else { return true };
        let Some(cursor) = &mut replica.cursor else { return false };
        if cursor.epoch != head.cursor.epoch {
            return false;
        }
        if head.cursor.revision <= cursor.revision {
            return true;
        }
        let next = head.cursor.revision == cursor.revision + 1;
        let (true, Some(mut event)) = (next, event) else {
            // What was missed changed something, perhaps: only the whole state will do.
            if next {
                replica.cursor = None;
            }
            return false;
        };
        cursor.revision = head.cursor.revision;
        let own = *instance == *head.instance;
        if own && head.id > 0 {
            replica.own = head.id;
        }
        replica.note(own, &event, room, head.place, head.at);
        // Taken for dead, for a while.
        let mut robbed = matches!(&event, RoomEvent::Left(id) if replica.here.contains_key(id));
        if let RoomEvent::Joined(member) = &mut event {
            member.place = head.place;
        }
        live.room.limit_members(usize::MAX);
        self.apply_to(live, room, head.at, event);
        if live.room.sequence() != head.sequence {
            tracing::error!(%room, here = live.room.sequence(), there = head.sequence, "a room's numbers differ");
            if let Some(replica) = &mut live.replica {
                replica.cursor = None;
            }
            robbed = true;
        }
        !robbed
    }

    /// Whether a room is in memory.
    pub(super) fn is_present(&self, room: &RoomId) -> bool {
        lock(&self.rooms).contains_key(room)
    }

    /// The rooms in memory.
    pub(super) fn present_rooms(&self) -> Vec<RoomId> {
        lock(&self.rooms).keys().cloned().collect()
    }
}
