//! Waiting for what is awaited, with a deadline, and never for a fixed time.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// Looks again and again until `look` gives an `Ok`.
///
/// # Panics
/// When the deadline passes; the message holds the last `Err`, so that a failure says what was seen.
#[track_caller]
pub fn eventually<T, E: Debug>(deadline: Duration, mut look: impl FnMut() -> Result<T, E>) -> T {
    let end = Instant::now() + deadline;
    loop {
        match look() {
            Ok(value) => return value,
            Err(error) if Instant::now() >= end => panic!("not within {deadline:?}: {error:?}"),
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

/// Tries a measurement up to `count` times: a bound in time holds if it was kept once, since a busy host can
/// only make a measurement worse.
///
/// # Panics
/// When every try failed, with each try's complaint.
#[track_caller]
pub fn attempts<T>(count: usize, mut measure: impl FnMut() -> Result<T, String>) -> T {
    let mut complaints = Vec::new();
    for _ in 0..count {
        match measure() {
            Ok(value) => return value,
            Err(complaint) => complaints.push(complaint),
        }
    }
    panic!("{count} tries failed: {complaints:#?}");
}
