//! Every limit, when hit: named, with what was printed before it kept, and the next run unaffected.
//! (The hostile variants are in `tests/security`.)

use std::time::Duration;

use crankcase_tests::{Daemon, Options, shared, widened};

#[test]
fn each_limit_is_named_and_what_was_printed_is_kept() {
    for (limit, status, code) in [
        ("memory", "failed", "x = [bytearray(1 << 20) for _ in range(2048)]"),
        ("output", "failed", "while True: print('x' * 1000)"),
        ("processes", "failed", "import os\nwhile True:\n    if os.fork() == 0:\n        import time; time.sleep(60)"),
        ("disk", "failed", "f = open('/box/f', 'wb')\nwhile True: f.write(b'x' * 65536)"),
    ] {
        let answer = shared().run("python", &format!("print('before', flush=True)\n{code}")).expect_limit(limit);
        assert_eq!(answer.str("/status"), status, "{}", answer.text);
        assert!(answer.stdout().starts_with("before\n"), "{}", answer.text);
        assert!(answer.str("/output").starts_with("before\n"), "{}", answer.text);
        assert_eq!(shared().run("python", "print('next')").expect_stdout(), "next\n");
    }
}

#[test]
fn time_is_timeout() {
    let answer =
        shared().program("python", "import time\nprint('before', flush=True)\ntime.sleep(60)").milliseconds(700).run();
    let answer = answer.expect_limit("time");
    assert_eq!((answer.str("/status"), answer.stdout()), ("timeout", "before\n"));
}

#[test]
fn cpu_time_is_a_limit_of_its_own() {
    let limit = i64::try_from(widened(Duration::from_millis(500)).as_millis()).unwrap();
    let options = Options::new().text("limits", "cpu-time", &format!("{limit}ms"));
    let daemon = Daemon::start(options.text("limits", "wall-time", &format!("{}ms", 40 * limit)));
    let answer = daemon.run("python", "print('before', flush=True)\nwhile True: pass").expect_limit("cpu");
    assert_eq!((answer.str("/status"), answer.stdout()), ("timeout", "before\n"));
    let used = answer.number("/cpuTime");
    assert!(used * 10 >= limit * 9 && used < 4 * limit, "{}", answer.text);
    // Children count.
    let children = "import os\nfor _ in range(3):\n    if os.fork() == 0:\n        while True: pass\nos.wait()";
    daemon.run("python", children).expect_limit("cpu");
}

#[test]
fn configured_limits_hold_by_language() {
    let daemon = Daemon::start(
        Options::new()
            .text("limits", "wall-time", "3s")
            .text("limits.ruby", "wall-time", "500ms")
            .set("limits", "output-chars", 10)
            .set("limits", "code-chars", 40)
            .set("limits", "stdin-chars", 4),
    );
    let answer = daemon.run("python", "print('0123456789abcdef')").expect_success();
    assert_eq!(answer.str("/output"), "0123456789");
    daemon.run("python", &"#".repeat(41)).expect_status(400);
    daemon.program("python", "pass").stdin("12345").run().expect_status(400);
    let answer = daemon.run("python", "import time; time.sleep(20)").expect_limit("time");
    assert!(answer.number("/wallTime") >= 2900, "{}", answer.text);
    if std::path::Path::new("/usr/bin/ruby").exists() {
        let answer = daemon.run("ruby", "sleep 20").expect_limit("time");
        assert!(answer.number("/wallTime") < 2500, "{}", answer.text);
    }
}

#[test]
fn a_compiler_has_limits_of_its_own() {
    let daemon = Daemon::start(Options::new().text("limits.cpp", "compile-wall-time", "400ms"));
    let slow = "template<int N> struct F { static const long v = F<N - 1>::v + F<N - 2>::v; };\n#include <bits/stdc++.h>\n#include <regex>\nint main() { std::regex r(\"a\"); std::map<std::string, std::vector<std::string>> m; return m.size(); }";
    let answer = daemon.run("cpp", slow);
    assert_eq!((answer.status, answer.str("/compile/limit")), (200, "time"), "{}", answer.text);
    assert_eq!(answer.body["success"], false, "a limit, not a diagnosis: {}", answer.text);
    assert_eq!(daemon.run("python", "print(1)").expect_stdout(), "1\n");
}

#[test]
fn the_programs_memory_is_its_own_and_not_the_compilers() {
    // gcc needs more than this program may have.
    let daemon = Daemon::start(Options::new().text("limits.c", "memory", "16MiB"));
    let answer = daemon.run("c", "#include <stdio.h>\nint main(void) { puts(\"small\"); return 0; }");
    assert!(answer.number("/memory") < 12 << 20, "{}", answer.text);
    assert_eq!(answer.expect_stdout(), "small\n");
}
