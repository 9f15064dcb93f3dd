//! Gates and templates: what both sides of a gate's descriptor agree on, and a template's fork into a sandbox.
//!
//! A *gate* stops an interpreter that is started ahead of need before it looks at a program. A *template* is an interpreter
//! in its gate that never gets a program: it forks, and each fork enters a fresh sandbox before it goes on.

mod enter;
mod example;
mod order;
mod pages;

pub use enter::{end, fork, hide_preload};
pub use example::{finish, send as send_example};
pub use order::{Message, Order, OrderFds};

use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::libc;

use crate::spec::StageLimits;
use crate::sys;

/// The descriptor on which a gate and the spawner talk: out of the way of those that an interpreter opens, so that these
/// have the numbers of a plain start.
pub const GATE_FD: i32 = 63;
/// The descriptor on which a template finds its orders.
pub const ORDERS_FD: i32 = 62;
/// The gate stands: no user file has been looked at yet. A template that was handed an example says it again afterwards.
pub const READY: u8 = b'R';
/// The gate may close its descriptor and let the interpreter open the program.
pub const GO: u8 = b'G';
/// To a template's gate: fork. The order itself waits at [`ORDERS_FD`].
pub const FORK: u8 = b'F';
/// Of a fork, followed by its pid in the sandbox, four bytes, little-endian.
pub const FORKED: u8 = b'P';
/// Of a fork, from its template: nothing is left of what made it. Before [`FORKED`] or behind it.
pub const ALONE: u8 = b'A';
/// From a gate that compiles, followed by an exit code and the diagnostics.
pub const COMPILED: u8 = b'C';

/// The status by which a gate says: the program ended well, and nothing is left that somebody could see. No status that
/// a program can end with, of which the kernel keeps eight bits.
pub const ENDED: i32 = 0x4352_4e4b;

/// Resource and value, for the soft and the hard limit.
pub type Rlimits = [(u32, u64); 7];

/// Installs a seccomp filter for this process and all it will ever start; sets `no_new_privs`. With `ask` it is one that asks,
/// `no_new_privs` must be set already, and the descriptor is the listener's.
///
/// # Errors
/// The kernel's errno.
pub fn install_filter(program: &[seccompiler::sock_filter], ask: bool) -> Result<Option<OwnedFd>, Errno> {
    if ask {
        return sys::install_listening(program).map(Some);
    }
    seccompiler::apply_filter(program).map(|()| None).map_err(|error| match error {
        seccompiler::Error::Prctl(error) | seccompiler::Error::Seccomp(error) => {
            Errno::from_raw(error.raw_os_error().unwrap_or(libc::EINVAL))
        }
        _ => Errno::EINVAL,
    })
}

/// A stage's limits as far as they are a process's; `cpu_extra` are seconds that it had used before it counts.
#[must_use]
pub fn rlimits(limits: &StageLimits, cpu_extra: u64) -> Rlimits {
    // Per process and in whole seconds: a backstop for the stage's own CPU limit, which the spawner holds.
    let cpu_seconds = limits.cpu.get().div_ceil(1000) + 1 + cpu_extra;
    [
        (libc::RLIMIT_CORE, 0),
        (libc::RLIMIT_NOFILE, limits.open_files),
        (libc::RLIMIT_FSIZE, limits.file_size),
        (libc::RLIMIT_STACK, limits.stack),
        (libc::RLIMIT_CPU, cpu_seconds),
        (libc::RLIMIT_NICE, 0),
        (libc::RLIMIT_RTPRIO, 0),
    ]
}
