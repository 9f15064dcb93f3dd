//! What a sandbox and a stage are allowed: checked values, so that a spec that exists is a sound one.

use std::time::Duration;

use thiserror::Error;

/// A value outside of its bounds.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{field} is {value}, it must be {bound}")]
pub struct OutOfBounds {
    /// Which value.
    pub field: &'static str,
    /// What it was.
    pub value: u64,
    /// What it may be, in words.
    pub bound: &'static str,
}

macro_rules! bounded {
    ($(#[$doc:meta])* $name:ident, $field:literal, $min:expr, $max:expr, $bound:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64);

        impl $name {
            /// The smallest value allowed.
            pub const MIN: u64 = $min;
            /// The largest value allowed.
            pub const MAX: u64 = $max;

            /// Checks the bounds.
            ///
            /// # Errors
            /// [`OutOfBounds`] below `MIN` or above `MAX`.
            pub const fn new(value: u64) -> Result<Self, OutOfBounds> {
                if value < Self::MIN || value > Self::MAX {
                    return Err(OutOfBounds { field: $field, value, bound: $bound });
                }
                Ok(Self(value))
            }

            /// The value.
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0
            }
        }
    };
}

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

bounded!(
    /// Bytes of memory (anonymous, page cache and tmpfs together) a stage's cgroup may hold. Swap is 0.
    MemoryMax, "memory", 4 * MIB, 1024 * GIB, "4 MiB to 1 TiB"
);
bounded!(
    /// Processes and threads alive at once in a stage.
    PidsMax, "processes", 1, 32_768, "1 to 32768"
);
bounded!(
    /// CPU bandwidth in thousandths of a core: 1000 is one core's worth.
    CpuQuota, "cpu quota", 50, 1_024_000, "50 to 1024000 thousandths of a core"
);
bounded!(
    /// Milliseconds from `Start` to the end of a stage.
    WallTime, "wall time", 10, 24 * 3_600_000, "10 ms to 24 h"
);
bounded!(
    /// Milliseconds of CPU time of all processes of a stage together.
    CpuTime, "cpu time", 10, 24 * 3_600_000, "10 ms to 24 h"
);
bounded!(
    /// Bytes that a size-limited tmpfs may hold.
    TmpfsSize, "tmpfs size", 64 * KIB, 64 * GIB, "64 KiB to 64 GiB"
);
bounded!(
    /// Inodes (files, directories, links) that a tmpfs may hold.
    TmpfsInodes, "tmpfs inodes", 16, 10_000_000, "16 to 10000000"
);

impl WallTime {
    /// As a [`Duration`].
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl CpuTime {
    /// As a [`Duration`].
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

/// What a sandbox is made with; it holds for all of its stages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SandboxSpec {
    /// Size of the work directory `/box`.
    pub box_size: TmpfsSize,
    /// Inodes of the work directory.
    pub box_inodes: TmpfsInodes,
    /// Size of `/tmp` and of `/dev/shm`, each.
    pub tmp_size: TmpfsSize,
}

/// What one stage (a compiler, a program) may use. Held by the stage's own cgroup and by timers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StageLimits {
    /// Memory; the whole stage is killed when it is reached.
    pub memory: MemoryMax,
    /// Processes and threads; the whole stage is killed when one more is asked for.
    pub pids: PidsMax,
    /// CPU bandwidth.
    pub cpu_quota: CpuQuota,
    /// Wall time from `Start`.
    pub wall: WallTime,
    /// CPU time from `Start`.
    pub cpu: CpuTime,
    /// `RLIMIT_NOFILE`.
    pub open_files: u64,
    /// `RLIMIT_FSIZE`, bytes.
    pub file_size: u64,
    /// `RLIMIT_STACK`, bytes.
    pub stack: u64,
}

/// What a stage executes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageCommand {
    /// `argv[0]` is an absolute path inside the sandbox, or relative to `/box`; no `PATH` search.
    pub argv: Vec<String>,
    /// The whole environment; nothing is inherited.
    pub env: Vec<(String, String)>,
}

/// A file for the work directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Relative to `/box`; `/` makes directories; no empty, `.` or `..` component.
    pub name: String,
    /// Its bytes.
    pub content: Vec<u8>,
    /// Whether the owner may execute it.
    pub executable: bool,
}

/// A program of the admin's that a template runs once, in a fork that it keeps to itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// The name of its file; see [`SourceFile::name`].
    pub file: String,
    /// What the file holds.
    pub code: String,
    /// All of its stdin.
    pub stdin: String,
}

/// An interpreter to be started once and forked many times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateSpec {
    /// As a sandbox of its forks.
    pub sandbox: SandboxSpec,
    /// What it executes; its gate blocks before any user file is looked at.
    pub command: StageCommand,
    /// As a stage of its forks.
    pub limits: StageLimits,
    /// What it learns from what its forks will need; without one they meet every page by themselves.
    pub example: Option<Example>,
}

impl Example {
    /// Bytes of all three together that no example exceeds.
    pub const BYTES_MAX: usize = 8 * 1024;

    /// Whether its name is safe, its stdin free of NUL, and all of it not too long.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        is_safe_name(&self.file)
            && !self.stdin.contains('\0')
            && self.file.len() + self.code.len() + self.stdin.len() <= Self::BYTES_MAX
    }
}

/// Bytes of argv and environment together that a stage may have.
pub const COMMAND_BYTES_MAX: usize = 96 * 1024;
/// Files one `Write` may bring.
pub const FILES_MAX: usize = 512;
/// Bytes of a file's name.
pub const NAME_BYTES_MAX: usize = 512;

/// Whether a file name stays below the work directory: relative, no empty, `.` or `..` component,
/// no NUL, at most [`NAME_BYTES_MAX`] bytes, at most 16 components of at most 255 bytes.
#[must_use]
pub fn is_safe_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && !name.bytes().any(|b| b == 0)
        && name.split('/').count() <= 16
        && name.split('/').all(|part| !part.is_empty() && part.len() <= 255 && part != "." && part != "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_the_box_are_refused() {
        for bad in ["", "/etc/passwd", "../x", "a/../b", "a//b", "./a", "a/", "a\0b", "."] {
            assert!(!is_safe_name(bad), "{bad:?}");
        }
        for good in ["main.py", "src/lib/x.c", "..x", "a b", "ü.py", "-rf"] {
            assert!(is_safe_name(good), "{good:?}");
        }
    }

    #[test]
    fn bounds_name_the_field() {
        let error = MemoryMax::new(1).unwrap_err();
        assert_eq!(error.to_string(), "memory is 1, it must be 4 MiB to 1 TiB");
        assert_eq!(PidsMax::new(64).unwrap().get(), 64);
    }
}
