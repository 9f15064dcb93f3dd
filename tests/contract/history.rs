//! What was run, recorded before it was answered.

use std::collections::HashSet;

use crankcase_tests::{shared, unique};

const FIELDS: [&str; 19] = [
    "executionId",
    "correlationId",
    "roomId",
    "userId",
    "username",
    "language",
    "output",
    "error",
    "success",
    "executionTime",
    "queuedAt",
    "startedAt",
    "completedAt",
    "status",
    "priority",
    "metadata",
    "createdAt",
    "updatedAt",
    "stdin",
];

#[test]
fn an_answered_execution_is_there_at_once_with_every_field() {
    let room = unique("room-");
    let answer = shared().program("python", "print(input())").who(&room, "u1").stdin("typed").run().expect_success();
    let id = answer.str("/executionId");
    let record = shared().get(&format!("/api/execution/history/execution/{id}")).expect_status(200);
    assert_eq!(record.body["success"], true);
    let execution = record.body["execution"].as_object().expect("an object");
    for field in FIELDS.iter().chain(&["code"]) {
        assert!(execution.contains_key(*field), "{field}: {}", record.text);
    }
    assert_eq!(execution["code"], "print(input())");
    assert_eq!(execution["stdin"], "typed");
    assert_eq!(execution["output"], "typed\n");
    assert_eq!(execution["status"], "completed");
    for field in
        ["executionId", "correlationId", "roomId", "userId", "username", "language", "executionTime", "success"]
    {
        assert_eq!(execution[field], answer.body[field], "{field}");
    }
    assert!(execution["queuedAt"].as_str() <= execution["startedAt"].as_str(), "{}", record.text);
    assert!(execution["startedAt"].as_str() <= execution["completedAt"].as_str(), "{}", record.text);
}

#[test]
fn lists_are_newest_first_without_code_and_bounded() {
    let (room, user) = (unique("room-"), unique("user-"));
    let ids: Vec<String> = (0..5)
        .map(|n| {
            shared().program("python", &format!("print({n})")).who(&room, &user).run().str("/executionId").to_owned()
        })
        .collect();
    for path in [format!("/api/execution/history/room/{room}"), format!("/api/execution/history/user/{user}")] {
        let list = shared().get(&path).expect_status(200);
        assert_eq!((list.number("/count"), &list.body["success"]), (5, &true.into()), "{}", list.text);
        let entries = list.body["history"].as_array().expect("a list");
        let listed: Vec<&str> = entries.iter().filter_map(|entry| entry["executionId"].as_str()).collect();
        assert_eq!(listed, ids.iter().rev().map(String::as_str).collect::<Vec<_>>());
        for entry in entries {
            assert!(entry.get("code").is_none() && entry.get("stdin").is_none(), "{entry}");
            assert_eq!(entry["status"], "completed");
        }
        let two = shared().get(&format!("{path}?limit=2"));
        assert_eq!((two.number("/count"), two.str("/history/0/executionId")), (2, ids[4].as_str()));
    }
    assert_eq!(shared().get(&format!("/api/execution/history/room/{room}")).body["roomId"], *room);
    assert_eq!(shared().get(&format!("/api/execution/history/user/{user}")).body["userId"], *user);
}

#[test]
fn pages_join_up() {
    let room = unique("room-");
    for n in 0..7 {
        shared().program("python", &format!("print({n})")).who(&room, "u1").run().expect_success();
    }
    let (mut seen, mut cursor, mut pages) = (HashSet::new(), None::<String>, 0);
    loop {
        let before = cursor.as_ref().map_or(String::new(), |cursor| format!("&before={cursor}"));
        let page = shared().get(&format!("/api/execution/history/room/{room}?limit=3{before}")).expect_status(200);
        let entries = page.body["history"].as_array().expect("a list").clone();
        for entry in &entries {
            assert!(seen.insert(entry["executionId"].as_str().expect("an id").to_owned()), "twice: {entry}");
        }
        pages += 1;
        assert!(pages < 10);
        match page.body["nextCursor"].as_str() {
            Some(next) if !entries.is_empty() => cursor = Some(next.to_owned()),
            _ => break,
        }
    }
    assert_eq!(seen.len(), 7);
}

#[test]
fn bad_numbers_are_refused_and_the_unknown_is_empty_or_404() {
    for query in ["limit=0", "limit=501", "limit=x", "limit=-1", "limit=1.5", "before=%00nonsense"] {
        let answer = shared().get(&format!("/api/execution/history/room/r?{query}"));
        assert_eq!((answer.status, &answer.body["success"]), (400, &false.into()), "{query}: {}", answer.text);
    }
    let empty = shared().get(&format!("/api/execution/history/room/{}", unique("never-")));
    assert_eq!((empty.status, empty.number("/count")), (200, 0), "{}", empty.text);
    let missing = shared().get("/api/execution/history/execution/exec-0-nothing").expect_status(404);
    assert_eq!((missing.body["success"].as_bool(), missing.str("/error")), (Some(false), "Execution not found"));
}

#[test]
fn statistics_count_what_happened() {
    let room = unique("room-");
    let zero = shared().get(&format!("/api/execution/stats/room/{room}")).expect_status(200);
    assert_eq!((zero.number("/stats/totalExecutions"), zero.number("/timeRange")), (0, 3_600_000), "{}", zero.text);
    let mut total = 0;
    for code in ["print(1)", "import sys; sys.exit(3)"] {
        total += shared().program("python", code).who(&room, "u").run().expect_success().number("/executionTime");
    }
    let slow = shared().program("python", "import time; time.sleep(9)").who(&room, "u").milliseconds(200).run();
    total += slow.expect_limit("time").body["executionTime"].as_i64().unwrap_or(0);
    let stats = shared().get(&format!("/api/execution/stats/room/{room}?timeRange=600000")).expect_status(200);
    assert_eq!(stats.number("/timeRange"), 600_000);
    let of = |name: &str| stats.body["stats"][name].as_f64().unwrap_or(-1.0);
    assert_eq!(
        (of("totalExecutions"), of("successfulExecutions"), of("failedExecutions")),
        (3.0, 2.0, 1.0),
        "{}",
        stats.text
    );
    assert!((of("totalExecutionTime") - total as f64).abs() < 1.0, "{total}: {}", stats.text);
    assert!((of("avgExecutionTime") - total as f64 / 3.0).abs() <= 1.0, "{}", stats.text);
    assert_eq!(shared().get(&format!("/api/execution/stats/room/{room}?timeRange=x")).status, 400);
}

#[test]
fn refused_requests_leave_no_execution_and_odd_ids_are_safe() {
    let room = unique("room-' OR 1=1 --ü/");
    let answer = shared().program("python", "print(1)").who(&room, "u").run().expect_success();
    let path = |segment: &str| {
        let encoded: String = segment.bytes().map(|byte| format!("%{byte:02X}")).collect();
        format!("/api/execution/history/room/{encoded}")
    };
    let list = shared().get(&path(&room)).expect_status(200);
    assert_eq!((list.number("/count"), list.str("/roomId")), (1, room.as_str()), "{}", list.text);
    assert_eq!(list.body["history"][0]["executionId"], answer.body["executionId"]);
    let other = unique("room-");
    shared().program("cobol", "x").who(&other, "u").run().expect_status(400);
    assert_eq!(shared().get(&path(&other)).number("/count"), 0);
}
