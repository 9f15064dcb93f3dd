//! The kernel.

use super::check::Check;
use super::host::Host;

/// `cgroup.kill` of cgroup v2 came last of what we use, in 5.14; before it `mount_setattr` (5.12),
/// `close_range` with `CLOSE_RANGE_CLOEXEC` (5.11), `clone3` with `CLONE_INTO_CGROUP` (5.7), `openat2` (5.6).
const NEEDED: (u32, u32) = (5, 14);

pub fn version(host: &Host) -> Check {
    let release = host.read("/proc/sys/kernel/osrelease").unwrap_or_default();
    let fix = "upgrade to Linux 5.14 or later (Debian 12 has 6.1, Ubuntu 22.04 has 5.15)";
    match parse(&release) {
        Some(version) if version >= NEEDED => Check::ok("kernel", format!("Linux {release}")),
        Some(_) => Check::fail(
            "kernel",
            format!("Linux {release}, which lacks cgroup.kill, mount_setattr or other calls that are used"),
            fix,
        ),
        None => Check::fail("kernel", format!("a release that is no version: {release:?}"), fix),
    }
}

fn parse(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::super::check::Status;
    use super::super::host::fake;
    use super::*;

    #[test]
    fn old_kernels_fail() {
        for (release, status) in [
            ("6.1.0-28-amd64", Status::Ok),
            ("5.14.0", Status::Ok),
            ("5.15.153.1-microsoft-standard-WSL2", Status::Ok),
            ("5.13.19", Status::Fail),
            ("4.18.0-553.el8_10.x86_64", Status::Fail),
            ("10.0", Status::Ok),
            ("unknown", Status::Fail),
        ] {
            let fake = fake::host(&[("/proc/sys/kernel/osrelease", release)]);
            assert_eq!(version(&fake.host).status, status, "{release}");
        }
    }
}
