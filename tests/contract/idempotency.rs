//! A repeated correlation id never runs twice.

use crankcase_tests::{host, shared, unique};

/// Prints something new each time it really runs.
const FRESH: &str = "import uuid\nprint(uuid.uuid4())";

#[test]
fn a_repeat_gets_the_stored_result() {
    let (room, correlation) = (unique("room-"), unique("c-"));
    let program = shared().program("python", FRESH).who(&room, "u1").with("correlationId", correlation.as_str());
    let first = program.clone().run().expect_success();
    assert_eq!(first.header("idempotent-replay"), None);
    let second = program.run().expect_success();
    assert_eq!(second.header("idempotent-replay"), Some("true"));
    assert_eq!(first.body["executionId"], second.body["executionId"]);
    assert_eq!(first.stdout(), second.stdout());
    for field in ["status", "exitCode", "stderr", "correlationId", "userId", "roomId", "memory"] {
        assert_eq!(first.body[field], second.body[field], "{field}");
    }
}

#[test]
fn repeats_while_it_runs_wait_for_the_same_result() {
    let (room, correlation, token) = (unique("room-"), unique("c-"), unique("token-"));
    let program = shared()
        .program("python", &format!("import time\ntime.sleep(1)\n{FRESH}"))
        .who(&room, "u1")
        .args(&[&token])
        .with("correlationId", correlation.as_str());
    let answers = std::thread::scope(|scope| {
        let first = scope.spawn(|| program.clone().run());
        let _ = host::wait_for_argument(&token);
        let repeats: Vec<_> = (0..5).map(|_| scope.spawn(|| program.clone().run())).collect();
        let mut answers = vec![first.join().expect("an answer")];
        answers.extend(repeats.into_iter().map(|repeat| repeat.join().expect("an answer")));
        answers
    });
    for answer in &answers {
        assert_eq!(answer.stdout(), answers[0].stdout(), "{}", answer.text);
        assert_eq!(answer.body["executionId"], answers[0].body["executionId"]);
    }
    assert!(!answers[0].stdout().is_empty());
}

#[test]
fn from_another_user_or_room_it_is_another_request() {
    let (room, correlation) = (unique("room-"), unique("c-"));
    let run = |room: &str, user: &str| {
        let program = shared().program("python", FRESH).who(room, user).with("correlationId", correlation.as_str());
        program.run().expect_stdout()
    };
    let outputs = [run(&room, "u1"), run(&room, "u2"), run(&unique("room-"), "u1"), run("standalone", "u1")];
    let distinct: std::collections::HashSet<_> = outputs.iter().collect();
    assert_eq!(distinct.len(), 4, "{outputs:?}");
}

#[test]
fn a_failed_run_is_a_result_too() {
    let (room, correlation) = (unique("room-"), unique("c-"));
    let program = shared()
        .program("python", "import time; time.sleep(30)")
        .who(&room, "u1")
        .milliseconds(300)
        .with("correlationId", correlation.as_str());
    let first = program.clone().run().expect_limit("time");
    let second = program.run().expect_limit("time");
    assert_eq!(first.body["executionId"], second.body["executionId"]);
}
