//! Gains: the host's disks, by a device file of one's own.

use crate::attempt::expect_refused_with;

#[test]
fn device_files_cannot_be_made() {
    expect_refused_with(
        "#include <sys/sysmacros.h>",
        &[
            "mknod(\"/box/disk\", S_IFBLK | 0600, makedev(8, 0))",
            "mknod(\"/tmp/mem\", S_IFCHR | 0600, makedev(1, 1))",
            "mknodat(AT_FDCWD, \"/dev/shm/x\", S_IFCHR | 0600, makedev(1, 3))",
        ],
    );
}
