//! The error table: status, shape, and that each names what is wrong.

use crankcase_tests::{Answer, Daemon, Options, shared};
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

#[track_caller]
fn expect_error(answer: &Answer, status: u16, part: &str) {
    assert_eq!(answer.status, status, "{}", answer.text);
    assert_eq!(answer.body["success"], false, "{}", answer.text);
    assert!(answer.str("/error").contains(part), "{part} in {}", answer.text);
    assert!(!answer.str("/code").is_empty(), "{}", answer.text);
    assert!(answer.header("content-type").is_some_and(|kind| kind.starts_with("application/json")));
}

#[test]
fn an_unknown_language_lists_the_known_ones() {
    let answer = shared().run("cobol", "x");
    expect_error(&answer, 400, "Unsupported language");
    assert_eq!(answer.body["error"], "Unsupported language");
    let supported = answer.body["supportedLanguages"].as_array().expect("a list");
    for language in ["python", "javascript", "c", "cpp", "java"] {
        assert!(supported.iter().any(|name| name == language), "{}", answer.text);
    }
}

#[test]
fn fields_that_are_missing_empty_or_of_a_wrong_type_are_named() {
    for (body, field) in [
        (json!({"language": "python"}), "code"),
        (json!({"code": "print(1)"}), "language"),
        (json!({"language": "python", "code": ""}), "code"),
        (json!({"language": "", "code": "x"}), "language"),
        (json!({"language": "python", "code": 5}), "code"),
        (json!({"language": ["python"], "code": "x"}), "language"),
        (json!({"language": "python", "code": "x", "stdin": 5}), "stdin"),
        (json!({"language": "python", "code": "x", "roomId": {}}), "roomId"),
        (json!({"language": "python", "code": "x", "userId": 5}), "userId"),
        (json!({"language": "python", "code": "x", "username": []}), "username"),
        (json!({"language": "python", "code": "x", "correlationId": 7}), "correlationId"),
        (json!({"language": "python", "code": "x", "roomId": "r".repeat(129)}), "roomId"),
        (json!({"language": "python", "code": "x", "userId": "a\u{0}b"}), "userId"),
        (json!({"language": "python", "code": "x", "args": "a"}), "args"),
        (json!({"language": "python", "code": "x", "args": [1]}), "args"),
        (json!({"language": "python", "code": "x", "files": {}}), "files"),
        (json!({"language": "python", "code": "x", "files": [{"name": "a"}]}), "content"),
        (json!({"language": "python", "code": "x", "timeLimitMs": "1"}), "timeLimitMs"),
        (json!({"language": "python", "code": "x", "timeLimitMs": 0}), "timeLimitMs"),
        (json!({"language": "python", "code": "x", "memoryLimitMb": -1}), "memoryLimitMb"),
        (json!({"language": "python", "code": "x", "priority": 1.5}), "priority"),
    ] {
        expect_error(&shared().post("/compile", &body), 400, field);
    }
}

#[test]
fn lengths_are_bounded_in_characters_and_the_bound_is_named() {
    let exact = format!("#{}", "é".repeat(9_999));
    shared().run("python", &exact).expect_success();
    expect_error(&shared().run("python", &format!("{exact}é")), 400, "10000");
    shared().program("python", "pass").stdin(&"é".repeat(1000)).run().expect_success();
    let answer = shared().program("python", "pass").stdin(&"é".repeat(1001)).run();
    expect_error(&answer, 400, "1000");
    assert!(answer.str("/error").contains("stdin"), "{}", answer.text);
}

#[test]
fn null_counts_as_absent() {
    let body = json!({"language": "python", "code": "print(1)", "stdin": null, "roomId": null, "userId": null, "correlationId": null, "args": null});
    let answer = shared().post("/compile", &body).expect_success();
    assert_eq!((answer.str("/roomId"), answer.str("/userId")), ("standalone", "anonymous"));
}

#[test]
fn bodies_that_are_no_json_objects_are_refused() {
    for body in ["", "{", "nonsense", "[]", "5", "null", "\"text\"", "{\"code\": \"\\ud800\"}"] {
        let answer = shared().request("/compile", |http, url| {
            http.post(url).header(CONTENT_TYPE, "application/json").body(body.to_owned())
        });
        expect_error(&answer, 400, "");
    }
    let answer = shared().request("/compile", |http, url| {
        http.post(url).header(CONTENT_TYPE, "application/json").body(vec![0xff, 0xfe])
    });
    expect_error(&answer, 400, "");
}

#[test]
fn other_content_types_and_large_bodies_have_their_own_statuses() {
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
        let answer =
            shared().request("/compile", |http, url| http.post(url).header(CONTENT_TYPE, kind).body("{}".to_owned()));
        expect_error(&answer, 415, "");
    }
    let charset = shared().request("/compile", |http, url| {
        let body = r#"{"language": "python", "code": "print(1)"}"#;
        http.post(url).header(CONTENT_TYPE, "application/json; charset=utf-8").body(body)
    });
    charset.expect_success();
    let large = json!({"language": "python", "code": "x".repeat(60 * 1024)});
    expect_error(&shared().post("/compile", &large), 413, "");
}

#[test]
fn the_correlation_id_comes_back_with_an_error() {
    let answer = shared().program("cobol", "x").with("correlationId", "mine").run();
    assert_eq!(answer.expect_status(400).body["correlationId"], "mine");
}

#[test]
fn lower_limits_are_honoured_and_higher_ones_are_not() {
    let answer = shared().program("python", "while True: pass").milliseconds(300).run();
    assert!(["time", "cpu"].contains(&answer.str("/limit")), "{}", answer.text);
    assert!(answer.number("/wallTime") < 5000, "{}", answer.text);
    let answer = shared().program("python", "print(1)").milliseconds(3_600_000).run();
    assert!(answer.status == 200 || answer.status == 400, "taken as the bound, or refused: {}", answer.text);
}

#[test]
fn a_rate_limit_answers_429_with_its_headers_and_lets_health_through() {
    let options = Options::new().set("rate-limit", "requests-per-second", 1).set("rate-limit", "burst", 3);
    let daemon = Daemon::start(options);
    let answers: Vec<Answer> = (0..20).map(|_| daemon.get("/test")).collect();
    let compiled: Vec<Answer> = (0..6).map(|_| daemon.run("cobol", "x")).collect();
    let refused = answers.iter().chain(&compiled).find(|answer| answer.status == 429).expect("the burst is used up");
    assert_eq!(refused.body["code"], "RATE_LIMIT_EXCEEDED");
    assert_eq!(refused.body["success"], Value::Bool(false));
    let wait: u64 = refused.header("retry-after").and_then(|text| text.parse().ok()).expect("Retry-After in seconds");
    assert!((1..=60).contains(&wait));
    for name in ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"] {
        assert!(refused.header(name).is_some(), "{name}: {:?}", refused.headers);
    }
    daemon.get("/health").expect_status(200);
}
