//! Gains: code in the kernel.

use crate::attempt::expect_refused_with;

#[test]
fn bpf_is_refused() {
    expect_refused_with(
        "static union { int type[4]; char b[128]; } a = {{1, 4, 4, 1}};",
        &["syscall(SYS_bpf, 0 /* MAP_CREATE */, &a, sizeof a)", "syscall(SYS_bpf, 5 /* PROG_LOAD */, &a, sizeof a)"],
    );
}
