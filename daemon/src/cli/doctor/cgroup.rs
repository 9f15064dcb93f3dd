//! cgroups: the hierarchy, its controllers, and whether children can be made in it.
//!
//! Where the hierarchies are is found by `cgroups-rs`; what is made of it is decided here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cgroups_rs::fs::Controllers;
use cgroups_rs::fs::hierarchies::{UNIFIED_MOUNTPOINT, V1, is_cgroup2_unified_mode};
use crankcase::config::Config;

use super::check::Check;
use super::host::Host;

/// Where each needed controller can be reached: the directory below which sandboxes get their cgroups.
struct Facts {
    unified: bool,
    /// By controller.
    places: BTreeMap<&'static str, PathBuf>,
}

const V1_NEEDED: [(&str, Controllers); 4] = [
    ("memory", Controllers::Mem),
    ("pids", Controllers::Pids),
    ("cpu", Controllers::Cpu),
    ("cpuacct", Controllers::CpuAcct),
];
const V2_NEEDED: [&str; 3] = ["memory", "pids", "cpu"];

pub fn checks(host: &Host, config: &Config) -> Vec<Check> {
    let facts = if is_cgroup2_unified_mode() { v2(host, config) } else { v1(config) };
    let mut checks = vec![controllers(&facts)];
    checks.extend(children(&facts));
    checks.push(swap(host, &facts));
    checks
}

fn v2(host: &Host, config: &Config) -> Facts {
    let root = Path::new(UNIFIED_MOUNTPOINT);
    let own = PathBuf::from(host.field("/proc/self/cgroup", "0:").unwrap_or_default());
    let members = std::fs::read_to_string(below(root, &own).join("cgroup.procs")).unwrap_or_default();
    let parent = config.sandbox.cgroup_parent.clone().unwrap_or_else(|| chosen(own, &members, std::process::id()));
    let place = existing(&below(root, &parent));
    let available = std::fs::read_to_string(place.join("cgroup.controllers")).unwrap_or_default();
    let places = V2_NEEDED
        .into_iter()
        .filter(|name| available.split_whitespace().any(|other| other == *name))
        .map(|name| (name, place.clone()))
        .collect();
    Facts { unified: true, places }
}

/// As the spawner chooses: the own cgroup where it was delegated to us alone, else one below the root. A login's has others
/// in it, and not all controllers.
fn chosen(own: PathBuf, members: &str, pid: u32) -> PathBuf {
    let alone = !members.is_empty() && members.lines().all(|member| member.parse() == Ok(pid));
    if alone && own != Path::new("/") { own } else { PathBuf::from("crankcase") }
}

fn v1(config: &Config) -> Facts {
    let hierarchy = V1::new();
    let parent = config.sandbox.cgroup_parent.clone().unwrap_or_else(|| PathBuf::from("crankcase"));
    let places = V1_NEEDED
        .into_iter()
        .filter_map(|(name, controller)| {
            let (mount, _) = hierarchy.get_mount_point(controller)?;
            Some((name, existing(&below(&mount, &parent))))
        })
        .collect();
    Facts { unified: false, places }
}

fn below(mount: &Path, parent: &Path) -> PathBuf {
    mount.join(parent.strip_prefix("/").unwrap_or(parent))
}

/// The configured parent is made on demand: what counts is the nearest directory that there is.
fn existing(path: &Path) -> PathBuf {
    path.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/")).to_owned()
}

fn controllers(facts: &Facts) -> Check {
    let (name, needed): (_, Vec<&str>) = if facts.unified {
        ("cgroup v2", V2_NEEDED.to_vec())
    } else {
        ("cgroup v1", V1_NEEDED.iter().map(|(name, _)| *name).collect())
    };
    let missing: Vec<&str> = needed.iter().copied().filter(|one| !facts.places.contains_key(one)).collect();
    if missing.is_empty() {
        return Check::ok(name, format!("with the controllers {}", needed.join(" ")));
    }
    let fix = if facts.unified {
        "hand them down: Delegate=yes in the spawner's unit, or name a parent that has them in sandbox.cgroup-parent"
    } else if missing.contains(&"memory") {
        "boot with cgroup_enable=memory, or with systemd.unified_cgroup_hierarchy=1 for cgroup v2"
    } else {
        "mount them below /sys/fs/cgroup, or boot with systemd.unified_cgroup_hierarchy=1 for cgroup v2"
    };
    Check::fail(name, format!("without the controllers {}", missing.join(" ")), fix)
}

