//! Which way a run takes: stock, fork, prepared, cold; and that all of them give the same.

use crankcase_tests::{Daemon, Options, eventually};
use nix::sys::signal::Signal;
use std::time::Duration;

use super::{daemon, filled, pool, python, too_slow_to_count, warm_hits};

#[test]
fn a_run_takes_what_fits_and_another_is_made() {
    let daemon = daemon(python(2));
    for n in 0..20 {
        assert_eq!(daemon.run("python", &format!("print({n})")).expect_stdout(), format!("{n}\n"));
    }
    assert_eq!(warm_hits(&daemon, "python"), 20);
    filled(&daemon);
    assert_eq!(pool(&daemon, "ready", "python", "warm"), 2);
    assert_eq!(pool(&daemon, "ready", "python", "template"), 1);
    assert_eq!(pool(&daemon, "failures_total", "python", "warm"), 0);
}

#[test]
fn limits_of_its_own_are_served_by_a_fork_and_arguments_by_a_plain_start() {
    let daemon = daemon(python(1).set("warm", "prepared", 2));
    let own = daemon.program("python", "print('own')").milliseconds(4321).run();
    assert_eq!(own.expect_stdout(), "own\n");
    assert_eq!(pool(&daemon, "hits_total", "python", "fork"), 1);
    let with = daemon.program("python", "import sys; print(sys.argv[1])").args(&["x"]).run();
    assert_eq!(with.expect_stdout(), "x\n");
    assert_eq!((warm_hits(&daemon, "python"), pool(&daemon, "ready", "python", "warm")), (1, 1));
    assert!(pool(&daemon, "hits_total", "python", "prepared") >= 1);
}

#[test]
fn what_is_asked_for_again_and_again_gets_a_stock_of_its_own() {
    let daemon = daemon(Options::new().text("warm", "prepared", "auto"));
    for _ in 0..3 {
        assert_eq!(daemon.run("bash", "echo ready").expect_stdout(), "ready\n");
    }
    filled(&daemon);
    assert!(pool(&daemon, "ready", "bash", "loaded") > 0);
    let before = pool(&daemon, "hits_total", "bash", "loaded");
    assert_eq!(daemon.run("bash", "echo loaded; echo \"$0\"").expect_stdout(), "loaded\nmain.sh\n");
    assert_eq!(pool(&daemon, "hits_total", "bash", "loaded"), before + 1);
    // A compiler stands ready likewise, and another program is compiled by it.
    for n in 0..4 {
        let code = format!("#include <stdio.h>\nint main(void) {{ printf(\"{n}\\n\"); return {n}; }}\n");
        let ran = daemon.run("c", &code).expect_success();
        assert_eq!((ran.stdout(), ran.number("/exitCode")), (format!("{n}\n").as_str(), n));
        filled(&daemon);
    }
    assert!(pool(&daemon, "hits_total", "c", "loaded") > 0);
}

#[test]
fn without_pools_everything_runs_and_nothing_stands_ready() {
    let daemon = Daemon::start(Options::new());
    assert_eq!(daemon.run("python", "print(1)").expect_stdout(), "1\n");
    assert_eq!(daemon.run("c", "int main(void) { return 3; }").expect_success().number("/exitCode"), 3);
    assert_eq!(warm_hits(&daemon, "python"), 0);
    let health = daemon.get("/health");
    assert_eq!((health.number("/pools/ready"), health.number("/pools/target")), (0, 0));
}

#[test]
fn two_hundred_at_once_each_get_their_own() {
    let options = python(16).set("admission", "queue-length", 1000).text("rooms", "lock-wait", "60s");
    let daemon = daemon(options);
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..200)
            .map(|n| {
                let daemon = &daemon;
                scope.spawn(move || {
                    let text = format!("text of {n}\n");
                    let code = format!("import sys\nprint({n}, sys.stdin.read(), end='')");
                    let answer = daemon.program("python", &code).stdin(&text).run();
                    assert_eq!(answer.expect_stdout(), format!("{n} {text}"));
                })
            })
            .collect();
        for run in runs {
            run.join().expect("each gets its own");
        }
    });
    assert!(too_slow_to_count() || warm_hits(&daemon, "python") == 200, "{}", daemon.get("/metrics").text);
    filled(&daemon);
}

