//! init's loop: requests from the spawner, deaths of processes.

use std::ffi::CString;
use std::io::Read as _;
use std::os::fd::{AsFd as _, OwnedFd};

use crankcase_sandbox::outcome::{SandboxError, Step};
use crankcase_sandbox::socket::{receive_sized, send_frame};
use crankcase_sandbox::spec::StageCommand;
use crankcase_sandbox::wire::{FRAME_BYTES_MAX, PACK_BYTES_MAX, Request};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::statvfs::statvfs;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::payload::Payload;
use super::{files, tell};
use crankcase_sandbox::confine::At as _;
use crankcase_sandbox::report::Report;
use crankcase_sandbox::sys;

/// Descriptors that come first with a `Load`: go, stdin, stdout, stderr. The rest are the entrances of the payload's cgroup.
const LOAD_FDS: usize = 4;

struct Init {
    control: OwnedFd,
    payload: Option<Pid>,
    /// Where programs ask before they make IP sockets, once the spawner knows of it.
    listeners: Vec<OwnedFd>,
}

pub fn serve(control: OwnedFd) -> ! {
    let mut init = Init { control, payload: None, listeners: Vec::new() };
    // Whatever ends this loop, the spawner is gone or lost trust: init ends, and with it everything in the sandbox.
    let _ = init.run();
    sys::exit(0)
}

