//! Gains: a new kernel, its modules, its clock, its name, its log, the power switch.

use crate::attempt::expect_refused;

#[test]
fn kexec_is_refused() {
    expect_refused(&["syscall(SYS_kexec_load, 0, 0, 0, 0)", "syscall(SYS_kexec_file_load, -1, -1, 0, 0, 0)"]);
}

#[test]
fn modules_are_refused() {
    expect_refused(&[
        "syscall(SYS_init_module, \"\", 0, \"\")",
        "syscall(SYS_finit_module, 0, \"\", 0)",
        "syscall(SYS_delete_module, \"nothing\", 0)",
    ]);
}

#[test]
fn the_machine_cannot_be_turned_off_or_set() {
    expect_refused(&[
        // The magic numbers are wrong on purpose: where the call got through, it gives EINVAL and harms nobody.
        "syscall(SYS_reboot, 0, 0, 0, 0)",
        "syscall(SYS_settimeofday, 0, 0)",
        "syscall(SYS_sethostname, \"x\", 1)",
        "syscall(SYS_setdomainname, \"x\", 1)",
        "syscall(SYS_syslog, 3, 0, 0)",
        "syscall(SYS_swapon, \"/tmp/none\", 0)",
        "syscall(SYS_swapoff, \"/tmp/none\")",
        "syscall(SYS_acct, \"/tmp/none\")",
        "syscall(SYS_iopl, 3)",
        "syscall(SYS_ioperm, 0, 8, 1)",
        "syscall(SYS_quotactl, 0, 0, 0, 0)",
    ]);
}

#[test]
fn calls_that_reach_past_the_mounts_are_refused() {
    expect_refused(&[
        "syscall(SYS_open_by_handle_at, AT_FDCWD, 0, 0)",
        "syscall(SYS_name_to_handle_at, AT_FDCWD, \"/\", 0, 0, 0)",
        "syscall(SYS_fanotify_init, 0, 0)",
        "syscall(SYS_lookup_dcookie, 0, 0, 0)",
        "syscall(SYS_migrate_pages, 0, 0, 0, 0)",
        "syscall(SYS_move_pages, 1, 0, 0, 0, 0, 0)",
        "syscall(SYS_vhangup)",
    ]);
}
