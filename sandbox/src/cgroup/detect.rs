//! Which cgroup hierarchies this host has, from `/proc/self/mountinfo`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::SetupError;
use super::dir::io;

/// The controllers that a v1 stage needs.
pub const V1_CONTROLLERS: [&str; 4] = ["memory", "pids", "cpu", "cpuacct"];
/// The controllers that a v2 stage needs.
pub const V2_CONTROLLERS: [&str; 3] = ["memory", "pids", "cpu"];

/// Where the controllers are.
#[derive(Debug, PartialEq, Eq)]
pub enum Hierarchies {
    /// Mount points by controller; `cpu` and `cpuacct` may be one.
    V1(HashMap<&'static str, PathBuf>),
    /// The unified hierarchy's mount point.
    V2(PathBuf),
}

pub fn hierarchies() -> Result<Hierarchies, SetupError> {
    let path = Path::new("/proc/self/mountinfo");
    let text = std::fs::read_to_string(path)
        .map_err(|e| io("reading", path, Errno::from_raw(e.raw_os_error().unwrap_or(0))))?;
    from_mountinfo(&text, |mount| std::fs::read_to_string(mount.join("cgroup.controllers")).unwrap_or_default())
}

/// Prefers v2 when all controllers are there: on a hybrid host they are on v1.
fn from_mountinfo(text: &str, controllers_of: impl Fn(&Path) -> String) -> Result<Hierarchies, SetupError> {
    let mut v1 = HashMap::new();
    let mut v2 = None;
    for line in text.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let Some(mount) = left.split(' ').nth(4) else { continue };
        let mut right = right.split(' ');
        match (right.next(), right.nth(1)) {
            (Some("cgroup2"), _) => v2 = v2.or_else(|| Some(PathBuf::from(mount))),
            (Some("cgroup"), Some(options)) => {
                for controller in V1_CONTROLLERS {
                    if options.split(',').any(|option| option == controller) {
                        v1.entry(controller).or_insert_with(|| PathBuf::from(mount));
                    }
                }
            }
            _ => {}
        }
    }
    if let Some(mount) = v2 {
        let text = controllers_of(&mount);
        if V2_CONTROLLERS.iter().all(|wanted| text.split_whitespace().any(|c| c == *wanted)) {
            return Ok(Hierarchies::V2(mount));
        }
    }
    match V1_CONTROLLERS.into_iter().find(|controller| !v1.contains_key(controller)) {
        Some(missing) => Err(SetupError::MissingController(missing)),
        None => Ok(Hierarchies::V1(v1)),
    }
}

/// This process's own path in a hierarchy: of `controller`, or of the unified one.
pub fn own_path(controller: Option<&str>) -> Option<String> {
    own_path_in(&std::fs::read_to_string("/proc/self/cgroup").ok()?, controller)
}

fn own_path_in(text: &str, controller: Option<&str>) -> Option<String> {
    text.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let wanted = match controller {
            Some(name) => controllers.split(',').any(|c| c == name),
            None => controllers.is_empty(),
        };
        wanted.then(|| path.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
25 1 0:22 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:1 - cgroup cgroup rw,cpu,cpuacct
26 1 0:23 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
27 1 0:24 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
28 1 0:25 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    #[test]
    fn hybrid_hosts_use_v1() {
        let Ok(Hierarchies::V1(mounts)) = from_mountinfo(HYBRID, |_| "hugetlb\n".into()) else { panic!("not v1") };
        assert_eq!(mounts["cpu"], mounts["cpuacct"]);
        assert_eq!(mounts["memory"], Path::new("/sys/fs/cgroup/memory"));
    }

    #[test]
    fn pure_hosts_use_v2() {
        let text = "30 1 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n";
        let found = from_mountinfo(text, |_| "cpuset cpu io memory pids\n".into()).unwrap();
        assert_eq!(found, Hierarchies::V2("/sys/fs/cgroup".into()));
    }

    #[test]
    fn a_missing_controller_is_named() {
        let text = HYBRID.lines().filter(|l| !l.contains("rw,pids")).collect::<Vec<_>>().join("\n");
        let error = from_mountinfo(&text, |_| String::new()).unwrap_err();
        assert_eq!(error.to_string(), "the cgroup controller `pids` is not available");
    }

    #[test]
    fn the_own_path_is_found_in_either() {
        let text = "4:memory:/a/b\n2:cpu,cpuacct:/c\n0::/d\n";
        assert_eq!(own_path_in(text, Some("cpuacct")).as_deref(), Some("/c"));
        assert_eq!(own_path_in(text, None).as_deref(), Some("/d"));
        assert_eq!(own_path_in(text, Some("pids")), None);
    }
}