#[test]
fn one_process_compiles_and_runs_java_and_says_what_the_compiler_says() {
    let warm = daemon(Options::new().set("warm", "java", 1));
    let plain = Daemon::start(Options::new());
    let broken = "public class Main { public static void main(String[] a) { int x = \"text\"; } }";
    let [one, other] = [&warm, &plain].map(|daemon| daemon.run("java", broken).expect_success());
    for field in ["/output", "/compile/stderr", "/compile/stdout", "/stdout", "/stderr"] {
        assert_eq!(one.str(field), other.str(field), "{field}");
    }
    for field in ["/compile/exitCode", "/exitCode", "/signal", "/limit", "/success", "/status"] {
        assert_eq!(one.body.pointer(field), other.body.pointer(field), "{field}");
    }
    let counts = |hits| too_slow_to_count() || pool(&warm, "hits_total", "java", "warm") == hits;
    assert!(counts(1), "{}", warm.get("/metrics").text);
    filled(&warm);
    let code = "import java.util.*; public class Foo { public static void main(String[] a) { \
                System.out.println(new Scanner(System.in).nextLine()); System.exit(3); } }";
    let ran = warm.program("java", code).stdin("line\n").run().expect_success();
    assert_eq!((ran.stdout(), ran.number("/exitCode"), ran.number("/compile/exitCode")), ("line\n", 3, 0));
    assert!(counts(2), "{}", warm.get("/metrics").text);
}

#[test]
fn a_warm_compiler_serves_the_compile_stage_and_an_artefact_spares_it() {
    let options = Options::new().clock("limits.typescript", "compile-cpu-time", 1.0);
    let warm = Daemon::start(options.set("warm", "typescript", 1));
    if !warm.get("/api/v2/runtimes").text.contains("\"typescript\"") {
        eprintln!("SKIP typescript: not installed");
        return;
    }
    filled(&warm);
    let code = "const n: number = Number(require('fs').readFileSync(0, 'utf8')); console.log(n + 1, process.argv[2])";
    for (n, hits) in [(1, 1), (2, 1)] {
        let ran = warm.program("typescript", code).stdin(&format!("{n}")).args(&["x"]).run().expect_success();
        assert_eq!((ran.stdout(), ran.number("/compile/exitCode")), (format!("{} x\n", n + 1).as_str(), 0));
        assert_eq!(pool(&warm, "hits_total", "typescript", "warm"), hits, "the second time it is there already");
        // The start of the compiler, which takes over a second, is not charged.
        assert!(ran.number("/compile/cpuTime") < 1000, "{}", ran.text);
        filled(&warm);
    }
    let broken = warm.run("typescript", "let n: number = 'x';\n").expect_success();
    assert!(broken.str("/compile/stdout").starts_with("main.ts(1,5): error TS2322:"), "{}", broken.text);
    assert_eq!((broken.number("/compile/exitCode"), broken.stdout()), (1, ""));
    assert_eq!(pool(&warm, "hits_total", "typescript", "warm"), 2);
    filled(&warm);
    let endless = "type Deep<T, N extends any[] = []> = N['length'] extends 2000 ? T : Deep<[T], [...N, 1]>;\n\
                   let d: Deep<string> = 1; type Loop<T> = T extends string ? Loop<T> : never; let l: Loop<'x'>;";
    // The compiler's own limits hold, from `go` on: its start has taken more.
    assert_eq!(warm.run("typescript", endless).str("/compile/limit"), "cpu");
    assert_eq!(pool(&warm, "hits_total", "typescript", "warm"), 3);
}

#[test]
fn other_limits_replace_what_was_made_for_the_old_ones() {
    let daemon = daemon(python(2).set("limits", "open-files", 200));
    let code = "import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE))";
    assert_eq!(daemon.run("python", code).expect_stdout(), "(200, 200)\n");
    let text = std::fs::read_to_string(daemon.config()).unwrap();
    std::fs::write(daemon.config(), text.replace("open-files = 200", "open-files = 100")).unwrap();
    daemon.signal(Signal::SIGHUP);
    eventually(Duration::from_secs(10), || {
        let found = daemon.run("python", code).expect_stdout();
        if found == "(100, 100)\n" { Ok(()) } else { Err(found) }
    });
    filled(&daemon);
    let before = pool(&daemon, "hits_total", "python", "warm");
    assert_eq!(daemon.run("python", code).expect_stdout(), "(100, 100)\n");
    assert_eq!(pool(&daemon, "hits_total", "python", "warm"), before + 1);
}
