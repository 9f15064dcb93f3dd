use proptest::prelude::*;

use super::*;
use crate::ids::{CorrelationId, UserId};

fn id(name: &str) -> MemberId {
    MemberId::new(name)
}

fn member(name: &str, dialect: Dialect) -> Member {
    Member {
        id: id(name),
        user: UserId::new(&format!("u-{name}")).unwrap(),
        username: name.to_uppercase(),
        color: Some("#123456".to_owned()),
        dialect,
        cursor_name: None,
        place: 0,
    }
}

fn room() -> Room {
    Room::new(RoomId::new("r").unwrap(), 5)
}

/// What each of the members would hear, as (event, payload).
fn heard(applied: &Applied, member: &Member) -> Vec<(&'static str, Value)> {
    applied
        .outgoing
        .iter()
        .filter_map(|outgoing| outgoing.payload_for(member).map(|payload| (outgoing.event, payload.clone())))
        .collect()
}

fn code(by: &str, code: &str, client_sequence: Option<u64>) -> RoomEvent {
    RoomEvent::CodeChanged { by: id(by), code: code.to_owned(), client_sequence }
}

fn started(execution: &ExecutionId) -> RoomEvent {
    RoomEvent::ExecutionStarted {
        execution: execution.clone(),
        correlation_id: CorrelationId::new("c").unwrap(),
        user: UserId::new("u").unwrap(),
        username: "U".to_owned(),
        client_sequence: Some(9),
    }
}

fn finished(execution: &ExecutionId) -> RoomEvent {
    let response = object(json!({"success": true, "userId": "u", "output": "x", "stdout": "long"}));
    RoomEvent::ExecutionFinished { execution: execution.clone(), response, client_sequence: None }
}

#[test]
fn the_first_to_join_gets_the_welcome_and_is_host() {
    let mut room = room();
    let a = member("a", Dialect::Current);
    let applied = room.apply(0, RoomEvent::Joined(a.clone()));
    assert_eq!(
        heard(&applied, &a),
        [
            (
                "room-state",
                json!({"code": WELCOME, "language": "javascript", "sequence": 0, "nextExpectedSequence": 1,
                    "executionState": {"isExecuting": false, "currentExecutionId": null, "lastExecutionAt": null,
                        "executionCount": 0}})
            ),
            ("host-assigned", json!({"isHost": true})),
            ("participants-list", json!([])),
        ]
    );
}

#[test]
fn both_dialects_share_a_room() {
    let mut room = room();
    let (new, old) = (member("new", Dialect::Current), member("old", Dialect::Old));
    room.apply(0, RoomEvent::Joined(new.clone()));
    let joined = room.apply(0, RoomEvent::Joined(old.clone()));
    assert_eq!(heard(&joined, &old)[1], ("code-update", json!(WELCOME)));
    assert_eq!(
        heard(&joined, &new)[0],
        (
            "user-joined",
            json!({"message": "OLD joined the room", "username": "OLD", "userId": "u-old", "color": "#123456",
                "timestamp": "1970-01-01T00:00:00.000Z"})
        )
    );
    let change = room.apply(0, code("new", "x", Some(4)));
    assert_eq!(heard(&change, &old), [("code-update", json!("x"))]);
    assert_eq!(heard(&change, &new), []);
    let change = room.apply(0, code("old", "y", Some(7)));
    assert_eq!(
        heard(&change, &new),
        [("code-update", json!({"code": "y", "sequence": 2, "username": "OLD", "clientSequence": 7}))]
    );
    let change = room
        .apply(0, RoomEvent::LanguageChanged { by: id("old"), language: "python".to_owned(), client_sequence: None });
    assert_eq!(
        heard(&change, &new),
        [("language-update", json!({"language": "python", "sequence": 3, "username": "OLD"}))]
    );
    let change =
        room.apply(0, RoomEvent::LanguageChanged { by: id("new"), language: "go".to_owned(), client_sequence: None });
    assert_eq!(heard(&change, &old), [("language-update", json!("go"))]);
}

