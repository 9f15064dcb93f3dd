//! The glue over a real port, with programs that only pretend to run.

mod client;
mod fake;

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::ids::RoomId;
use crate::redis_link;
use crate::rooms::Rooms;
use crate::rooms::store::MemoryStore;
use client::Client;
use fake::FakeRunner;

struct Server {
    port: u16,
    registry: Arc<RoomRegistry>,
    runner: Arc<FakeRunner>,
}

impl Server {
    async fn start(limits: RoomLimits) -> Self {
        Self::over(Rooms::new(limits, Arc::new(MemoryStore::default()))).await
    }

    /// One of several daemons.
    async fn sharing(redis: &redis_link::server::Server) -> Self {
        let store = Arc::new(MemoryStore::default());
        Self::over(Rooms::in_redis(RoomLimits::default(), store, &redis.url(""), "").await.unwrap()).await
    }

    async fn over(rooms: Rooms) -> Self {
        let runner = FakeRunner::new(Arc::clone(&rooms.announcer));
        let (layer, _io) = rooms.sockets(runner.clone(), |_| None);
        let app = axum::Router::new().layer(layer);
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { port, registry: rooms.registry, runner }
    }

    async fn connect(&self) -> Client {
        Client::connect(self.port).await
    }

    /// A member of the current dialect, its room-state received.
    async fn member(&self, name: &str) -> Client {
        let mut client = self.connect().await;
        client.join("r", name, Some(name)).await;
        client
    }

    async fn members(&self, count: usize) {
        let there = || {
            let told = self.registry.diagnostics(&RoomId::new("r").unwrap())?;
            told["memberCount"].as_u64()
        };
        eventually(|| there() == Some(count as u64)).await;
    }
}

