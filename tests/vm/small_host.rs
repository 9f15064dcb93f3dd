//! One core and 1 GiB: slower, but correct.

use crankcase_tests::vm::{Guest, Size, figures};
use serde_json::json;

use crate::installed::{Installed, share};

#[test]
#[ignore = "full form: make test-vm"]
fn one_core_and_one_gibibyte_are_enough() {
    let share = share();
    let guest = Guest::boot(Size::SMALL, Some(share.path()));
    let (_, boot) = guest.boot_times();
    figures::note("cold boot of one core and 1 GiB, seconds", format!("{:.0}", boot.as_secs_f64()));
    let mut host = Installed::on(guest);
    for (language, code) in [
        ("python", "print('hello')"),
        ("c", "#include <stdio.h>\nint main(void) { puts(\"hello\"); }"),
        ("java", "public class Main { public static void main(String[] a) { System.out.println(\"hello\"); } }"),
    ] {
        assert_eq!(host.stdout(language, code), "hello\n", "{language}");
    }
    // A program that wants all memory ends by its limit, and neither the host nor the daemon is harmed.
    let (daemon, spawner) = (host.main_pid("crankcase"), host.main_pid("crankcase-spawner"));
    let answer = host.run("python", "x = [bytearray(64 << 20) for _ in range(64)]");
    assert_eq!(answer["limit"], "memory", "{answer}");
    // Twelve at once on one core: all are answered, each with its own result.
    let body =
        |n: u32| json!({"language": "python", "code": format!("print({n} * 2)")}).to_string().replace('\'', "'\\''");
    let requests: String = (0..12)
        .map(|n| format!("curl -s --max-time 280 -H content-type:application/json -d '{}' http://127.0.0.1:4334/compile >/tmp/answer-{n} &\n", body(n)))
        .collect();
    host.guest.ok(&format!("{requests} wait"));
    for n in 0..12 {
        let answer: serde_json::Value =
            serde_json::from_str(&host.guest.ok(&format!("cat /tmp/answer-{n}"))).expect("an answer each");
        assert_eq!(answer["stdout"], format!("{}\n", n * 2), "{answer}");
    }
    assert_eq!(
        (host.main_pid("crankcase"), host.main_pid("crankcase-spawner")),
        (daemon, spawner),
        "nobody was killed"
    );
    assert_eq!(host.guest.ok("systemctl is-system-running || true").trim(), "running");
}
