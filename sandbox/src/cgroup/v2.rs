//! cgroup v2, see Documentation/admin-guide/cgroup-v2.rst of the kernel.
//!
//! Below the base lies `i<instance>/` with `spawner` (this process; a cgroup that hands controllers down may hold no process
//! itself) and `jobs`, the parent of all stages.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use crankcase_sandbox::spec::StageLimits;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::uio::pread;
use nix::unistd::{Pid, write};

use super::detect::{V2_CONTROLLERS, own_path};
use super::dir::{Dir, Lock, io};
use super::{ParentLimits, SetupError, Usage, stale};

const PERIOD_US: u64 = 100_000;

/// This spawner's directories.
pub struct Parent {
    instance: Dir,
    jobs: Dir,
    _lock: Lock,
}

/// A stage's directory.
pub struct Leaf {
    dir: Dir,
    name: String,
    /// A descriptor whose peak was started anew; the kernel keeps one a descriptor.
    peak: RefCell<Option<OwnedFd>>,
}

impl Parent {
    pub fn set_up(mount: &Path, base: Option<&str>, instance: u32, limits: ParentLimits) -> Result<Self, SetupError> {
        let root = Dir::open(mount)?;
        let delegated = base.is_none().then(|| delegated_path(mount)).flatten();
        let relative = delegated.as_deref().or(base).unwrap_or("crankcase");
        let mut dirs = vec![root];
        for part in relative.split('/').filter(|part| !part.is_empty() && *part != "..") {
            let next = dirs[dirs.len() - 1].child(part)?;
            dirs.push(next);
        }
        let base = dirs.pop().ok_or(SetupError::MissingController("memory"))?;
        let _setting_up = base.wait_for_lock()?;
        stale::remove_dead_instances(&base);
        let name = stale::instance_name(instance);
        let instance = base.child(&name)?;
        let lock = instance.lock().map_err(|errno| io("locking", instance.path(), errno))?;
        // First out of the way, then the controllers can be handed down.
        let spawner = instance.child("spawner")?;
        spawner.set("cgroup.procs", "0")?;
        for ancestor in &dirs {
            // Above a delegated cgroup this is systemd's business, and done.
            let _ = hand_down(ancestor);
        }
        hand_down(&base)?;
        hand_down(&instance)?;
        // It competes with all programs together, sleeps most of the time, and everybody waits for it.
        spawner.set("cpu.weight", "10000")?;
        let jobs = instance.child("jobs")?;
        hand_down(&jobs)?;
        if let Some(bytes) = limits.memory {
            jobs.set("memory.max", &bytes.to_string())?;
        }
        match jobs.write("memory.swap.max", "0") {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(io("writing", &jobs.path().join("memory.swap.max"), errno)),
        }
        let weight = limits.cpu_weight.clamp(1, 10_000).to_string();
        if delegated.is_none() {
            // What stands beside the host's own cgroups; a delegated one is weighed by its unit.
            base.set("cpu.weight", &weight)?;
        }
        instance.set("cpu.weight", &weight)?;
        jobs.set("cpu.weight", &weight)?;
        Ok(Self { instance, jobs, _lock: lock })
    }

    pub fn memory_directory(&self) -> &Path {
        self.jobs.path()
    }

    pub fn leaf(&self, name: &str) -> Result<Leaf, Errno> {
        Ok(Leaf { dir: self.jobs.new_child(name)?, name: name.to_owned(), peak: RefCell::new(None) })
    }

    pub fn remove_leaf(&self, leaf: &Leaf) -> Result<(), Errno> {
        self.jobs.remove_child(&leaf.name)
    }

    pub fn remove(&self) {
        stale::remove_tree(&self.jobs);
        let _ = self.instance.remove_child("jobs");
        // This process sits in `spawner`, and no other place here may hold one: the rest goes by [`remove_rest`], or, in a
        // delegated base, with the unit.
    }
}

