//! `/api/execution` over a real history, by `oneshot`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use serde_json::{Value, json};

use super::testing::{Bench, ID, Script, finished, hi, request};
use crate::history::Commit;
use crate::ids::{CorrelationId, ExecutionId, RoomId, UserId};
use crate::jobs::execution::{CompileResult, Finished, RunResult, Status};
use crate::jobs::{LimitOverrides, QueueSnapshot, Refusal, RoomQueue, Submission};
use crankcase_sandbox::spec::SourceFile;

fn submission(room: &str, user: &str) -> Submission {
    Submission {
        room: RoomId::new(room).unwrap(),
        user: UserId::new(user).unwrap(),
        username: "Ann".to_owned(),
        language: "python".to_owned(),
        code: "print(input())".to_owned(),
        stdin: "hi\n".to_owned(),
        args: vec!["-x".to_owned()],
        files: vec![SourceFile { name: "a.txt".to_owned(), content: b"A".to_vec(), executable: false }],
        priority: 2,
        overrides: LimitOverrides::default(),
        correlation_id: Some(CorrelationId::new("c1").unwrap()),
        interactive: false,
        address: None,
        received: Instant::now(),
    }
}

/// Records `n` finished executions of one room and user, a second apart.
async fn record(bench: &Bench, room: &str, user: &str, n: usize) -> Vec<Arc<Finished>> {
    let mut all = Vec::new();
    let now = crate::history::Timestamp::now().0;
    for number in 0..n {
        let mut one = Finished::clone(&finished(&submission(room, user), hi()));
        one.head.id = ExecutionId::new(&format!("exec-{room}-{number}")).unwrap();
        one.completed_at = now - 1000 * (n - number) as i64;
        bench.history.record_finished(&one, Commit::Now).await.unwrap();
        all.push(Arc::new(one));
    }
    all
}

