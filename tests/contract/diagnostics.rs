//! What an operator reads when a room behaves oddly.

use crankcase_tests::{shared, unique};
use serde_json::json;

#[test]
fn the_reading_routes_answer_for_any_room() {
    let room = unique("room-");
    shared().program("python", "print(1)").who(&room, "u").run().expect_success();
    for path in [
        "/api/diagnostics/ordering".to_owned(),
        "/api/diagnostics/health".to_owned(),
        format!("/api/diagnostics/room/{room}"),
        format!("/api/diagnostics/room/{room}/history?limit=10&offset=0"),
        format!("/api/diagnostics/room/{room}/gaps"),
        format!("/api/diagnostics/room/{room}/replay?fromSequence=0&toSequence=10"),
    ] {
        let answer = shared().get(&path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        assert!(answer.body.is_object(), "{path}: {}", answer.text);
    }
    let bad = shared().get(&format!("/api/diagnostics/room/{room}/history?limit=x"));
    assert_eq!(bad.status, 400, "{}", bad.text);
}

#[test]
fn the_changing_routes_need_the_admin_token() {
    let room = unique("room-");
    for path in [format!("/api/diagnostics/room/{room}/force-advance"), "/api/diagnostics/cleanup".to_owned()] {
        let body = json!({"toSequence": 5});
        let refused = shared().post(&path, &body);
        assert!([401, 403].contains(&refused.status), "{path}: {}", refused.text);
        let wrong =
            shared().request(&path, |http, url| http.post(url).bearer_auth("a-wrong-token-altogether").json(&body));
        assert!([401, 403].contains(&wrong.status), "{path}: {}", wrong.text);
        let answer = shared().post_as_admin(&path, &body);
        assert!([200, 404].contains(&answer.status), "{path}: {}", answer.text);
    }
}
