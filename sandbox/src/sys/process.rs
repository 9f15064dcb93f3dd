//! Cloning, killing, exiting, and descriptors that were there at start.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc;
use nix::unistd::Pid;

use super::check;

/// From linux/sched.h; libc's constant is too narrow.
pub(super) const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Which side of a clone this is.
pub enum Cloned {
    /// The caller; the child's pid in the caller's pid namespace, and a pidfd that never means another process.
    Parent {
        /// The child.
        pid: Pid,
        /// Readable once the child is dead.
        pidfd: OwnedFd,
    },
    /// The new process.
    Child,
}

/// `clone3(2)` without a stack of its own (as `fork`), into `cgroup` where given (`CLONE_INTO_CGROUP`, v2 only).
///
/// # Errors
/// The kernel's errno.
pub fn clone3(flags: u64, cgroup: Option<BorrowedFd<'_>>) -> Result<Cloned, Errno> {
    let mut pidfd: RawFd = -1;
    // SAFETY: all-zero is the documented default of every field of clone_args.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = flags | libc::CLONE_PIDFD as u64;
    args.pidfd = &raw mut pidfd as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    if let Some(fd) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::from(fd.as_raw_fd().unsigned_abs());
    }
    // SAFETY: no stack and no CLONE_VM, so the child continues on its own copy of this one's memory; the process is
    // single-threaded (module invariant), so that copy is consistent. `args` outlives the call. nix has no clone3.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) })?;
    if pid == 0 {
        return Ok(Cloned::Child);
    }
    // SAFETY: the kernel just made this descriptor for us (CLONE_PIDFD) and nobody else owns it.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Cloned::Parent { pid: Pid::from_raw(i32::try_from(pid).unwrap_or(0)), pidfd })
}

/// `fork(2)`; `None` in the child. A raw `clone` so that no handler of libc runs in between.
///
/// # Errors
/// The kernel's errno.
pub fn fork() -> Result<Option<Pid>, Errno> {
    // SAFETY: as a fork; the process is single-threaded (module invariant). libc's fork would run atfork handlers.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) })?;
    Ok((pid != 0).then(|| Pid::from_raw(i32::try_from(pid).unwrap_or(0))))
}

/// Kills through a pidfd; a process that is already dead is no error.
pub fn pidfd_kill(pidfd: BorrowedFd<'_>) {
    // SAFETY: only integers and a null pointer are passed; nix has no wrapper for pidfd_send_signal.
    unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), libc::SIGKILL, 0, 0) };
}

/// Closes every descriptor from 3 on but those given, in whatever order.
///
/// # Errors
/// The kernel's errno.
pub fn close_fds_except(keep: &[RawFd]) -> Result<(), Errno> {
    let mut first: libc::c_uint = 3;
    // In whatever order they are given.
    while let Some(next) = keep.iter().map(|fd| fd.unsigned_abs()).filter(|fd| *fd >= first).min() {
        if next > first {
            close_range(first, next - 1, 0)?;
        }
        first = next + 1;
    }
    close_range(first, libc::c_uint::MAX, 0)
}

/// Leaves a table of descriptors that this process shares (`CLONE_FILES`), with a copy of what is below `end`.
///
/// # Errors
/// The kernel's errno.
pub fn leave_fds(end: RawFd) -> Result<(), Errno> {
    close_range(end.unsigned_abs(), libc::c_uint::MAX, libc::CLOSE_RANGE_UNSHARE)
}

fn close_range(first: libc::c_uint, last: libc::c_uint, flags: libc::c_uint) -> Result<(), Errno> {
    // SAFETY: closes descriptors by number; the callers are children about to exec or loop on `keep` alone, and they
    // leave by `exit`, so no owner of a closed descriptor is ever dropped.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) }).map(drop)
}

/// Leaves at once: no destructors, no exit handlers.
pub fn exit(status: i32) -> ! {
    loop {
        // Not libc's `_exit`, which a template's preloaded library stands in for.
        // SAFETY: no preconditions; it does not return.
        unsafe { libc::syscall(libc::SYS_exit_group, status) };
    }
}

/// Leaves by libc's exit handlers and the libraries' destructors.
pub fn exit_by_libc(status: i32) -> ! {
    // SAFETY: called where the process would have ended so next; single-threaded, or its threads are past caring.
    unsafe { libc::exit(status) }
}

/// Writes out what libc's streams hold.
pub fn flush_streams() {
    // SAFETY: without a stream it means all of them.
    unsafe { libc::fflush(std::ptr::null_mut()) };
}

