//! A template's first fork, which it keeps to itself: it runs an example, and shows which pages that takes.
//!
//! The fork stands in the template's own place, with pipes for its stdio, and passes the gate as any other would: this side
//! of the gate is the template itself. At its end, when nothing of the interpreter is left to do, it tells what it touched.
//! The example is the manifest's, so that the template still has seen nothing of a user's. Whatever fails on the way, forks
//! are only slower for it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send as send_bytes, socketpair};
use nix::unistd::{Pid, pipe2};

use super::pages::{Pages, Regions};
use super::{GATE_FD, GO, ORDERS_FD, READY};
use crate::socket::send_frame;
use crate::spec::Example;
use crate::sys;

/// The first byte of a message with an example.
const EXAMPLE: u8 = b'E';
/// How long an example may take on a slow machine. The template is not ready meanwhile.
const PATIENCE: Duration = Duration::from_secs(10);

/// This process runs an example.
static RUNS_IT: AtomicBool = AtomicBool::new(false);
/// What the template had mapped before it.
static REGIONS: OnceLock<Regions> = OnceLock::new();
/// What came of it.
static PAGES: OnceLock<Pages> = OnceLock::new();

/// Hands a template an example, on the socket of its orders.
///
/// # Errors
/// `EPIPE` when the template is gone.
pub fn send(orders: &OwnedFd, example: &Example) -> Result<(), Errno> {
    let parts = [&[EXAMPLE], example.file.as_bytes(), &[0], example.stdin.as_bytes(), &[0], example.code.as_bytes()];
    send_frame(orders, &parts.concat(), &[])
}

/// None for anything that [`send`] does not send.
pub(super) fn decode(frame: &[u8]) -> Option<Example> {
    let text = std::str::from_utf8(frame.strip_prefix(&[EXAMPLE])?).ok()?;
    let mut parts = text.splitn(3, '\0').map(str::to_owned);
    let (file, stdin, code) = (parts.next()?, parts.next()?, parts.next()?);
    Some(Example { file, code, stdin }).filter(Example::is_valid)
}

/// What forks of this process will need, as far as it is known.
pub(super) fn pages() -> Option<&'static Pages> {
    PAGES.get()
}

/// Runs an example in a fork. In the template: the pid of that, which has ended, or -1. In the fork: 0.
pub(super) fn learn(example: &Example) -> i32 {
    let (ours, theirs) = match ends(example) {
        Ok(ends) => ends,
        Err(errno) => {
            errno.set();
            return -1;
        }
    };
    REGIONS.get_or_init(Regions::of_this_process);
    let pid = sys::libc_fork();
    if pid == 0 {
        drop(ours);
        if theirs.take().is_err() {
            sys::exit(1);
        }
    } else if pid > 0 {
        drop(theirs);
        if let Some(pages) = ours.watch() {
            let _ = PAGES.set(pages);
        }
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        sys::wait_for(pid);
    }
    if pid != 0 {
        let _ = fs::remove_file(&example.file);
    }
    pid
}

/// Runs at the end of every process that has this library; tells what an example took.
pub extern "C" fn finish() {
    if RUNS_IT.load(Ordering::Relaxed)
        && let Some(Ok(pages)) = REGIONS.get().map(Pages::touched)
    {
        let mut list = &pages.encode()[..];
        while let Ok(written @ 1..) = nix::unistd::write(sys::borrow(ORDERS_FD), list) {
            list = &list[written..];
        }
    }
}

/// The template's ends.
struct Ours {
    gate: OwnedFd,
    list: OwnedFd,
    /// Held, so that nobody who writes there is told that nobody reads.
    _output: OwnedFd,
}

/// The fork's ends.
struct Theirs {
    gate: OwnedFd,
    list: OwnedFd,
    stdin: OwnedFd,
    output: OwnedFd,
}

/// Puts the file and its stdin in place. Both are short of what a pipe holds.
fn ends(example: &Example) -> Result<(Ours, Theirs), Errno> {
    let errno = |error: std::io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(0));
    fs::write(&example.file, &example.code).map_err(errno)?;
    let (gate, their_gate) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
    let (list, their_list) = pipe2(OFlag::O_CLOEXEC)?;
    let (their_stdin, stdin) = pipe2(OFlag::O_CLOEXEC)?;
    let (output, their_output) = pipe2(OFlag::O_CLOEXEC)?;
    fs::File::from(stdin).write_all(example.stdin.as_bytes()).map_err(errno)?;
    let theirs = Theirs { gate: their_gate, list: their_list, stdin: their_stdin, output: their_output };
    Ok((Ours { gate, list, _output: output }, theirs))
}

impl Theirs {
    /// Makes them this process's own, where a payload has them.
    fn take(self) -> Result<(), Errno> {
        for (number, fd) in (0..).zip([&self.stdin, &self.output, &self.output]) {
            sys::place_stdio(fd.as_fd(), number)?;
        }
        sys::keep_as(self.gate.as_fd(), GATE_FD)?;
        sys::keep_as(self.list.as_fd(), ORDERS_FD)?;
        RUNS_IT.store(true, Ordering::Relaxed);
        Ok(())
    }
}

impl Ours {
    /// Lets it through its gate, and takes what it tells at its end.
    fn watch(self) -> Option<Pages> {
        let end = Instant::now() + PATIENCE;
        let gate = self.gate.as_raw_fd();
        let mut letter = [0; 2];
        wait_for(self.gate.as_fd(), end)?;
        let length = recv(gate, &mut letter, MsgFlags::MSG_DONTWAIT).ok()?;
        if letter[..length] != [READY] {
            return None;
        }
        send_bytes(gate, &[GO], MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT).ok()?;
        let (mut list, mut bytes) = (fs::File::from(self.list), Vec::new());
        loop {
            wait_for(list.as_fd(), end)?;
            let mut piece = [0; 4096];
            match list.read(&mut piece).ok()? {
                0 => return Pages::decode(&bytes),
                length => bytes.extend_from_slice(&piece[..length]),
            }
            if bytes.len() > Pages::ENCODED_MAX {
                return None;
            }
        }
    }
}

/// Until there is something to read, or the end of a file.
fn wait_for(fd: BorrowedFd<'_>, end: Instant) -> Option<()> {
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::try_from(left).ok()?) {
            Err(Errno::EINTR) => {}
            Ok(1..) => return Some(()),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::receive_frame;

    #[test]
    fn an_example_comes_over_whole() {
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).unwrap();
        for stdin in ["", "Ada\n"] {
            let example = Example { file: "main.x".into(), code: "a\0b\n".into(), stdin: stdin.into() };
            send(&ours, &example).unwrap();
            let mut frame = [0; 100];
            let length = receive_frame(&theirs, &mut frame).unwrap().length;
            assert_eq!(decode(&frame[..length]), Some(example));
        }
    }

    #[test]
    fn nothing_else_is_one() {
        for frame in [&b""[..], b"E", b"Emain\0", b"Omain\0\0code", b"E../x\0\0code", b"E\0\0code", b"Emain\0\0\xff"] {
            assert_eq!(decode(frame), None, "{frame:?}");
        }
    }
}
