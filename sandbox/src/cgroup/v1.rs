//! cgroup v1: one directory in each of four hierarchies (three where `cpu` and `cpuacct` are mounted together).
//! See Documentation/admin-guide/cgroup-v1 of the kernel.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use crankcase_sandbox::spec::StageLimits;
use crankcase_sandbox::wire::PACK_BYTES_MAX;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::Pid;

use super::dir::{Dir, Lock, io};
use super::{ParentLimits, SetupError, Usage, stale};

/// The CPU controller's period; a short one keeps throttled programs responsive.
const PERIOD_US: u64 = 100_000;

/// What the spawner and its daemon weigh, as a multiple of all programs together.
const AHEAD: u64 = 10;

/// Leaves that may wait for another stage.
const SPARE_MAX: usize = 8;
/// Bytes that a leaf may hold when nobody is in it, for each CPU: what the kernel charges ahead of need (64 pages).
const CHARGED_AHEAD: u64 = 64 * 4096;
/// Bytes to which a limit may stay as the stage before had it: files are written before the next one has its own.
const LIMIT_MIN: u64 = 2 * PACK_BYTES_MAX as u64;

/// Their cgroup, in the CPU controller's hierarchy.
const CONTROL: &str = "control";

/// Gives the spawner and its daemon a share of their own. They compete with all programs together, sleep most of the time,
/// and everybody waits for them. A failure would only make them slow.
fn put_ahead(base: &Dir, shares: u64, daemon: Option<u32>) {
    let Ok(control) = base.child(CONTROL) else { return };
    let _ = control.write("cpu.shares", &shares.min(262_144).to_string());
    for pid in [Some(0), daemon].into_iter().flatten() {
        let _ = control.write("cgroup.procs", &pid.to_string());
    }
}

