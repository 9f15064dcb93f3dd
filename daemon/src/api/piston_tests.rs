//! Piston's interface, by `oneshot`, with the requests of its documentation and of its clients.

use std::time::Duration;

use axum::body::Body;
use serde_json::{Value, json};

use super::health::Health;
use super::settings::Settings;
use super::testing::{Bench, Script, hi, request, settings};
use crate::jobs::Refusal;
use crate::jobs::admission::AdmissionError;
use crate::jobs::execution::{CompileResult, RunResult, Status, Truncated};

fn hello() -> Value {
    json!({"language": "python", "version": "3.x", "files": [{"name": "my_cool_code.py", "content": "print('hi')"}]})
}

async fn run(result: RunResult) -> Value {
    let answer = Bench::new(Script::Finish(result)).post("/api/v2/execute", &hello()).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

#[tokio::test]
async fn runtimes_and_packages_are_listed() {
    let bench = Bench::new(Script::Hang);
    for prefix in ["/api/v2", "/api/v2/piston"] {
        assert_eq!(
            bench.get(&format!("{prefix}/runtimes")).await.json(),
            json!([
                {"language": "python", "version": "3.11.2", "aliases": ["py", "python3"]},
                {"language": "cpp", "version": "12.2.0", "aliases": ["c++"]}
            ])
        );
        assert_eq!(
            bench.get(&format!("{prefix}/packages")).await.json()[0],
            json!({"language": "python", "language_version": "3.11.2", "installed": true})
        );
    }
}

#[tokio::test]
async fn a_run_has_pistons_shape() {
    for prefix in ["/api/v2", "/api/v2/piston"] {
        let answer = Bench::new(Script::Finish(hi())).post(&format!("{prefix}/execute"), &hello()).await;
        assert_eq!(answer.status, 200);
        assert_eq!(
            answer.json(),
            json!({
                "language": "python", "version": "3.11.2", "run": {
                    "stdout": "hi\n", "stderr": "", "output": "hi\n", "code": 0, "signal": null, "message": null,
                    "status": null, "cpu_time": 3, "wall_time": 4, "memory": 5000
                }
            })
        );
    }
}

#[tokio::test]
async fn every_field_reaches_the_submission() {
    let bench = Bench::new(Script::Finish(hi()));
    let body = json!({
        "language": "c++", "version": "*", "stdin": "a", "args": ["1", "2"],
        "files": [
            {"name": "data.bin", "content": "aGk_", "encoding": "base64"},
            {"content": "int main(){}"},
            {"name": "./x/y.h", "content": "6869", "encoding": "hex"},
            {"content": "third", "encoding": "latin1"}
        ],
        "run_timeout": 3000, "compile_timeout": 10000, "run_cpu_time": 1000, "compile_cpu_time": 5000,
        "run_memory_limit": 100_000_000, "compile_memory_limit": -1
    });
    let answer = bench.post("/api/v2/execute", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let seen = bench.runner.seen.lock().unwrap()[0].clone();
    assert_eq!((seen.language.as_str(), seen.code.as_str(), seen.stdin.as_str()), ("cpp", "int main(){}", "a\n"));
    assert_eq!(seen.args, ["1", "2"]);
    let files: Vec<(&str, &[u8])> = seen.files.iter().map(|f| (f.name.as_str(), f.content.as_slice())).collect();
    assert_eq!(files, [("data.bin", b"hi?".as_slice()), ("x/y.h", b"hi"), ("file3.code", b"third")]);
    let overrides = seen.overrides;
    assert_eq!((overrides.run_wall_ms, overrides.compile_wall_ms), (Some(3000), Some(10000)));
    assert_eq!((overrides.run_cpu_ms, overrides.compile_cpu_ms), (Some(1000), Some(5000)));
    assert_eq!((overrides.run_memory_bytes, overrides.compile_memory_bytes), (Some(100_000_000), None));
    assert!(!seen.room.is_room() && seen.correlation_id.is_none());
}

#[tokio::test]
async fn bad_requests_have_pistons_words() {
    let bench = Bench::new(Script::Finish(hi()));
    for (field, value, message) in [
        ("language", json!(null), "language is required as a string"),
        ("language", json!(""), "language is required as a string"),
        ("language", json!(1), "language is required as a string"),
        ("version", json!(3), "version is required as a string"),
        ("files", json!(null), "files is required as an array"),
        ("files", json!({}), "files is required as an array"),
        ("files", json!([{"content": "x"}, {}]), "files[1].content is required as a string"),
        ("files", json!([null]), "files[0].content is required as a string"),
        ("files", json!([]), "files must include at least one utf8 encoded file"),
        (
            "files",
            json!([{"content": "aGk=", "encoding": "base64"}]),
            "files must include at least one utf8 encoded file",
        ),
        ("language", json!("brainfuck"), "brainfuck-3.x runtime is unknown"),
        ("version", json!("2.x"), "python-2.x runtime is unknown"),
        ("run_timeout", json!("3000"), "If specified, run_timeout must be a number"),
        ("run_timeout", json!(10_001), "run_timeout cannot exceed the configured limit of 10000"),
        ("run_timeout", json!(-1), "run_timeout must be non-negative"),
        ("compile_timeout", json!(20_001), "compile_timeout cannot exceed the configured limit of 20000"),
        ("run_cpu_time", json!(5_001), "run_cpu_time cannot exceed the configured limit of 5000"),
        ("compile_cpu_time", json!([]), "If specified, compile_cpu_time must be a number"),
        ("run_memory_limit", json!(1_i64 << 40), "run_memory_limit cannot exceed the configured limit of 268435456"),
        ("compile_memory_limit", json!({}), "If specified, compile_memory_limit must be a number"),
        ("stdin", json!(1), "If specified, stdin must be a string"),
        ("args", json!("x"), "If specified, args must be an array of strings"),
        ("args", json!([1]), "If specified, args must be an array of strings"),
        (
            "files",
            json!([{"content": "x"}, {"name": "../x", "content": "x"}]),
            "File path \"../x\" tries to escape parent directory",
        ),
        (
            "files",
            json!([{"content": "x"}, {"name": "b", "content": "zz", "encoding": "hex"}]),
            "the content of \"b\" is not valid hex",
        ),
    ] {
        let mut body = hello();
        body[field] = value;
        let answer = bench.post("/api/v2/execute", &body).await;
        assert_eq!((answer.status.as_u16(), answer.json()), (400, json!({ "message": message })), "{body}");
    }
    for nothing in [json!(null), json!(0), json!(""), json!(false)] {
        let mut body = hello();
        body["run_timeout"] = nothing;
        assert_eq!(bench.post("/api/v2/execute", &body).await.status, 200, "{body}");
    }
}

#[tokio::test]
async fn every_error_has_pistons_shape() {
    let message = |answer: &super::testing::Answer, status: u16| {
        assert_eq!(answer.status, status, "{}", answer.text);
        assert_eq!(answer.header("access-control-allow-origin"), Some("http://localhost:3000"));
        let body = answer.json();
        assert_eq!(body.as_object().unwrap().len(), 1, "{body}");
        body["message"].as_str().unwrap().to_owned()
    };
    let bench = Bench::new(Script::Finish(hi()));
    let send = async |content_type: &str, body: String| {
        let request = request("POST", "/api/v2/execute").header("content-type", content_type);
        bench.send(request.body(Body::from(body)).unwrap()).await
    };
    assert_eq!(message(&send("text/plain", "{}".into()).await, 415), "requests must be of type application/json");
    message(&send("application/json", "{".into()).await, 400);
    assert_eq!(message(&send("application/json", "[]".into()).await, 400), "language is required as a string");
    message(&send("application/json", " ".repeat(1024 * 1024 + 1)).await, 413);
    assert_eq!(message(&bench.get("/api/v2/nothing").await, 404), "Not Found");
    assert_eq!(message(&bench.get("/api/v2/execute").await, 404), "Not Found");
    message(&bench.post("/api/v2/packages", &json!({"language": "bash", "version": "5.x"})).await, 403);
    let busy = Refusal::Overloaded { cause: AdmissionError::QueueFull, retry_after: Duration::from_secs(3) };
    let answer = Bench::new(Script::RefuseLater(busy)).post("/api/v2/execute", &hello()).await;
    let full = "The service is overloaded: too many executions are waiting.";
    assert_eq!((message(&answer, 503).as_str(), answer.header("retry-after")), (full, Some("3")));
    message(&Bench::new(Script::Panic).post("/api/v2/execute", &hello()).await, 500);
    let failed = RunResult {
        success: false,
        status: Status::Failed,
        exit_code: None,
        error: Some("The sandbox could not be made".into()),
        ..hi()
    };
    let answer = Bench::new(Script::Finish(failed)).post("/api/v2/execute", &hello()).await;
    assert_eq!(message(&answer, 500), "The sandbox could not be made");
    let limited = settings("[rate-limit]\nrequests-per-second = 1\nburst = 1");
    let bench = Bench::with(Script::Finish(hi()), limited, Health::default());
    for _ in 0..100 {
        let answer = bench.get("/api/v2/runtimes").await;
        if answer.status != 200 {
            message(&answer, 429);
            assert!(answer.header("ratelimit-limit").is_some() && answer.header("retry-after").is_some());
            return;
        }
    }
    panic!("a hundred requests passed a limit of one");
}

#[tokio::test]
async fn ends_are_told_as_isolate_tells_them() {
    let ended = |code: Option<i32>, signal: Option<&str>, limit: Option<&str>| RunResult {
        exit_code: code,
        signal: signal.map(str::to_owned),
        limit: limit.map(str::to_owned),
        ..hi()
    };
    for (result, code, signal, status, message) in [
        (ended(Some(3), None, None), json!(3), json!(null), "RE", "Exited with error status 3"),
        (ended(None, Some("SIGSEGV"), None), json!(null), json!("SIGSEGV"), "SG", "Caught fatal signal 11"),
        (
            ended(None, Some("SIGKILL"), Some("time")),
            json!(null),
            json!("SIGKILL"),
            "TO",
            "Time limit exceeded (wall clock)",
        ),
        (ended(None, None, Some("cpu")), json!(null), json!("SIGKILL"), "TO", "Time limit exceeded"),
        (ended(Some(0), None, Some("output")), json!(null), json!("SIGKILL"), "OL", "stdout length exceeded"),
        (ended(None, None, Some("memory")), json!(null), json!("SIGKILL"), "SG", "Memory limit exceeded"),
    ] {
        let run = &run(result).await["run"];
        assert_eq!((&run["code"], &run["signal"]), (&code, &signal), "{run}");
        assert_eq!((&run["status"], &run["message"]), (&json!(status), &json!(message)), "{run}");
    }
    let truncated = Truncated { stderr: true, ..Truncated::default() };
    let run = &run(RunResult { truncated, stderr: "e".into(), ..ended(None, None, Some("output")) }).await["run"];
    assert_eq!((&run["status"], &run["output"]), (&json!("EL"), &json!("hi\ne")));
}

#[tokio::test]
async fn a_failed_compiler_is_told_as_compile_and_run() {
    let compile = CompileResult {
        stdout: String::new(),
        stderr: "main.cpp:1: error".into(),
        exit_code: Some(1),
        signal: None,
        limit: None,
        cpu_time: 10,
        wall_time: 20,
        memory: 30,
    };
    let result = RunResult { compile: Some(compile.clone()), exit_code: None, stdout: String::new(), ..hi() };
    let body = run(result).await;
    assert_eq!(body["run"], body["compile"]);
    assert_eq!((&body["compile"]["code"], &body["compile"]["output"]), (&json!(1), &json!("main.cpp:1: error")));
    let body = run(RunResult { compile: Some(CompileResult { exit_code: Some(0), ..compile }), ..hi() }).await;
    assert_eq!((&body["run"]["stdout"], &body["compile"]["code"]), (&json!("hi\n"), &json!(0)));
}

#[tokio::test]
async fn it_can_be_switched_off() {
    let off = Settings { piston: false, ..settings("") };
    let bench = Bench::with(Script::Hang, off, Health::default());
    assert_eq!(bench.get("/api/v2/runtimes").await.status, 404);
}