#[test]
fn joining_again_and_again_is_heard_by_nobody_else() {
    let mut room = room();
    let (a, b) = (member("a", Dialect::Current), member("b", Dialect::Current));
    room.apply(0, RoomEvent::Joined(a.clone()));
    room.apply(0, RoomEvent::Joined(b.clone()));
    for _ in 0..37 {
        let applied = room.apply(0, RoomEvent::Joined(b.clone()));
        assert_eq!(heard(&applied, &a), []);
        let told = heard(&applied, &b);
        assert_eq!(told.iter().map(|(event, _)| *event).collect::<Vec<_>>(), ["room-state", "participants-list"]);
    }
    assert_eq!(room.members().len(), 2);
    assert_eq!(room.sequence(), 0, "joining takes no number");
    let renamed = Member { username: "B2".to_owned(), ..b };
    let applied = room.apply(0, RoomEvent::Joined(renamed));
    let told = heard(&applied, &a);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].1[0]["username"], "B2");
}

#[test]
fn a_full_room_refuses() {
    let mut room = room();
    for name in ["a", "b", "c", "d", "e"] {
        assert!(room.apply(0, RoomEvent::Joined(member(name, Dialect::Old))).accepted);
    }
    let sixth = member("f", Dialect::Old);
    let applied = room.apply(0, RoomEvent::Joined(sixth.clone()));
    assert!(!applied.accepted);
    assert_eq!(
        heard(&applied, &sixth),
        [("error", json!({"message": "the room is full: it takes at most 5 connections"}))]
    );
}

#[test]
fn leaving_hands_the_host_on() {
    let mut room = room();
    let [a, b, c] = ["a", "b", "c"].map(|name| member(name, Dialect::Current));
    for member in [&a, &b, &c] {
        room.apply(0, RoomEvent::Joined(member.clone()));
    }
    let cursor = RoomEvent::CursorMoved {
        by: id("a"),
        username: Some("Alias".to_owned()),
        position: json!({"line": 1}),
        selection: Value::Null,
        color: None,
    };
    let applied = room.apply(0, cursor);
    assert_eq!(
        heard(&applied, &b),
        [(
            "cursor-update",
            json!({"username": "Alias", "position": {"line": 1}, "selection": null, "color": "#123456"})
        )]
    );
    let applied = room.apply(5, RoomEvent::Left(id("a")));
    assert_eq!(heard(&applied, &a), []);
    let told = heard(&applied, &b);
    assert_eq!(
        told[0],
        (
            "user-left",
            json!({"message": "A left the room", "username": "A", "userId": "u-a",
                "timestamp": "1970-01-01T00:00:00.005Z"})
        )
    );
    assert_eq!(told[1], ("cursor-remove", json!({"username": "Alias"})));
    assert_eq!(told[2], ("host-assigned", json!({"isHost": true})));
    assert_eq!(told[3].0, "participants-list");
    assert!(heard(&applied, &c).iter().all(|(event, _)| *event != "host-assigned"));
    assert!(!room.apply(0, RoomEvent::Left(id("a"))).accepted);
}

#[test]
fn executions_take_two_numbers_and_count() {
    let mut room = room();
    let a = member("a", Dialect::Old);
    room.apply(0, RoomEvent::Joined(a.clone()));
    let execution = ExecutionId::generate(1);
    let applied = room.apply(1, started(&execution));
    assert_eq!(
        heard(&applied, &a),
        [(
            "execution-started",
            json!({"userId": "u", "username": "U", "correlationId": "c", "sequence": 1, "clientSequence": 9,
                "timestamp": "1970-01-01T00:00:00.001Z"})
        )]
    );
    assert_eq!(room.execution_state()["currentExecutionId"], execution.as_str());
    assert!(!room.is_idle());
    let applied = room.apply(2, finished(&execution));
    assert_eq!(
        heard(&applied, &a),
        [("execution-result", json!({"success": true, "userId": "u", "output": "x", "stdout": "long", "sequence": 2}))]
    );
    let logged = applied.logged.unwrap();
    assert_eq!((logged.sequence, logged.event, logged.user), (2, "execution-result", UserId::new("u").ok()));
    assert!(logged.payload.get("stdout").is_none(), "bulky fields stay out of the log");
    assert_eq!(
        room.execution_state(),
        json!({"isExecuting": false, "currentExecutionId": null, "executionCount": 1,
            "lastExecutionAt": "1970-01-01T00:00:00.001Z"})
    );
}

