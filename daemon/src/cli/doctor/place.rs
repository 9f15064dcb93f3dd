//! Where the daemon lives: container or host, init system, pressure figures, memory, and room for its data.

use std::path::{Path, PathBuf};

use crankcase::config::Config;
use crankcase::config::units::size_text;
use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, access};

use super::check::Check;
use super::host::Host;

const MIB: u64 = 1 << 20;

/// An unprivileged container has no root to make sandboxes with; a privileged one works.
pub fn container(host: &Host) -> Check {
    let map = host.read("/proc/self/uid_map").unwrap_or_default();
    let whole = map.split_whitespace().eq(["0", "0", "4294967295"]);
    if !whole {
        return Check::fail(
            "container",
            "inside a user namespace (an unprivileged container): root here cannot make the sandboxes' own",
            "run on the host or in a virtual machine; in a container only with --privileged and no user-namespace mapping",
        );
    }
    let marks = ["/.dockerenv", "/run/.containerenv"];
    let marked = marks.iter().find(|mark| host.exists(mark)).map(|mark| (*mark).to_owned());
    match marked.or_else(|| host.read("/run/systemd/container")) {
        Some(mark) => Check::warn(
            "container",
            format!("inside a container ({mark}) with the host's user ids"),
            "it works where the container is privileged; the host itself is the supported place",
        ),
        None => Check::ok("container", "none"),
    }
}

/// Without pressure figures admission goes by reservations alone.
pub fn pressure(host: &Host) -> Check {
    match host.read("/proc/pressure/memory") {
        Some(_) => Check::ok("pressure figures", "/proc/pressure"),
        None => Check::warn(
            "pressure figures",
            "none: admission cannot see memory pressure and goes by reservations alone",
            "boot with psi=1 (a kernel with CONFIG_PSI=y)",
        ),
    }
}

pub fn init(host: &Host) -> Check {
    match host.read("/proc/1/comm").as_deref() {
        Some("systemd") => Check::ok("init", "systemd"),
        Some(other) => Check::ok(
            "init",
            format!("{other}; the units for systemd are of no use, start `crankcase serve` by its means"),
        ),
        None => Check::ok("init", "unknown"),
    }
}

/// Whether one compiler fits the budget of all.
pub fn memory(host: &Host, config: &Config) -> Check {
    let total = host
        .field("/proc/meminfo", "MemTotal")
        .and_then(|text| text.split(' ').next()?.parse::<u64>().ok())
        .map_or(0, |kib| kib * 1024);
    let budget = config.reloadable.admission.memory.resolve(total, config.sandbox.memory_reserve);
    let limits = &config.reloadable.limits.general;
    let largest = limits.compile.memory.max(limits.run.memory).get();
    let found = format!(
        "{} MiB, of which {} MiB for executions; one may take {}",
        total / MIB,
        budget / MIB,
        size_text(largest)
    );
    if budget >= largest {
        Check::ok("memory", found)
    } else {
        Check::warn(
            "memory",
            format!("{found}, which is more than that"),
            "lower limits.compile-memory and limits.memory, or raise admission.memory",
        )
    }
}

pub fn data_dir(config: &Config) -> Check {
    let dir = &config.data_dir;
    let existing = existing_ancestor(dir);
    let name = "data directory";
    if let Err(errno) = access(&existing, AccessFlags::W_OK | AccessFlags::X_OK) {
        return Check::fail(
            name,
            format!("{} cannot be written: {errno}", existing.display()),
            "set data-dir to a directory of the daemon's own",
        );
    }
    let space = match statvfs(&existing) {
        Ok(stat) => stat.blocks_available() * stat.fragment_size(),
        Err(errno) => {
            return Check::fail(
                name,
                format!("{} cannot be looked at: {errno}", existing.display()),
                "set data-dir to a directory of the daemon's own",
            );
        }
    };
    let found = format!("{}, {} MiB free", dir.display(), space / MIB);
    match space / MIB {
        0..64 => Check::fail(name, found, "free some space: the history could not be written"),
        64..1024 => Check::warn(name, found, "free some space, or set history.max-size or a shorter history.retention"),
        _ => Check::ok(name, found),
    }
}

fn existing_ancestor(dir: &Path) -> PathBuf {
    dir.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/")).to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::check::Status;
    use super::super::host::fake;
    use super::*;

    const WHOLE: (&str, &str) = ("/proc/self/uid_map", "         0          0 4294967295\n");

    #[test]
    fn unprivileged_containers_are_refused() {
        assert_eq!(container(&fake::host(&[WHOLE]).host).status, Status::Ok);
        let mapped = fake::host(&[("/proc/self/uid_map", "0 100000 65536\n")]);
        assert_eq!(container(&mapped.host).status, Status::Fail);
        assert_eq!(container(&fake::host(&[WHOLE, ("/.dockerenv", "")]).host).status, Status::Warn);
    }

    #[test]
    fn memory_too_small_for_one_compiler_is_told() {
        let config = Config::parse("", &crankcase::config::Environment::default()).unwrap();
        let of = |kib: u64| memory(&fake::host(&[("/proc/meminfo", &format!("MemTotal: {kib} kB\n"))]).host, &config);
        assert_eq!(of(4 << 20).status, Status::Ok);
        assert_eq!(of(1 << 20).status, Status::Warn);
        assert_eq!(of(0).status, Status::Warn);
    }

    #[test]
    fn a_data_directory_that_is_not_there_yet_is_judged_by_its_parent() {
        let dir = tempfile::tempdir().unwrap();
        let later = dir.path().join("a/b/c");
        assert_eq!(existing_ancestor(&later), dir.path());
        let text = format!("data-dir = {:?}", later.to_str().unwrap());
        let config = Config::parse(&text, &crankcase::config::Environment::default()).unwrap();
        assert!(data_dir(&config).found.starts_with(later.to_str().unwrap()));
        assert!(!later.exists(), "looking makes nothing");
    }
}
