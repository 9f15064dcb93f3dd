//! What came of a stage. Two families that never mix: [`StageOutcome`] is the program's,
//! [`SandboxError`] is ours.

use std::fmt;
use std::time::Duration;

use thiserror::Error;

/// How the stage's first process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It called `exit`, with this status.
    Code(u8),
    /// A signal ended it.
    Signal(u8),
}

/// The limit that a stage hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Wall time.
    Time,
    /// CPU time.
    Cpu,
    /// The memory cgroup's.
    Memory,
    /// stdout or stderr bytes, counted by the daemon.
    Output,
    /// Processes and threads.
    Processes,
    /// The size or the inodes of the work directory, or the size of one file.
    Disk,
}

impl Limit {
    /// The name on the wire of the HTTP interface and in the metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Output => "output",
            Self::Processes => "processes",
            Self::Disk => "disk",
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why the daemon ended a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KillReason {
    /// It printed more than it may.
    Output,
    /// Somebody cancelled it, or the daemon shuts down.
    Cancelled,
}

/// The program's side of the story: one stage ran, and this is how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StageOutcome {
    /// How the first process ended; a stage that we killed has `Signal(9)`.
    pub exit: Exit,
    /// The limit that ended it, if one did.
    pub limit: Option<Limit>,
    /// Whether `Kill` with [`KillReason::Cancelled`] ended it.
    pub cancelled: bool,
    /// User and system time of all its processes, from `Start`.
    pub cpu_time: Duration,
    /// From `Start` to the end of the first process.
    pub wall_time: Duration,
    /// The largest number of bytes its cgroup held.
    pub peak_memory: u64,
}

/// The verdict in the field's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Exit code 0.
    Ok,
    /// Any other exit code.
    NonzeroExitStatus,
    /// A signal that was not ours.
    Signalled,
    /// Wall or CPU time.
    TimeLimitExceeded,
    /// Memory.
    MemoryLimitExceeded,
    /// Output bytes.
    OutputLimitExceeded,
    /// Processes.
    ProcessLimitExceeded,
    /// Work directory.
    DiskLimitExceeded,
    /// Somebody ended it.
    Cancelled,
}

impl StageOutcome {
    /// Boils the outcome down to one word.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        match (self.cancelled, self.limit, self.exit) {
            (true, _, _) => Verdict::Cancelled,
            (_, Some(Limit::Time | Limit::Cpu), _) => Verdict::TimeLimitExceeded,
            (_, Some(Limit::Memory), _) => Verdict::MemoryLimitExceeded,
            (_, Some(Limit::Output), _) => Verdict::OutputLimitExceeded,
            (_, Some(Limit::Processes), _) => Verdict::ProcessLimitExceeded,
            (_, Some(Limit::Disk), _) => Verdict::DiskLimitExceeded,
            (_, None, Exit::Code(0)) => Verdict::Ok,
            (_, None, Exit::Code(_)) => Verdict::NonzeroExitStatus,
            (_, None, Exit::Signal(_)) => Verdict::Signalled,
        }
    }
}

