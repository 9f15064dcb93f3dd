//! Preloaded into a template (`LD_PRELOAD`): takes the place of libc's `fork` and `_exit`.
//!
//! An interpreter forks by its own means, with all that it does before and after. What lies between is
//! [`crankcase_sandbox::fork::fork`]: the child enters the sandbox that the spawner has named and has no more power than
//! anything in it before `fork` returns. Where no order of the spawner's waits, this is libc's `fork`.
//!
//! An interpreter that is through with its program, and knows that it ended well, takes itself apart, and copies thereby
//! most of what a fork shares with its template, for nothing that anybody could see. Its gate may spare it that by an
//! `_exit` with [`ENDED`](crankcase_sandbox::fork::ENDED), which becomes what is left of the `exit(0)` that would follow.
#![allow(unsafe_code, reason = "the symbols must have the names and places that libc and the linker know")]

/// `fork(2)`, or a fork into a sandbox.
#[unsafe(no_mangle)]
pub extern "C" fn fork() -> i32 {
    crankcase_sandbox::fork::fork()
}

/// `_exit(2)`, or the `exit(3)` of a program that ended well.
#[unsafe(no_mangle)]
pub extern "C" fn _exit(status: i32) -> ! {
    crankcase_sandbox::fork::end(status)
}

/// Runs at the end of a process that ends as programs do.
#[used]
#[unsafe(link_section = ".fini_array")]
static FINISH: extern "C" fn() = crankcase_sandbox::fork::finish;

/// Runs before the interpreter's `main`.
#[used]
#[unsafe(link_section = ".init_array")]
static HIDE: extern "C" fn() = crankcase_sandbox::fork::hide_preload;
