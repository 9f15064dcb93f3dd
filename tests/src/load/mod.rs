//! A generator of load: many clients at once against a daemon, or against a peer that speaks Piston's interface.
//!
//! [`target`] sends one program and judges the answer, [`generate`] sends many (all at once, closed loop, open loop),
//! [`stats`] sums up, [`watch`] looks at the host meanwhile, [`programs`] has the programs, [`soak`] mixes them.
//! The tests of `tests/load` and the bench use the same.

pub mod generate;
pub mod programs;
pub mod soak;
pub mod stats;
pub mod target;
pub mod watch;

pub use programs::Program;
pub use stats::Stats;
pub use target::{Api, Job, Outcome, Sample, Target};

/// Programs that [`warm_up`] runs.
pub const WARM_UP: u32 = 24;

/// Runs programs at once, so that everything is there that is made once and kept: the history's readers, caches, kept
/// cgroups.
pub fn warm_up(daemon: &crate::Daemon) {
    std::thread::scope(|scope| {
        for _ in 0..WARM_UP {
            let program = daemon.program("python", "print(1)").who(&crate::unique("warm-"), "u");
            scope.spawn(|| program.run().expect_success());
        }
    });
}

/// A runtime for the generators, with as many descriptors as the host allows.
///
/// # Panics
/// When the host gives no threads.
#[must_use]
pub fn runtime() -> tokio::runtime::Runtime {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // Without it large bursts fail on the client's side, which then says so.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads")
}
