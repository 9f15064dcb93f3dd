//! Gains: a view of other file systems, or a writable one in place of a read-only one.

use crate::attempt::{expect_refused, python};

#[test]
fn the_old_and_the_new_mount_calls_are_refused() {
    expect_refused(&[
        "mount(\"none\", \"/tmp\", \"tmpfs\", 0, 0)",
        "mount(0, \"/\", 0, MS_REMOUNT | MS_BIND, 0)",
        "mount(\"/proc\", \"/tmp\", 0, MS_BIND, 0)",
        "umount2(\"/proc\", MNT_DETACH)",
        "syscall(SYS_fsopen, \"tmpfs\", 0)",
        "syscall(SYS_fspick, AT_FDCWD, \"/\", 0)",
        "syscall(SYS_fsconfig, -1, 6, 0, 0, 0)",
        "syscall(SYS_fsmount, -1, 0, 0)",
        "syscall(SYS_move_mount, AT_FDCWD, \"/tmp\", AT_FDCWD, \"/box\", 0)",
        "syscall(SYS_open_tree, AT_FDCWD, \"/\", 1)",
        "syscall(SYS_mount_setattr, AT_FDCWD, \"/\", 0, 0, 0)",
    ]);
}

#[test]
fn every_mount_is_nosuid_and_writable_ones_are_few() {
    let stdout = python("print(open('/proc/self/mountinfo').read())").expect_stdout();
    let mut seen = 0;
    for line in stdout.lines().filter(|line| !line.is_empty()) {
        let fields: Vec<&str> = line.split(' ').collect();
        let (point, flags) = (fields[4], fields[5].split(',').collect::<Vec<_>>());
        seen += 1;
        assert!(flags.contains(&"nosuid"), "{point} honours set-user-ID bits: {line}");
        if !point.starts_with("/dev") {
            assert!(flags.contains(&"nodev"), "{point} honours device files: {line}");
        }
        let writable = ["/box", "/tmp", "/dev/shm"].contains(&point);
        let node = point.starts_with("/dev/") || point == "/proc";
        assert!(writable || node || flags.contains(&"ro"), "{point} is writable: {line}");
    }
    assert!(seen >= 4, "{stdout}");
}