impl Init {
    fn run(&mut self) -> Result<(), Errno> {
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGCHLD);
        signals.thread_block()?;
        let children = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        loop {
            let wanted = [self.control.as_fd(), children.as_fd()].into_iter();
            let wanted = wanted.chain(self.listeners.iter().map(|fd| fd.as_fd()));
            let mut fds: Vec<PollFd<'_>> = wanted.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
            match poll(&mut fds, PollTimeout::NONE) {
                Err(Errno::EINTR) => continue,
                other => other?,
            };
            let ready: Vec<PollFlags> = fds.iter().map(|fd| fd.revents().unwrap_or(PollFlags::POLLERR)).collect();
            let (requests, deaths) = (!ready[0].is_empty(), !ready[1].is_empty());
            self.agree(&ready[2..]);
            if deaths {
                while children.read_signal()?.is_some() {}
                self.reap()?;
            }
            if requests && let Err(error) = self.request()? {
                tell(&self.control, Report::Failed(error))?;
            }
        }
    }

    /// Lets those who ask have their sockets; `ready` is what each listener has.
    fn agree(&mut self, ready: &[PollFlags]) {
        let mut ready = ready.iter();
        self.listeners.retain(|listener| {
            let ready = ready.next().copied().unwrap_or(PollFlags::empty());
            if ready.contains(PollFlags::POLLIN) {
                // Whoever asked may be gone by now.
                let _ = sys::agree(listener.as_fd());
            }
            // Of those who could ask there is nobody left.
            !ready.intersects(PollFlags::POLLHUP | PollFlags::POLLERR)
        });
    }

    /// The outer error ends init, the inner one is reported.
    fn request(&mut self) -> Result<Result<(), SandboxError>, Errno> {
        let (frame, received) = match receive_sized(&self.control, FRAME_BYTES_MAX) {
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(Ok(())),
            other => other?,
        };
        if received.length == 0 || received.truncated {
            return Err(Errno::ENOTCONN);
        }
        let request = Request::decode(&frame).map_err(|_| Errno::EBADMSG)?;
        let mut fds = received.fds;
        Ok(match request {
            Request::Write { .. } if fds.len() == 1 => self.write(fds.remove(0)),
            Request::Read { name, .. } if fds.is_empty() => self.read(&name),
            Request::Load { command, limits, gate, .. } if fds.len() >= LOAD_FDS => {
                let entrances = fds.split_off(LOAD_FDS);
                let stdio = <[OwnedFd; LOAD_FDS]>::try_from(fds).map_err(|_| Errno::EBADMSG)?;
                self.load(&command, |image| Payload::new(image, stdio, entrances, &limits, gate))
            }
            Request::Adopt { pid } if fds.is_empty() => self.adopt(pid),
            Request::Agree if fds.len() == 1 => {
                self.listeners.append(&mut fds);
                Ok(())
            }
            _ => return Err(Errno::EBADMSG),
        })
    }

    /// Takes a process that a template forked into this sandbox for the payload. It is a child of ours since the process
    /// between the two has ended.
    fn adopt(&mut self, pid: u32) -> Result<(), SandboxError> {
        let lost = |errno| SandboxError { step: Step::Template, errno };
        let pid = i32::try_from(pid).map(Pid::from_raw).map_err(|_| lost(0))?;
        kill(pid, None).map_err(|errno| lost(errno as i32))?;
        self.payload = Some(pid);
        tell(&self.control, Report::Forked).at(Step::Protocol)
    }

    fn write(&self, pack: OwnedFd) -> Result<(), SandboxError> {
        let mut bytes = Vec::new();
        let error = |errno: i32| SandboxError { step: Step::WriteFile, errno };
        std::fs::File::from(pack)
            .take(PACK_BYTES_MAX as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|e| error(e.raw_os_error().unwrap_or(0)))?;
        files::write_all(&bytes).at(Step::WriteFile)?;
        tell(&self.control, Report::Written).at(Step::Protocol)
    }

    /// Whatever a program put there: a name without a regular file is an answer, not a failure.
    fn read(&self, name: &str) -> Result<(), SandboxError> {
        let file = files::open_regular(name);
        let fds: Vec<_> = file.iter().map(|fd| fd.as_fd()).collect();
        send_frame(&self.control, &Report::File.encode(), &fds).at(Step::Protocol)
    }

    fn load(
        &mut self,
        command: &StageCommand,
        payload: impl FnOnce(sys::ExecImage) -> Payload,
    ) -> Result<(), SandboxError> {
        let text = |s: &str| CString::new(s).map_err(|_| SandboxError { step: Step::Exec, errno: 0 });
        let argv = command.argv.iter().map(|arg| text(arg)).collect::<Result<_, _>>()?;
        let env = command.env.iter().map(|(k, v)| text(&format!("{k}={v}"))).collect::<Result<_, _>>()?;
        let image = sys::ExecImage::new(argv, env).ok_or(SandboxError { step: Step::Exec, errno: 0 })?;
        let payload = payload(image);
        match sys::fork().at(Step::Fork)? {
            None => payload.run(),
            Some(pid) => self.payload = Some(pid),
        }
        tell(&self.control, Report::Forked).at(Step::Protocol)
    }

    /// Takes in the dead; when the payload is among them, everything else follows it at once.
    fn reap(&mut self) -> Result<(), Errno> {
        let mut ended = None;
        loop {
            let status = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => break,
                other => other?,
            };
            if let Some((exited, status)) = self.payload_status(status) {
                ended = Some((exited, status));
            }
        }
        let Some((exited, status)) = ended else { return Ok(()) };
        self.payload = None;
        // One signal to all, under the kernel's process-table lock: no fork escapes it.
        match kill(Pid::from_raw(-1), Signal::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => return Err(errno),
        }
        while waitpid(None, None).is_ok() {}
        tell(&self.control, Report::Ended { exited, status, box_full: is_full() })
    }

    fn payload_status(&self, status: WaitStatus) -> Option<(bool, u8)> {
        match status {
            WaitStatus::Exited(pid, code) if Some(pid) == self.payload => {
                Some((true, u8::try_from(code).unwrap_or(255)))
            }
            WaitStatus::Signaled(pid, signal, _) if Some(pid) == self.payload => {
                Some((false, u8::try_from(signal as i32).unwrap_or(0)))
            }
            _ => None,
        }
    }
}

/// Whether a place that programs write to has no block or no inode left.
fn is_full() -> bool {
    [c"/box", c"/tmp", c"/dev/shm"]
        .into_iter()
        .any(|path| statvfs(path).is_ok_and(|fs| fs.blocks_free() == 0 || fs.files_free() == 0))
}
