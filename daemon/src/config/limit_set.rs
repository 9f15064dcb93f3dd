//! Some of the limits: what a language's table in the configuration, or its manifest, says differently.

use crankcase_sandbox::spec::{
    CpuQuota, CpuTime, MemoryMax, PidsMax, SandboxSpec, StageLimits, TmpfsInodes, TmpfsSize, WallTime,
};

use crankcase_runtimes::{ManifestLimits, StageOverrides};

use super::convert::FromChecked;
use super::kind::Checked;
use super::limits::Resolved;

/// Some of the limits: of a language in the configuration, or of its manifest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LimitSet {
    /// Of the compiler.
    pub compile: StageSet,
    /// Of the program.
    pub run: StageSet,
    /// Size of the work directory.
    pub box_size: Option<TmpfsSize>,
    /// Inodes of the work directory.
    pub box_inodes: Option<TmpfsInodes>,
    /// Size of `/tmp`, and of `/dev/shm`.
    pub tmp_size: Option<TmpfsSize>,
    /// Bytes of stdout, and as many of stderr.
    pub output_bytes: Option<usize>,
    /// Unicode characters of the response's `output`.
    pub output_chars: Option<usize>,
}

/// Some of the limits of a stage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StageSet {
    /// Memory.
    pub memory: Option<MemoryMax>,
    /// Processes and threads.
    pub processes: Option<PidsMax>,
    /// CPU bandwidth.
    pub cpus: Option<CpuQuota>,
    /// Wall time.
    pub wall_time: Option<WallTime>,
    /// CPU time.
    pub cpu_time: Option<CpuTime>,
    /// `RLIMIT_NOFILE`.
    pub open_files: Option<u64>,
    /// `RLIMIT_FSIZE`, bytes.
    pub file_size: Option<u64>,
    /// `RLIMIT_STACK`, bytes.
    pub stack: Option<u64>,
}

impl LimitSet {
    /// Lays what is set over what holds so far.
    pub fn apply(&self, resolved: &mut Resolved) {
        self.compile.apply(&mut resolved.compile);
        self.run.apply(&mut resolved.run);
        set(&mut resolved.sandbox.box_size, self.box_size);
        set(&mut resolved.sandbox.box_inodes, self.box_inodes);
        set(&mut resolved.sandbox.tmp_size, self.tmp_size);
        set(&mut resolved.output_bytes, self.output_bytes);
        set(&mut resolved.output_chars, self.output_chars);
    }

    /// All limits, when every one is set.
    #[must_use]
    pub fn complete(&self) -> Option<Resolved> {
        Some(Resolved {
            sandbox: SandboxSpec { box_size: self.box_size?, box_inodes: self.box_inodes?, tmp_size: self.tmp_size? },
            compile: self.compile.complete()?,
            run: self.run.complete()?,
            output_bytes: self.output_bytes?,
            output_chars: self.output_chars?,
        })
    }

    /// Takes each limit by its name within the section.
    pub(super) fn read(get: &mut dyn FnMut(&str) -> Option<Checked>) -> Self {
        Self {
            run: StageSet::read("", get),
            compile: StageSet::read("compile-", get),
            box_size: take(get("box-size")),
            box_inodes: take(get("box-inodes")),
            tmp_size: take(get("tmp-size")),
            output_bytes: take(get("output-bytes")),
            output_chars: take(get("output-chars")),
        }
    }
}

impl StageSet {
    fn apply(&self, stage: &mut StageLimits) {
        set(&mut stage.memory, self.memory);
        set(&mut stage.pids, self.processes);
        set(&mut stage.cpu_quota, self.cpus);
        set(&mut stage.wall, self.wall_time);
        set(&mut stage.cpu, self.cpu_time);
        set(&mut stage.open_files, self.open_files);
        set(&mut stage.file_size, self.file_size);
        set(&mut stage.stack, self.stack);
    }

    fn complete(&self) -> Option<StageLimits> {
        Some(StageLimits {
            memory: self.memory?,
            pids: self.processes?,
            cpu_quota: self.cpus?,
            wall: self.wall_time?,
            cpu: self.cpu_time?,
            open_files: self.open_files?,
            file_size: self.file_size?,
            stack: self.stack?,
        })
    }

    fn read(prefix: &str, get: &mut dyn FnMut(&str) -> Option<Checked>) -> Self {
        let mut get = |leaf: &str| get(&format!("{prefix}{leaf}"));
        Self {
            memory: take(get("memory")),
            processes: take(get("processes")),
            cpus: take(get("cpus")),
            wall_time: take(get("wall-time")),
            cpu_time: take(get("cpu-time")),
            open_files: take(get("open-files")),
            file_size: take(get("file-size")),
            stack: take(get("stack")),
        }
    }
}

/// The manifest's loader has checked the same bounds: a value beyond them, which there is none of, is left out.
impl From<&ManifestLimits> for LimitSet {
    fn from(manifest: &ManifestLimits) -> Self {
        Self {
            compile: StageSet::from(&manifest.compile),
            run: StageSet::from(&manifest.run),
            box_size: manifest.box_size.and_then(|v| TmpfsSize::new(v).ok()),
            box_inodes: manifest.box_inodes.and_then(|v| TmpfsInodes::new(v).ok()),
            tmp_size: manifest.tmp_size.and_then(|v| TmpfsSize::new(v).ok()),
            output_bytes: None,
            output_chars: None,
        }
    }
}

impl From<&StageOverrides> for StageSet {
    fn from(manifest: &StageOverrides) -> Self {
        Self {
            memory: manifest.memory.and_then(|v| MemoryMax::new(v).ok()),
            processes: manifest.processes.and_then(|v| PidsMax::new(v).ok()),
            cpus: manifest.cpu_quota.and_then(|v| CpuQuota::new(v).ok()),
            wall_time: manifest.wall_ms.and_then(|v| WallTime::new(v).ok()),
            cpu_time: manifest.cpu_ms.and_then(|v| CpuTime::new(v).ok()),
            open_files: manifest.open_files,
            file_size: manifest.file_size,
            stack: manifest.stack,
        }
    }
}

fn set<T: Copy>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

fn take<T: FromChecked>(checked: Option<Checked>) -> Option<T> {
    checked.and_then(T::from_checked)
}
