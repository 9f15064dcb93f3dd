//! Gains: measurements of other processes and the kernel.

use crate::attempt::expect_refused_with;

#[test]
fn perf_event_open_is_refused() {
    expect_refused_with(
        "static uint32_t a[32] = {1, 128};",
        &["syscall(SYS_perf_event_open, a, 0, -1, -1, 0)", "syscall(SYS_perf_event_open, a, -1, 0, -1, 0)"],
    );
}
