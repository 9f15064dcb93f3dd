//! `POST /compile`: every field of the answer.

use crankcase_tests::{shared, unique};
use serde_json::{Value, json};

#[test]
fn all_fields_of_a_plain_run() {
    let answer = shared().run("python", "print('hi')").expect_status(200);
    let body = &answer.body;
    let id = answer.str("/executionId");
    let parts: Vec<&str> = id.splitn(3, '-').collect();
    assert!(
        parts[0] == "exec" && parts[1].len() == 13 && parts[1].parse::<u64>().is_ok() && !parts[2].is_empty(),
        "{id}"
    );
    let expected = json!({
        "success": true, "status": "completed", "correlationId": id, "userId": "anonymous", "username": "Anonymous",
        "roomId": "standalone", "language": "python", "output": "hi\n", "stdout": "hi\n", "stderr": "", "exitCode": 0,
    });
    for (field, value) in expected.as_object().expect("an object") {
        assert_eq!(&body[field], value, "{field}: {}", answer.text);
    }
    for absent in ["error", "signal", "compile", "limit"] {
        assert_eq!(body[absent], Value::Null, "{absent}: {}", answer.text);
    }
    for number in ["executionTime", "cpuTime", "wallTime", "memory", "queueTime"] {
        assert!(body[number].is_u64(), "{number} is a whole number: {}", answer.text);
    }
    assert!(answer.number("/memory") > 1 << 20 && answer.number("/memory") < 256 << 20, "{}", answer.text);
    assert!(answer.number("/executionTime") >= answer.number("/queueTime"), "{}", answer.text);
    let stamp = answer.str("/timestamp");
    assert!(stamp.len() == 24 && stamp.ends_with('Z') && &stamp[10..11] == "T" && &stamp[19..20] == ".", "{stamp}");
    assert!(answer.header("content-type").is_some_and(|kind| kind.starts_with("application/json")));
}

#[test]
fn what_the_caller_gave_is_echoed() {
    let (room, correlation) = (unique("room-"), unique("correlation-"));
    let answer = shared()
        .program("python", "print(1)")
        .who(&room, "user-ü")
        .with("username", "Ünal 🙂")
        .with("correlationId", correlation.as_str())
        .run()
        .expect_success();
    assert_eq!(answer.body["roomId"], *room);
    assert_eq!(answer.body["userId"], "user-ü");
    assert_eq!(answer.body["username"], "Ünal 🙂");
    assert_eq!(answer.body["correlationId"], *correlation);
    assert_ne!(answer.body["executionId"], *correlation);
}

#[test]
fn output_is_stdout_else_stderr_else_a_sentence() {
    let both = shared().run("python", "import sys\nprint('out')\nprint('err', file=sys.stderr)").expect_success();
    assert_eq!((both.str("/output"), both.stdout(), both.stderr()), ("out\n", "out\n", "err\n"));
    let err = shared().run("python", "import sys\nprint('err', file=sys.stderr)").expect_success();
    assert_eq!(err.str("/output"), "err\n");
    assert_eq!(shared().run("python", "pass").expect_success().str("/output"), "No output");
}

#[test]
fn output_is_cut_at_five_thousand_characters_on_a_character() {
    let answer = shared().run("python", "print('ä🙂' * 4000, end='')").expect_success();
    let output = answer.str("/output");
    assert_eq!(output.chars().count(), 5000, "characters, not bytes");
    assert_eq!(output, "ä🙂".repeat(2500));
    assert_eq!(answer.stdout().chars().count(), 8000, "the stream itself is whole");
    assert_eq!(answer.body["truncated"]["output"], true);
    assert_eq!(answer.body["truncated"]["stdout"], false);
    let whole = shared().run("python", "print('x' * 5000, end='')").expect_success();
    assert_eq!((whole.str("/output").len(), &whole.body["truncated"]["output"]), (5000, &json!(false)));
}

