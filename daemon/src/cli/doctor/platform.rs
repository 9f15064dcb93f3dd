//! Hosts that are not a plain Debian: security modules, WSL, very small ones.

use super::check::Check;
use super::host::Host;

/// SELinux and AppArmor. Neither hinders the service by itself; where a policy of the administrator's does, it is named.
pub fn modules(host: &Host) -> Check {
    let name = "security modules";
    if let Some(enforcing) = host.number("/sys/fs/selinux/enforce") {
        let mode = if enforcing == 1 { "enforcing" } else { "permissive" };
        let found = format!(
            "SELinux, {mode}: there is no policy of crankcase's own, so the service runs in the domain of unconfined services"
        );
        return if enforcing == 1 {
            Check::warn(
                name,
                found,
                "if sandboxes cannot be made: ausearch -m avc -c crankcase-spawn shows what was denied; a policy for it \
                 can be made with audit2allow",
            )
        } else {
            Check::ok(name, found)
        };
    }
    match host.read("/sys/module/apparmor/parameters/enabled").as_deref() {
        Some("Y") => match host.read("/proc/self/attr/current").as_deref() {
            None | Some("unconfined") => Check::ok(name, "AppArmor; this process is unconfined, as the services are"),
            Some(profile) => Check::warn(
                name,
                format!("AppArmor, and this process is confined by the profile {profile}"),
                "started from a confined place the spawner may lack mounts; as a service of systemd's it is unconfined",
            ),
        },
        _ => Check::ok(name, "neither SELinux nor AppArmor"),
    }
}

/// Windows Subsystem for Linux; none elsewhere.
pub fn wsl(host: &Host) -> Option<Check> {
    let release = host.read("/proc/sys/kernel/osrelease")?.to_ascii_lowercase();
    if !release.contains("microsoft") {
        return None;
    }
    let name = "WSL";
    if host.read("/proc/1/comm").as_deref() == Some("systemd") {
        return Some(Check::ok(name, "with systemd: the units work as elsewhere, while the distribution runs"));
    }
    Some(Check::warn(
        name,
        "without systemd: nothing starts the service by itself",
        "put systemd=true into the section [boot] of /etc/wsl.conf and run `wsl --shutdown`, or start `crankcase serve` as \
         root",
    ))
}

/// One core serves, one execution after the other.
pub fn cores(host: &Host) -> Check {
    let text = host.read("/proc/cpuinfo").unwrap_or_default();
    let count = text.lines().filter(|line| line.starts_with("processor")).count();
    match count {
        0 => Check::ok("cores", "unknown"),
        1 => Check::warn(
            "cores",
            "1: a compiler or a busy loop of one student takes half of what everybody has",
            "give it two cores or more for a class; see the sizing in the documentation",
        ),
        count => Check::ok("cores", count.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Status;
    use super::super::host::fake;
    use super::*;

    #[test]
    fn selinux_is_named_with_where_to_look() {
        let path = "/sys/fs/selinux/enforce";
        let check = modules(&fake::host(&[(path, "1")]).host);
        assert!(check.status == Status::Warn && check.fix.unwrap().contains("ausearch"));
        assert_eq!(modules(&fake::host(&[(path, "0")]).host).status, Status::Ok);
    }

    #[test]
    fn apparmor_matters_only_where_it_confines_us() {
        let on = ("/sys/module/apparmor/parameters/enabled", "Y");
        let profile = |text| modules(&fake::host(&[on, ("/proc/self/attr/current", text)]).host).status;
        assert_eq!((profile("unconfined\n"), profile("docker-default (enforce)")), (Status::Ok, Status::Warn));
        assert_eq!(modules(&fake::host(&[]).host).found, "neither SELinux nor AppArmor");
    }

    #[test]
    fn wsl_wants_systemd() {
        let release = ("/proc/sys/kernel/osrelease", "5.15.153.1-microsoft-standard-WSL2");
        let with = |init| wsl(&fake::host(&[release, ("/proc/1/comm", init)]).host).unwrap();
        assert_eq!(with("systemd").status, Status::Ok);
        let check = with("init");
        assert!(check.status == Status::Warn && check.fix.unwrap().contains("wsl.conf"));
        assert_eq!(wsl(&fake::host(&[("/proc/sys/kernel/osrelease", "6.1.0-28-amd64")]).host), None);
    }

    #[test]
    fn one_core_is_told() {
        let of = |text| cores(&fake::host(&[("/proc/cpuinfo", text)]).host).status;
        assert_eq!((of("processor\t: 0\n"), of("processor\t: 0\n\nprocessor\t: 1\n")), (Status::Warn, Status::Ok));
    }
}
