//! One program, many inputs: compiled once, run for each.

use crankcase_tests::{shared, unique};
use serde_json::json;

#[test]
fn each_input_gets_its_output_and_verdict() {
    let room = unique("room-");
    let body = json!({
        "language": "c", "roomId": room, "userId": "u1",
        "code": "#include <stdio.h>\nint main(void) { int a, b; scanf(\"%d %d\", &a, &b); printf(\"%d\\n\", a + b); return 0; }",
        "stdins": ["1 2", "3 4", "5 6"],
        "expectedOutputs": ["3\n", "8", "11"],
    });
    let answer = shared().post("/api/execution/batch", &body).expect_status(200);
    let results = answer.body["results"].as_array().expect("results");
    let outputs: Vec<_> = results.iter().map(|result| result["stdout"].as_str().unwrap_or_default()).collect();
    assert_eq!(outputs, ["3\n", "7\n", "11\n"], "{}", answer.text);
    let passed: Vec<_> = results.iter().map(|result| result["passed"].as_bool()).collect();
    assert_eq!(passed, [Some(true), Some(false), Some(true)], "{}", answer.text);
}

#[test]
fn bounds_are_named() {
    let inputs: Vec<&str> = vec![""; 101];
    for (body, field) in [
        (json!({"language": "python", "code": "x", "stdins": inputs}), "stdins"),
        (json!({"language": "python", "code": "x"}), "stdins"),
        (json!({"language": "python", "code": "x", "stdins": "a"}), "stdins"),
        (json!({"language": "python", "stdins": [""]}), "code"),
    ] {
        let answer = shared().post("/api/execution/batch", &body).expect_status(400);
        assert!(answer.str("/error").contains(field), "{}", answer.text);
    }
}
