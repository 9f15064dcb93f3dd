//! Every unsafe block of the project: the system calls for which `nix` has no safe wrapper.
//!
//! **Invariant.** The spawner and everything cloned from it is single-threaded, so a child may use the memory
//! it was cloned with. [`assert_single_threaded`] holds it at start-up; nothing here starts a thread.
#![allow(unsafe_code)]

mod caps;
mod exec;
mod landlock;
mod process;
mod seccomp;
mod template;

pub use caps::{
    drop_all_capabilities, drop_bounding_set, keep_capabilities, lock_securebits, make_ambient, make_inheritable,
};
pub use exec::ExecImage;
pub use landlock::{Access, Ruleset, landlock_abi};
pub use process::{
    Cloned, assert_single_threaded, clone3, close_fds_except, duplicate_from, exit, exit_by_libc, flush_streams, fork,
    inherited_fd, keep_as, leave_fds, libraries_loaded, pidfd_kill, place_stdio, reset_priority, reset_signals,
    set_rlimit, set_rlimits, umask,
};

pub use seccomp::{agree, can_listen, install_listening};
pub use template::{Populate, borrow, clone_in_place, libc_fork, page_size, populate, unset_environment, wait_for};

use nix::errno::Errno;

/// Turns a raw system call's answer into a result.
fn check(result: libc::c_long) -> Result<libc::c_long, Errno> {
    if result < 0 { Err(Errno::last()) } else { Ok(result) }
}