#[test]
fn only_the_host_records() {
    let mut room = room();
    let (a, b) = (member("a", Dialect::Current), member("b", Dialect::Current));
    room.apply(0, RoomEvent::Joined(a.clone()));
    room.apply(0, RoomEvent::Joined(b.clone()));
    room.apply(0, code("a", "1", None));
    let start = |by| RoomEvent::RecordingStarted { by: id(by), recording_id: "rec".to_owned() };
    let stop = |by| RoomEvent::RecordingStopped { by: id(by) };
    assert_eq!(heard(&room.apply(0, start("b")), &b)[0].0, "error");
    assert_eq!(heard(&room.apply(0, stop("a")), &a)[0].0, "error");
    let applied = room.apply(3, start("a"));
    assert_eq!(heard(&applied, &a), [("recording-started", json!({}))]);
    assert_eq!(heard(&applied, &b), [("recording-started", json!({}))]);
    assert_eq!(heard(&room.apply(0, start("a")), &a)[0].0, "error");
    assert_eq!(heard(&room.apply(0, stop("b")), &b)[0].0, "error");
    room.apply(0, code("b", "2", None));
    let applied = room.apply(4, stop("a"));
    assert_eq!(heard(&applied, &b), [("recording-stopped", json!({"recordingId": "rec"}))]);
    let recording = applied.recording.unwrap();
    assert_eq!((recording.from_sequence, recording.to_sequence), (2, 2));
    assert_eq!((recording.started_at, recording.stopped_at), (3, 4));
}

#[test]
fn a_recording_ends_with_the_last_member() {
    let mut room = room();
    room.apply(0, RoomEvent::Joined(member("a", Dialect::Current)));
    room.apply(0, RoomEvent::RecordingStarted { by: id("a"), recording_id: "rec".to_owned() });
    assert_eq!(room.apply(0, RoomEvent::Left(id("a"))).recording.map(|recording| recording.id), Some("rec".to_owned()));
    assert!(room.is_idle());
}

#[test]
fn an_operator_can_only_move_the_counter_on() {
    let mut room = room();
    let a = member("a", Dialect::Current);
    room.apply(0, RoomEvent::Joined(a.clone()));
    let applied = room.apply(0, RoomEvent::Advanced { to: 41 });
    assert_eq!(heard(&applied, &a), [("room-state", room.room_state())]);
    assert_eq!(room.sequence(), 41);
    assert!(!room.apply(0, RoomEvent::Advanced { to: 41 }).accepted);
    assert_eq!(room.apply(0, code("a", "x", None)).logged.unwrap().sequence, 42);
}

#[test]
fn strangers_change_nothing() {
    let mut room = room();
    room.apply(0, RoomEvent::Joined(member("a", Dialect::Current)));
    for event in [
        code("stranger", "x", None),
        RoomEvent::Typing { by: id("stranger"), username: None },
        RoomEvent::DebugState { by: id("stranger"), state: json!(1) },
        RoomEvent::RecordingStopped { by: id("stranger") },
        RoomEvent::StateRequested { by: id("stranger") },
    ] {
        let applied = room.apply(0, event);
        assert!(!applied.accepted && applied.outgoing.is_empty());
    }
    assert_eq!(room.sequence(), 0);
    assert_eq!(room.stored().code, WELCOME);
}

#[test]
fn what_is_passed_on_reaches_the_others_alone() {
    let mut room = room();
    let (a, b) = (member("a", Dialect::Current), member("b", Dialect::Old));
    room.apply(0, RoomEvent::Joined(a.clone()));
    room.apply(0, RoomEvent::Joined(b.clone()));
    let chat = room.apply(0, RoomEvent::Chat { by: id("a"), username: None, message: "<b>".to_owned() });
    assert_eq!(heard(&chat, &a), []);
    assert_eq!(
        heard(&chat, &b),
        [("receive-chat", json!({"username": "A", "message": "<b>", "timestamp": "1970-01-01T00:00:00.000Z"}))]
    );
    let typing = room.apply(0, RoomEvent::Typing { by: id("b"), username: Some("Bee".to_owned()) });
    assert_eq!(heard(&typing, &a), [("show-typing", json!("Bee is typing..."))]);
    let debug = room.apply(0, RoomEvent::DebugState { by: id("b"), state: json!({"line": [1]}) });
    assert_eq!(heard(&debug, &a), [("debug-state-update", json!({"line": [1]}))]);
    let state = room.apply(0, RoomEvent::StateRequested { by: id("b") });
    assert_eq!(heard(&state, &a), []);
    assert_eq!(heard(&state, &b), [("room-state", room.room_state())]);
    assert_eq!(room.sequence(), 0);
}

