//! One cgroup a stage, below one parent with a limit of its own, on cgroup v2 and on v1.
//!
//! Everything goes through directory descriptors that were opened at start, so the spawner needs no path to cgroupfs
//! afterwards. The `cgroups-rs` crate works by paths and brings a D-Bus client and an asynchronous runtime along; the
//! privileged process does without it.

mod detect;
mod dir;
mod stale;
mod v1;
mod v2;

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use crankcase_sandbox::spec::StageLimits;
use nix::errno::Errno;
use nix::unistd::Pid;
use thiserror::Error;

/// The cgroups could not be set up at start.
#[derive(Debug, Error)]
pub enum SetupError {
    /// A controller that we need is nowhere mounted or not handed down to us.
    #[error("the cgroup controller `{0}` is not available")]
    MissingController(&'static str),
    /// A file operation.
    #[error("{action} {path}: {errno}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The kernel's answer.
        errno: Errno,
    },
}

/// What the parent of all stages may use.
#[derive(Debug, Clone, Copy)]
pub struct ParentLimits {
    /// Bytes; `None` leaves it unlimited.
    pub memory: Option<u64>,
    /// Weight against everything else on the host, in v2's terms: 100 is any other cgroup's, 1 to 10000.
    pub cpu_weight: u64,
    /// The daemon's process, to be weighed with the spawner.
    pub daemon: Option<u32>,
}

/// Removes what a spawner cannot remove of the place that it stands in itself, once it and its daemon have ended.
pub fn remove_rest(base: Option<&str>) {
    match detect::hierarchies() {
        Ok(detect::Hierarchies::V1(mounts)) => v1::remove_control(&mounts, base),
        Ok(detect::Hierarchies::V2(mount)) => v2::remove_rest(&mount, base),
        Err(_) => {}
    }
}

/// What a stage has used so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// User and system time.
    pub cpu: Duration,
    /// Times that the OOM killer struck.
    pub oom_kills: u64,
    /// Times that a process or thread was refused.
    pub pids_refused: u64,
}

/// The place under which all stages of this spawner live.
pub enum Parent {
    /// Controllers in hierarchies of their own.
    V1(Box<v1::Parent>),
    /// The unified hierarchy.
    V2(v2::Parent),
}

/// The cgroup of one stage.
pub enum Leaf {
    /// A directory in each hierarchy.
    V1(v1::Leaf),
    /// One directory.
    V2(v2::Leaf),
}

impl Parent {
    /// Finds the hierarchy, removes what dead spawners left, and makes this spawner's own place.
    ///
    /// `base` is where to make it, relative to the hierarchy's root; `None` chooses: the own cgroup where it was
    /// delegated to us alone, else `/crankcase`. `instance` is our name below it.
    ///
    /// # Errors
    /// [`SetupError`], which names what is missing.
    pub fn set_up(base: Option<&str>, instance: u32, limits: ParentLimits) -> Result<Self, SetupError> {
        match detect::hierarchies()? {
            detect::Hierarchies::V1(mounts) => {
                v1::Parent::set_up(&mounts, base, instance, limits).map(Box::new).map(Self::V1)
            }
            detect::Hierarchies::V2(mount) => v2::Parent::set_up(&mount, base, instance, limits).map(Self::V2),
        }
    }

    /// 1 or 2.
    pub const fn version(&self) -> u8 {
        match self {
            Self::V1(_) => 1,
            Self::V2(_) => 2,
        }
    }

    /// The directory whose memory is that of all stages together, as a path of the host.
    pub fn memory_directory(&self) -> &std::path::Path {
        match self {
            Self::V1(parent) => parent.memory_directory(),
            Self::V2(parent) => parent.memory_directory(),
        }
    }

