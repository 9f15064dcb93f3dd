//! Gains: a host that cannot start a process any more.

use crate::attempt::{c, expect_unharmed, host, python, shared};

#[test]
fn a_fork_bomb_ends_by_the_process_limit() {
    let before = host::Snapshot::take(shared());
    let answer = c("int main(void) { puts(\"before\"); fflush(stdout); for (;;) fork(); }").expect_limit("processes");
    assert!(answer.stdout().starts_with("before\n"), "what was printed is kept: {}", answer.text);
    expect_unharmed();
    host::expect_back_to(shared(), &before);
}

#[test]
fn one_that_waits_and_catches_signals_does_too() {
    let answer = python(
        "
import os, signal, time
for number in range(1, 32):
    try:
        signal.signal(number, signal.SIG_IGN)
    except OSError:
        pass
while True:
    try:
        if os.fork() == 0:
            os.setsid()
    except OSError:
        pass
",
    );
    answer.expect_limit("processes");
    expect_unharmed();
}