#[test]
fn a_restored_room_goes_on_where_it_was() {
    let mut before = room();
    before.apply(0, RoomEvent::Joined(member("a", Dialect::Current)));
    before.apply(0, code("a", "kept", None));
    let execution = ExecutionId::generate(1);
    before.apply(7, started(&execution));
    let mut after = Room::restore(before.stored(), 5);
    assert!(after.is_idle(), "what ran is gone");
    assert_eq!(after.stored(), before.stored());
    after.apply(0, RoomEvent::Joined(member("b", Dialect::Current)));
    assert_eq!(after.apply(0, code("b", "new", None)).logged.unwrap().sequence, 3);
}

fn any_event() -> impl Strategy<Value = RoomEvent> {
    let who = prop_oneof![Just("a"), Just("b"), Just("c"), Just("d")];
    (who, 0_u8..10, any::<bool>()).prop_map(|(who, kind, flag)| {
        let dialect = if flag { Dialect::Old } else { Dialect::Current };
        match kind {
            0 => RoomEvent::Joined(member(who, dialect)),
            1 => RoomEvent::Left(id(who)),
            2 => RoomEvent::LanguageChanged { by: id(who), language: who.to_owned(), client_sequence: None },
            3 => started(&ExecutionId::generate(1)),
            4 => finished(&ExecutionId::generate(1)),
            5 => RoomEvent::Typing { by: id(who), username: None },
            6 if flag => RoomEvent::Advanced { to: 7 },
            6 => RoomEvent::StateRequested { by: id(who) },
            _ => code(who, "x", flag.then_some(3)),
        }
    })
}

proptest! {
    /// Whatever happens: from its `room-state` on, a member counts every number, its own changes included.
    #[test]
    fn every_member_counts_without_holes(events in proptest::collection::vec(any_event(), 1..200)) {
        let mut room = room();
        let names = ["a", "b", "c", "d"];
        let mut counts: [Option<u64>; 4] = [None; 4];
        for event in events {
            let sender = match &event {
                RoomEvent::CodeChanged { by, .. } | RoomEvent::LanguageChanged { by, .. } => Some(by.clone()),
                _ => None,
            };
            let gone = match &event {
                RoomEvent::Left(id) => Some(id.clone()),
                _ => None,
            };
            let advances = matches!(event, RoomEvent::Advanced { .. });
            let before = room.sequence();
            let applied = room.apply(0, event);
            if !advances {
                prop_assert_eq!(room.sequence() - before, u64::from(applied.logged.is_some()));
            }
            for (name, count) in names.iter().zip(&mut counts) {
                if gone.as_ref() == Some(&id(name)) {
                    *count = None;
                }
                let Some(present) = room.members().get(&id(name)) else { continue };
                for (event, payload) in heard(&applied, present) {
                    if event == "room-state" {
                        *count = payload["sequence"].as_u64();
                    } else if let Some(sequence) = payload.get("sequence").and_then(Value::as_u64) {
                        prop_assert_eq!(Some(sequence), count.map(|count| count + 1));
                        *count = Some(sequence);
                    } else if matches!(event, "code-update" | "language-update") && applied.logged.is_some() {
                        prop_assert!(payload.is_string());
                        prop_assert_eq!(present.dialect, Dialect::Old);
                        *count = count.map(|count| count + 1);
                    }
                }
                if applied.logged.is_some() && sender.as_ref() == Some(&id(name)) {
                    *count = count.map(|count| count + 1);
                }
                prop_assert_eq!(*count, Some(room.sequence()));
            }
            prop_assert!(room.members().len() <= 4);
            let hosts = room.members().iter().filter(|member| room.members().is_host(&member.id)).count();
            prop_assert_eq!(hosts, usize::from(!room.members().is_empty()));
        }
    }
}
