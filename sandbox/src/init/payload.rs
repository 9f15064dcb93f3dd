//! The program's process between fork and `execve`.
//!
//! **Invariant.** [`Payload::run`] allocates nothing, formats nothing and never returns; a failure travels as one record
//! on the go socket, whose end of file otherwise says that `execve` succeeded.

use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use crankcase_sandbox::outcome::{SandboxError, Step};
use crankcase_sandbox::spec::StageLimits;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{MsgFlags, recv, send};
use nix::unistd::{chdir, setsid};

use super::{At as _, Report};
use crankcase_sandbox::sys;

/// Everything prepared.
pub struct Payload {
    image: sys::ExecImage,
    go: OwnedFd,
    stdio: [OwnedFd; 3],
    rlimits: [(libc::__rlimit_resource_t, u64); 7],
}

impl Payload {
    pub fn new(image: sys::ExecImage, [go, stdin, stdout, stderr]: [OwnedFd; 4], limits: &StageLimits) -> Self {
        // Per process and in whole seconds: a backstop for the stage's own CPU limit, which the spawner holds.
        let cpu_seconds = limits.cpu.get().div_ceil(1000) + 1;
        Self {
            image,
            go,
            stdio: [stdin, stdout, stderr],
            rlimits: [
                (libc::RLIMIT_CORE, 0),
                (libc::RLIMIT_NOFILE, limits.open_files),
                (libc::RLIMIT_FSIZE, limits.file_size),
                (libc::RLIMIT_STACK, limits.stack),
                (libc::RLIMIT_CPU, cpu_seconds),
                (libc::RLIMIT_NICE, 0),
                (libc::RLIMIT_RTPRIO, 0),
            ],
        }
    }

    /// Sets up, waits for go, executes.
    pub fn run(&self) -> ! {
        let Err(error) = self.prepare_and_exec();
        let _ = send(self.go.as_raw_fd(), &Report::Failed(error).encode(), MsgFlags::MSG_NOSIGNAL);
        sys::exit(127)
    }

    fn prepare_and_exec(&self) -> Result<std::convert::Infallible, SandboxError> {
        sys::reset_signals().at(Step::Stdio)?;
        setsid().at(Step::Setsid)?;
        for (number, fd) in (0..).zip(&self.stdio) {
            sys::place_stdio(fd.as_fd(), number).at(Step::Stdio)?;
        }
        sys::close_fds_except(&[self.go.as_raw_fd()]).at(Step::CloseFds)?;
        for (resource, value) in self.rlimits {
            match sys::set_rlimit(resource, value) {
                // Above what the spawner itself was given: the lower limit stays, which is the safe side.
                Err(Errno::EPERM) => {}
                other => other.at(Step::Rlimit)?,
            }
        }
        chdir(c"/box").at(Step::Chdir)?;
        let mut go = [0_u8; 1];
        match recv(self.go.as_raw_fd(), &mut go, MsgFlags::empty()).at(Step::Protocol)? {
            1 => self.image.exec().at(Step::Exec),
            // The spawner gave up on this stage.
            _ => sys::exit(0),
        }
    }
}
