//! Gains: another process's namespaces.

use crate::attempt::expect_refused;

#[test]
fn setns_is_refused() {
    expect_refused(&[
        "syscall(SYS_setns, open(\"/proc/self/ns/net\", O_RDONLY), 0)",
        "syscall(SYS_setns, open(\"/proc/self/ns/user\", O_RDONLY), CLONE_NEWUSER)",
        "syscall(SYS_setns, syscall(SYS_pidfd_open, getpid(), 0), CLONE_NEWNS)",
    ]);
}
