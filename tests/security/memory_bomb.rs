//! Gains: the host's memory, until its OOM killer ends something else.

use crate::attempt::{c, expect_unharmed, python, shared};

#[test]
fn two_gib_end_by_the_memory_limit() {
    let answer = python("print('before', flush=True)\nx = [b'x' * (64 << 20) for _ in range(32)]\nprint(len(x))")
        .expect_limit("memory");
    assert_eq!(answer.stdout(), "before\n");
    expect_unharmed();
}

#[test]
fn children_count_together_and_die_together() {
    let answer = c(r#"
int main(void) {
    for (int i = 0; i < 8; i++)
        if (fork() == 0)
            for (size_t n = 0;; n++) { char *p = mmap(0, 1 << 20, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); if (p != MAP_FAILED) memset(p, 1, 1 << 20); }
    while (wait(0) > 0) {}
    puts("SURVIVED");
    for (;;) pause();
}"#);
    let answer = answer.expect_limit("memory");
    assert!(!answer.stdout().contains("SURVIVED"), "the whole group dies: {}", answer.text);
    expect_unharmed();
}

#[test]
fn memory_kept_in_tmpfs_and_shared_segments_counts_too() {
    let answer = shared()
        .program(
            "python",
            "
import mmap, os
keep = []
while True:
    fd = os.memfd_create('x')
    os.ftruncate(fd, 8 << 20)
    m = mmap.mmap(fd, 8 << 20)
    m.write(b'x' * (8 << 20))
    keep.append(m)
    os.close(fd)
",
        )
        .run();
    answer.expect_limit("memory");
    expect_unharmed();
}

#[test]
fn peak_memory_is_reported_and_bounded_by_what_was_asked_for() {
    let answer = shared().program("python", "x = bytearray(300 << 20)\nprint(len(x))").with("memoryLimitMb", 64).run();
    let answer = answer.expect_limit("memory");
    let peak = answer.number("/memory");
    assert!((32 << 20..=65 << 20).contains(&peak), "{peak}");
}
