//! The machine as seen from outside the sandboxes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::statfs::{CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, statfs};
use nix::unistd::Pid;

use crate::{Daemon, eventually};

/// All process ids.
#[must_use]
pub fn processes() -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// A process's parent; none when it is gone.
#[must_use]
pub fn parent(pid: i32) -> Option<i32> {
    stat_fields(pid)?.get(1)?.parse().ok()
}

/// Whether a process is there and no zombie.
#[must_use]
pub fn is_alive(pid: i32) -> bool {
    stat_fields(pid).is_some_and(|fields| fields.first().is_some_and(|state| state != "Z" && state != "X"))
}

/// The fields of `/proc/<pid>/stat` behind the name, which may itself hold blanks and brackets.
fn stat_fields(pid: i32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

/// A process's name, at most 15 bytes; empty when it is gone.
#[must_use]
pub fn name(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim_end().to_owned()
}

/// A process's namespace of a kind (`net`, `pid`), as the kernel names it; none when it is gone.
#[must_use]
pub fn namespace(pid: i32, kind: &str) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok()
}

/// A line of `/proc/<pid>/status`, without its key.
#[must_use]
pub fn status(pid: i32, key: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    text.lines().find_map(|line| Some(line.strip_prefix(key)?.strip_prefix(':')?.trim().to_owned()))
}

/// Everything below a process, at any depth.
#[must_use]
pub fn descendants(root: i32) -> Vec<i32> {
    let pairs: Vec<(i32, i32)> = processes().into_iter().filter_map(|pid| Some((pid, parent(pid)?))).collect();
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&above) = found.get(next) {
        found.extend(pairs.iter().filter(|(_, parent)| *parent == above).map(|(pid, _)| *pid));
        next += 1;
    }
    found.split_off(1)
}

/// Whether this is one of a process's arguments.
#[must_use]
pub fn has_argument(pid: i32, argument: &str) -> bool {
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    arguments.split(|byte| *byte == 0).any(|one| one == argument.as_bytes())
}

/// Living processes, anywhere, that have this token as a whole argument. (Not as a part of one: a shell's
/// command line may hold it.)
#[must_use]
pub fn processes_with_argument(token: &str) -> Vec<i32> {
    processes().into_iter().filter(|pid| *pid != own_pid() && has_argument(*pid, token) && is_alive(*pid)).collect()
}

/// Living processes, anywhere, that go by this name (`PR_SET_NAME`).
#[must_use]
pub fn processes_named(token: &str) -> Vec<i32> {
    processes().into_iter().filter(|pid| name(*pid) == token && is_alive(*pid)).collect()
}

/// Waits for a program that was started with this argument to be seen on the host.
///
/// # Panics
/// When it does not come up.
#[track_caller]
#[must_use]
pub fn wait_for_argument(token: &str) -> i32 {
    eventually(Duration::from_secs(30), || {
        processes_with_argument(token).first().copied().ok_or_else(|| format!("no process has {token}"))
    })
}

/// Waits for a program that gave itself this name, its way of saying that it is ready.
///
/// # Panics
/// When it does not come up.
#[track_caller]
#[must_use]
pub fn wait_for_name(token: &str) -> i32 {
    eventually(Duration::from_secs(30), || {
        processes_named(token).first().copied().ok_or_else(|| format!("no process is called {token}"))
    })
}

/// Ends a process that a test started.
pub fn end(pid: i32) {
    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
}

fn own_pid() -> i32 {
    Pid::this().as_raw()
}

