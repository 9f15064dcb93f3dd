//! What the tests that drive the built daemon share.
//!
//! [`daemon`] starts the real binaries on a free loopback port, [`client`] talks to them, [`host`] looks at the
//! machine from outside the sandboxes, [`bare`] runs the same programs without a sandbox, [`redis`] and
//! [`node`] start the other side of a test, [`load`] brings many clients at once. Nothing waits by a fixed sleep: see [`eventually`].
//!
//! **Invariant.** Only processes that a test started itself are signalled, by their ids.
#![forbid(unsafe_code)]

pub mod bare;
pub mod client;
pub mod daemon;
pub mod host;
pub mod load;
pub mod node;
pub mod options;
pub mod redis;
mod wait;

pub use client::{Answer, Program};
pub use daemon::{Daemon, shared};
pub use options::Options;
pub use wait::{attempts, eventually};

/// Says that this host cannot run a test. Under `CI=true` that is a failure: nothing is skipped unnoticed.
///
/// # Panics
/// Under `CI=true`.
pub fn skip(why: &str) {
    eprintln!("SKIP {why}");
    assert!(std::env::var("CI").as_deref() != Ok("true"), "skipped under CI: {why}");
}

/// A name that nothing else on this machine has: 16 hexadecimal characters after the prefix.
#[must_use]
pub fn unique(prefix: &str) -> String {
    let id = uuid::Uuid::new_v4().simple().to_string();
    format!("{prefix}{}", &id[..16])
}
