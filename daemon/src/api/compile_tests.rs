//! `POST /compile` and what surrounds every route, by `oneshot`.

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::health::Health;
use super::settings::Settings;
use super::testing::{Bench, ID, Script, hi, json_request, request, settings};
use crate::config::{Config, Environment};
use crate::jobs::Refusal;
use crate::jobs::admission::AdmissionError;

fn hello() -> Value {
    json!({"language": "python", "code": "print('hi')"})
}

#[tokio::test]
async fn a_run_has_the_contracts_shape_and_defaults() {
    let bench = Bench::new(Script::Finish(hi()));
    let answer = bench.post("/compile", &hello()).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.json(),
        json!({
            "success": true, "executionId": ID, "correlationId": ID, "userId": "anonymous",
            "username": "Anonymous", "roomId": "standalone", "language": "python", "output": "hi\n",
            "executionTime": 12, "timestamp": "2026-01-29T00:00:00.007Z", "status": "completed",
            "stdout": "hi\n", "stderr": "", "exitCode": 0, "signal": null, "compile": null,
            "truncated": {"output": false, "stdout": false, "stderr": false}, "limit": null,
            "cpuTime": 3, "wallTime": 4, "memory": 5000, "queueTime": 1
        })
    );
    assert!(!answer.headers.contains_key("idempotent-replay"));
    assert_eq!(bench.runner.seen.lock().unwrap()[0].address, Some([127, 0, 0, 1].into()));
}

#[tokio::test]
async fn every_field_reaches_the_submission() {
    let bench = Bench::new(Script::Finish(hi()));
    let body = json!({
        "language": "py", "code": "x", "stdin": "in", "roomId": "r1", "userId": "u1", "username": "Ann",
        "correlationId": "c1", "args": ["a", ""], "files": [{"name": "lib/x.py", "content": "y"}],
        "priority": -3, "timeLimitMs": 1500, "memoryLimitMb": 64
    });
    let answer = bench.post("/compile", &body).await.json();
    assert_eq!((&answer["correlationId"], &answer["roomId"]), (&json!("c1"), &json!("r1")));
    let seen = bench.runner.seen.lock().unwrap()[0].clone();
    assert_eq!((seen.language.as_str(), seen.code.as_str(), seen.stdin.as_str()), ("py", "x", "in"));
    assert_eq!((seen.user.as_str(), seen.username.as_str(), seen.priority), ("u1", "Ann", -3));
    assert_eq!(seen.args, ["a", ""]);
    assert_eq!((seen.files[0].name.as_str(), seen.files[0].content.as_slice()), ("lib/x.py", b"y".as_slice()));
    assert_eq!((seen.overrides.run_wall_ms, seen.overrides.run_memory_bytes), (Some(1500), Some(64 << 20)));
    assert!(!seen.interactive);
}

#[tokio::test]
async fn null_and_empty_names_mean_the_defaults() {
    let bench = Bench::new(Script::Finish(hi()));
    let body = json!({
        "language": "c", "code": "x", "stdin": null, "roomId": "", "userId": null, "username": "", "correlationId": ""
    });
    let answer = bench.post("/compile", &body).await.json();
    assert_eq!((&answer["roomId"], &answer["userId"]), (&json!("standalone"), &json!("anonymous")));
    assert_eq!((&answer["username"], &answer["correlationId"]), (&json!("Anonymous"), &json!(ID)));
}

#[tokio::test]
async fn a_repeat_says_so() {
    let answer = Bench::new(Script::Replay(hi())).post("/compile", &hello()).await;
    assert_eq!((answer.status.as_u16(), answer.headers["idempotent-replay"].to_str().unwrap()), (200, "true"));
}