/// Open descriptors of a process.
#[must_use]
pub fn descriptors(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// Those of them that are nothing of what a spawner keeps for the next sandbox: a cgroup's files, which are counted as its
/// directories, and a network namespace with its counters. And how many of these namespaces there are.
fn descriptors_apart(pid: i32) -> (usize, usize) {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    entries.fold((0, 0), |(others, nets), entry| {
        let filesystem = statfs(&entry.path()).map(|found| found.filesystem_type());
        let target = fs::read_link(entry.path()).unwrap_or_default();
        match filesystem {
            Ok(CGROUP_SUPER_MAGIC | CGROUP2_SUPER_MAGIC) => (others, nets),
            _ if target.to_string_lossy().starts_with("net:[") => (others, nets + 1),
            _ if target.ends_with("net/sockstat") => (others, nets),
            _ => (others + 1, nets),
        }
    })
}

/// Resident bytes of a process.
#[must_use]
pub fn resident(pid: i32) -> u64 {
    let kib = status(pid, "VmRSS").and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// The cgroup directories of a daemon's sandboxes, in every hierarchy.
#[must_use]
pub fn cgroups(parent: &str) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let root = Path::new("/sys/fs/cgroup");
    // Pure v2: below the root; v1 and hybrid: below each controller.
    for hierarchy in std::iter::once(root.to_owned()).chain(directories(root)) {
        let directory = hierarchy.join(parent);
        if !parent.is_empty() && directory.is_dir() {
            collect(&directory, &mut found);
        }
    }
    found
}

/// Removes those directories, as far as nothing lives in them: a spawner leaves the one that it was named. Waits a second
/// for what is just ending.
pub fn remove_cgroups(parent: &str) {
    for _ in 0..20 {
        let left = cgroups(parent);
        if left.is_empty() {
            return;
        }
        // What is below comes after.
        left.iter().rev().for_each(|directory| drop(fs::remove_dir(directory)));
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn collect(directory: &Path, found: &mut BTreeSet<PathBuf>) {
    for below in directories(directory) {
        collect(&below, found);
    }
    found.insert(directory.to_owned());
}

fn directories(of: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(of).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
}

/// What a daemon holds of the host's countable things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Processes below the daemon, the spawner included.
    pub processes: usize,
    /// Zombies among them.
    pub zombies: usize,
    /// Open descriptors of daemon and spawner, but for those of cgroups and network namespaces.
    pub descriptors: usize,
    /// Network namespaces that the spawner holds.
    pub nets: usize,
    /// cgroup directories.
    pub cgroups: usize,
    /// Mounts, as the host and as the spawner see them.
    pub mounts: usize,
    /// Distinct namespaces of any kind.
    pub namespaces: usize,
}

impl Snapshot {
    /// Counts now.
    #[must_use]
    pub fn take(daemon: &Daemon) -> Self {
        let spawner = daemon.spawner();
        let below = descendants(daemon.pid());
        let mut namespaces = BTreeSet::new();
        for pid in &below {
            for entry in fs::read_dir(format!("/proc/{pid}/ns")).into_iter().flatten().flatten() {
                namespaces.extend(fs::read_link(entry.path()));
            }
        }
        let ((daemons, _), (spawners, nets)) = (descriptors_apart(daemon.pid()), descriptors_apart(spawner));
        let lines = |path: String| fs::read_to_string(path).unwrap_or_default().lines().count();
        Self {
            zombies: below.iter().filter(|pid| !is_alive(**pid)).count(),
            processes: below.len(),
            descriptors: daemons + spawners,
            nets,
            cgroups: cgroups(daemon.cgroup()).len(),
            mounts: lines("/proc/self/mountinfo".into()) + lines(format!("/proc/{spawner}/mountinfo")),
            namespaces: namespaces.len(),
        }
    }

    /// Whether nothing is more than it was. Some empty network namespaces, and on cgroup v1 some empty cgroups, wait for another
    /// sandbox, a number that follows the load: hundreds of runs that left one each would be more.
    #[must_use]
    pub const fn is_within(&self, before: &Self) -> bool {
        self.processes <= before.processes
            && self.zombies <= before.zombies
            && self.descriptors <= before.descriptors
            && self.nets <= before.nets + SPARE_NETS
            && self.cgroups <= before.cgroups + SPARE
            && self.mounts <= before.mounts
            && self.namespaces <= before.namespaces
    }
}

/// Directories of the cgroups that a spawner may keep empty (`SPARE_MAX` in its `cgroup/v1.rs`, in four hierarchies).
const SPARE: usize = 8 * 4;
/// More of them than other sandboxes live at once than before (`STOCK_MAX` in a spawner's `server/net.rs` bounds all of them).
const SPARE_NETS: usize = 32;

/// Counts once nothing changes any more.
///
/// # Panics
/// When it still does after a generous while.
#[track_caller]
#[must_use]
pub fn settled(daemon: &Daemon) -> Snapshot {
    let mut last = Snapshot::take(daemon);
    eventually(Duration::from_secs(30), || {
        std::thread::sleep(Duration::from_millis(300));
        let now = Snapshot::take(daemon);
        let same = now == last;
        last = now.clone();
        if same { Ok(now) } else { Err("still changing") }
    })
}

/// Waits until a daemon holds no more than it did.
///
/// # Panics
/// When it still does after a generous while.
#[track_caller]
pub fn expect_back_to(daemon: &Daemon, before: &Snapshot) {
    eventually(Duration::from_secs(30), || {
        let now = Snapshot::take(daemon);
        if now.is_within(before) { Ok(()) } else { Err(format!("before {before:?}, now {now:?}")) }
    });
}
