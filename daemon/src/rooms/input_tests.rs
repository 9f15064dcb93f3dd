use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::config::{Config, Environment};

fn parsed(event: &str, payload: &Value) -> Result<Request, String> {
    parse(event, payload, &RoomLimits::default()).map_err(|problem| problem.0)
}

fn action_of(event: &str, payload: &Value) -> Action {
    match parsed(event, payload) {
        Ok(Request::InRoom { action, .. }) => action,
        other => panic!("{other:?}"),
    }
}

fn problem_of(event: &str, payload: &Value) -> String {
    match action_of(event, payload) {
        Action::Bad(problem) | Action::BadExecute(problem, _) => problem.0,
        other => panic!("{other:?}"),
    }
}

#[test]
fn joining_takes_either_dialect() {
    let join = |payload| match parsed("join-room", &payload) {
        Ok(Request::Join(join)) => join,
        other => panic!("{other:?}"),
    };
    let old = join(json!({"roomId": "r", "username": "A"}));
    assert_eq!((old.user, old.username.as_str()), (None, "A"));
    let new = join(json!({"roomId": "7", "username": "B\u{0}", "userId": "u", "color": "#fff"}));
    assert_eq!((new.room.as_str(), new.username.as_str()), ("7", "B"));
    assert_eq!(new.user, UserId::new("u").ok());
    assert_eq!(join(json!({"roomId": "r", "userId": "", "username": null})).user, None);
    assert_eq!(join(json!({"roomId": "r"})).username, "Anonymous");
}

#[test]
fn bad_joins_name_field_and_bound() {
    for (payload, sentence) in [
        (json!({}), "roomId is required"),
        (json!({"roomId": "standalone"}), "roomId must not be \"standalone\", which is no room"),
        (json!({"roomId": {}}), "roomId must be a string"),
        (json!({"roomId": 5}), "roomId must be a string"),
        (json!("r"), "join-room takes an object"),
        (json!({"roomId": "x".repeat(129)}), "roomId must be 1 to 128 characters without control characters"),
        (json!({"roomId": "r", "username": "x".repeat(65)}), "username must be at most 64 characters"),
        (json!({"roomId": "r", "color": "red;x"}), "color must be a CSS colour of at most 32 characters"),
        (json!([1]), "join-room takes an object"),
    ] {
        assert_eq!(parsed("join-room", &payload), Err(sentence.to_owned()));
    }
}

#[test]
fn bounds_on_texts_change_while_rooms_live() {
    let limits = RoomLimits::default();
    let held = limits.clone();
    let text = "[limits]\ncode-chars = 3\nstdin-chars = 2\n";
    let reloaded = Config::parse(text, &Environment::default()).unwrap().reloadable.limits;
    limits.texts.reload(&reloaded);
    let problem = |payload: Value| match parse("execute-code", &payload, &held) {
        Ok(Request::InRoom { action: Action::BadExecute(problem, _), .. }) => problem.0,
        other => panic!("{other:?}"),
    };
    assert_eq!(problem(json!({"code": "1234"})), "code must be a string of at most 3 characters");
    let stdin = json!({"code": "123", "language": "python", "stdin": "123"});
    assert_eq!(problem(stdin), "stdin must be a string of at most 2 characters");
}

#[test]
fn code_is_bounded_in_characters() {
    assert_eq!(action_of("code-change", &json!({"code": ""})), Action::Code(String::new()));
    let longest = "😀".repeat(10_000);
    assert_eq!(action_of("code-change", &json!({"code": longest})), Action::Code(longest.clone()));
    assert_eq!(
        problem_of("code-change", &json!({"code": format!("{longest}x")})),
        "code must be a string of at most 10000 characters"
    );
    assert_eq!(problem_of("execute-code", &json!({"code": ""})), "code must be 1 to 10000 characters");
    assert_eq!(
        problem_of("execute-code", &json!({"code": "x"})),
        "language is required: a string of at most 64 characters"
    );
    assert_eq!(
        problem_of("execute-code", &json!({"code": "x", "language": "c", "stdin": "y".repeat(1_001)})),
        "stdin must be a string of at most 1000 characters"
    );
}

#[test]
fn a_bad_message_keeps_its_number() {
    match parsed("code-change", &json!({"code": 1, "sequence": 4})) {
        Ok(Request::InRoom { sequence: Some(4), action: Action::Bad(_), .. }) => {}
        other => panic!("{other:?}"),
    }
    for bad in [json!(-1), json!(1.5), json!("1"), json!(9_007_199_254_740_992_u64), json!(1e300)] {
        let sentence = "sequence must be a whole number from 0 to 9007199254740991".to_owned();
        assert_eq!(parsed("code-change", &json!({"code": "x", "sequence": bad})), Err(sentence));
    }
    match parsed("code-change", &json!({"code": "x", "sequence": 3.0})) {
        Ok(Request::InRoom { sequence: Some(3), .. }) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn chat_is_cut_and_told_so() {
    let long = "x".repeat(1_001);
    match action_of("send-chat", &json!({"message": long, "username": "A"})) {
        Action::Chat { message, cut, .. } => assert!(message.len() == 1_000 && cut),
        other => panic!("{other:?}"),
    }
    assert_eq!(problem_of("send-chat", &json!({"message": "\u{1}"})), "message must be 1 to 1000 characters");
    assert_eq!(problem_of("send-chat", &json!({"message": ["x"]})), "message must be a string");
}

#[test]
fn what_is_passed_on_is_bounded() {
    let mut deep = json!(1);
    for _ in 0..40 {
        deep = json!([deep]);
    }
    for (event, payload) in [
        ("debug-state", json!({"state": deep})),
        ("debug-state", json!({"state": "x".repeat(33 << 10)})),
        ("cursor-move", json!({"position": "x".repeat(2_000)})),
        ("cursor-move", json!({"selection": deep})),
    ] {
        assert!(problem_of(event, &payload).contains("bytes of JSON, nested at most"), "{event}");
    }
    assert_eq!(action_of("debug-state", &json!({"roomId": "r"})), Action::Debug(Value::Null));
}

#[test]
fn unknown_events_are_told_back_shortened() {
    let told = parsed(&"e\u{0}".repeat(500), &Value::Null).unwrap_err();
    assert_eq!(told, format!("there is no event {}", "e".repeat(64)));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,80}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        let field = prop_oneof![
            Just("roomId"),
            Just("code"),
            Just("language"),
            Just("sequence"),
            Just("username"),
            Just("message"),
            Just("position"),
            Just("correlationId"),
        ];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::hash_map(field.prop_map(str::to_owned), inner, 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    /// Whatever comes, the answer is a request or a short sentence.
    #[test]
    fn any_payload_is_answered(event in 0_usize..12, payload in any_json()) {
        let events = ["join-room", "code-change", "execute-code", "send-chat", "typing", "cursor-move",
            "language-change", "debug-state", "start-recording", "execution-input", "cancel-execution", "other"];
        match parsed(events[event], &payload) {
            Err(sentence) => prop_assert!(!sentence.is_empty() && sentence.len() < 300),
            Ok(Request::InRoom { action: Action::Bad(problem) | Action::BadExecute(problem, _), .. }) =>
                prop_assert!(!problem.0.is_empty() && problem.0.len() < 300),
            Ok(_) => {}
        }
    }
}
