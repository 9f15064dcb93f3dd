//! Waiting for what is awaited, with a deadline, and never for a fixed time.

use std::fmt::Debug;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// How many times slower this machine is than the ones that the deadlines were made for, at least 1: under emulation the
/// virtual machine's tests measure it and say it in `CRANKCASE_TEST_SLOWNESS`.
#[must_use]
pub fn slowness() -> f64 {
    static SLOWNESS: OnceLock<f64> = OnceLock::new();
    *SLOWNESS.get_or_init(|| {
        let said = std::env::var("CRANKCASE_TEST_SLOWNESS").ok().and_then(|text| text.parse::<f64>().ok());
        said.filter(|number| number.is_finite()).unwrap_or(1.0).max(1.0)
    })
}

/// A duration on this machine.
#[must_use]
pub fn widened(duration: Duration) -> Duration {
    duration.mul_f64(slowness())
}

/// Looks again and again until `look` gives an `Ok`.
///
/// # Panics
/// When the deadline passes; the message holds the last `Err`, so that a failure says what was seen.
#[track_caller]
pub fn eventually<T, E: Debug>(deadline: Duration, mut look: impl FnMut() -> Result<T, E>) -> T {
    let end = Instant::now() + widened(deadline);
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
