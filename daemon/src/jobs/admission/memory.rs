//! What this machine has: cores, memory, and the limits of the daemon's own cgroup.

use std::fs;
use std::path::{Path, PathBuf};

use super::budget::Resources;
use super::config::AdmissionConfig;

/// Where a cgroup's files stand and what they are called.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cgroup {
    dir: PathBuf,
    version: Version,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

/// The machine, or the part of it that the daemon's cgroup leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Cores.
    pub cores: u64,
    /// Bytes: of the machine, or of the tightest cgroup around the daemon.
    pub memory_bytes: u64,
    proc: PathBuf,
    /// From the daemon's own upwards, those with a limit.
    cgroups: Vec<Cgroup>,
    /// The parent of all sandboxes' cgroups.
    sandboxes: Option<PathBuf>,
}

/// What `limit_in_bytes` of v1 says when there is no limit is a page below this.
const NO_LIMIT: u64 = i64::MAX as u64 - 65_536;

/// Where so little can be read that not even `MemTotal` is known.
const FALLBACK_MEMORY: u64 = 1024 * 1024 * 1024;

impl Machine {
    /// Reads `/proc` and `/sys/fs/cgroup`. What cannot be read limits nothing.
    #[must_use]
    pub fn detect() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
        Self::read(cores, Path::new("/proc"), Path::new("/sys/fs/cgroup"))
    }

    /// A machine of this size whose pressure is not watched, for tests.
    #[must_use]
    pub fn fixed(cores: u64, memory_bytes: u64) -> Self {
        Self { cores, memory_bytes, proc: PathBuf::from("/nonexistent"), cgroups: Vec::new(), sandboxes: None }
    }

    pub(super) fn read(cores: u64, proc: &Path, cgroupfs: &Path) -> Self {
        let of_cgroup = fs::read_to_string(proc.join("self/cgroup")).unwrap_or_default();
        let mut cgroups = Vec::new();
        for line in of_cgroup.lines() {
            // "4:memory:/path" of v1, "0::/path" of v2.
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
            let (version, roots) = if controllers.split(',').any(|c| c == "memory") {
                (Version::V1, vec![cgroupfs.join("memory")])
            } else if controllers.is_empty() {
                (Version::V2, vec![cgroupfs.to_path_buf(), cgroupfs.join("unified")])
            } else {
                continue;
            };
            for root in roots {
                let dir = root.join(path.trim_start_matches('/'));
                let up = dir.ancestors().take_while(|dir| dir.starts_with(&root));
                let with_limit = up.map(|dir| Cgroup { dir: dir.to_path_buf(), version });
                cgroups.extend(with_limit.filter(|cgroup| cgroup.limit().is_some()));
            }
        }
        let total = meminfo(proc, "MemTotal").unwrap_or(FALLBACK_MEMORY);
        let memory_bytes = cgroups.iter().filter_map(Cgroup::limit).fold(total, u64::min);
        Self { cores, memory_bytes, proc: proc.to_path_buf(), cgroups, sandboxes: None }
    }

    /// Says where the memory cgroup stands under which all sandboxes live (either version's), so that what
    /// they use already is not counted twice: once as reserved and once as gone from the host.
    #[must_use]
    pub fn with_sandboxes(mut self, cgroup: PathBuf) -> Self {
        self.sandboxes = Some(cgroup);
        self
    }

    /// Bytes that the sandboxes hold; 0 where that is not known.
    pub(super) fn sandboxes_bytes(&self) -> u64 {
        let read = |name| fs::read_to_string(self.sandboxes.as_ref()?.join(name)).ok()?.trim().parse().ok();
        read("memory.current").or_else(|| read("memory.usage_in_bytes")).unwrap_or(0)
    }

    /// What may be reserved by this configuration: the reserve stays with the host whatever is asked for
    /// (half of all where there is no more than the reserve).
    #[must_use]
    pub fn budget(&self, config: &AdmissionConfig) -> Resources {
        let share = u128::from(self.memory_bytes) * u128::from(config.memory_percent) / 100;
        let asked = config.memory_bytes.unwrap_or(u64::try_from(share).unwrap_or(u64::MAX));
        let rest = self.memory_bytes.checked_sub(config.memory_reserve_bytes).filter(|rest| *rest > 0);
        Resources {
            cpu_millis: config.cpu_millis.unwrap_or(self.cores * 1000),
            memory_bytes: asked.min(rest.unwrap_or(self.memory_bytes / 2)),
        }
    }

    /// Bytes that can still be had without swapping: the least of what the host and each cgroup has left.
    #[must_use]
    pub fn available_bytes(&self) -> Option<u64> {
        let host = meminfo(&self.proc, "MemAvailable");
        self.cgroups.iter().filter_map(Cgroup::available).chain(host).min()
    }

    /// `/proc/stat`, where the time of the cores is counted.
    pub(super) fn stat(&self) -> Option<String> {
        fs::read_to_string(self.proc.join("stat")).ok()
    }

    /// The pressure file of the tightest thing around the daemon that has one: its own cgroup, else the host.
    pub(super) fn memory_pressure(&self) -> Option<String> {
        let of_cgroups = self.cgroups.iter().filter(|cgroup| cgroup.version == Version::V2);
        let files = of_cgroups.map(|cgroup| cgroup.dir.join("memory.pressure"));
        files.chain([self.proc.join("pressure/memory")]).find_map(|file| fs::read_to_string(file).ok())
    }
}

