//! Gains: the host's processors.

use std::time::Duration;

use crate::attempt::{attempts, expect_unharmed, shared};

#[test]
fn an_endless_loop_ends_within_half_a_second_of_its_wall_time() {
    attempts(5, || {
        let answer = shared().program("python", "while True: pass").milliseconds(1000).run();
        assert!(["time", "cpu"].contains(&answer.str("/limit")), "{}", answer.text);
        assert_eq!(answer.str("/status"), "timeout");
        let waited = u64::try_from(answer.number("/queueTime")).unwrap_or(0);
        let elapsed = answer.elapsed.saturating_sub(Duration::from_millis(waited));
        if elapsed <= Duration::from_millis(1500) { Ok(()) } else { Err(format!("{elapsed:?}")) }
    });
    expect_unharmed();
}

#[test]
fn many_threads_get_no_more_processor_than_the_quota() {
    let answer = shared()
        .program(
            "c",
            "#include <pthread.h>\nstatic void *spin(void *x) { for (;;) {} }\nint main(void) { pthread_t t; for (int i = 0; i < 8; i++) pthread_create(&t, 0, spin, 0); spin(0); }",
        )
        .milliseconds(2000)
        .run();
    assert!(["time", "cpu"].contains(&answer.str("/limit")), "{}", answer.text);
    let (cpu, wall) = (answer.number("/cpuTime"), answer.number("/wallTime"));
    assert!(cpu > 100 && cpu <= wall * 3 / 2 + 300, "{cpu} ms of CPU in {wall} ms");
}
