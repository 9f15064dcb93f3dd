//! `/api/room` and `/api/diagnostics`, by `oneshot`.

use axum::body::Body;
use serde_json::{Value, json};

use super::health::Health;
use super::settings::Settings;
use super::testing::{Answer, Bench, Script, json_request, request, settings};
use crate::config::Secret;
use crate::history::Timestamp;
use crate::ids::{RoomId, UserId};

async fn log(bench: &Bench, numbers: &[u64]) {
    let (room, user) = (RoomId::new("r1").unwrap(), UserId::new("u1").unwrap());
    for &number in numbers {
        let payload = json!({"code": number});
        bench.history.append_message(&room, number, "code-update", &payload, Some(&user), Timestamp(5)).await.unwrap();
    }
    bench.history.flush().await.unwrap();
}

#[tokio::test]
async fn new_rooms_have_six_hex_characters_and_differ() {
    let bench = Bench::new(Script::Hang);
    let mut seen = std::collections::HashSet::new();
    for _ in 0..20 {
        let body = bench.post("/api/room/create-room", &json!({})).await.json();
        let id = body["roomId"].as_str().unwrap().to_owned();
        assert!(id.len() == 6 && id.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase()), "{id}");
        assert!(bench.history.load_room(&RoomId::new(&id).unwrap()).await.unwrap().is_some());
        assert!(seen.insert(id));
    }
    let bare = request("POST", "/api/room/create-room").body(Body::empty()).unwrap();
    assert_eq!(bench.send(bare).await.status, 200);
    assert_eq!(bench.get("/api/room/create-room").await.json()["message"], "Cannot GET /api/room/create-room");
}

#[tokio::test]
async fn the_log_of_a_room_is_told() {
    let bench = Bench::new(Script::Hang);
    log(&bench, &[1, 2, 5, 6]).await;
    let body = bench.get("/api/diagnostics/room/r1/history?limit=2&offset=1").await.json();
    let numbers = |body: &Value, field: &str| -> Vec<u64> {
        body[field].as_array().unwrap().iter().map(|message| message["sequence"].as_u64().unwrap()).collect()
    };
    assert_eq!(numbers(&body, "history"), [5, 2]);
    assert_eq!((&body["count"], &body["total"], &body["roomId"]), (&json!(2), &json!(4), &json!("r1")));
    assert_eq!(
        body["history"][0],
        json!({
            "sequence": 5, "type": "code-update", "userId": "u1", "timestamp": "1970-01-01T00:00:00.005Z",
            "payload": {"code": 5}
        })
    );
    let body = bench.get("/api/diagnostics/room/r1/gaps").await.json();
    assert_eq!(
        body,
        json!({"success": true, "roomId": "r1", "count": 1, "hasGaps": true, "gaps": [{"from": 3, "to": 4}]})
    );
    let body = bench.get("/api/diagnostics/room/r1/replay?fromSequence=2&toSequence=5").await.json();
    assert_eq!(numbers(&body, "messages"), [2, 5]);
    assert_eq!((&body["fromSequence"], &body["toSequence"], &body["complete"]), (&json!(2), &json!(5), &json!(true)));
    let body = bench.get("/api/diagnostics/room/r1/replay").await.json();
    assert_eq!((numbers(&body, "messages"), &body["toSequence"]), (vec![1, 2, 5, 6], &json!(6)));
    for bad in
        ["replay?fromSequence=x", "replay?toSequence=-1", "replay?fromSequence=3&toSequence=2", "history?limit=0"]
    {
        bench.get(&format!("/api/diagnostics/room/r1/{bad}")).await.error(400, "INVALID_REQUEST");
    }
}

#[tokio::test]
async fn live_rooms_are_told() {
    let bench = Bench::new(Script::Hang);
    let overview = bench.get("/api/diagnostics/ordering").await.json();
    assert_eq!(overview["ordering"], json!({"activeRooms": 0, "members": 0, "bufferedMessages": 0, "rooms": []}));
    bench.history.create_room(&RoomId::new("live").unwrap()).await.unwrap();
    let body = bench.get("/api/diagnostics/room/live").await.json();
    assert_eq!((&body["success"], &body["roomId"]), (&json!(true), &json!("live")));
    assert_eq!((&body["room"]["sequence"], &body["room"]["nextExpectedSequence"]), (&json!(0), &json!(1)));
    assert_eq!(bench.get("/api/diagnostics/room/none").await.error(404, "NOT_FOUND"), "Room not found");
    let body = bench.get("/api/diagnostics/health").await.json();
    assert_eq!((&body["status"], &body["queue"]), (&json!("healthy"), &json!({"running": 0, "queued": 0})));
    let health = Health::default().degrading("redis", || Some("Redis is lost".to_owned()));
    let bench = Bench::with(Script::Hang, settings(""), health);
    assert_eq!(bench.get("/api/diagnostics/health").await.json()["status"], "degraded");
}

#[tokio::test]
async fn administrators_prove_themselves() {
    let paths = ["/api/diagnostics/cleanup", "/api/diagnostics/room/live/force-advance"];
    let bench = Bench::new(Script::Hang);
    for path in paths {
        bench.post(path, &json!({"toSequence": 9})).await.error(403, "ADMIN_DISABLED");
    }
    let with_token = Settings { admin_token: Some(Secret::new("0123456789abcdef")), ..settings("") };
    let bench = Bench::with(Script::Hang, with_token, Health::default());
    bench.history.create_room(&RoomId::new("live").unwrap()).await.unwrap();
    let send = async |path: &str, authorization: Option<&str>, body: Value| -> Answer {
        let mut request = json_request("POST", path, &body);
        if let Some(value) = authorization {
            request.headers_mut().insert("authorization", value.parse().unwrap());
        }
        bench.send(request).await
    };
    for path in paths {
        for wrong in [None, Some("Bearer 0123456789abcdeF"), Some("Bearer "), Some("Basic 0123456789abcdef"), Some("x")]
        {
            let answer = send(path, wrong, json!({"toSequence": 9})).await;
            answer.error(401, "UNAUTHORIZED");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        }
    }
    let right = Some("bearer 0123456789abcdef");
    let body = send(paths[1], right, json!({"toSequence": 9})).await.json();
    assert_eq!((&body["success"], &body["roomId"], &body["toSequence"]), (&json!(true), &json!("live"), &json!(9)));
    assert_eq!((&body["room"]["sequence"], &body["room"]["nextExpectedSequence"]), (&json!(9), &json!(10)));
    let error = send(paths[1], right, json!({"toSequence": 7})).await.error(409, "NOT_AHEAD");
    assert!(error.contains("which is 9"), "{error}");
    for bad in [json!({}), json!({"toSequence": "9"}), json!({"toSequence": 0}), json!({"toSequence": 1e300})] {
        send(paths[1], right, bad).await.error(400, "INVALID_REQUEST");
    }
    let none = "/api/diagnostics/room/none/force-advance";
    send(none, right, json!({"toSequence": 9})).await.error(404, "NOT_FOUND");
    // Moving it on brought the room into memory, where nobody is.
    assert_eq!(send(paths[0], right, json!({})).await.json()["removedRooms"], 1);
    assert_eq!(bench.get("/api/diagnostics/room/live").await.json()["room"]["sequence"], 9, "it was saved");
}
