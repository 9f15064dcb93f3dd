//! What a template's fork into a sandbox takes, from within the interpreter; see [`crate::fork`].

use std::ffi::CStr;
use std::ops::Range;
use std::os::fd::{AsRawFd as _, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicPtr, Ordering};

use nix::errno::Errno;
use nix::libc;

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
    // Each search reads the tables of every library before libc.
    static FORK: AtomicPtr<libc::c_void> = AtomicPtr::new(std::ptr::null_mut());
    let mut symbol = FORK.load(Ordering::Relaxed);
    if symbol.is_null() {
        // SAFETY: dlsym takes a C string and answers with null or the symbol's address.
        symbol = unsafe { libc::dlsym(libc::RTLD_NEXT, c"fork".as_ptr()) };
        if symbol.is_null() {
            Errno::ENOSYS.set();
            return -1;
        }
        FORK.store(symbol, Ordering::Relaxed);
    }
    // SAFETY: the symbol `fork` of libc has this type.
    let fork = unsafe { std::mem::transmute::<*mut libc::c_void, unsafe extern "C" fn() -> libc::pid_t>(symbol) };
    // SAFETY: as any fork; the interpreter is single-threaded here (invariant of `crate::fork`).
    unsafe { fork() }
}

/// The flags of `clone_args.flags` that make the child borrow the parent's memory until it ends, as `vfork(2)`.
const IN_PLACE: u64 = (libc::CLONE_VM | libc::CLONE_VFORK) as u64;

// crankcase_clone_in_place(args, size, child, data): clone3, then `child(data)` in the child, on the parent's own stack
// below this frame, while the parent waits for the child's end. `child` may return only in a process that it forked, with a
// memory of its own: there this returns the same once more. No compiler knows of functions that return twice, so it is
// written by hand.
#[cfg(target_arch = "x86_64")]
std::arch::global_asm!(
    ".globl crankcase_clone_in_place",
    ".hidden crankcase_clone_in_place",
    "crankcase_clone_in_place:",
    "mov r8, rdx",
    "mov r9, rcx",
    "mov eax, 435",
    "syscall",
    "test rax, rax",
    "jnz 2f",
    "sub rsp, 8",
    "mov rdi, r9",
    "call r8",
    "add rsp, 8",
    "2: ret",
);
#[cfg(target_arch = "aarch64")]
std::arch::global_asm!(
    ".globl crankcase_clone_in_place",
    ".hidden crankcase_clone_in_place",
    "crankcase_clone_in_place:",
    "mov x8, #435",
    "svc #0",
    "cbnz x0, 2f",
    "stp x29, x30, [sp, #-16]!",
    "mov x0, x3",
    "blr x2",
    "ldp x29, x30, [sp], #16",
    "2: ret",
);

unsafe extern "C" {
    fn crankcase_clone_in_place(
        args: *const libc::clone_args,
        size: usize,
        child: extern "C" fn(*const libc::c_void) -> libc::c_long,
        data: *const libc::c_void,
    ) -> libc::c_long;
}

/// Runs `child` in a new process that borrows this one's memory, into `cgroup` where given; no signal tells of its end.
/// Returns the child's pid once it has ended, and 0 in a process that `child` has forked and in which it returned.
///
/// `child` must not drop what it did not make, nor return but in such a process.
///
/// # Errors
/// The kernel's errno.
pub fn clone_in_place<T>(cgroup: Option<BorrowedFd<'_>>, child: fn(&T), data: &T) -> Result<libc::pid_t, Errno> {
    let job = (child, data);
    // SAFETY: all-zero is the documented default of every field of clone_args.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = IN_PLACE;
    if let Some(fd) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::from(fd.as_raw_fd().unsigned_abs());
    }
    // SAFETY: `args` outlives the call. The parent stands still while the child uses its memory (CLONE_VFORK), and is its
    // only thread; what returns is the parent, or a process with a copy of this stack.
    let pid =
        unsafe { crankcase_clone_in_place(&raw const args, size_of_val(&args), run::<T>, (&raw const job).cast()) };
    match pid {
        // As a raw system call answers.
        errno @ ..0 => Err(Errno::from_raw(i32::try_from(-errno).unwrap_or(libc::EINVAL))),
        pid => Ok(libc::pid_t::try_from(pid).unwrap_or(0)),
    }
}

extern "C" fn run<T>(job: *const libc::c_void) -> libc::c_long {
    // SAFETY: `job` is the one of `clone_in_place::<T>`, which stands above us on this stack.
    let (child, data) = unsafe { &*job.cast::<(fn(&T), &T)>() };
    child(data);
    0
}

/// Bytes of a page.
#[must_use]
pub fn page_size() -> usize {
    nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)
        .ok()
        .flatten()
        .map_or(4096, |size| size.unsigned_abs() as usize)
}

/// What the kernel does with pages before they are needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Populate {
    /// Gives this process pages of its own, as writing to each would.
    Write,
    /// Brings them in, as reading each would.
    Read,
}

/// Regions of one call; they lie on the stack, of which a fork copies each page.
const REGIONS: usize = 64;
/// From linux/pidfd.h, 6.14: the calling thread.
const PIDFD_SELF: libc::c_int = -10_000;

/// Populates regions of this process. An advice: what cannot be done is left.
pub fn populate<'a>(regions: impl Iterator<Item = &'a Range<usize>>, how: Populate) {
    let advice = match how {
        Populate::Write => libc::MADV_POPULATE_WRITE,
        Populate::Read => libc::MADV_POPULATE_READ,
    };
    let mut regions = regions.peekable();
    while regions.peek().is_some() {
        let mut chunk = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; REGIONS];
        let mut length = 0;
        for (place, region) in chunk.iter_mut().zip(regions.by_ref().take(REGIONS)) {
            *place = libc::iovec { iov_base: region.start as *mut libc::c_void, iov_len: region.len() };
            length += 1;
        }
        advise(&chunk[..length], advice);
    }
}

/// All in one call, where the kernel knows that this process is meant (from 6.14), else each by itself.
fn advise(regions: &[libc::iovec], advice: libc::c_int) {
    let mut left = regions;
    while !left.is_empty() {
        // SAFETY: the regions' descriptions live through the call; neither advice changes a byte, and the kernel checks
        // the regions.
        let done =
            unsafe { libc::syscall(libc::SYS_process_madvise, PIDFD_SELF, left.as_ptr(), left.len(), advice, 0) };
        let Ok(mut done) = usize::try_from(done) else { break };
        while let Some((first, rest)) = left.split_first() {
            left = rest;
            // One that could not be is passed over.
            let Some(remaining) = done.checked_sub(first.iov_len) else { break };
            done = remaining;
        }
    }
    for region in left {
        // SAFETY: as above.
        unsafe { libc::madvise(region.iov_base, region.iov_len, advice) };
    }
}

/// Waits for a child of [`clone_in_place`].
pub fn wait_for(pid: libc::pid_t) {
    // SAFETY: no status is asked for. A child without an exit signal is found by __WALL alone.
    while unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::__WALL) } < 0 && Errno::last() == Errno::EINTR {}
}
