//! The wall clock, as the contract and the history count it.

use std::time::SystemTime;

/// Now, in Unix milliseconds; 0 before 1970.
#[must_use]
pub fn unix_ms() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}