/// How many libraries were ever loaded into this process.
#[must_use]
pub fn libraries_loaded() -> u64 {
    extern "C" fn note(library: *mut libc::dl_phdr_info, _: libc::size_t, count: *mut libc::c_void) -> libc::c_int {
        // SAFETY: both are what `dl_iterate_phdr` and the call below hand over. One library knows of all.
        unsafe { *count.cast() = (*library).dlpi_adds };
        1
    }
    let mut count = 0_u64;
    // SAFETY: the pointer is good for the call.
    unsafe { libc::dl_iterate_phdr(Some(note), (&raw mut count).cast()) };
    count
}

/// Takes over a descriptor that this process was started with.
///
/// # Errors
/// `EBADF` when it is not open.
pub fn inherited_fd(fd: RawFd) -> Result<OwnedFd, Errno> {
    // SAFETY: F_GETFD only looks.
    check(unsafe { libc::fcntl(fd, libc::F_GETFD) }.into())?;
    // SAFETY: it is open, came from the parent, and main takes each number once.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sets the file mode creation mask.
pub fn umask(mask: libc::mode_t) {
    // SAFETY: `umask` has no preconditions; here so that children need no allocation for nix's bitflags.
    unsafe { libc::umask(mask) };
}

/// Back to nice 0, from a lower value always permitted; a higher one stays where raising it is not.
pub fn reset_priority() {
    // SAFETY: integers only; nix has no setpriority.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 0) };
}

/// # Panics
/// When this process has more than one thread.
pub fn assert_single_threaded() {
    let threads = std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    assert_eq!(threads, 1, "the spawner must be single-threaded");
}

/// Undoes what the Rust runtime and init changed, so that a program starts with the signals it expects: all defaults,
/// none blocked.
///
/// # Errors
/// The kernel's errno.
pub fn reset_signals() -> Result<(), Errno> {
    // SAFETY: an all-zero sigset is the empty set on Linux; SIG_DFL is no handler of ours that could be unsafe to run.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        let none: libc::sigset_t = std::mem::zeroed();
        check(libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut()).into()).map(drop)
    }
}

/// Sets both limits of a resource.
///
/// # Errors
/// `EPERM` when raising above the hard limit without the capability.
pub fn set_rlimit(resource: u32, value: u64) -> Result<(), Errno> {
    let limit = libc::rlimit { rlim_cur: value, rlim_max: value };
    // SAFETY: `limit` lives through the call.
    check(unsafe { libc::setrlimit(resource, &raw const limit) }.into()).map(drop)
}

/// Sets several limits.
///
/// # Errors
/// The kernel's errno, but for `EPERM`: above what the spawner itself was given the lower limit stays, the safe side.
pub fn set_rlimits(limits: &[(u32, u64)]) -> Result<(), Errno> {
    limits.iter().try_for_each(|&(resource, value)| match set_rlimit(resource, value) {
        Err(Errno::EPERM) => Ok(()),
        other => other,
    })
}

/// Makes `fd` the descriptor `number`, open beyond `execve`.
///
/// # Errors
/// The kernel's errno.
pub fn keep_as(fd: BorrowedFd<'_>, number: RawFd) -> Result<(), Errno> {
    let fd = fd.as_raw_fd();
    // SAFETY: the callers are children about to execute; whatever `number` was has no owner that is ever dropped.
    let result = unsafe { if fd == number { libc::fcntl(fd, libc::F_SETFD, 0) } else { libc::dup2(fd, number) } };
    check(result.into()).map(drop)
}

/// Another descriptor of the same, from `lowest` on, closed by `execve`.
///
/// # Errors
/// The kernel's errno.
pub fn duplicate_from(fd: BorrowedFd<'_>, lowest: RawFd) -> Result<OwnedFd, Errno> {
    // SAFETY: it changes nothing but the table of descriptors.
    let number = check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, lowest) }.into())?;
    let number = RawFd::try_from(number).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just made it, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// `dup2(2)` onto one of 0, 1, 2.
///
/// # Errors
/// The kernel's errno.
pub fn place_stdio(fd: BorrowedFd<'_>, number: RawFd) -> Result<(), Errno> {
    // SAFETY: 0, 1 and 2 belong to nobody as an OwnedFd in a child of the spawner.
    check(unsafe { libc::dup2(fd.as_raw_fd(), number) }.into()).map(drop)
}