#[tokio::test]
async fn bad_fields_are_named_with_their_bound() {
    let bench = Bench::new(Script::Finish(hi()));
    let long = |n: usize| "é".repeat(n);
    for (field, value, words) in [
        ("language", json!(null), "language is required"),
        ("language", json!(""), "language is required"),
        ("language", json!(7), "language must be a string"),
        ("language", json!(long(65)), "language must be at most 64 characters, it has 65"),
        ("code", json!(null), "code is required"),
        ("code", json!(""), "code is required"),
        ("code", json!(["x"]), "code must be a string"),
        ("code", json!(long(10_001)), "code must be at most 10000 characters, it has 10001"),
        ("stdin", json!(1), "stdin must be a string"),
        ("stdin", json!(long(1_001)), "stdin must be at most 1000 characters, it has 1001"),
        ("roomId", json!(5), "roomId must be a string"),
        ("roomId", json!(long(129)), "roomId must be 1 to 128 characters"),
        ("userId", json!("a\u{0}"), "userId must be 1 to 128 characters"),
        ("username", json!(long(129)), "username must be at most 128 characters"),
        ("username", json!("a\nb"), "username must be at most 128 characters without control"),
        ("args", json!("x"), "args must be an array"),
        ("args", json!([1]), "args[0] must be a string"),
        ("args", json!(["a", "b\u{0}"]), "args[1] must be a string without NUL"),
        ("args", json!(vec!["a"; 129]), "args must have at most 128 elements, it has 129"),
        ("args", json!(["x".repeat(32 * 1024 + 1)]), "args must be at most 32768 bytes"),
        ("files", json!({}), "files must be an array"),
        ("files", json!(["x"]), "files[0] must be an object"),
        ("files", json!([{"content": "x"}]), "files[0].name must be a relative path"),
        ("files", json!([{"name": "../x", "content": "x"}]), "files[0].name must be a relative path"),
        ("files", json!([{"name": "x"}]), "files[0].content is required"),
        ("files", json!([{"name": "x", "content": 1}]), "files[0].content must be a string"),
        ("files", json!([{"name": "x", "content": "1"}, {"name": "x", "content": "2"}]), "files: \"x\" is there twice"),
        (
            "files",
            json!([{"name": "x/y", "content": "1"}, {"name": "x", "content": "2"}]),
            "files: \"x\" is there twice",
        ),
        ("priority", json!("high"), "priority must be an integer from"),
        ("priority", json!(0.5), "priority must be an integer from"),
        ("timeLimitMs", json!(0), "timeLimitMs must be an integer from 10"),
        ("timeLimitMs", json!(-5), "timeLimitMs must be an integer from 10"),
        ("memoryLimitMb", json!(1), "memoryLimitMb must be an integer from 4"),
    ] {
        let mut body = hello();
        body["correlationId"] = json!("c9");
        body[field] = value;
        let answer = bench.post("/compile", &body).await;
        let error = answer.error(400, "INVALID_REQUEST");
        assert!(error.contains(words), "{field}: {error}");
        assert_eq!(answer.json()["correlationId"], "c9", "{field}");
    }
    let mut body = hello();
    body["correlationId"] = json!("c".repeat(129));
    let answer = bench.post("/compile", &body).await;
    assert!(answer.error(400, "INVALID_REQUEST").starts_with("correlationId must be"));
    assert_eq!(answer.json().get("correlationId"), None);
    assert!(bench.runner.seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn the_longest_code_and_stdin_are_taken() {
    let bench = Bench::new(Script::Finish(hi()));
    let body = json!({"language": "c", "code": "😀".repeat(10_000), "stdin": "é".repeat(1_000)});
    assert_eq!(bench.post("/compile", &body).await.status, 200);
}

#[tokio::test]
async fn bodies_that_are_no_json() {
    let bench = Bench::new(Script::Finish(hi()));
    let send = async |content_type: &str, body: String| {
        let request = request("POST", "/compile").header("content-type", content_type);
        bench.send(request.body(Body::from(body)).unwrap()).await
    };
    send("application/json", "{".to_owned()).await.error(400, "INVALID_JSON");
    send("application/json", String::new()).await.error(400, "INVALID_JSON");
    send("application/json", "[1]".to_owned()).await.error(400, "INVALID_JSON");
    send("text/plain", hello().to_string()).await.error(415, "UNSUPPORTED_MEDIA_TYPE");
    let error = send("application/json", " ".repeat(51_201)).await.error(413, "PAYLOAD_TOO_LARGE");
    assert!(error.contains("51200"), "{error}");
    send("application/json", format!("{}{}", hello(), " ".repeat(51_200 - hello().to_string().len()))).await.json();
    let bare = request("POST", "/compile").body(Body::from(hello().to_string())).unwrap();
    bench.send(bare).await.error(415, "UNSUPPORTED_MEDIA_TYPE");
}

#[tokio::test]
async fn refusals_have_their_status_and_wait() {
    let retry_after = Duration::from_millis(1500);
    let supported = vec!["python".to_owned(), "py".to_owned()];
    let busy = "Could not acquire execution lock. Room is busy with another execution.";
    for (refusal, status, code, error, wait) in [
        (Refusal::RoomBusy { retry_after }, 503, "ROOM_BUSY", busy, Some("2")),
        (
            Refusal::Overloaded { cause: AdmissionError::QueueFull, retry_after },
            503,
            "OVERLOADED",
            "The service is overloaded: too many executions are waiting.",
            Some("2"),
        ),
        (
            Refusal::RateLimited { quota: "address", message: "slow".into(), retry_after },
            429,
            "RATE_LIMIT_EXCEEDED",
            "slow",
            Some("2"),
        ),
        (
            Refusal::UnsupportedLanguage { supported: supported.clone() },
            400,
            "UNSUPPORTED_LANGUAGE",
            "Unsupported language",
            None,
        ),
    ] {
        for script in [Script::Refuse(refusal.clone()), Script::RefuseLater(refusal.clone())] {
            let mut body = hello();
            body["correlationId"] = json!("c9");
            let answer = Bench::new(script).post("/compile", &body).await;
            assert_eq!(answer.error(status, code), error);
            assert_eq!(answer.headers.get("retry-after").map(|value| value.to_str().unwrap()), wait);
            assert_eq!(answer.json()["correlationId"], "c9");
        }
    }
    let answer = Bench::new(Script::Refuse(Refusal::UnsupportedLanguage { supported: supported.clone() }))
        .post("/compile", &hello())
        .await;
    assert_eq!(answer.json()["supportedLanguages"], json!(supported));
    let missing = Refusal::NotInstalled { language: "ruby".into(), hint: "apt-get install ruby".into(), supported };
    let answer = Bench::new(Script::Refuse(missing)).post("/compile", &hello()).await;
    let error = answer.error(400, "LANGUAGE_NOT_INSTALLED");
    assert!(error.starts_with("Unsupported language") && error.contains("apt-get install ruby"));
    assert_eq!(answer.json()["supportedLanguages"], json!(["python", "py"]));
}

#[tokio::test]
async fn a_run_cancelled_while_it_waited_is_no_error() {
    let mut body = hello();
    body["roomId"] = json!("r1");
    let answer = Bench::new(Script::RefuseLater(Refusal::Cancelled)).post("/compile", &body).await;
    assert_eq!(answer.status, 200);
    let body = answer.json();
    assert_eq!((&body["success"], &body["status"]), (&json!(false), &json!("cancelled")));
    assert_eq!(
        (&body["executionId"], &body["roomId"], &body["language"]),
        (&json!(ID), &json!("r1"), &json!("python"))
    );
    assert_eq!((&body["output"], &body["exitCode"]), (&json!("No output"), &json!(null)));
    assert!(body["error"].as_str().is_some_and(|error| error.contains("cancelled")));
    assert_eq!(body["executionTime"], body["queueTime"]);
}

#[tokio::test]
async fn other_layers_are_put_within_cors() {
    let bench = Bench::new(Script::Hang);
    let router = super::router_with(bench.state.clone(), |router| {
        router.route(
            "/socket",
            axum::routing::get(|address: axum::Extension<super::ClientAddress>| async move { address.0.0.to_string() }),
        )
    });
    let response = router.oneshot(request("GET", "/socket").body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.headers()["access-control-allow-origin"], "http://localhost:3000");
    assert_eq!(axum::body::to_bytes(response.into_body(), 100).await.unwrap(), "127.0.0.1");
}

#[tokio::test]
async fn a_client_that_goes_away_drops_its_ticket() {
    let bench = Bench::new(Script::Hang);
    let call = tokio::spawn(bench.router.clone().oneshot(json_request("POST", "/compile", &hello())));
    let waiting = || bench.runner.waiting.load(Ordering::SeqCst);
    while waiting() == 0 {
        tokio::task::yield_now().await;
    }
    call.abort();
    let _ = call.await;
    assert_eq!(waiting(), 0);
}

#[tokio::test]
async fn a_panic_is_a_500_with_cors_headers() {
    let answer = Bench::new(Script::Panic).post("/compile", &hello()).await;
    answer.error(500, "INTERNAL_ERROR");
    assert_eq!(answer.headers["access-control-allow-origin"], "http://localhost:3000");
    assert!(!answer.text.contains("a bug in the runner"));
}

#[tokio::test]
async fn unknown_paths_and_methods_are_expresss_404() {
    let bench = Bench::new(Script::Finish(hi()));
    for (method, path, message) in [
        ("GET", "/nowhere?x=1", "Cannot GET /nowhere"),
        ("POST", "/", "Cannot POST /"),
        ("PUT", "/compile", "Cannot PUT /compile"),
        ("GET", "/compile", "Cannot GET /compile"),
        ("DELETE", "/a%20b", "Cannot DELETE /a%20b"),
    ] {
        let answer = bench.send(request(method, path).body(Body::empty()).unwrap()).await;
        assert_eq!(answer.error(404, "NOT_FOUND"), "Not Found");
        assert_eq!(answer.json()["message"], message);
        assert_eq!(answer.headers["access-control-allow-origin"], "http://localhost:3000");
    }
}

#[tokio::test]
async fn cors_knows_its_origins() {
    let bench = Bench::new(Script::Finish(hi()));
    let answer = bench.post("/compile", &hello()).await;
    assert_eq!(answer.headers["access-control-allow-origin"], "http://localhost:3000");
    assert_eq!(answer.headers["access-control-allow-credentials"], "true");
    let preflight = axum::http::Request::options("/compile")
        .header("origin", "http://127.0.0.1:5173")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type,x-own")
        .body(Body::empty())
        .unwrap();
    let answer = bench.send(preflight).await;
    assert!(answer.status.is_success());
    assert_eq!(answer.headers["access-control-allow-origin"], "http://127.0.0.1:5173");
    assert_eq!(answer.headers["access-control-allow-headers"], "content-type,x-own");
    assert!(answer.headers["access-control-allow-methods"].to_str().unwrap().contains("POST"));
    let foreign = axum::http::Request::get("/health").header("origin", "http://evil.example");
    let answer = bench.send(foreign.body(Body::empty()).unwrap()).await;
    assert!(!answer.headers.contains_key("access-control-allow-origin"));
    let any = Settings { allowed_origins: vec!["*".to_owned()], ..settings("") };
    let bench = Bench::with(Script::Finish(hi()), any, Health::default());
    assert_eq!(bench.get("/health").await.headers["access-control-allow-origin"], "http://localhost:3000");
}

#[tokio::test]
async fn the_rate_limit_refuses_and_tells() {
    let limited = settings("[rate-limit]\nrequests-per-second = 1\nburst = 60");
    let bench = Bench::with(Script::Finish(hi()), limited, Health::default());
    let answer = bench.post("/compile", &hello()).await;
    assert_eq!(answer.status, 200);
    assert_eq!((answer.header("ratelimit-limit"), answer.header("ratelimit-remaining")), (Some("60"), Some("59")));
    assert_eq!(answer.header("ratelimit-reset"), Some("1"));
    let mut answer = answer;
    // Requests come back at one a second, so that a slow machine needs a few more.
    for _ in 0..1000 {
        answer = bench.post("/compile", &hello()).await;
        if answer.status != 200 {
            break;
        }
    }
    answer.error(429, "RATE_LIMIT_EXCEEDED");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!((answer.header("ratelimit-remaining"), answer.header("ratelimit-reset")), (Some("0"), Some("60")));
    assert_eq!(answer.headers["access-control-allow-origin"], "http://localhost:3000");
    assert_eq!(bench.get("/health").await.status, 200);
    let config = Config::parse("[rate-limit]\nrequests-per-second = \"off\"", &Environment::default()).unwrap();
    bench.state.reload(&config.reloadable);
    let answer = bench.post("/compile", &hello()).await;
    assert_eq!((answer.status.as_u16(), answer.header("ratelimit-limit")), (200, None));
}

#[tokio::test]
async fn reloaded_bounds_hold_at_once() {
    let bench = Bench::new(Script::Finish(hi()));
    let config = Config::parse("[limits]\ncode-chars = 3", &Environment::default()).unwrap();
    bench.state.reload(&config.reloadable);
    let error = bench.post("/compile", &hello()).await.error(400, "INVALID_REQUEST");
    assert!(error.contains("at most 3 characters"), "{error}");
}

#[tokio::test]
async fn a_hundred_requests_at_once_pass_by_default() {
    let bench = Bench::new(Script::Finish(hi()));
    for _ in 0..100 {
        assert_eq!(bench.post("/compile", &hello()).await.status, 200);
    }
}

#[tokio::test]
async fn the_service_tells_of_itself() {
    let bench = Bench::new(Script::Finish(hi()));
    let index = bench.get("/").await.json();
    assert_eq!((&index["service"], &index["status"]), (&json!("crankcase"), &json!("running")));
    assert_eq!(index["version"], env!("CARGO_PKG_VERSION"));
    assert!(index["features"].as_array().is_some_and(|features| !features.is_empty()));
    let test = bench.get("/test").await.json();
    assert_eq!(test["port"], 4334);
    assert!(test["message"].is_string());
    let health = bench.get("/health").await;
    assert_eq!((health.status.as_u16(), &health.json()["status"]), (200, &json!("OK")));
    assert!(health.json()["uptime"].as_f64().is_some_and(|uptime| uptime >= 0.0));
    assert_eq!(health.json()["degraded"], json!([]));
    assert_eq!(health.json()["timestamp"].as_str().map(str::len), Some("2026-01-29T00:00:00.007Z".len()));
    let metrics = bench.get("/metrics").await;
    assert_eq!(metrics.text, "# EOF\n");
    assert!(metrics.headers["content-type"].to_str().unwrap().starts_with("application/openmetrics-text"));
    let head = bench.send(request("HEAD", "/health").body(Body::empty()).unwrap()).await;
    assert_eq!((head.status.as_u16(), head.text.as_str()), (200, ""));
}

#[tokio::test]
async fn health_tells_what_is_degraded_and_what_is_fatal() {
    let health = Health::default().degrading("redis", || Some("Redis is lost".into())).vital("spawner", || None);
    let answer = Bench::with(Script::Hang, settings(""), health).get("/health").await;
    assert_eq!((answer.status.as_u16(), &answer.json()["status"]), (200, &json!("OK")));
    let redis = json!([{"component": "redis", "message": "Redis is lost", "fatal": false}]);
    assert_eq!(answer.json()["degraded"], redis);
    let health = Health::default().vital("spawner", || Some("The spawner is gone".into()));
    let answer = Bench::with(Script::Hang, settings(""), health).get("/health").await;
    assert_eq!(answer.error(503, "UNAVAILABLE"), "The spawner is gone");
    assert_eq!(answer.json()["status"], "UNAVAILABLE");
}
