//! One program, many inputs: compiled once, run for each, each with its verdict.

use crankcase_tests::{shared, unique};
use serde_json::{Value, json};

fn verdicts(body: &Value) -> Vec<&str> {
    let results = body["results"].as_array().map(Vec::as_slice).unwrap_or_default();
    results.iter().map(|result| result["verdict"].as_str().unwrap_or_default()).collect()
}

#[test]
fn each_case_gets_its_output_and_verdict() {
    let room = unique("room-");
    let body = json!({
        "language": "c", "roomId": room, "userId": "u1",
        "code": "#include <stdio.h>\nint main(void) { int a, b; scanf(\"%d %d\", &a, &b); printf(\"%d\\n\", a + b); return 0; }",
        "cases": [
            {"stdin": "1 2", "expectedOutput": "3\n"},
            {"stdin": "3 4", "expectedOutput": "8"},
            {"stdin": "5 6", "expectedOutput": "11"},
            {"stdin": "7 8"},
        ],
    });
    let answer = shared().post("/api/execution/batch", &body).expect_status(200);
    assert_eq!(answer.body["success"], true, "{}", answer.text);
    let outputs: Vec<&str> = (0..4).map(|n| answer.str(&format!("/results/{n}/stdout"))).collect();
    assert_eq!(outputs, ["3\n", "7\n", "11\n", "15\n"], "{}", answer.text);
    assert_eq!(verdicts(&answer.body), ["accepted", "wrong-answer", "accepted", "accepted"], "{}", answer.text);
    assert_eq!((answer.number("/passed"), answer.number("/total")), (3, 4));
    assert_eq!(answer.number("/compile/exitCode"), 0);
    let id = answer.str("/executionId");
    let record = shared().get(&format!("/api/execution/history/execution/{id}")).expect_status(200);
    assert_eq!(record.str("/execution/status"), "completed", "{}", record.text);
}

#[test]
fn one_bad_case_does_not_hurt_the_others() {
    let code = "
import sys, time
word = sys.stdin.read()
if word == 'fail': sys.exit(3)
if word == 'sleep': time.sleep(60)
if word == 'eat': x = [bytearray(1 << 20) for _ in range(4096)]
if word == 'write': open('/tmp/left', 'w').write('x'); open('/box/left', 'w').write('x')
import os
print(word, os.path.exists('/tmp/left') if word == 'look' else '')
";
    let body = json!({
        "language": "python", "code": code, "timeLimitMs": 1500,
        "cases": [{"stdin": "fail"}, {"stdin": "sleep"}, {"stdin": "eat"}, {"stdin": "write"}, {"stdin": "look"}, {"stdin": "fine"}],
    });
    let answer = shared().post("/api/execution/batch", &body).expect_status(200);
    let expected =
        ["runtime-error", "time-limit-exceeded", "memory-limit-exceeded", "accepted", "accepted", "accepted"];
    assert_eq!(verdicts(&answer.body), expected, "{}", answer.text);
    assert_eq!(answer.str("/results/4/stdout"), "look False\n", "each case in a sandbox of its own: {}", answer.text);
}

#[test]
fn a_compile_error_is_reported_once() {
    let body =
        json!({"language": "c", "code": "int main(void) { return x; }", "cases": [{"stdin": ""}, {"stdin": ""}]});
    let answer = shared().post("/api/execution/batch", &body).expect_status(200);
    assert!(answer.number("/compile/exitCode") != 0, "{}", answer.text);
    assert!(answer.str("/compile/stderr").contains('x'));
    assert_eq!(verdicts(&answer.body), Vec::<&str>::new());
}

#[test]
fn a_hundred_cases_are_taken_and_bounds_are_named() {
    let cases: Vec<Value> =
        (0..100).map(|n| json!({"stdin": n.to_string(), "expectedOutput": n.to_string()})).collect();
    let body = json!({"language": "python", "code": "print(input())", "cases": cases});
    let answer = shared().post("/api/execution/batch", &body).expect_status(200);
    assert_eq!((answer.number("/passed"), answer.number("/total")), (100, 100), "{}", answer.text);
    let mut many = cases;
    many.push(json!({}));
    for (body, field) in [
        (json!({"language": "python", "code": "x", "cases": many}), "cases"),
        (json!({"language": "python", "code": "x", "cases": []}), "cases"),
        (json!({"language": "python", "code": "x"}), "cases"),
        (json!({"language": "python", "code": "x", "cases": "a"}), "cases"),
        (json!({"language": "python", "code": "x", "cases": [{"stdin": 5}]}), "stdin"),
        (json!({"language": "python", "cases": [{}]}), "code"),
    ] {
        let answer = shared().post("/api/execution/batch", &body).expect_status(400);
        assert!(answer.str("/error").contains(field), "{}", answer.text);
    }
}
