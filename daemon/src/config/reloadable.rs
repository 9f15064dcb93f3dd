//! The part that SIGHUP reloads: swapped as a whole, so that nobody sees half of it.

use std::num::NonZeroU32;

use super::convert::FromChecked;
use super::kind::Checked;
use super::limits::Limits;
use super::reader::Reader;
use super::warm::Warm;

/// The sections that may change while the daemon runs. A run keeps the limits that it began with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reloadable {
    /// `[limits]`
    pub limits: Limits,
    /// `[warm]`
    pub warm: Warm,
    /// `[quotas]`
    pub quotas: Quotas,
    /// `[rate-limit]`
    pub rate_limit: RateLimit,
}

/// `[quotas]`; none is no bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quotas {
    /// Of one user.
    pub user: Quota,
    /// Of one room.
    pub room: Quota,
}

/// What one user or one room may use over time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quota {
    /// Executions a minute.
    pub runs_per_minute: Option<NonZeroU32>,
    /// Seconds of CPU time an hour.
    pub cpu_seconds_per_hour: Option<NonZeroU32>,
    /// Executions that wait at once.
    pub queued: Option<NonZeroU32>,
}

/// `[rate-limit]`, per address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests a second on average; none is no bound.
    pub requests_per_second: Option<NonZeroU32>,
    /// Requests at once after a pause.
    pub burst: NonZeroU32,
}

impl Reloadable {
    pub(super) fn read(reader: &mut Reader) -> Self {
        Self {
            limits: Limits::read(reader),
            warm: Warm::read(reader),
            quotas: Quotas { user: Quota::read(reader, "user"), room: Quota::read(reader, "room") },
            rate_limit: RateLimit {
                requests_per_second: reader.get("rate-limit.requests-per-second"),
                burst: reader.get("rate-limit.burst"),
            },
        }
    }
}

impl Quota {
    fn read(reader: &mut Reader, whose: &str) -> Self {
        Self {
            runs_per_minute: reader.get(&format!("quotas.{whose}-runs-per-minute")),
            cpu_seconds_per_hour: reader.get(&format!("quotas.{whose}-cpu-seconds-per-hour")),
            queued: reader.get(&format!("quotas.{whose}-queued")),
        }
    }
}

impl FromChecked for NonZeroU32 {
    fn from_checked(checked: Checked) -> Option<Self> {
        u32::from_checked(checked).and_then(Self::new)
    }
}
