//! Gains: a pause in the middle of the kernel's copies, which makes races easy to win.

use crate::attempt::expect_refused;

#[test]
fn userfaultfd_is_refused() {
    expect_refused(&["syscall(SYS_userfaultfd, 0)", "syscall(SYS_userfaultfd, 1 /* USER_MODE_ONLY */)"]);
}
