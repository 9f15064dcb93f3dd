//! The program's process between fork and `execve`.
//!
//! **Invariant.** [`Payload::run`] allocates nothing, formats nothing and never returns; a failure travels as one record
//! on the go socket, whose end of file otherwise says that `execve` succeeded. A gate keeps that socket, under a number of its own.

use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use crankcase_sandbox::outcome::{SandboxError, Step};
use crankcase_sandbox::spec::StageLimits;
use nix::sys::socket::{MsgFlags, recv, send};
use nix::unistd::{chdir, setsid, write};

use crankcase_sandbox::confine::At as _;
use crankcase_sandbox::fork::{GATE_FD, Rlimits, rlimits};
use crankcase_sandbox::report::Report;
use crankcase_sandbox::sys;

/// CPU time that an interpreter may need up to its gate, a JVM with all its threads on a slow machine too: the backstop must
/// not strike a run for it.
const GATE_CPU_SECONDS: u64 = 600;

/// Everything prepared.
pub struct Payload {
    image: sys::ExecImage,
    go: OwnedFd,
    stdio: [OwnedFd; 3],
    /// Files that move this process into its cgroup; none where it is born there.
    entrances: Vec<OwnedFd>,
    rlimits: Rlimits,
    gate: bool,
}

impl Payload {
    pub fn new(
        image: sys::ExecImage,
        [go, stdin, stdout, stderr]: [OwnedFd; 4],
        entrances: Vec<OwnedFd>,
        limits: &StageLimits,
        gate: bool,
    ) -> Self {
        let rlimits = rlimits(limits, if gate { GATE_CPU_SECONDS } else { 0 });
        Self { image, go, stdio: [stdin, stdout, stderr], entrances, rlimits, gate }
    }

    /// Sets up, waits for go, executes.
    pub fn run(&self) -> ! {
        let Err(error) = self.prepare_and_exec();
        let _ = send(self.go.as_raw_fd(), &Report::Failed(error).encode(), MsgFlags::MSG_NOSIGNAL);
        sys::exit(127)
    }

    fn prepare_and_exec(&self) -> Result<std::convert::Infallible, SandboxError> {
        self.entrances.iter().try_for_each(|fd| write(fd, b"0").map(drop)).at(Step::Attach)?;
        sys::reset_signals().at(Step::Stdio)?;
        setsid().at(Step::Setsid)?;
        for (number, fd) in (0..).zip(&self.stdio) {
            sys::place_stdio(fd.as_fd(), number).at(Step::Stdio)?;
        }
        let mut keep = [self.go.as_raw_fd(), self.go.as_raw_fd()];
        if self.gate {
            // Before its number may be above the limit.
            sys::keep_as(self.go.as_fd(), GATE_FD).at(Step::Stdio)?;
            keep[1] = GATE_FD;
        }
        keep.sort_unstable();
        sys::close_fds_except(&keep).at(Step::CloseFds)?;
        sys::set_rlimits(&self.rlimits).at(Step::Rlimit)?;
        chdir(c"/box").at(Step::Chdir)?;
        let mut go = [0_u8; 1];
        match recv(self.go.as_raw_fd(), &mut go, MsgFlags::empty()).at(Step::Protocol)? {
            1 => self.image.exec().at(Step::Exec),
            // The spawner gave up on this stage.
            _ => sys::exit(0),
        }
    }
}
