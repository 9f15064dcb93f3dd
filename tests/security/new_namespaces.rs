//! Gains: root inside a new user namespace, and with it the kernel's largest attack surface.

use crate::attempt::{c, expect_refused};

#[test]
fn unshare_is_refused_with_every_flag() {
    expect_refused(&[
        "syscall(SYS_unshare, CLONE_NEWUSER)",
        "syscall(SYS_unshare, CLONE_NEWNS)",
        "syscall(SYS_unshare, CLONE_NEWPID)",
        "syscall(SYS_unshare, CLONE_NEWNET)",
        "syscall(SYS_unshare, CLONE_NEWIPC)",
        "syscall(SYS_unshare, CLONE_NEWUTS)",
        "syscall(SYS_unshare, CLONE_NEWCGROUP)",
        "syscall(SYS_unshare, 0x80)", // CLONE_NEWTIME
        "syscall(SYS_unshare, CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET)",
    ]);
}

#[test]
fn clone_is_refused_with_every_namespace_flag() {
    expect_refused(&[
        "syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0)",
        "syscall(SYS_clone, CLONE_NEWNS | SIGCHLD, 0, 0, 0, 0)",
        "syscall(SYS_clone, CLONE_NEWPID | SIGCHLD, 0, 0, 0, 0)",
        "syscall(SYS_clone, CLONE_NEWNET | SIGCHLD, 0, 0, 0, 0)",
        "syscall(SYS_clone, CLONE_NEWIPC | SIGCHLD, 0, 0, 0, 0)",
        "syscall(SYS_clone, CLONE_NEWUTS | SIGCHLD, 0, 0, 0, 0)",
        "syscall(SYS_clone, CLONE_NEWCGROUP | SIGCHLD, 0, 0, 0, 0)",
    ]);
}

/// Flags of clone3 lie in memory, where a filter cannot look.
#[test]
fn clone3_is_refused_whatever_it_asks_for() {
    let stdout = c(r#"
int main(void) {
    uint64_t flags[] = {CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWNET, CLONE_NEWPID, 0x200000000ULL /* INTO_CGROUP */};
    for (int i = 0; i < 5; i++) {
        uint64_t arguments[11] = {0};
        arguments[0] = flags[i];
        arguments[4] = SIGCHLD;
        long r = syscall(SYS_clone3, arguments, sizeof arguments);
        if (r == 0) _exit(0);
        printf("%ld %d\n", r < 0 ? -1L : 1L, r < 0 ? errno : 0);
    }
    return 0;
}"#)
    .expect_stdout();
    for line in stdout.lines() {
        assert!(["-1 1", "-1 38"].contains(&line), "{stdout}");
    }
    assert_eq!(stdout.lines().count(), 5);
}
