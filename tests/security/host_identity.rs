//! Gains: which machine, which unit and which path to aim at next.

use crate::attempt::python;

#[test]
fn host_name_cgroup_path_and_sys_are_not_to_be_seen() {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let stdout = python(
        "
import os, socket
print(socket.gethostname())
print(open('/etc/hostname').read().strip())
print('|'.join(line.split(':', 2)[2] for line in open('/proc/self/cgroup').read().splitlines()))
print(os.path.exists('/sys/kernel'), os.path.exists('/sys/fs/cgroup/cgroup.procs'), os.path.exists('/sys/class'))
print(open('/proc/self/mountinfo').read())
print(os.uname().nodename)
",
    )
    .expect_stdout();
    let lines: Vec<&str> = stdout.lines().collect();
    assert_ne!(lines[0], host.trim(), "the host's own name");
    assert_eq!(lines[0], lines[1]);
    assert!(lines[2].split('|').all(|path| path == "/"), "cgroup paths start at the sandbox: {}", lines[2]);
    assert_eq!(lines[3], "False False False");
    assert!(!stdout.contains("cgroup/") && !stdout.contains("crankcase-test"), "{stdout}");
}
