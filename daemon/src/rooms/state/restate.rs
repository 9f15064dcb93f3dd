//! A room that turns out to stand elsewhere than this daemon thought: it is put there, and the members are told
//! what they could not follow.

use serde_json::json;

use super::{ActiveRecording, Applied, ExecutionState, Room, presence};
use crate::ids::ExecutionId;
use crate::rooms::event::{Audience, Body, Outgoing};
use crate::rooms::members::{Dialect, Member};
use crate::rooms::store::StoredRoom;

/// All of a room.
#[derive(Debug, Clone)]
pub struct Restated {
    /// What is kept of it.
    pub stored: StoredRoom,
    /// The execution that runs.
    pub running: Option<ExecutionId>,
    /// The recording that goes on.
    pub recording: Option<ActiveRecording>,
    /// Who is in it, in the order of their places.
    pub members: Vec<Member>,
}

impl Room {
    /// All of it, as it stands.
    #[must_use]
    pub fn restated(&self) -> Restated {
        Restated {
            stored: self.stored(),
            running: self.execution.current.clone(),
            recording: self.recording.clone(),
            members: self.members.iter().cloned().collect(),
        }
    }

    /// How many connections it takes from now on; who is in it stays.
    pub fn limit_members(&mut self, max: usize) {
        self.max_members = max;
    }

    /// Puts it where it stands. Members get `room-state` when code, language, number or execution are others
    /// than they were told; who came and went meanwhile is told as ever.
    pub fn restate(&mut self, at: i64, to: Restated) -> Applied {
        let mut applied = Applied { accepted: true, ..Applied::default() };
        if self.recording.is_some()
            && to.recording.as_ref().map(|new| &new.id) != self.recording.as_ref().map(|old| &old.id)
        {
            applied.recording = self.end_recording(at);
            if let Some(ended) = &applied.recording {
                applied.tell(Audience::Room, "recording-stopped", json!({"recordingId": ended.id}));
            }
        }
        let record = self.recording.is_none() && to.recording.is_some();
        let state = self.room_state();
        let code = (self.code != to.stored.code).then(|| to.stored.code.clone());
        let language = (self.language != to.stored.language).then(|| to.stored.language.clone());
        self.code = to.stored.code;
        self.language = to.stored.language;
        self.sequence = to.stored.sequence;
        self.execution = ExecutionState {
            current: to.running,
            last_at: to.stored.last_execution_at,
            count: to.stored.execution_count,
        };
        self.recording = to.recording;
        self.replace_members(at, to.members, &mut applied);
        if self.room_state() != state {
            applied.tell(Audience::Room, "room-state", self.room_state());
        }
        for (event, text) in [("code-update", code), ("language-update", language)] {
            let Some(text) = text else { continue };
            // The older dialect takes neither from `room-state`; the current one has both by now.
            for member in self.members.iter().filter(|member| member.dialect == Dialect::Old) {
                applied.outgoing.push(Outgoing {
                    to: Audience::One(member.id.clone()),
                    event,
                    body: Body::Same(json!(text)),
                    droppable: false,
                });
            }
        }
        if record {
            applied.tell(Audience::Room, "recording-started", json!({}));
        }
        applied
    }

    fn replace_members(&mut self, at: i64, mut members: Vec<Member>, applied: &mut Applied) {
        members.sort_by(|a, b| (a.place, &a.id).cmp(&(b.place, &b.id)));
        let old = std::mem::take(&mut self.members);
        for mut member in members {
            if let Some(before) = old.get(&member.id) {
                member.cursor_name.clone_from(&before.cursor_name);
            }
            self.members.join(member, usize::MAX);
        }
        let mut changed = old.len() != self.members.len();
        for gone in old.iter().filter(|member| self.members.get(&member.id).is_none()) {
            changed = true;
            let others = || Audience::Others(gone.id.clone());
            applied.tell(others(), "user-left", presence(gone, "left", at).into());
            let name = gone.cursor_name.as_ref().unwrap_or(&gone.username);
            applied.tell(others(), "cursor-remove", json!({"username": name}));
        }
        for new in self.members.iter().filter(|member| old.get(&member.id).is_none()) {
            changed = true;
            let mut payload = presence(new, "joined", at);
            if let Some(color) = &new.color {
                payload.insert("color".to_owned(), json!(color));
            }
            applied.tell(Audience::Others(new.id.clone()), "user-joined", payload.into());
        }
        let (before, now) = (old.host().map(|host| &host.id), self.members.host().map(|host| &host.id));
        if before != now {
            changed = true;
            for (host, is_host) in [(before, false), (now, true)] {
                if let Some(host) = host {
                    applied.tell(Audience::One(host.clone()), "host-assigned", json!({"isHost": is_host}));
                }
            }
        }
        if changed {
            self.tell_participants(applied);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{RoomId, UserId};
    use crate::rooms::event::RoomEvent;
    use crate::rooms::members::MemberId;

    fn member(id: &str, place: u64, dialect: Dialect) -> Member {
        Member {
            id: MemberId::new(id),
            user: UserId::new(id).unwrap(),
            username: id.to_owned(),
            color: None,
            dialect,
            cursor_name: None,
            place,
        }
    }

    fn heard(applied: &Applied, member: &Member) -> Vec<(&'static str, serde_json::Value)> {
        let told = applied.outgoing.iter();
        told.filter_map(|outgoing| Some((outgoing.event, outgoing.payload_for(member)?.clone()))).collect()
    }

    #[test]
    fn members_are_told_what_they_could_not_follow() {
        let mut room = Room::new(RoomId::new("r").unwrap(), 9);
        let [a, b, c] = [("a", 10), ("b", 20), ("c", 5)].map(|(id, place)| member(id, place, Dialect::Current));
        let old = member("old", 30, Dialect::Old);
        for member in [&a, &b, &old] {
            room.apply(0, RoomEvent::Joined(member.clone()));
        }
        let mut to = room.restated();
        let same = room.restate(0, to.clone());
        assert_eq!(same.outgoing, [], "nothing is told of what everybody knows");

        to.stored.code = "newer".to_owned();
        to.stored.sequence = 7;
        to.members = vec![b.clone(), c.clone(), old.clone()];
        let applied = room.restate(0, to);
        let told = heard(&applied, &b);
        let events: Vec<_> = told.iter().map(|(event, _)| *event).collect();
        assert_eq!(events, ["user-left", "cursor-remove", "user-joined", "participants-list", "room-state"]);
        assert_eq!((&told[4].1["code"], &told[4].1["sequence"]), (&json!("newer"), &json!(7)));
        assert_eq!(heard(&applied, &old).last().unwrap(), &("code-update", json!("newer")));
        assert!(heard(&applied, &c).contains(&("host-assigned", json!({"isHost": true}))));
        assert!(room.members().is_host(&c.id));
    }

    #[test]
    fn a_recording_that_others_ended_is_kept() {
        let mut room = Room::new(RoomId::new("r").unwrap(), 9);
        let a = member("a", 1, Dialect::Current);
        room.apply(0, RoomEvent::Joined(a.clone()));
        let mut to = room.restated();
        room.apply(0, RoomEvent::RecordingStarted { by: a.id.clone(), recording_id: "rec".to_owned() });
        to.stored.sequence = 3;
        let applied = room.restate(9, to);
        assert_eq!(applied.recording.as_ref().unwrap().stopped_at, 9);
        assert!(heard(&applied, &a).contains(&("recording-stopped", json!({"recordingId": "rec"}))));
    }
}
