//! Piston's interface, as its clients speak it.

use crankcase_tests::shared;
use serde_json::json;

#[test]
fn runtimes_are_listed() {
    let answer = shared().get("/api/v2/runtimes").expect_status(200);
    let list = answer.body.as_array().expect("a list");
    let python = list.iter().find(|runtime| runtime["language"] == "python").expect("python");
    assert!(python["version"].as_str().is_some_and(|version| version.starts_with('3')), "{python}");
    assert!(python["aliases"].is_array());
}

#[test]
fn execute_runs_and_separates_the_stages() {
    let body = json!({"language": "python", "version": "*", "files": [{"name": "main.py", "content": "import sys\nprint(input(), sys.argv[1:])\nprint('e', file=sys.stderr)\nsys.exit(3)"}], "stdin": "typed", "args": ["a"]});
    let answer = shared().post("/api/v2/execute", &body).expect_status(200);
    assert_eq!(answer.str("/language"), "python");
    let run = &answer.body["run"];
    assert_eq!(
        (run["stdout"].as_str(), run["stderr"].as_str()),
        (Some("typed ['a']\n"), Some("e\n")),
        "{}",
        answer.text
    );
    assert_eq!((&run["code"], &run["signal"]), (&json!(3), &json!(null)));
    assert!(run["output"].as_str().is_some_and(|output| output.contains("typed") && output.contains("e\n")));

    let body =
        json!({"language": "c", "version": "*", "files": [{"content": "int main(void) { return undeclared; }"}]});
    let answer = shared().post("/api/v2/execute", &body).expect_status(200);
    assert!(answer.body["compile"]["code"].as_i64().is_some_and(|code| code != 0), "{}", answer.text);
    assert!(answer.str("/compile/stderr").contains("undeclared"), "{}", answer.text);
}

#[test]
fn a_timeout_is_a_sigkill() {
    let body =
        json!({"language": "python", "version": "*", "files": [{"content": "while True: pass"}], "run_timeout": 500});
    let answer = shared().post("/api/v2/execute", &body).expect_status(200);
    assert_eq!(answer.str("/run/signal"), "SIGKILL", "{}", answer.text);
    assert_eq!(answer.body["run"]["code"], json!(null));
}

#[test]
fn errors_have_pistons_own_shape() {
    for body in [
        json!({"version": "*", "files": [{"content": "x"}]}),
        json!({"language": "python", "files": [{"content": "x"}]}),
        json!({"language": "cobol", "version": "*", "files": [{"content": "x"}]}),
        json!({"language": "python", "version": "*"}),
        json!({"language": "python", "version": "*", "files": []}),
        json!({"language": "python", "version": "*", "files": [{"name": "x"}]}),
    ] {
        let answer = shared().post("/api/v2/execute", &body).expect_status(400);
        assert!(!answer.str("/message").is_empty() && answer.body.get("success").is_none(), "{}", answer.text);
    }
}