impl Cgroup {
    fn value(&self, v1: &str, v2: &str) -> Option<u64> {
        let name = if self.version == Version::V1 { v1 } else { v2 };
        fs::read_to_string(self.dir.join(name)).ok()?.trim().parse().ok()
    }

    /// None for "max" and for v1's way of saying it.
    fn limit(&self) -> Option<u64> {
        self.value("memory.limit_in_bytes", "memory.max").filter(|limit| *limit < NO_LIMIT)
    }

    /// The limit less what is in use, but for the file cache that would be given up first.
    fn available(&self) -> Option<u64> {
        let used = self.value("memory.usage_in_bytes", "memory.current")?;
        let stat = fs::read_to_string(self.dir.join("memory.stat")).unwrap_or_default();
        let key = if self.version == Version::V1 { "total_inactive_file" } else { "inactive_file" };
        let cache = stat.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok()).unwrap_or(0);
        Some(self.limit()?.saturating_sub(used.saturating_sub(cache)))
    }
}

fn meminfo(proc: &Path, key: &str) -> Option<u64> {
    let text = fs::read_to_string(proc.join("meminfo")).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    value.trim().trim_end_matches("kB").trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn write(root: &Path, files: &[(&str, &str)]) {
        for (name, text) in files {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    fn machine(files: &[(&str, &str)]) -> (tempfile::TempDir, Machine) {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &[("proc/meminfo", "MemTotal:       4000 kB\nMemAvailable:   3000 kB\n")]);
        write(dir.path(), files);
        let machine = Machine::read(2, &dir.path().join("proc"), &dir.path().join("sys"));
        (dir, machine)
    }

    #[test]
    fn without_a_cgroup_limit_the_host_counts() {
        let (_dir, machine) = machine(&[
            ("proc/self/cgroup", "4:memory:/\n0::/\n"),
            ("sys/memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ]);
        assert_eq!((machine.memory_bytes, machine.available_bytes()), (4000 * 1024, Some(3000 * 1024)));
    }

    #[test]
    fn the_budget_leaves_the_reserve() {
        let machine = Machine::fixed(2, 4000);
        let budget = |memory_bytes, memory_reserve_bytes| {
            let config = AdmissionConfig { memory_bytes, memory_reserve_bytes, ..AdmissionConfig::default() };
            machine.budget(&config)
        };
        assert_eq!(budget(None, 0), Resources { cpu_millis: 2000, memory_bytes: 3000 });
        assert_eq!(budget(None, 1500).memory_bytes, 2500);
        assert_eq!(budget(Some(9999), 100).memory_bytes, 3900);
        assert_eq!(budget(None, 4000).memory_bytes, 2000);
    }

    #[test]
    fn this_machine_can_be_read() {
        let machine = Machine::detect();
        assert!(machine.cores > 0 && machine.memory_bytes > 0);
        assert!(machine.available_bytes().is_some_and(|available| available <= machine.memory_bytes));
    }

    #[test]
    fn the_tightest_cgroup_counts_on_v2() {
        let (_dir, machine) = machine(&[
            ("proc/self/cgroup", "0::/system.slice/crankcase.service/daemon\n"),
            ("sys/system.slice/crankcase.service/daemon/memory.max", "max\n"),
            ("sys/system.slice/crankcase.service/memory.max", "1000000\n"),
            ("sys/system.slice/crankcase.service/memory.current", "700000\n"),
            ("sys/system.slice/crankcase.service/memory.stat", "anon 5\ninactive_file 100000\n"),
            ("sys/system.slice/crankcase.service/memory.pressure", "some of the unit"),
            ("sys/system.slice/memory.max", "2000000\n"),
            ("proc/pressure/memory", "some of the host"),
        ]);
        assert_eq!((machine.memory_bytes, machine.available_bytes()), (1_000_000, Some(400_000)));
        assert_eq!(machine.memory_pressure().as_deref(), Some("some of the unit"));
    }

    #[test]
    fn the_tightest_cgroup_counts_on_v1() {
        let (_dir, machine) = machine(&[
            ("proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/a/b\n0::/\n"),
            ("sys/memory/a/b/memory.limit_in_bytes", "3000000\n"),
            ("sys/memory/a/memory.limit_in_bytes", "1000000\n"),
            ("sys/memory/a/memory.usage_in_bytes", "600000\n"),
            ("sys/memory/a/memory.stat", "inactive_file 7\ntotal_inactive_file 100000\n"),
            ("proc/pressure/memory", "some of the host"),
        ]);
        assert_eq!((machine.memory_bytes, machine.available_bytes()), (1_000_000, Some(500_000)));
        assert_eq!(machine.memory_pressure().as_deref(), Some("some of the host"));
    }

    #[test]
    fn nothing_readable_is_no_error() {
        let machine = Machine::read(1, Path::new("/nonexistent"), Path::new("/nonexistent"));
        assert_eq!((machine.memory_bytes, machine.available_bytes()), (FALLBACK_MEMORY, None));
    }
}
