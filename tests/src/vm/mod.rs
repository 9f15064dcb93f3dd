//! A virtual machine with a stock Debian 12: Debian's kernel, systemd as process 1, pure cgroup v2, no network device.
//!
//! `tests/vm/image` builds what it boots from. [`machine`] is qemu's command line, [`snapshot`] the state right after a
//! boot, which is resumed in about a second, [`guest`] a running machine: scripts run in it as root, files reach it on
//! a disk of their own, and nothing that it writes outlives it.
//!
//! It works without virtualisation, by emulation alone, ten to thirty times slower than the host: what waits in it
//! waits by [`guest::Guest::slowness`], which is measured.

pub mod figures;
pub mod guest;
pub mod machine;
pub mod snapshot;

pub use guest::{Guest, Output};
pub use machine::Size;
