//! Gains: keystrokes typed into the operator's terminal.

use crate::attempt::{c, expect_refused};

#[test]
fn tiocsti_is_refused() {
    expect_refused(&[
        "ioctl(0, TIOCSTI, \"x\")",
        "ioctl(1, TIOCSTI, \"x\")",
        // The upper half of the request is ignored by the kernel, so a filter must not compare it.
        "syscall(SYS_ioctl, 0, (1UL << 32) | TIOCSTI, \"x\")",
        "ioctl(0, TIOCLINUX, \"\\3\")",
    ]);
}

#[test]
fn there_is_no_controlling_terminal() {
    let stdout = c(
        r#"int main(void) { printf("%d %d\n", open("/dev/tty", O_RDWR), getsid(0) == getpid() || getsid(0) > 0); return 0; }"#,
    );
    assert_eq!(stdout.expect_stdout(), "-1 1\n");
}
