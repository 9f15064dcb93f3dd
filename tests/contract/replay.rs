//! Running again what the history holds.

use crankcase_tests::{shared, unique};
use serde_json::json;

#[test]
fn a_replay_runs_the_same_program_anew() {
    let room = unique("room-");
    let first = shared()
        .program("python", "import sys, uuid\nprint(input(), sys.argv[1:], open('f').read(), uuid.uuid4())")
        .who(&room, "u1")
        .stdin("typed")
        .args(&["arg"])
        .file("f", "file")
        .run()
        .expect_success();
    let id = first.str("/executionId");
    let again = shared().post(&format!("/api/execution/replay/{id}"), &json!({})).expect_success();
    assert_ne!(again.str("/executionId"), id);
    assert_ne!(again.stdout(), first.stdout(), "it really ran again");
    assert!(again.stdout().starts_with("typed ['arg'] file "), "{}", again.text);
    assert_eq!((again.str("/language"), again.str("/roomId")), ("python", room.as_str()));
    let list = shared().get(&format!("/api/execution/history/room/{room}"));
    assert_eq!(list.number("/count"), 2);
}

#[test]
fn what_is_unknown_cannot_be_replayed() {
    let answer = shared().post("/api/execution/replay/exec-0-nothing", &json!({})).expect_status(404);
    assert_eq!((&answer.body["success"], answer.str("/error")), (&json!(false), "Execution not found"));
}