/// Takes away the places of spawners that have ended.
pub fn remove_rest(mount: &Path, base: Option<&str>) {
    if let Ok(base) = Dir::open(&mount.join(base.unwrap_or("crankcase").trim_start_matches('/'))) {
        stale::remove_dead_instances(&base);
    }
}

/// The own cgroup, if nobody else is in it: then it was made for us (`Delegate=yes`).
fn delegated_path(mount: &Path) -> Option<String> {
    let path = own_path(None)?;
    let text = std::fs::read_to_string(mount.join(path.trim_start_matches('/')).join("cgroup.procs")).ok()?;
    let own = std::process::id().to_string();
    (path != "/" && text.lines().all(|pid| pid == own)).then_some(path)
}

fn hand_down(dir: &Dir) -> Result<(), SetupError> {
    let available = dir.read("cgroup.controllers").map_err(|errno| io("reading", dir.path(), errno))?;
    for controller in V2_CONTROLLERS {
        if !available.split_whitespace().any(|c| c == controller) {
            return Err(SetupError::MissingController(controller));
        }
    }
    dir.set("cgroup.subtree_control", "+memory +pids +cpu")
}

impl Leaf {
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    pub fn attach(&self, pid: Pid) -> Result<(), Errno> {
        self.dir.write_number("cgroup.procs", pid.as_raw().unsigned_abs().into())
    }

    pub fn limit(&self, limits: &StageLimits, extra_pids: u64) -> Result<(), Errno> {
        self.dir.write_number("memory.max", limits.memory.get())?;
        match self.dir.write("memory.swap.max", "0") {
            // A kernel without swap has no such file.
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(errno),
        }
        self.dir.write("memory.oom.group", "1")?;
        self.limit_pids(limits, extra_pids)?;
        let mut bandwidth = String::with_capacity(32);
        let _ = write!(bandwidth, "{} {PERIOD_US}", limits.cpu_quota.get() * PERIOD_US / 1000);
        self.dir.write("cpu.max", &bandwidth)
    }

    pub fn limit_pids(&self, limits: &StageLimits, extra_pids: u64) -> Result<(), Errno> {
        self.dir.write_number("pids.max", limits.pids.get() + extra_pids)
    }

    pub fn weigh(&self, background: bool) -> Result<(), Errno> {
        self.dir.write("cpu.weight", if background { "3" } else { "100" })
    }

    pub fn forgive_memory(&self, limits: &StageLimits) -> Result<(), Errno> {
        let held = self.dir.number("memory.current")?;
        self.dir.write_number("memory.max", limits.memory.get() + held)?;
        // From Linux 6.12; before, the peak is that of the start and the run together.
        self.peak.replace(self.dir.open_with("memory.peak", OFlag::O_RDWR).ok().filter(|fd| write(fd, b"r").is_ok()));
        Ok(())
    }

    pub fn usage(&self) -> Result<Usage, Errno> {
        Ok(Usage {
            cpu: Duration::from_micros(self.dir.keyed("cpu.stat", "usage_usec")?),
            oom_kills: self.dir.keyed("memory.events", "oom_kill")?,
            pids_refused: self.dir.keyed("pids.events", "max")?,
        })
    }

    pub fn peak_memory(&self) -> Result<u64, Errno> {
        if let Some(fd) = &*self.peak.borrow() {
            let mut text = [0_u8; 24];
            let length = pread(fd, &mut text, 0)?;
            return std::str::from_utf8(&text[..length]).ok().and_then(|t| t.trim().parse().ok()).ok_or(Errno::EINVAL);
        }
        match self.dir.number("memory.peak") {
            // Before 5.19 there is no peak; what it holds now is the best that can be said.
            Err(Errno::ENOENT) => self.dir.number("memory.current"),
            other => other,
        }
    }

    pub fn processes(&self) -> Result<Vec<Pid>, Errno> {
        self.dir.processes()
    }

    pub fn kill(&self) {
        if self.dir.write("cgroup.kill", "1").is_err() {
            self.dir.kill_each(20);
        }
    }
}
