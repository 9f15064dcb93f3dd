//! seccomp, Landlock, and the privilege that making sandboxes takes.

use std::os::unix::fs::FileTypeExt;

use caps::{CapSet, Capability};
use crankcase::config::Config;

use super::check::Check;
use super::host::Host;

pub fn seccomp(host: &Host) -> Check {
    let fix = "use a kernel with CONFIG_SECCOMP_FILTER=y";
    let Some(actions) = host.read("/proc/sys/kernel/seccomp/actions_avail") else {
        return Check::fail("seccomp", "the kernel has no seccomp filters", fix);
    };
    let missing: Vec<&str> =
        ["kill_process", "errno", "allow"].into_iter().filter(|a| !actions.split(' ').any(|b| b == *a)).collect();
    if missing.is_empty() {
        Check::ok("seccomp", format!("filters, with {actions}"))
    } else {
        Check::fail("seccomp", format!("filters without the action {}", missing.join(", ")), fix)
    }
}

/// A second layer: without it the other ones hold.
pub fn landlock(host: &Host) -> Check {
    match host.read("/sys/kernel/security/lsm") {
        Some(modules) if modules.split(',').any(|module| module == "landlock") => Check::ok("Landlock", "active"),
        Some(modules) => Check::warn(
            "Landlock",
            format!("not active (of the security modules {modules}); sandboxes do without this second layer"),
            "boot with landlock added to lsm= (CONFIG_SECURITY_LANDLOCK=y)",
        ),
        None => Check::ok("Landlock", "unknown, securityfs is not mounted; used where the kernel offers it"),
    }
}

const NEEDED: [Capability; 7] = [
    Capability::CAP_SYS_ADMIN,
    Capability::CAP_SETUID,
    Capability::CAP_SETGID,
    Capability::CAP_SETPCAP,
    Capability::CAP_CHOWN,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_KILL,
];

pub fn privilege(host: &Host, config: &Config) -> Check {
    if let Some(socket) = &config.sandbox.spawner_socket {
        return spawner_socket(socket);
    }
    if host.field("/proc/self/status", "Uid").is_none_or(|ids| ids.split_whitespace().nth(1) != Some("0")) {
        return Check::fail(
            "privilege",
            "not root, and no spawner is named",
            "start as root (the daemon drops its privileges and keeps those of the spawner alone), or run \
             `crankcase spawner` as root and set sandbox.spawner-socket",
        );
    }
    let effective = caps::read(None, CapSet::Effective).unwrap_or_default();
    let missing: Vec<String> = NEEDED.iter().filter(|cap| !effective.contains(cap)).map(ToString::to_string).collect();
    if missing.is_empty() {
        Check::ok("privilege", "root")
    } else {
        Check::fail(
            "privilege",
            format!("root without {}", missing.join(" ")),
            "start it where root has these capabilities (not in an unprivileged container)",
        )
    }
}

fn spawner_socket(socket: &std::path::Path) -> Check {
    match std::fs::metadata(socket) {
        Ok(metadata) if metadata.file_type().is_socket() => {
            Check::ok("privilege", format!("by the spawner at {}", socket.display()))
        }
        Ok(_) => Check::fail(
            "privilege",
            format!("{} is no socket", socket.display()),
            "set sandbox.spawner-socket to the spawner's socket",
        ),
        Err(error) => Check::fail(
            "privilege",
            format!("the spawner's socket {} cannot be reached: {error}", socket.display()),
            "start it: systemctl start crankcase-spawner, or `crankcase spawner` as root",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Status;
    use super::super::host::fake;
    use super::*;

    fn config(text: &str) -> Config {
        Config::parse(text, &crankcase::config::Environment::default()).unwrap()
    }

    #[test]
    fn seccomp_needs_its_actions() {
        let path = "/proc/sys/kernel/seccomp/actions_avail";
        let all = "kill_process kill_thread trap errno user_notif trace log allow";
        assert_eq!(seccomp(&fake::host(&[(path, all)]).host).status, Status::Ok);
        assert_eq!(seccomp(&fake::host(&[(path, "kill_thread allow")]).host).status, Status::Fail);
        assert_eq!(seccomp(&fake::host(&[]).host).status, Status::Fail);
    }

    #[test]
    fn landlock_is_never_a_failure() {
        let path = "/sys/kernel/security/lsm";
        assert_eq!(landlock(&fake::host(&[(path, "lockdown,landlock,apparmor")]).host).status, Status::Ok);
        assert_eq!(landlock(&fake::host(&[(path, "lockdown,apparmor")]).host).status, Status::Warn);
        assert_eq!(landlock(&fake::host(&[]).host).status, Status::Ok);
    }

    #[test]
    fn without_root_a_spawner_must_be_named() {
        let user = fake::host(&[("/proc/self/status", "Name:\tx\nUid:\t1000\t1000\t1000\t1000\n")]);
        assert_eq!(privilege(&user.host, &config("")).status, Status::Fail);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let text = format!("sandbox.spawner-socket = {:?}", path.to_str().unwrap());
        assert_eq!(privilege(&user.host, &config(&text)).status, Status::Fail);
        let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert_eq!(privilege(&user.host, &config(&text)).status, Status::Ok);
    }
}
