//! Gains: the host's disks, memory, terminals and virtual machine monitor.

use crate::attempt::python;

#[test]
fn dev_holds_only_the_harmless_ones() {
    let stdout = python(
        "
import os, stat
for directory, _, names in os.walk('/dev'):
    for name in names:
        path = os.path.join(directory, name)
        mode = os.lstat(path).st_mode
        kind = 'c' if stat.S_ISCHR(mode) else 'b' if stat.S_ISBLK(mode) else 'l' if stat.S_ISLNK(mode) else '-'
        device = os.lstat(path).st_rdev
        print(kind, os.major(device), os.minor(device), path)
",
    )
    .expect_stdout();
    for line in stdout.lines() {
        let harmless =
            ["c 1 3", "c 1 5", "c 1 7", "c 1 8", "c 1 9", "l 0 0"].iter().any(|known| line.starts_with(known));
        assert!(harmless, "{line}");
    }
    for needed in ["/dev/null", "/dev/zero", "/dev/urandom"] {
        assert!(stdout.contains(needed), "{needed}: {stdout}");
    }
}
