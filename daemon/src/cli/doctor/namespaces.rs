//! Namespaces, and the switches that take them away.

use super::check::Check;
use super::host::Host;

const NAMESPACES: [(&str, &str); 7] = [
    ("user", "USER_NS"),
    ("mnt", "NAMESPACES"),
    ("pid", "PID_NS"),
    ("net", "NET_NS"),
    ("ipc", "IPC_NS"),
    ("uts", "UTS_NS"),
    ("cgroup", "CGROUPS"),
];

pub fn checks(host: &Host) -> Vec<Check> {
    vec![kinds(host), bounds(host)]
}

fn kinds(host: &Host) -> Check {
    let missing: Vec<_> =
        NAMESPACES.iter().filter(|(kind, _)| !host.exists(&format!("/proc/self/ns/{kind}"))).collect();
    if missing.is_empty() {
        return Check::ok("namespaces", "user mnt pid net ipc uts cgroup");
    }
    let kinds: Vec<&str> = missing.iter().map(|(kind, _)| *kind).collect();
    let options: Vec<String> = missing.iter().map(|(_, option)| format!("CONFIG_{option}=y")).collect();
    Check::fail(
        "namespaces",
        format!("the kernel has none of: {}", kinds.join(" ")),
        format!("use a kernel with {}", options.join(" ")),
    )
}

/// These sysctls bind root too: each sandbox takes one namespace of each kind.
fn bounds(host: &Host) -> Check {
    const NEEDED: u64 = 64;
    let low: Vec<(String, u64)> = NAMESPACES
        .iter()
        .map(|(kind, _)| format!("user.max_{kind}_namespaces"))
        .filter_map(|name| {
            let bound = host.number(&format!("/proc/sys/{}", name.replace('.', "/")))?;
            (bound < NEEDED).then_some((name, bound))
        })
        .collect();
    if low.is_empty() {
        return Check::ok("namespace bounds", "enough of each kind (user.max_*_namespaces)");
    }
    let found: Vec<String> = low.iter().map(|(name, bound)| format!("{name} = {bound}")).collect();
    let fix: Vec<String> = low.iter().map(|(name, _)| format!("sysctl -w {name}=10000")).collect();
    Check::fail(
        "namespace bounds",
        found.join(", "),
        format!("{} (and the same in /etc/sysctl.d to last)", fix.join("; ")),
    )
}

/// Restrictions on unprivileged user namespaces: named so that nobody lifts them for our sake.
pub fn notes(host: &Host) -> Option<Check> {
    let switches = [
        ("kernel.apparmor_restrict_unprivileged_userns", "/proc/sys/kernel/apparmor_restrict_unprivileged_userns", 1),
        ("kernel.unprivileged_userns_clone", "/proc/sys/kernel/unprivileged_userns_clone", 0),
    ];
    let (name, _, value) = switches.into_iter().find(|(_, path, value)| host.number(path) == Some(*value))?;
    Some(Check::ok(
        "unprivileged user namespaces",
        format!("restricted ({name} = {value}); no matter here: the spawner has CAP_SYS_ADMIN, leave it on"),
    ))
}

#[cfg(test)]
mod tests {
    use super::super::check::Status;
    use super::super::host::fake;
    use super::*;

    #[test]
    fn a_missing_kind_names_the_kernel_option() {
        let all: Vec<String> = NAMESPACES.iter().map(|(kind, _)| format!("/proc/self/ns/{kind}")).collect();
        let files: Vec<(&str, &str)> = all.iter().map(|path| (path.as_str(), "")).collect();
        assert_eq!(kinds(&fake::host(&files).host).status, Status::Ok);
        let check = kinds(&fake::host(&files[1..]).host);
        assert_eq!(check.status, Status::Fail);
        assert!(check.fix.unwrap().contains("CONFIG_USER_NS=y"));
    }

    #[test]
    fn a_bound_of_zero_fails_and_a_missing_one_does_not() {
        assert_eq!(bounds(&fake::host(&[]).host).status, Status::Ok);
        assert_eq!(bounds(&fake::host(&[("/proc/sys/user/max_user_namespaces", "15000\n")]).host).status, Status::Ok);
        let check = bounds(&fake::host(&[("/proc/sys/user/max_user_namespaces", "0\n")]).host);
        assert_eq!(check.status, Status::Fail);
        assert!(check.fix.unwrap().contains("sysctl -w user.max_user_namespaces=10000"));
    }

    #[test]
    fn ubuntus_restriction_is_no_failure() {
        let path = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";
        let check = notes(&fake::host(&[(path, "1")]).host).unwrap();
        assert_eq!(check.status, Status::Ok);
        assert!(check.found.contains("leave it on"));
        assert_eq!(notes(&fake::host(&[(path, "0")]).host), None);
    }
}