async fn eventually(mut true_at_last: impl FnMut() -> bool) {
    let wait = async {
        while !true_at_last() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("it never became true");
}

fn numbers(updates: &[Value]) -> Vec<u64> {
    updates.iter().map(|update| update["sequence"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn both_dialects_edit_one_room() {
    let server = Server::start(RoomLimits::default()).await;
    let mut new = server.member("new").await;
    let mut old = server.connect().await;
    let state = old.join("r", "Old", None).await;
    assert_eq!(state["code"], "//Welcome to JustCoding");
    assert_eq!(old.next("code-update").await, json!("//Welcome to JustCoding"));
    let joined = new.next("user-joined").await;
    assert_eq!((&joined["username"], &joined["userId"]), (&json!("Old"), &json!(old.sid)));
    new.send("code-change", &json!({"roomId": "r", "code": "a", "sequence": 1})).await;
    assert_eq!(old.next("code-update").await, json!("a"));
    old.send("code-change", &json!({"roomId": "r", "code": "b"})).await;
    assert_eq!(new.next("code-update").await, json!({"code": "b", "sequence": 2, "username": "Old"}));
    old.send("language-change", &json!({"roomId": "r", "language": "python"})).await;
    assert_eq!(new.next("language-update").await, json!({"language": "python", "sequence": 3, "username": "Old"}));
    new.send("request-orderingstate", &json!({"roomId": "r"})).await;
    let state = new.next("room-state").await;
    assert_eq!((&state["sequence"], &state["nextExpectedSequence"]), (&json!(3), &json!(4)));
    assert_eq!((&state["code"], &state["language"]), (&json!("b"), &json!("python")));
}

#[tokio::test]
async fn gaps_are_told_and_closed_and_duplicates_vanish() {
    let server = Server::start(RoomLimits::default()).await;
    let (mut a, mut b) = (server.member("a").await, server.member("b").await);
    for number in [1, 3, 4, 3, 2, 2, 1, 5] {
        let code = format!("{number}");
        a.send("code-change", &json!({"roomId": "r", "code": code, "sequence": number})).await;
    }
    for expected in 1..=5 {
        let update = b.next("code-update").await;
        assert_eq!(update["code"], expected.to_string());
        assert_eq!((&update["sequence"], &update["clientSequence"]), (&json!(expected), &json!(expected)));
    }
    for received in [3, 4] {
        assert_eq!(
            a.next("sequence-gap-detected").await,
            json!({"expectedSequence": 2, "receivedSequence": received, "type": "code-change"})
        );
    }
    a.send("send-chat", &json!({"message": "end"})).await;
    b.next("receive-chat").await;
    assert_eq!(b.pending("code-update"), 0, "duplicates have no effect");
    assert_eq!(a.pending("sequence-gap-detected"), 0);
}

#[tokio::test]
async fn what_is_missing_for_too_long_is_given_up_on() {
    let limits = RoomLimits { gap_wait: Duration::from_millis(100), ..RoomLimits::default() };
    let server = Server::start(limits).await;
    let (mut a, mut b) = (server.member("a").await, server.member("b").await);
    a.send("code-change", &json!({"roomId": "r", "code": "5", "sequence": 5})).await;
    a.next("sequence-gap-detected").await;
    assert_eq!(b.next("code-update").await["code"], "5");
    a.send("code-change", &json!({"roomId": "r", "code": "6", "sequence": 6})).await;
    assert_eq!(b.next("code-update").await["code"], "6");
    // The change 4 never came.
    let run = json!({"roomId": "r", "code": "x", "language": "c", "codeChangeSequence": 4, "correlationId": "c"});
    a.send("execute-code", &run).await;
    assert_eq!(
        a.next("execution-result").await,
        json!({"success": false, "error": "Cannot execute: code state not ready", "code": "CODE_NOT_READY",
            "correlationId": "c", "roomId": "r"})
    );
}

#[tokio::test]
async fn a_forced_advance_lets_a_client_go_on() {
    let server = Server::start(RoomLimits::default()).await;
    let (mut a, mut b) = (server.member("a").await, server.member("b").await);
    a.send("code-change", &json!({"roomId": "r", "code": "5", "sequence": 5})).await;
    a.next("sequence-gap-detected").await;
    let room = RoomId::new("r").unwrap();
    eventually(|| server.registry.diagnostics(&room).unwrap()["bufferedMessages"] == 1).await;
    eventually(|| server.registry.advance_clients(&room, 5) == 1).await;
    assert_eq!(b.next("code-update").await["code"], "5");
    eventually(|| server.registry.diagnostics(&room).unwrap()["bufferedMessages"] == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_keeps_its_order() {
    let server = Server::start(RoomLimits::default()).await;
    let (mut a, mut b) = (server.member("a").await, server.member("b").await);
    for index in 0..400 {
        a.send("code-change", &json!({"roomId": "r", "code": index.to_string()})).await;
    }
    for index in 0..400_u64 {
        let update = b.next("code-update").await;
        assert_eq!((&update["code"], &update["sequence"]), (&json!(index.to_string()), &json!(index + 1)));
    }
}

#[tokio::test]
async fn a_run_is_announced_to_the_room_in_order() {
    let server = Server::start(RoomLimits::default()).await;
    let (mut a, mut b) = (server.member("a").await, server.member("b").await);
    a.send("code-change", &json!({"roomId": "r", "code": "x", "sequence": 1})).await;
    let run = json!({"roomId": "r", "code": "say hello", "language": "python", "sequence": 2, "codeChangeSequence": 1});
    a.send("execute-code", &run).await;
    for client in [&mut a, &mut b] {
        let started = client.next("execution-started").await;
        assert_eq!((&started["sequence"], &started["clientSequence"]), (&json!(2), &json!(2)));
        assert_eq!((&started["userId"], &started["username"]), (&json!("a"), &json!("a")));
        let output = client.next("execution-output").await;
        assert_eq!(
            (&output["data"], &output["stream"], &output["offset"]),
            (&json!("hello"), &json!("stdout"), &json!(0))
        );
        let result = client.next("execution-result").await;
        assert_eq!((&result["sequence"], &result["clientSequence"]), (&json!(3), &json!(2)));
        assert_eq!((&result["success"], &result["output"]), (&json!(true), &json!("hello")));
        assert_eq!(result["correlationId"], result["executionId"]);
        assert_eq!(result["correlationId"], started["correlationId"]);
    }
}

#[tokio::test]
async fn runs_of_two_people_never_overlap() {
    let server = Server::start(RoomLimits::default()).await;
    let (mut a, mut b) = (server.member("a").await, server.member("b").await);
    for (client, name) in [(&mut a, "from a"), (&mut b, "from b")] {
        let code = format!("say {name}");
        let run = json!({"roomId": "r", "code": code, "language": "python", "correlationId": name, "userId": name});
        client.send("execute-code", &run).await;
    }
    for client in [&mut a, &mut b] {
        for turn in 0..2 {
            let started = client.next("execution-started").await;
            let result = client.next("execution-result").await;
            assert_eq!(started["correlationId"], result["correlationId"]);
            assert_eq!(result["userId"], result["correlationId"]);
            assert_eq!(result["output"], result["correlationId"]);
            assert_eq!(started["sequence"], 2 * turn + 1);
            assert_eq!(result["sequence"], 2 * turn + 2);
        }
    }
}

#[tokio::test]
async fn what_cannot_start_is_told_to_the_sender_alone() {
    let server = Server::start(RoomLimits::default()).await;
    let (mut a, mut b) = (server.member("a").await, server.member("b").await);
    let run = |code: &str| json!({"roomId": "r", "code": code, "language": "python", "correlationId": "c"});
    for (payload, error, code) in [
        (run("reject"), "Unsupported language", "UNSUPPORTED_LANGUAGE"),
        (run("busy"), "Could not acquire execution lock. Room is busy with another execution.", "ROOM_BUSY"),
        (
            json!({"roomId": "r", "code": "x", "correlationId": "c"}),
            "language is required: a string of at most 64 characters",
            "INVALID_REQUEST",
        ),
        (run(&"x".repeat(10_001)), "code must be a string of at most 10000 characters", "INVALID_REQUEST"),
    ] {
        a.send("execute-code", &payload).await;
        let result = a.next("execution-result").await;
        assert_eq!(
            (&result["success"], &result["error"], &result["code"], &result["correlationId"], &result["roomId"]),
            (&json!(false), &json!(error), &json!(code), &json!("c"), &json!("r"))
        );
        assert_eq!(result.get("sequence"), None);
    }
    let elsewhere = json!({"roomId": "other", "code": "x", "language": "c"});
    a.send("execute-code", &elsewhere).await;
    assert_eq!(a.next("execution-result").await["code"], "INVALID_REQUEST");
    a.send("send-chat", &json!({"message": "end"})).await;
    b.next("receive-chat").await;
    assert_eq!(b.pending("execution-result"), 0);
}

#[tokio::test]
async fn a_repeat_of_what_is_over_is_told_to_the_sender_alone() {
    let server = Server::start(RoomLimits::default()).await;
    let (mut a, mut b) = (server.member("a").await, server.member("b").await);
    let run = json!({"roomId": "r", "code": "say once", "language": "python", "correlationId": "c"});
    a.send("execute-code", &run).await;
    let first = a.next("execution-result").await;
    a.send("execute-code", &run).await;
    let again = a.next("execution-result").await;
    assert_eq!(first["executionId"], again["executionId"]);
    assert_eq!(again.get("sequence"), None);
    b.next("execution-result").await;
    a.send("send-chat", &json!({"message": "end"})).await;
    b.next("receive-chat").await;
    assert_eq!((b.pending("execution-result"), b.pending("execution-started")), (0, 1));
}

#[tokio::test]
async fn who_leaves_takes_its_waiting_runs_along() {
    let server = Server::start(RoomLimits::default()).await;
    let (mut a, mut b) = (server.member("a").await, server.member("b").await);
    for (code, id) in [("wait", "runs"), ("say never", "waits")] {
        let run = json!({"roomId": "r", "code": code, "language": "python", "correlationId": id});
        a.send("execute-code", &run).await;
    }
    assert_eq!(b.next("execution-started").await["correlationId"], "runs");
    assert_eq!(b.next("execution-queued").await["correlationId"], "runs");
    assert_eq!(b.next("execution-queued").await["correlationId"], "waits");
    drop(a);
    b.next("user-left").await;
    eventually(|| server.runner.dropped("waits")).await;
    // Back again while it runs: the result comes.
    let mut back = server.member("a").await;
    server.runner.finish("runs");
    assert_eq!(back.next("execution-result").await["correlationId"], "runs");
    assert_eq!(b.next("execution-result").await["correlationId"], "runs");
    assert_eq!(b.pending("execution-started"), 0);
}

#[tokio::test]
async fn only_ones_own_runs_are_cancelled_or_fed() {
    let server = Server::start(RoomLimits::default()).await;
    let (mut a, mut b) = (server.member("a").await, server.member("b").await);
    let run = json!({"roomId": "r", "code": "wait", "language": "python", "correlationId": "c", "interactive": true});
    a.send("execute-code", &run).await;
    a.next("execution-started").await;
    b.next("execution-started").await;
    for event in ["cancel-execution", "execution-input"] {
        b.send(event, &json!({"correlationId": "c", "data": "x"})).await;
        assert!(b.next("error").await["message"].as_str().unwrap().starts_with(event));
    }
    a.send("execution-input", &json!({"correlationId": "c", "data": "typed"})).await;
    assert_eq!(a.next("execution-output").await["data"], "typed");
    a.send("cancel-execution", &json!({"correlationId": "c"})).await;
    assert_eq!(a.next("execution-result").await["status"], "cancelled");
    a.send("cancel-execution", &json!({"correlationId": "c"})).await;
    a.next("error").await;
}

#[tokio::test]
async fn a_run_over_http_is_announced_too() {
    let server = Server::start(RoomLimits::default()).await;
    let mut a = server.member("a").await;
    let ticket = server.runner.submit_over_http("r", "u", "say web").await;
    ticket.await.unwrap();
    let started = a.next("execution-started").await;
    assert_eq!((&started["userId"], started.get("clientSequence")), (&json!("u"), None));
    assert_eq!(a.next("execution-result").await["output"], "web");
    // Nobody is in this one: it still counts.
    server.runner.submit_over_http("empty", "u", "say x").await.await.unwrap();
    let told = server.registry.diagnostics(&RoomId::new("empty").unwrap()).unwrap();
    assert_eq!(told["executionState"]["executionCount"], 1);
}

#[tokio::test]
async fn joining_over_and_over_hurts_nobody() {
    let server = Server::start(RoomLimits::default()).await;
    let (mut a, mut b) = (server.member("a").await, server.member("b").await);
    for round in 0..37 {
        let (room, user) = if round % 5 == 4 { ("elsewhere", "b") } else { ("r", "b") };
        b.join(room, "b", Some(user)).await;
    }
    b.join("r", "b", Some("b")).await;
    server.members(2).await;
    a.send("send-chat", &json!({"message": "end"})).await;
    b.next("receive-chat").await;
    b.send("send-chat", &json!({"message": "end"})).await;
    a.next("receive-chat").await;
    let lists = a.all("participants-list");
    assert_eq!(lists.last().unwrap().as_array().unwrap().len(), 1);
    assert!(lists.iter().all(|list| list.as_array().unwrap().len() <= 1));
    assert_eq!(a.pending("user-joined"), a.pending("user-left") + 1);
    let elsewhere = server.registry.diagnostics(&RoomId::new("elsewhere").unwrap()).unwrap();
    assert_eq!(elsewhere["memberCount"], 0, "joining one room leaves the other");
}

#[tokio::test]
async fn talk_goes_to_the_others() {
    let server = Server::start(RoomLimits::default()).await;
    let (mut a, mut b) = (server.member("a").await, server.member("b").await);
    a.send("send-chat", &json!({"roomId": "r", "username": "A", "message": "<b>hi</b>\u{7}"})).await;
    let chat = b.next("receive-chat").await;
    assert_eq!((&chat["username"], &chat["message"]), (&json!("A"), &json!("<b>hi</b>")));
    a.send("send-chat", &json!({"roomId": "r", "message": "x".repeat(5_000)})).await;
    assert_eq!(b.next("receive-chat").await["message"].as_str().unwrap().len(), 1_000);
    assert_eq!(a.next("error").await["message"], "message was cut: it may have at most 1000 characters");
    a.send("typing", &json!({"roomId": "r", "username": "A"})).await;
    assert_eq!(b.next("show-typing").await, json!("A is typing..."));
    a.send("cursor-move", &json!({"roomId": "r", "username": "A", "position": [1, 2], "color": "#fff"})).await;
    assert_eq!(
        b.next("cursor-update").await,
        json!({"username": "A", "position": [1, 2], "selection": null, "color": "#fff"})
    );
    a.send("debug-state", &json!({"roomId": "r", "state": {"line": 3}})).await;
    assert_eq!(b.next("debug-state-update").await, json!({"line": 3}));
    b.send("start-recording", &json!({"roomId": "r"})).await;
    assert_eq!(b.next("error").await["message"], "only the host may start a recording");
    a.send("start-recording", &json!({"roomId": "r"})).await;
    assert_eq!((a.next("recording-started").await, b.next("recording-started").await), (json!({}), json!({})));
    a.send("stop-recording", &json!({"roomId": "r"})).await;
    let stopped = a.next("recording-stopped").await;
    assert_eq!(stopped, b.next("recording-stopped").await);
    assert!(stopped["recordingId"].as_str().unwrap().starts_with("rec-"));
    drop(a);
    assert_eq!(b.next("cursor-remove").await, json!({"username": "A"}));
    assert_eq!(b.next("host-assigned").await, json!({"isHost": true}));
    assert_eq!(b.pending("receive-chat"), 0);
}

#[tokio::test]
async fn bad_messages_are_answered_and_change_nothing() {
    let server = Server::start(RoomLimits::default()).await;
    let mut stranger = server.connect().await;
    stranger.send("code-change", &json!({"roomId": "r", "code": "x"})).await;
    assert_eq!(stranger.next("error").await["message"], "code-change needs a room: send join-room first");
    let mut a = server.member("a").await;
    for (event, payload, message) in [
        ("code-change", json!({"roomId": "r"}), "code is required: a string of at most 10000 characters"),
        ("code-change", json!([1]), "code-change takes an object"),
        ("join-room", json!({"roomId": "standalone"}), "roomId must not be \"standalone\", which is no room"),
        ("no-such", json!({}), "there is no event no-such"),
        (
            "code-change",
            json!({"roomId": "x", "code": "c"}),
            "code-change: roomId is not the room that was joined last",
        ),
    ] {
        a.send(event, &payload).await;
        assert_eq!(a.next("error").await["message"], message);
    }
    a.send_raw("42[5]").await;
    // The library ends a connection whose event has no name.
    a.ended().await;
    server.members(0).await;
}

#[tokio::test]
async fn a_flood_is_dropped_and_told() {
    let limits = RoomLimits { events_burst: 5, events_per_second: 1, ..RoomLimits::default() };
    let server = Server::start(limits).await;
    let mut a = server.member("a").await;
    for _ in 0..20 {
        a.send("typing", &json!({"roomId": "r"})).await;
    }
    assert_eq!(a.next("error").await["message"], "too many events: at most 1 a second; some were dropped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_does_not_read_is_disconnected_and_nobody_gets_holes() {
    let limits = RoomLimits { outbox_bytes: 200_000, events_burst: 100_000, ..RoomLimits::default() };
    let server = Server::start(limits).await;
    let slow = server.member("slow").await;
    let (mut a, mut b) = (server.member("a").await, server.member("b").await);
    server.members(3).await;
    let code = "x".repeat(10_000);
    let mut updates = Vec::new();
    let gone = async {
        // Enough for the kernel's buffers on both sides, too.
        for _ in 0..4_000 {
            a.send("code-change", &json!({"roomId": "r", "code": code})).await;
            updates.push(b.next("code-update").await);
            if b.pending("user-left") > 0 {
                return;
            }
        }
        panic!("the slow one is still there");
    };
    tokio::time::timeout(Duration::from_secs(60), gone).await.unwrap();
    assert_eq!(numbers(&updates), (1..=updates.len() as u64).collect::<Vec<_>>());
    assert_eq!(b.next("user-left").await["username"], "slow");
    server.members(2).await;
    drop(slow);
}

#[tokio::test]
async fn the_room_outlives_its_last_member() {
    let server = Server::start(RoomLimits::default()).await;
    let mut a = server.member("a").await;
    a.send("code-change", &json!({"roomId": "r", "code": "kept"})).await;
    // Its last words count even when it hangs up behind them.
    a.close().await;
    server.members(0).await;
    server.registry.save().await;
    eventually(|| server.registry.evict(Duration::ZERO) == 1).await;
    let mut b = server.connect().await;
    let state = b.join("r", "b", Some("b")).await;
    assert_eq!((&state["code"], &state["sequence"]), (&json!("kept"), &json!(1)));
}

#[tokio::test]
async fn two_daemons_serve_one_room() {
    let Some(redis) = redis_link::server::Server::started().await else { return };
    let (one, two) = (Server::sharing(&redis).await, Server::sharing(&redis).await);
    let mut a = one.member("a").await;
    assert_eq!(a.next("host-assigned").await, json!({"isHost": true}));
    let mut b = two.member("b").await;
    let mut old = two.connect().await;
    old.join("r", "Old", None).await;
    two.members(3).await;
    one.members(3).await;

    a.send("code-change", &json!({"roomId": "r", "code": "shared", "sequence": 1})).await;
    let update = json!({"code": "shared", "sequence": 1, "username": "a", "clientSequence": 1});
    assert_eq!(b.next("code-update").await, update);
    assert_eq!(old.next("code-update").await, "//Welcome to JustCoding");
    assert_eq!(old.next("code-update").await, "shared");

    // Both run something at once: every member of either daemon hears both, in one order.
    let run =
        |who: &str| json!({"roomId": "r", "language": "python", "code": format!("say {who}"), "correlationId": who});
    a.send("execute-code", &run("a")).await;
    b.send("execute-code", &run("b")).await;
    let mut heard = Vec::new();
    for client in [&mut a, &mut b, &mut old] {
        let mut told = Vec::new();
        for event in ["execution-started", "execution-result"] {
            for _ in 0..2 {
                let payload = client.next(event).await;
                told.push((
                    payload["sequence"].as_u64().unwrap(),
                    payload["correlationId"].clone(),
                    payload["output"].clone(),
                ));
            }
        }
        told.sort_by_key(|(sequence, ..)| *sequence);
        assert_eq!(told.iter().map(|(sequence, ..)| *sequence).collect::<Vec<_>>(), [2, 3, 4, 5]);
        heard.push(told);
    }
    assert_eq!(heard[0], heard[1]);
    assert_eq!(heard[0], heard[2]);
    assert_eq!(heard[0].iter().filter(|(.., output)| output == "a" || output == "b").count(), 2);

    a.close().await;
    assert_eq!(b.next("user-left").await["userId"], "a");
    assert_eq!(b.next("host-assigned").await, json!({"isHost": true}));
    old.send("request-orderingstate", &json!({"roomId": "r"})).await;
    let state = old.next("room-state").await;
    assert_eq!((&state["code"], &state["sequence"]), (&json!("shared"), &json!(5)));
}
