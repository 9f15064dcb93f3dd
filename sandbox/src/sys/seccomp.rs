//! Seccomp filters that ask, see seccomp_unotify(2).

use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc;
use seccompiler::sock_filter;

use super::check;

/// From linux/seccomp.h, 6.0: once the listener has taken the question, only a deadly signal interrupts the call.
const WAIT_KILLABLE: libc::c_ulong = 1 << 5;
const FLAGS: libc::c_ulong = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | WAIT_KILLABLE;
/// `_IOWR('!', 0, struct seccomp_notif)` and `_IOWR('!', 1, struct seccomp_notif_resp)`.
const RECEIVE: libc::c_ulong = 0xC050_2100;
const SEND: libc::c_ulong = 0xC018_2101;

/// Whether this kernel has filters that ask.
#[must_use]
pub fn can_listen() -> bool {
    // SAFETY: a null program is an error whatever the flags are; the kernel looks at these first.
    let answer = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, FLAGS, std::ptr::null::<libc::c_void>())
    };
    answer < 0 && Errno::last() == Errno::EFAULT
}

/// Installs a filter for this process and all it will ever start, and returns the listener of its questions; needs
/// `no_new_privs`.
///
/// # Errors
/// The kernel's errno; `EBUSY` where a filter with a listener is installed already.
pub fn install_listening(program: &[sock_filter]) -> Result<OwnedFd, Errno> {
    let length = u16::try_from(program.len()).map_err(|_| Errno::EINVAL)?;
    let filter = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut().cast() };
    // SAFETY: `filter` and the instructions that it points to live through the call, and the kernel only reads them;
    // seccompiler's sock_filter has the layout of the kernel's.
    let fd =
        check(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, FLAGS, &raw const filter) })?;
    let fd = RawFd::try_from(fd).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just made it, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Takes one question, if there is one, and lets the call go on.
///
/// # Errors
/// The kernel's errno; `ENOENT` when whoever asked is gone.
pub fn agree(listener: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: all-zero is what the kernel wants of both.
    let mut question: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the request's number says the size of what is written, which `question` has.
    check(unsafe { libc::ioctl(listener.as_raw_fd(), RECEIVE, &raw mut question) }.into())?;
    let answer = libc::seccomp_notif_resp {
        id: question.id,
        val: 0,
        error: 0,
        flags: libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
    };
    // SAFETY: the request's number says the size of what is read, which `answer` has.
    check(unsafe { libc::ioctl(listener.as_raw_fd(), SEND, &raw const answer) }.into()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_requests_have_the_sizes_in_their_numbers() {
        assert_eq!((RECEIVE >> 16) as usize & 0x3fff, size_of::<libc::seccomp_notif>());
        assert_eq!((SEND >> 16) as usize & 0x3fff, size_of::<libc::seccomp_notif_resp>());
        assert_eq!(size_of::<sock_filter>(), size_of::<libc::sock_filter>());
    }
}
