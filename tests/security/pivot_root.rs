//! Gains: the host's root back.

use crate::attempt::expect_refused;

#[test]
fn pivot_root_is_refused() {
    expect_refused(&["syscall(SYS_pivot_root, \"/\", \"/tmp\")", "syscall(SYS_pivot_root, \".\", \".\")"]);
}