#[test]
fn exit_codes_and_signals_are_outcomes() {
    for code in [1, 3, 127, 255] {
        let answer = shared().run("python", &format!("import sys\nsys.exit({code})")).expect_success();
        assert_eq!((answer.number("/exitCode"), &answer.body["signal"]), (code, &Value::Null));
    }
    for (code, signal) in [
        ("int main(void) { *(volatile int *)0 = 1; }", "SIGSEGV"),
        ("#include <stdlib.h>\nint main(void) { abort(); }", "SIGABRT"),
        ("int main(int n, char **a) { volatile int one = n, zero = n - n; return one / zero; }", "SIGFPE"),
        ("#include <signal.h>\nint main(void) { raise(SIGKILL); }", "SIGKILL"),
        ("#include <signal.h>\nint main(void) { raise(SIGTERM); }", "SIGTERM"),
    ] {
        let answer = shared().run("c", code).expect_success();
        assert_eq!((answer.str("/signal"), &answer.body["exitCode"]), (signal, &Value::Null), "{}", answer.text);
        assert_eq!(answer.body["limit"], Value::Null, "{}", answer.text);
    }
}

#[test]
fn bytes_that_are_no_text_are_replaced() {
    let answer = shared().run("python", "import sys\nsys.stdout.buffer.write(b'a\\xff\\xc3(b\\0c')").expect_success();
    assert_eq!(answer.stdout(), "a\u{fffd}\u{fffd}(b\0c");
}

#[test]
fn stdin_of_all_sizes_arrives_whole_and_need_not_be_read() {
    let code = "import sys\nd = sys.stdin.read()\nprint(len(d), d[:3], d[-3:])";
    let text = format!("äöü{}xyz", "0".repeat(994));
    assert_eq!(shared().program("python", code).stdin(&text).run().expect_stdout(), "1000 äöü xyz\n");
    assert_eq!(shared().program("python", "print('unread')").stdin(&text).run().expect_stdout(), "unread\n");
}

#[test]
fn arguments_and_further_files_reach_the_program() {
    let answer = shared()
        .program(
            "python",
            "import sys\nfrom pack.module import name\nprint(sys.argv[1:], name, open('data.txt').read())",
        )
        .args(&["a b", "", "--flag=ü"])
        .file("pack/module.py", "name = 'imported'")
        .file("data.txt", "from a file")
        .run();
    assert_eq!(answer.expect_stdout(), "['a b', '', '--flag=ü'] imported from a file\n");
    let answer = shared()
        .program(
            "c",
            "#include \"add.h\"\n#include <stdio.h>\nint main(void) { printf(\"%d\\n\", add(2, 3)); return 0; }",
        )
        .file("add.h", "static int add(int a, int b) { return a + b; }")
        .run();
    assert_eq!(answer.expect_stdout(), "5\n");
}

#[test]
fn programs_find_themselves_in_a_plain_place() {
    let answer =
        shared().run("python", "import os, sys\nprint(os.getcwd(), os.environ['HOME'], sys.argv, __name__, __file__)");
    let stdout = answer.expect_stdout();
    assert!(stdout.starts_with("/box /tmp ['") && stdout.contains("main.py'] __main__ /box/main.py"), "{stdout}");
    let written = "open('new', 'w').write('x')\nimport subprocess\nprint(subprocess.run(['sh', '-c', 'cat new | tr x y'], capture_output=True, text=True).stdout)";
    assert_eq!(shared().run("python", written).expect_stdout(), "y\n");
}

#[test]
fn cpu_time_counts_work_and_wall_time_counts_sleep() {
    let answer = shared().run("python", "import time\ntime.sleep(0.4)").expect_success();
    assert!(answer.number("/wallTime") >= 400, "{}", answer.text);
    assert!(answer.number("/cpuTime") < 400, "{}", answer.text);
    let answer = shared()
        .run("python", "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass")
        .expect_success();
    assert!(answer.number("/cpuTime") >= 290 && answer.number("/cpuTime") < 2000, "{}", answer.text);
}

#[test]
fn large_and_unusual_programs_are_taken() {
    let code = format!("x = '''{}'''\nprint(len(x))", "é".repeat(9900));
    assert_eq!(shared().run("python", &code).expect_stdout(), "9900\n");
    assert_eq!(shared().run("python", "\u{feff}print('bom')").expect_stdout(), "bom\n");
    assert_eq!(shared().run("python", "print('crlf')\r\nprint(2)\r\n").expect_stdout(), "crlf\n2\n");
}