/// Tried, not guessed: delegation, a read-only mount and an LSM all show here.
fn children(facts: &Facts) -> Option<Check> {
    let mut places: Vec<&PathBuf> = facts.places.values().collect();
    places.sort();
    places.dedup();
    if places.is_empty() {
        return None;
    }
    let refused = places.iter().find_map(|place| try_child(place).err().map(|error| (place, error)));
    Some(match refused {
        None => Check::ok("cgroup children", "can be made"),
        Some((place, error)) => Check::fail(
            "cgroup children",
            format!("cannot be made in {}: {error}", place.display()),
            "start as root outside of a container, or with Delegate=yes in the unit",
        ),
    })
}

fn try_child(place: &Path) -> std::io::Result<()> {
    let child = place.join(format!("crankcase-doctor-{}", std::process::id()));
    std::fs::create_dir(&child)?;
    std::fs::remove_dir(&child)
}

/// A program that swaps would escape its memory limit.
fn swap(host: &Host, facts: &Facts) -> Check {
    let name = "swap accounting";
    let none = host.field("/proc/meminfo", "SwapTotal").is_none_or(|total| total.starts_with("0 "));
    let Some(memory) = facts.places.get("memory") else {
        return Check::warn(name, "unknown without the memory controller", "see the controllers above");
    };
    // The root of v2 has no files of its own limits; the kernel has them wherever the controller is.
    let accounted = facts.unified || memory.join("memory.memsw.limit_in_bytes").exists();
    match (accounted, none) {
        (true, _) => Check::ok(name, if none { "on, and the host has no swap" } else { "on" }),
        (false, true) => Check::ok(name, "off, and the host has no swap"),
        (false, false) => Check::fail(
            name,
            "off, and the host has swap: memory limits would not hold",
            "boot with swapaccount=1, or swapoff -a",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Status;
    use super::super::host::fake;
    use super::*;

    fn facts(unified: bool, names: &[&'static str], place: &Path) -> Facts {
        Facts { unified, places: names.iter().map(|name| (*name, place.to_owned())).collect() }
    }

    #[test]
    fn missing_controllers_fail_with_the_fix_of_their_version() {
        let place = Path::new("/nowhere");
        assert_eq!(controllers(&facts(true, &["memory", "pids", "cpu"], place)).status, Status::Ok);
        let check = controllers(&facts(true, &["pids"], place));
        assert!(check.status == Status::Fail && check.found.contains("memory cpu"), "{check:?}");
        assert!(check.fix.unwrap().contains("Delegate=yes"));
        let check = controllers(&facts(false, &["pids", "cpu", "cpuacct"], place));
        assert!(check.fix.unwrap().contains("cgroup_enable=memory"));
    }

    #[test]
    fn only_a_cgroup_of_our_own_counts_as_delegated() {
        let own = || PathBuf::from("/system.slice/x.service");
        assert_eq!(chosen(own(), "7\n", 7), own());
        for (path, members) in [(own(), "1\n7\n"), (own(), ""), (PathBuf::from("/"), "7\n")] {
            assert_eq!(chosen(path, members, 7), Path::new("crankcase"), "{members:?}");
        }
    }

    #[test]
    fn children_are_tried_and_leave_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let check = children(&facts(true, &["memory"], dir.path())).unwrap();
        assert_eq!(check.status, Status::Ok);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        let check = children(&facts(true, &["memory"], &dir.path().join("gone"))).unwrap();
        assert_eq!(check.status, Status::Fail);
    }

    #[test]
    fn swap_without_accounting_fails_only_where_there_is_swap() {
        let dir = tempfile::tempdir().unwrap();
        let v1 = facts(false, &["memory"], dir.path());
        let with = fake::host(&[("/proc/meminfo", "SwapTotal:  1024 kB\n")]);
        let without = fake::host(&[("/proc/meminfo", "SwapTotal:  0 kB\n")]);
        assert_eq!(swap(&with.host, &v1).status, Status::Fail);
        assert_eq!(swap(&without.host, &v1).status, Status::Ok);
        std::fs::write(dir.path().join("memory.memsw.limit_in_bytes"), "1").unwrap();
        assert_eq!(swap(&with.host, &v1).status, Status::Ok);
    }
}
