//! What holds under load, whatever the load. How fast it is stands in the bench.
#![forbid(unsafe_code)]

mod attribution;
mod class;
mod flood;
mod hogs;
mod overload;
mod soak;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// One after the other: each wants the whole machine.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}