/// Takes that away when all in it have ended, which the last of them may be about to.
pub fn remove_control(mounts: &HashMap<&'static str, PathBuf>, base: Option<&str>) {
    let Some(Ok(base)) = mounts.get("cpu").map(|mount| make_path(mount, base.unwrap_or("crankcase"))) else { return };
    for _ in 0..100 {
        if base.remove_child(CONTROL).is_ok() || !base.path().join(CONTROL).exists() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The same place in each hierarchy.
struct Places<T> {
    memory: T,
    pids: T,
    cpu: T,
    cpuacct: Option<T>,
}

impl<T> Places<T> {
    fn all(&self) -> impl Iterator<Item = &T> {
        [&self.memory, &self.pids, &self.cpu].into_iter().chain(&self.cpuacct)
    }
}

/// This spawner's directories.
pub struct Parent {
    base: Places<Dir>,
    instance: Places<Dir>,
    name: String,
    /// One in each hierarchy: each is looked through by itself.
    _locks: Vec<Lock>,
    /// Empty leaves, to be used again: making and removing four directories is a twentieth of a short run's CPU time.
    spare: RefCell<Vec<Leaf>>,
    /// Bytes that a spare one may hold.
    residue_max: u64,
}

/// A stage's directories. They may serve one stage after another: counters that only grow are taken from a base at a stage's
/// start, the peak is started anew, and of what it holds when it is empty little may be left.
#[derive(Clone)]
pub struct Leaf {
    dirs: Rc<Places<Dir>>,
    entrances: Rc<[OwnedFd]>,
    name: String,
    /// Bytes that it held before its present stage, and that its limit is raised by.
    residue: Cell<u64>,
    /// The limits of memory, bandwidth and processes that stand in it.
    memory_max: Cell<u64>,
    quota: Cell<u64>,
    pids_max: Cell<u64>,
    /// It stands at a low weight.
    light: Cell<bool>,
}

impl Parent {
    pub fn set_up(
        mounts: &HashMap<&'static str, PathBuf>,
        base: Option<&str>,
        instance: u32,
        limits: ParentLimits,
    ) -> Result<Self, SetupError> {
        let open = |controller: &'static str| -> Result<Dir, SetupError> {
            let mount = mounts.get(controller).ok_or(SetupError::MissingController(controller))?;
            make_path(mount, base.unwrap_or("crankcase"))
        };
        let apart = mounts.get("cpuacct") != mounts.get("cpu");
        let base = Places {
            memory: open("memory")?,
            pids: open("pids")?,
            cpu: open("cpu")?,
            cpuacct: if apart { Some(open("cpuacct")?) } else { None },
        };
        let _setting_up = base.memory.wait_for_lock()?;
        base.all().for_each(stale::remove_dead_instances);
        let name = stale::instance_name(instance);
        let instance = Places {
            memory: base.memory.child(&name)?,
            pids: base.pids.child(&name)?,
            cpu: base.cpu.child(&name)?,
            cpuacct: base.cpuacct.as_ref().map(|dir| dir.child(&name)).transpose()?,
        };
        let locks = instance
            .all()
            .map(|dir| dir.lock().map_err(|errno| io("locking", dir.path(), errno)))
            .collect::<Result<_, _>>()?;
        if instance.memory.has("memory.use_hierarchy") && instance.memory.number("memory.use_hierarchy") == Ok(0) {
            instance.memory.set("memory.use_hierarchy", "1")?;
        }
        if let Some(bytes) = limits.memory {
            instance.memory.set("memory.limit_in_bytes", &bytes.to_string())?;
        }
        // Shares count from 2, with 1024 for any other cgroup, where v2's weight has 100.
        let shares = (limits.cpu_weight * 1024 / 100).clamp(2, 262_144);
        // On the base too: it is what stands beside the host's own tasks.
        base.cpu.set("cpu.shares", &shares.to_string())?;
        instance.cpu.set("cpu.shares", &shares.to_string())?;
        put_ahead(&base.cpu, shares * AHEAD, limits.daemon);
        // What is made below takes it from here.
        instance.memory.set("memory.swappiness", "0")?;
        let cpus = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
        let (spare, residue_max) = (RefCell::default(), CHARGED_AHEAD * (cpus + 1));
        Ok(Self { base, instance, name, _locks: locks, spare, residue_max })
    }

    pub fn memory_directory(&self) -> &Path {
        self.instance.memory.path()
    }

    pub fn leaf(&self, name: &str) -> Result<Leaf, Errno> {
        if let Some(leaf) = self.spare.borrow_mut().pop() {
            return Ok(leaf);
        }
        let dirs = Places {
            memory: self.instance.memory.new_child(name)?,
            pids: self.instance.pids.new_child(name)?,
            cpu: self.instance.cpu.new_child(name)?,
            cpuacct: self.instance.cpuacct.as_ref().map(|dir| dir.new_child(name)).transpose()?,
        };
        // A thread that moves itself by `tasks` needs no lock over all the host's threads; taking that lock, which
        // `cgroup.procs` does, waits for a grace period of some 10 ms.
        let entrances = dirs.all().map(|dir| dir.open_with("tasks", OFlag::O_WRONLY)).collect::<Result<_, _>>()?;
        Ok(Leaf {
            dirs: Rc::new(dirs),
            entrances,
            name: name.to_owned(),
            residue: Cell::new(0),
            memory_max: Cell::new(u64::MAX),
            quota: Cell::new(0),
            pids_max: Cell::new(0),
            light: Cell::new(false),
        })
    }

    /// Removes it, or keeps it for another stage. Any doubt removes it.
    pub fn remove_leaf(&self, leaf: &Leaf) -> Result<(), Errno> {
        if self.spare.borrow().len() < SPARE_MAX && leaf.reset(self.residue_max).unwrap_or(false) {
            self.spare.borrow_mut().push(leaf.clone());
            return Ok(());
        }
        self.remove_directories(leaf)
    }

    fn remove_directories(&self, leaf: &Leaf) -> Result<(), Errno> {
        self.instance.all().try_for_each(|dir| dir.remove_child(&leaf.name))
    }

    pub fn remove(&self) {
        for leaf in self.spare.take() {
            let _ = self.remove_directories(&leaf);
        }
        for (instance, base) in self.instance.all().zip(self.base.all()) {
            stale::remove_tree(instance);
            let _ = base.remove_child(&self.name);
        }
    }
}

/// Makes `relative` below `mount`, component by component.
fn make_path(mount: &Path, relative: &str) -> Result<Dir, SetupError> {
    relative
        .split('/')
        .filter(|part| !part.is_empty() && *part != "..")
        .try_fold(Dir::open(mount)?, |dir, part| dir.child(part))
}

impl Leaf {
    pub fn entrances(&self) -> &[OwnedFd] {
        &self.entrances
    }

    pub fn attach(&self, pid: Pid) -> Result<(), Errno> {
        self.dirs.all().try_for_each(|dir| dir.write_number("cgroup.procs", pid.as_raw().unsigned_abs().into()))
    }

    /// Makes it as good as new, if it is empty and holds at most `residue_max` bytes; false if not.
    fn reset(&self, residue_max: u64) -> Result<bool, Errno> {
        if self.dirs.pids.number("pids.current")? != 0 {
            return Ok(false);
        }
        let memory = &self.dirs.memory;
        let residue = memory.number("memory.usage_in_bytes")?;
        if residue > residue_max {
            return Ok(false);
        }
        if self.memory_max.get() < LIMIT_MIN {
            self.limit_memory(u64::MAX)?;
        }
        memory.write("memory.max_usage_in_bytes", "0")?;
        self.residue.set(residue);
        if self.light.get() {
            self.weigh(false)?;
        }
        if self.quota.get() > 0 {
            // What the stage has used up of its bandwidth would hold the next one's init up.
            self.dirs.cpu.write_number("cpu.cfs_quota_us", self.quota.get())?;
        }
        Ok(true)
    }

    pub fn limit(&self, limits: &StageLimits, extra_pids: u64) -> Result<(), Errno> {
        self.limit_memory(limits.memory.get() + self.residue.get())?;
        self.limit_pids(limits, extra_pids)?;
        let quota = limits.cpu_quota.get() * PERIOD_US / 1000;
        match self.quota.get() {
            same if same == quota => return Ok(()),
            0 => self.dirs.cpu.write_number("cpu.cfs_period_us", PERIOD_US)?,
            _ => {}
        }
        // What it is said to have it has: of a failure nothing is kept.
        self.dirs.cpu.write_number("cpu.cfs_quota_us", quota)?;
        self.quota.set(quota);
        Ok(())
    }

    fn limit_memory(&self, bytes: u64) -> Result<(), Errno> {
        let memory = &self.dirs.memory;
        let with_swap = || match memory.write_number("memory.memsw.limit_in_bytes", bytes) {
            // Without swap accounting there is no such file, and swappiness 0 must do.
            Ok(()) | Err(Errno::ENOENT | Errno::EOPNOTSUPP) => Ok(()),
            Err(errno) => Err(errno),
        };
        // Of the two limits this one must never be the smaller.
        let raise = bytes > self.memory_max.replace(bytes);
        if raise {
            with_swap()?;
        }
        memory.write_number("memory.limit_in_bytes", bytes)?;
        if raise { Ok(()) } else { with_swap() }
    }

    pub fn limit_pids(&self, limits: &StageLimits, extra_pids: u64) -> Result<(), Errno> {
        let max = limits.pids.get() + extra_pids;
        if self.pids_max.get() == max {
            return Ok(());
        }
        self.dirs.pids.write_number("pids.max", max)?;
        self.pids_max.set(max);
        Ok(())
    }

    pub fn weigh(&self, background: bool) -> Result<(), Errno> {
        self.light.set(background);
        self.dirs.cpu.write("cpu.shares", if background { "32" } else { "1024" })
    }

    pub fn forgive_memory(&self, limits: &StageLimits) -> Result<(), Errno> {
        let memory = &self.dirs.memory;
        let held = memory.number("memory.usage_in_bytes")?;
        self.limit_memory(limits.memory.get() + held)?;
        memory.write("memory.max_usage_in_bytes", "0")
    }

    pub fn usage(&self) -> Result<Usage, Errno> {
        let accounting = self.dirs.cpuacct.as_ref().unwrap_or(&self.dirs.cpu);
        Ok(Usage {
            cpu: Duration::from_nanos(accounting.number("cpuacct.usage")?),
            oom_kills: self.dirs.memory.keyed("memory.oom_control", "oom_kill")?,
            pids_refused: self.dirs.pids.keyed("pids.events", "max")?,
        })
    }

    pub fn peak_memory(&self) -> Result<u64, Errno> {
        // What it held at first counts: nearly all of that the kernel had charged ahead of need, and the stage was given it.
        self.dirs.memory.number("memory.max_usage_in_bytes")
    }

    pub fn processes(&self) -> Result<Vec<Pid>, Errno> {
        self.dirs.memory.processes()
    }

    pub fn kill(&self) {
        self.dirs.memory.kill_each(20);
    }
}