    /// Makes the cgroup of a stage.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn leaf(&self, name: &str) -> Result<Leaf, Errno> {
        match self {
            Self::V1(parent) => parent.leaf(name).map(Leaf::V1),
            Self::V2(parent) => parent.leaf(name).map(Leaf::V2),
        }
    }

    /// Removes the cgroup of a stage, which is not to be used any more: an empty one may be kept for another stage.
    ///
    /// # Errors
    /// `EBUSY` while a process is still being taken down; try again.
    pub fn remove_leaf(&self, leaf: &Leaf) -> Result<(), Errno> {
        match (self, leaf) {
            (Self::V1(parent), Leaf::V1(leaf)) => parent.remove_leaf(leaf),
            (Self::V2(parent), Leaf::V2(leaf)) => parent.remove_leaf(leaf),
            _ => Err(Errno::EINVAL),
        }
    }

    /// Removes this spawner's place; everything in it must be gone.
    pub fn remove(&self) {
        match self {
            Self::V1(parent) => parent.remove(),
            Self::V2(parent) => parent.remove(),
        }
    }
}

impl Leaf {
    /// The directory for `CLONE_INTO_CGROUP`, where there is such a thing.
    pub fn clone_into(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::V1(_) => None,
            Self::V2(leaf) => Some(leaf.as_fd()),
        }
    }

    /// Files into which a new process writes `0` to move itself in; none where it is born there.
    pub fn entrances(&self) -> &[OwnedFd] {
        match self {
            Self::V1(leaf) => leaf.entrances(),
            Self::V2(_) => &[],
        }
    }

    /// Whether a process can move itself in by [`Leaf::entrances`].
    pub const fn has_entrances(&self) -> bool {
        matches!(self, Self::V1(_))
    }

    /// Moves a process.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn attach(&self, pid: Pid) -> Result<(), Errno> {
        match self {
            Self::V1(leaf) => leaf.attach(pid),
            Self::V2(leaf) => leaf.attach(pid),
        }
    }

    /// Sets memory, processes and CPU bandwidth. `extra_pids` are ours and do not count.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn limit(&self, limits: &StageLimits, extra_pids: u64) -> Result<(), Errno> {
        match self {
            Self::V1(leaf) => leaf.limit(limits, extra_pids),
            Self::V2(leaf) => leaf.limit(limits, extra_pids),
        }
    }

    /// Sets the processes alone, as [`Leaf::limit`] does.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn limit_pids(&self, limits: &StageLimits, extra_pids: u64) -> Result<(), Errno> {
        match self {
            Self::V1(leaf) => leaf.limit_pids(limits, extra_pids),
            Self::V2(leaf) => leaf.limit_pids(limits, extra_pids),
        }
    }

    /// Weighs it against its siblings: as any other, or next to nothing for what is made ahead of need.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn weigh(&self, background: bool) -> Result<(), Errno> {
        match self {
            Self::V1(leaf) => leaf.weigh(background),
            Self::V2(leaf) => leaf.weigh(background),
        }
    }

    /// Lets what it holds now not count against the limit: raises that by it, and starts the peak anew, where the kernel
    /// can: what it holds now, and all that comes.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn forgive_memory(&self, limits: &StageLimits) -> Result<(), Errno> {
        match self {
            Self::V1(leaf) => leaf.forgive_memory(limits),
            Self::V2(leaf) => leaf.forgive_memory(limits),
        }
    }

    /// What it has used.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn usage(&self) -> Result<Usage, Errno> {
        match self {
            Self::V1(leaf) => leaf.usage(),
            Self::V2(leaf) => leaf.usage(),
        }
    }

    /// The largest number of bytes it held for its stage.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn peak_memory(&self) -> Result<u64, Errno> {
        match self {
            Self::V1(leaf) => leaf.peak_memory(),
            Self::V2(leaf) => leaf.peak_memory(),
        }
    }

    /// The processes in it, by their pid in the spawner's namespace.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn processes(&self) -> Result<Vec<Pid>, Errno> {
        match self {
            Self::V1(leaf) => leaf.processes(),
            Self::V2(leaf) => leaf.processes(),
        }
    }

    /// Kills whatever is in it. The death of a pid namespace does the same; this is for doubt.
    pub fn kill(&self) {
        match self {
            Self::V1(leaf) => leaf.kill(),
            Self::V2(leaf) => leaf.kill(),
        }
    }
}
