//! Gains: a filter of the attacker's own that answers in place of ours, or a way to lift what was dropped.

use crate::attempt::{c, expect_refused};

#[test]
fn privileges_stay_dropped() {
    let stdout = c(r#"
int main(void) {
    printf("%d ", prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0));
    printf("%d ", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    printf("%d ", prctl(PR_SET_SECUREBITS, 0));
    printf("%d ", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 21, 0, 0));
    printf("%d\n", prctl(PR_SET_SECCOMP, 0, 0, 0, 0));
    return 0;
}"#)
    .expect_stdout();
    assert_eq!(stdout, "-1 1 -1 -1 -1\n");
}

#[test]
fn a_user_notification_listener_is_refused() {
    expect_refused(&["syscall(SYS_seccomp, 1 /* SET_MODE_FILTER */, 8 /* NEW_LISTENER */, 0)"]);
}
