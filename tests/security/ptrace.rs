//! Gains: the memory and the system calls of other processes, and a race with the filter.

use crate::attempt::expect_refused_with;

#[test]
fn ptrace_and_its_relatives_are_refused() {
    expect_refused_with(
        "#include <sys/ptrace.h>\nstatic char b[8]; static struct iovec v = {b, 8};",
        &[
            "ptrace(PTRACE_TRACEME, 0, 0, 0)",
            "ptrace(PTRACE_ATTACH, 1, 0, 0)",
            "ptrace(PTRACE_SEIZE, getppid(), 0, 0)",
            "process_vm_readv(1, &v, 1, &v, 1, 0)",
            "process_vm_writev(1, &v, 1, &v, 1, 0)",
            "syscall(SYS_kcmp, getpid(), 1, 0, 0, 0)",
            "syscall(438 /* pidfd_getfd */, 0, 0, 0)",
        ],
    );
}
