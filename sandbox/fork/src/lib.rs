//! Preloaded into a template (`LD_PRELOAD`): takes the place of libc's `fork`.
//!
//! An interpreter forks by its own means, with all that it does before and after. What lies between is
//! [`crankcase_sandbox::fork::fork`]: the child enters the sandbox that the spawner has named and has no more power than
//! anything in it before `fork` returns. Where no order of the spawner's waits, this is libc's `fork`.
#![allow(unsafe_code, reason = "the two symbols must have the names and places that libc and the linker know")]

/// `fork(2)`, or a fork into a sandbox.
#[unsafe(no_mangle)]
pub extern "C" fn fork() -> i32 {
    crankcase_sandbox::fork::fork()
}

/// Runs before the interpreter's `main`.
#[used]
#[unsafe(link_section = ".init_array")]
static HIDE: extern "C" fn() = crankcase_sandbox::fork::hide_preload;
