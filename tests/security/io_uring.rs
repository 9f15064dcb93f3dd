//! Gains: system calls that no seccomp filter sees, and a long list of kernel bugs.

use crate::attempt::expect_refused_with;

#[test]
fn io_uring_is_refused() {
    expect_refused_with(
        "static char p[256];",
        &[
            "syscall(SYS_io_uring_setup, 8, p)",
            "syscall(SYS_io_uring_enter, 0, 0, 0, 0, 0, 0)",
            "syscall(SYS_io_uring_register, 0, 0, 0, 0)",
        ],
    );
}