fn ids(history: &Value) -> Vec<&str> {
    history.as_array().unwrap().iter().map(|entry| entry["executionId"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_rooms_history_is_newest_first_without_code() {
    let bench = Bench::new(Script::Hang);
    record(&bench, "r1", "u1", 3).await;
    record(&bench, "r2", "u1", 1).await;
    let body = bench.get("/api/execution/history/room/r1").await.json();
    assert_eq!((&body["success"], &body["roomId"], &body["count"]), (&json!(true), &json!("r1"), &json!(3)));
    assert_eq!(ids(&body["history"]), ["exec-r1-2", "exec-r1-1", "exec-r1-0"]);
    assert_eq!(body["nextCursor"], Value::Null);
    let mut names: Vec<&str> = body["history"][0].as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    let mut wanted = vec![
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
    ];
    wanted.sort_unstable();
    assert_eq!(names, wanted);
    let body = bench.get("/api/execution/history/user/u1").await.json();
    assert_eq!((&body["userId"], &body["count"]), (&json!("u1"), &json!(4)));
    let body = bench.get("/api/execution/history/room/nobody").await.json();
    assert_eq!((&body["history"], &body["count"]), (&json!([]), &json!(0)));
}

#[tokio::test]
async fn cursors_lead_through_all_pages() {
    let bench = Bench::new(Script::Hang);
    record(&bench, "r1", "u1", 5).await;
    let mut seen = Vec::new();
    let mut path = "/api/execution/history/room/r1?limit=2".to_owned();
    loop {
        let body = bench.get(&path).await.json();
        seen.extend(ids(&body["history"]).into_iter().map(str::to_owned));
        let Some(cursor) = body["nextCursor"].as_str() else { break };
        path = format!("/api/execution/history/room/r1?limit=2&before={cursor}");
    }
    assert_eq!(seen, ["exec-r1-4", "exec-r1-3", "exec-r1-2", "exec-r1-1", "exec-r1-0"]);
}

#[tokio::test]
async fn bad_numbers_and_names_are_400() {
    let bench = Bench::new(Script::Hang);
    for bad in ["0", "501", "-1", "x", "", "1.5", "99999999999999999999"] {
        for path in ["room/r1", "user/u1"] {
            let answer = bench.get(&format!("/api/execution/history/{path}?limit={bad}")).await;
            assert_eq!(answer.error(400, "INVALID_REQUEST"), "limit must be an integer from 1 to 500", "{bad}");
        }
    }
    for bad in ["0", "-1", "soon", ""] {
        let answer = bench.get(&format!("/api/execution/stats/room/r1?timeRange={bad}")).await;
        assert!(answer.error(400, "INVALID_REQUEST").starts_with("timeRange must be"), "{bad}");
    }
    let answer = bench.get("/api/execution/history/room/r1?before=yesterday").await;
    assert!(answer.error(400, "INVALID_REQUEST").starts_with("before must be"));
    let long = "r".repeat(129);
    bench.get(&format!("/api/execution/history/room/{long}")).await.error(400, "INVALID_REQUEST");
    bench.get(&format!("/api/execution/queue/status?roomId={long}")).await.error(400, "INVALID_REQUEST");
    bench.get("/api/execution/history/room/%ff").await.error(400, "INVALID_REQUEST");
}

#[tokio::test]
async fn one_execution_has_its_code_and_stdin() {
    let bench = Bench::new(Script::Hang);
    record(&bench, "r1", "u1", 1).await;
    let body = bench.get("/api/execution/history/execution/exec-r1-0").await.json();
    assert_eq!(body["success"], true);
    let execution = &body["execution"];
    assert_eq!((&execution["code"], &execution["stdin"]), (&json!("print(input())"), &json!("hi\n")));
    assert_eq!((&execution["status"], &execution["output"]), (&json!("completed"), &json!("hi\n")));
    for unknown in ["exec-none", &"x".repeat(65)] {
        let answer = bench.get(&format!("/api/execution/history/execution/{unknown}")).await;
        assert_eq!(answer.error(404, "NOT_FOUND"), "Execution not found");
    }
}

#[tokio::test]
async fn sums_are_zero_when_there_is_nothing() {
    let bench = Bench::new(Script::Hang);
    record(&bench, "r1", "u1", 2).await;
    let body = bench.get("/api/execution/stats/room/r1").await.json();
    assert_eq!(
        body,
        json!({
            "success": true, "roomId": "r1", "timeRange": 3_600_000, "stats": {
                "totalExecutions": 2, "successfulExecutions": 2, "failedExecutions": 0, "avgExecutionTime": 12,
                "totalExecutionTime": 24
            }
        })
    );
    let body = bench.get("/api/execution/stats/room/none?timeRange=1000").await.json();
    assert_eq!(body["timeRange"], 1000);
    assert_eq!(
        body["stats"],
        json!({
            "totalExecutions": 0, "successfulExecutions": 0, "failedExecutions": 0, "avgExecutionTime": 0,
            "totalExecutionTime": 0
        })
    );
}

#[tokio::test]
async fn the_queue_is_told_for_all_and_for_one_room() {
    let bench = Bench::new(Script::Hang);
    let room = RoomQueue { length: 2, oldest_age: Duration::from_millis(1500) };
    let rooms = [(RoomId::new("r1").unwrap(), room)].into();
    *bench.runner.queue.lock().unwrap() = QueueSnapshot { rooms, running: 3, queued: 2 };
    let global = json!({"running": 3, "queued": 2, "rooms": 1, "oldestAge": 1500});
    assert_eq!(
        bench.get("/api/execution/queue/status").await.json(),
        json!({"success": true, "queueStats": {"r1": {"length": 2, "oldestAge": 1500}}, "global": global})
    );
    assert_eq!(
        bench.get("/api/execution/queue/status?roomId=r1").await.json(),
        json!({"success": true, "queueStats": {"length": 2, "oldestAge": 1500}, "global": global})
    );
    assert_eq!(
        bench.get("/api/execution/queue/status?roomId=idle").await.json()["queueStats"],
        json!({"length": 0, "oldestAge": 0})
    );
    assert_eq!(
        bench.get("/api/execution/queue/status/r1").await.json(),
        json!({"success": true, "roomId": "r1", "queueLength": 2, "oldestAge": 1500})
    );
    assert_eq!(
        bench.get("/api/execution/queue/status/idle").await.json(),
        json!({"success": true, "roomId": "idle", "queueLength": 0, "oldestAge": 0})
    );
}

#[tokio::test]
async fn a_replay_is_a_new_execution_of_the_same_program() {
    let bench = Bench::new(Script::Finish(hi()));
    record(&bench, "r1", "u1", 1).await;
    let bare = request("POST", "/api/execution/replay/exec-r1-0").body(Body::empty()).unwrap();
    let body = bench.send(bare).await.json();
    assert_eq!((&body["executionId"], &body["replayOf"]), (&json!(ID), &json!("exec-r1-0")));
    assert_eq!((&body["success"], &body["roomId"], &body["userId"]), (&json!(true), &json!("r1"), &json!("u1")));
    let seen = bench.runner.seen.lock().unwrap()[0].clone();
    let original = submission("r1", "u1");
    assert_eq!((seen.code, seen.stdin, seen.args), (original.code, original.stdin, original.args));
    assert_eq!((seen.files, seen.priority, seen.username), (original.files, 2, "Ann".to_owned()));
    assert_eq!(seen.correlation_id, None, "the first one's would only give its result back");
    let body = json!({"userId": "u2", "username": "Bob", "correlationId": "c2"});
    let body = bench.post("/api/execution/replay/exec-r1-0", &body).await.json();
    assert_eq!((&body["userId"], &body["username"]), (&json!("u2"), &json!("Bob")));
    assert_eq!(body["correlationId"], "c2");
    let answer = bench.post("/api/execution/replay/exec-none", &json!({"correlationId": "c3"})).await;
    assert_eq!(answer.error(404, "NOT_FOUND"), "Execution not found");
    assert_eq!(answer.json()["correlationId"], "c3");
    let text = request("POST", "/api/execution/replay/exec-r1-0").header("content-type", "text/plain");
    bench.send(text.body(Body::from("x")).unwrap()).await.error(415, "UNSUPPORTED_MEDIA_TYPE");
}

#[tokio::test]
async fn cancelling_tells_what_there_was_to_cancel() {
    let bench = Bench::new(Script::Hang);
    record(&bench, "r1", "u1", 1).await;
    let delete = async |id: &str| {
        bench.send(request("DELETE", &format!("/api/execution/{id}")).body(Body::empty()).unwrap()).await
    };
    let answer = delete(ID).await;
    assert_eq!(answer.status, 200);
    assert_eq!((&answer.json()["success"], &answer.json()["executionId"]), (&json!(true), &json!(ID)));
    delete("exec-r1-0").await.error(409, "NOT_RUNNING");
    assert_eq!(delete("exec-none").await.error(404, "NOT_FOUND"), "Execution not found");
    assert_eq!(*bench.runner.cancelled.lock().unwrap(), [ID, "exec-r1-0", "exec-none"]);
}

#[tokio::test]
async fn a_batch_gives_a_verdict_for_each_case() {
    let bench = Bench::new(Script::Finish(hi()));
    let body = json!({
        "language": "cpp", "code": "int main(){}", "roomId": "r1", "userId": "u1", "correlationId": "c1",
        "cases": [{"stdin": "1", "expectedOutput": "hi"}, {"stdin": "bad", "expectedOutput": "x"}, {}]
    });
    let answer = bench.post("/api/execution/batch", &body).await;
    assert_eq!(answer.status, 200);
    let result = |verdict: &str| {
        json!({
            "verdict": verdict, "stdout": "hi\n", "stderr": "", "exitCode": 0, "signal": null, "limit": null,
            "truncated": {"output": false, "stdout": false, "stderr": false}, "cpuTime": 3, "wallTime": 4,
            "memory": 5000
        })
    };
    assert_eq!(
        answer.json(),
        json!({
            "success": true, "executionId": ID, "correlationId": "c1", "userId": "u1", "username": "Anonymous",
            "roomId": "r1", "language": "cpp", "status": "completed", "compile": null,
            "results": [result("accepted"), result("wrong-answer"), result("accepted")], "passed": 2, "total": 3,
            "executionTime": 12, "queueTime": 1, "timestamp": "2026-01-29T00:00:00.007Z"
        })
    );
    let batch = bench.runner.batches.lock().unwrap()[0].clone();
    assert_eq!(batch.cases[0].expected_output.as_deref(), Some("hi"));
    assert_eq!((batch.cases[2].stdin.as_str(), batch.cases[2].expected_output.as_deref()), ("", None));
}

#[tokio::test]
async fn bad_batches_are_named() {
    let bench = Bench::new(Script::Finish(hi()));
    for (cases, words) in [
        (json!(null), "cases is required and must have 1 to 100 elements"),
        (json!([]), "cases is required and must have 1 to 100 elements"),
        (json!("x"), "cases must be an array"),
        (json!(vec![json!({}); 101]), "cases must have at most 100 elements, it has 101"),
        (json!(["x"]), "cases[0] must be an object"),
        (json!([{}, {"stdin": 1}]), "cases[1].stdin must be a string"),
        (json!([{"stdin": "x".repeat(1001)}]), "cases[0].stdin must be at most 1000 characters, it has 1001"),
        (json!([{"expectedOutput": []}]), "cases[0].expectedOutput must be a string"),
    ] {
        let body = json!({"language": "cpp", "code": "x", "correlationId": "c1", "cases": cases});
        let answer = bench.post("/api/execution/batch", &body).await;
        let error = answer.error(400, "INVALID_REQUEST");
        assert!(error.contains(words), "{error}");
        assert_eq!(answer.json()["correlationId"], "c1");
    }
    bench.post("/api/execution/batch", &json!({"code": "x", "cases": [{}]})).await.error(400, "INVALID_REQUEST");
    let busy = Refusal::RoomBusy { retry_after: Duration::from_secs(1) };
    *bench.runner.script.lock().unwrap() = Script::Refuse(busy);
    let body = json!({"language": "cpp", "code": "x", "cases": [{}]});
    bench.post("/api/execution/batch", &body).await.error(503, "ROOM_BUSY");
}

#[tokio::test]
async fn a_full_batch_is_larger_than_an_ordinary_body() {
    let bench = Bench::new(Script::Replay(hi()));
    let case = json!({"stdin": "é".repeat(1000), "expectedOutput": "x".repeat(1000)});
    let body = json!({"language": "cpp", "code": "é".repeat(10_000), "cases": vec![case; 100]});
    assert!(body.to_string().len() > 50 * 1024);
    let answer = bench.post("/api/execution/batch", &body).await;
    assert_eq!((answer.status.as_u16(), answer.header("idempotent-replay")), (200, Some("true")));
    assert_eq!(answer.json()["total"], 100);
}

#[tokio::test]
async fn a_compile_error_of_a_batch_has_no_results() {
    let compile = CompileResult {
        stdout: String::new(),
        stderr: "error: x".to_owned(),
        exit_code: Some(1),
        signal: None,
        limit: None,
        cpu_time: 1,
        wall_time: 2,
        memory: 3,
    };
    let result = RunResult { status: Status::Completed, compile: Some(compile), ..hi() };
    let bench = Bench::new(Script::Finish(result));
    let body = json!({"language": "cpp", "code": "x", "cases": [{}]});
    let body = bench.post("/api/execution/batch", &body).await.json();
    assert_eq!((&body["success"], &body["compile"]["exitCode"]), (&json!(true), &json!(1)));
    assert_eq!(body["compile"]["stderr"], "error: x");
}

#[tokio::test]
async fn a_closed_history_is_a_503() {
    let bench = Bench::new(Script::Hang);
    bench.history.close().await;
    for path in ["history/room/r", "history/user/u", "history/execution/e", "stats/room/r"] {
        let answer = bench.get(&format!("/api/execution/{path}")).await;
        answer.error(503, "HISTORY_UNAVAILABLE");
        assert!(answer.header("retry-after").is_some());
    }
}
