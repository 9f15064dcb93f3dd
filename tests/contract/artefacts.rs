//! What was compiled before is not compiled again, and nobody can tell but by the time.

use std::time::Duration;

use crankcase_tests::{Answer, Daemon, Options, eventually, shared, unique};
use serde_json::json;

/// A program that prints a word of its own, with a warning.
fn c_program(word: &str) -> String {
    format!(
        "#include <stdio.h>\nint main(void) {{ int unused = printf(\"{word} %s\\n\", __FILE__); char *p = 1; return 0; }}\n"
    )
}

/// Without a compiler no CPU time passes in the compile stage.
fn was_kept(answer: &Answer) -> bool {
    answer.number("/compile/cpuTime") == 0 && answer.number("/compile/wallTime") == 0
}

/// Asks until the program is kept: that happens behind the first answer.
#[track_caller]
fn until_kept(mut ask: impl FnMut() -> Answer) -> Answer {
    eventually(Duration::from_secs(20), || {
        let answer = ask();
        if was_kept(&answer) { Ok(answer) } else { Err(answer.text) }
    })
}

#[test]
fn the_second_run_of_a_program_shows_what_the_first_did() {
    let (room, code) = (unique("room-"), c_program(&unique("w")));
    let ask = || shared().program("c", &code).who(&room, "u").run().expect_success();
    let first = ask();
    assert!(!was_kept(&first), "{}", first.text);
    let again = until_kept(ask);
    assert!(again.str("/compile/stderr").contains("warning"), "{}", again.text);
    for field in ["stdout", "stderr", "exitCode", "output", "success", "status"] {
        assert_eq!(first.body[field], again.body[field], "{field}");
    }
    for field in ["stdout", "stderr", "exitCode", "signal", "limit"] {
        assert_eq!(first.body["compile"][field], again.body["compile"][field], "{field}");
    }
    // The run is one of its own: other arguments, another stdin.
    let other = shared().program("c", &code).who(&room, "v").args(&["x"]).stdin("y").run().expect_success();
    assert!(was_kept(&other), "a room shares: {}", other.text);
    let metrics = shared().get("/metrics");
    assert!(
        metrics.text.contains("crankcase_artefact_lookups_total{language=\"c\",result=\"hit\"}"),
        "{}",
        metrics.text
    );
}

#[test]
fn other_rooms_other_sources_and_other_limits_share_nothing() {
    let (room, code) = (unique("room-"), c_program(&unique("w")));
    until_kept(|| shared().program("c", &code).who(&room, "u").run().expect_success());
    let elsewhere = shared().program("c", &code).who(&unique("room-"), "u").run().expect_success();
    assert!(!was_kept(&elsewhere), "{}", elsewhere.text);
    let outside = shared().program("c", &code).with("userId", unique("user-")).run().expect_success();
    assert!(!was_kept(&outside), "{}", outside.text);
    let changed = shared().program("c", &format!("{code}\n")).who(&room, "u").run().expect_success();
    assert!(!was_kept(&changed), "{}", changed.text);
    let with_file = shared().program("c", &code).who(&room, "u").file("a.h", "x").run().expect_success();
    assert!(!was_kept(&with_file), "{}", with_file.text);
}

#[test]
fn what_compiling_again_could_change_is_compiled_again() {
    let room = unique("room-");
    let code = "#include <stdio.h>\nint main(void) { puts(__TIME__); return 0; }\n";
    let ask = || shared().program("c", code).who(&room, "u").run().expect_success();
    let first = ask();
    eventually(Duration::from_secs(20), || {
        let again = ask();
        assert!(!was_kept(&again), "{}", again.text);
        if again.stdout() == first.stdout() { Err("the same second") } else { Ok(()) }
    });
}

#[test]
fn a_compile_error_is_found_anew_each_time() {
    let (room, code) = (unique("room-"), "int main(void) { return x; }");
    for _ in 0..3 {
        let answer = shared().program("c", code).who(&room, "u").run().expect_success();
        assert_eq!(answer.number("/compile/exitCode"), 1, "{}", answer.text);
        assert!(!was_kept(&answer) && answer.str("/output").contains("main.c"), "{}", answer.text);
    }
}

#[test]
fn a_batch_takes_what_a_run_left() {
    let room = unique("room-");
    let code = "#include <stdio.h>\n#include <unistd.h>\nint main(void) { int a = 0; scanf(\"%d\", &a); if (a == 2) pause(); printf(\"%d\\n\", a); return 0; }";
    let code = format!("{code}// {room}");
    until_kept(|| shared().program("c", &code).who(&room, "u").stdin("1").run().expect_success());
    let body = json!({
        "language": "c", "roomId": room, "userId": "u", "code": code, "timeLimitMs": 500,
        // The second uses its sandbox up; the third needs the program once more.
        "cases": [{"stdin": "1"}, {"stdin": "2"}, {"stdin": "3"}],
    });
    let answer = shared().post("/api/execution/batch", &body).expect_status(200);
    assert!(was_kept(&answer), "{}", answer.text);
    assert_eq!((answer.str("/results/0/stdout"), answer.str("/results/2/stdout")), ("1\n", "3\n"), "{}", answer.text);
    assert_eq!(answer.str("/results/1/verdict"), "time-limit-exceeded", "{}", answer.text);
}

#[test]
fn every_compiled_language_here_runs_from_what_was_kept() {
    for (language, code) in [
        ("cpp", "#include <iostream>\nint main() { std::cout << \"kept\\n\"; }"),
        ("go", "package main\nimport \"fmt\"\nfunc main() { fmt.Println(\"kept\") }"),
        ("rust", "fn main() { println!(\"kept\"); }"),
        ("typescript", "const word: string = 'kept'; console.log(word);"),
    ] {
        let room = unique("room-");
        if shared().program(language, code).who(&room, "u").run().status == 400 {
            eprintln!("SKIP {language} is not installed");
            continue;
        }
        let answer = until_kept(|| shared().program(language, code).who(&room, "u").run().expect_success());
        assert_eq!(answer.stdout(), "kept\n", "{language}: {}", answer.text);
    }
}

#[test]
fn it_outlives_the_daemon_and_can_be_turned_off() {
    let code = c_program("restart");
    let ask = |daemon: &Daemon| daemon.program("c", &code).who("r", "u").run().expect_success();
    let daemon = Daemon::start(Options::new());
    until_kept(|| ask(&daemon));
    let daemon = daemon.start_again();
    let answer = ask(&daemon);
    assert!(was_kept(&answer), "{}", answer.text);
    let off = Daemon::start(Options::new().text("runtimes", "artefact-cache", "off"));
    for _ in 0..3 {
        assert!(!was_kept(&ask(&off)));
    }
    assert!(!off.data().join("artefacts").exists());
}
