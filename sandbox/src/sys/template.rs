//! What a template's fork into a sandbox takes, from within the interpreter; see [`crate::fork`].

use std::ffi::CStr;
use std::os::fd::{AsRawFd as _, BorrowedFd, RawFd};

use nix::errno::Errno;
use nix::libc;

use super::check;
use super::process::CLONE_INTO_CGROUP;

/// Takes a variable out of the environment. Only before `main`, while there is no other thread.
pub fn unset_environment(name: &CStr) {
    // SAFETY: the caller is the only thread; nobody holds a pointer into the environment yet.
    unsafe { libc::unsetenv(name.as_ptr()) };
}

/// A descriptor by its number, for a call or two.
#[must_use]
pub const fn borrow(fd: RawFd) -> BorrowedFd<'static> {
    // SAFETY: the gate's descriptor is open for as long as its process is in the gate; a number that is not open gives
    // EBADF, it is never closed through this.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// The next `fork` in the order of the dynamic linker: libc's, with the handlers that run around it.
#[must_use]
pub fn libc_fork() -> libc::pid_t {
    // SAFETY: dlsym takes a C string and answers with null or the symbol's address.
    let symbol = unsafe { libc::dlsym(libc::RTLD_NEXT, c"fork".as_ptr()) };
    if symbol.is_null() {
        Errno::ENOSYS.set();
        return -1;
    }
    // SAFETY: the symbol `fork` of libc has this type.
    let fork = unsafe { std::mem::transmute::<*mut libc::c_void, unsafe extern "C" fn() -> libc::pid_t>(symbol) };
    // SAFETY: as any fork; the interpreter is single-threaded here (invariant of `crate::fork`).
    unsafe { fork() }
}

/// Clones without a signal to the parent at the child's end, into `cgroup` where given. 0 in the child.
///
/// # Errors
/// The kernel's errno.
pub fn clone_quietly(cgroup: Option<BorrowedFd<'_>>) -> Result<libc::pid_t, Errno> {
    // SAFETY: all-zero is the documented default of every field of clone_args.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    if let Some(fd) = cgroup {
        args.flags = CLONE_INTO_CGROUP;
        args.cgroup = u64::from(fd.as_raw_fd().unsigned_abs());
    }
    // SAFETY: no stack and no CLONE_VM, so the child continues on its own copy of this memory, which a single thread
    // left consistent.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) })?;
    Ok(libc::pid_t::try_from(pid).unwrap_or(0))
}

/// Waits for a child of [`clone_quietly`].
pub fn wait_for(pid: libc::pid_t) {
    // SAFETY: no status is asked for. A child without an exit signal is found by __WALL alone.
    while unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::__WALL) } < 0 && Errno::last() == Errno::EINTR {}
}