macro_rules! steps {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal;)*) => {
        /// The step of the sandbox's making or running that failed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Step {
            $($(#[$doc])* $name = $code,)*
        }

        impl Step {
            /// From its code on the wire.
            #[must_use]
            pub const fn from_code(code: u8) -> Option<Self> {
                match code {
                    $($code => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// What was being done, in words.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

steps! {
    /// No free uid or the configured number of sandboxes is alive.
    Capacity = 1, "taking a place for the sandbox";
    /// mkdir or write in cgroupfs.
    Cgroup = 2, "making the cgroup";
    /// clone3.
    Clone = 3, "cloning into new namespaces";
    /// close_range.
    CloseFds = 4, "closing descriptors";
    /// PR_SET_PDEATHSIG.
    DeathSignal = 5, "asking for the parent-death signal";
    /// The tmpfs of `/box`.
    MountBox = 8, "mounting the work directory";
    /// The tmpfs of `/tmp`.
    MountTmp = 9, "mounting /tmp";
    /// The tmpfs of `/dev/shm`.
    MountShm = 10, "mounting /dev/shm";
    /// procfs.
    MountProc = 11, "mounting /proc";
    /// sethostname.
    Hostname = 12, "setting the host name";
    /// setgroups.
    Groups = 13, "dropping supplementary groups";
    /// unshare(CLONE_NEWUSER).
    UserNamespace = 14, "entering the user namespace";
    /// /proc/<pid>/uid_map and gid_map.
    IdMap = 15, "mapping uid and gid";
    /// setresuid, setresgid.
    SetId = 16, "taking the sandbox's uid and gid";
    /// PR_CAPBSET_DROP.
    BoundingSet = 17, "emptying the bounding set";
    /// PR_SET_SECUREBITS.
    Securebits = 18, "locking the securebits";
    /// capset.
    Capabilities = 19, "dropping capabilities";
    /// PR_SET_NO_NEW_PRIVS.
    NoNewPrivs = 20, "setting no_new_privs";
    /// landlock_restrict_self.
    Landlock = 21, "restricting with Landlock";
    /// seccomp.
    Seccomp = 22, "installing the seccomp filter";
    /// setsid.
    Setsid = 23, "starting a session";
    /// dup2.
    Stdio = 24, "placing stdin, stdout and stderr";
    /// setrlimit.
    Rlimit = 25, "setting resource limits";
    /// chdir.
    Chdir = 26, "entering the work directory";
    /// fork.
    Fork = 27, "forking the payload";
    /// Moving the payload into its cgroup.
    Attach = 28, "moving the payload into its cgroup";
    /// execve.
    Exec = 29, "executing the command";
    /// Writing the source files.
    WriteFile = 30, "writing a file into the work directory";
    /// Something between spawner and init.
    Protocol = 31, "talking to the sandbox";
    /// init died.
    InitDied = 32, "keeping the sandbox's init alive";
    /// pipe2.
    Pipe = 33, "making the stdio pipes";
    /// The request does not fit the sandbox's state.
    State = 34, "following the order of requests";
    /// unshare(CLONE_NEWCGROUP).
    CgroupNamespace = 36, "entering the cgroup namespace";
    /// The interpreter started ahead of need did not come to its gate, or left it.
    Gate = 37, "starting the interpreter ahead of need";
    /// The template is gone, busy beyond measure, or its fork failed.
    Template = 38, "forking the interpreter's template";
    /// setns.
    Namespaces = 39, "entering the sandbox's namespaces";
    /// It was gone before it was let go: nothing of the program has run.
    Lost = 40, "keeping what was to run the program";
    /// As `Lost`, before it had the files: nobody but the daemon says it.
    Missed = 41, "taking what stood ready for the program";
    /// The connection to the spawner is lost.
    Spawner = 35, "reaching the spawner";
}

/// Our side of the story: the sandbox could not be made or kept. Never the program's doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{} failed (errno {errno})", step.text())]
pub struct SandboxError {
    /// What was being done.
    pub step: Step,
    /// The kernel's answer, 0 where there is none.
    pub errno: i32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_outweighs_the_exit() {
        let outcome = StageOutcome {
            exit: Exit::Signal(9),
            limit: Some(Limit::Memory),
            cancelled: false,
            cpu_time: Duration::ZERO,
            wall_time: Duration::ZERO,
            peak_memory: 0,
        };
        assert_eq!(outcome.verdict(), Verdict::MemoryLimitExceeded);
        assert_eq!(StageOutcome { limit: None, ..outcome }.verdict(), Verdict::Signalled);
        assert_eq!(StageOutcome { cancelled: true, ..outcome }.verdict(), Verdict::Cancelled);
    }

    #[test]
    fn steps_come_back_from_their_codes() {
        for code in 0..=255_u8 {
            if let Some(step) = Step::from_code(code) {
                assert_eq!(step as u8, code);
                assert!(!step.text().is_empty());
            }
        }
        assert_eq!(Step::from_code(0), None);
    }
}
