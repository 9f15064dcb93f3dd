//! The part that SIGHUP reloads: swapped as a whole, so that nobody sees half of it.

use std::num::NonZeroU32;

use crankcase_sandbox::spec::{MemoryMax, StageLimits, WallTime};

use super::convert::FromChecked;
use super::kind::Checked;
use super::limits::{LimitError, Limits, Lowered};
use super::reader::Reader;
use super::sections::Admission;
use super::warm::Warm;
use crate::ids::RoomId;
use crate::jobs::LimitOverrides;

/// The sections that may change while the daemon runs. A run keeps the limits that it began with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reloadable {
    /// `[limits]`
    pub limits: Limits,
    /// `[warm]`
    pub warm: Warm,
    /// `[admission]`
    pub admission: Admission,
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
    /// Memory of the run of one execution, where the limits allow more.
    pub memory: Option<MemoryMax>,
    /// Wall time of the run of one execution, where the limits allow more.
    pub wall_time: Option<WallTime>,
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
            admission: Admission::read(reader),
            quotas: Quotas { user: Quota::read(reader, "user"), room: Quota::read(reader, "room") },
            rate_limit: RateLimit {
                requests_per_second: reader.get("rate-limit.requests-per-second"),
                burst: reader.get("rate-limit.burst"),
            },
        }
    }
}

impl Quotas {
    /// Those that hold for an execution in this room.
    pub fn of_execution(&self, room: &RoomId) -> impl Iterator<Item = &Quota> {
        std::iter::once(&self.user).chain(room.is_room().then_some(&self.room))
    }
}

impl Quota {
    /// Lowers the limits of a run to those of the quota.
    ///
    /// # Errors
    /// [`LimitError`] when the request asks for more by name.
    pub fn cap(&self, run: &mut StageLimits, asked: &LimitOverrides) -> Result<(), LimitError> {
        if let Some(memory) = self.memory.filter(|memory| *memory < run.memory) {
            check(Lowered::RunMemory, asked.run_memory_bytes, memory.get(), MemoryMax::MIN)?;
            run.memory = memory;
        }
        if let Some(wall) = self.wall_time.filter(|wall| *wall < run.wall) {
            check(Lowered::RunWall, asked.run_wall_ms, wall.get(), WallTime::MIN)?;
            run.wall = wall;
        }
        Ok(())
    }

    fn read(reader: &mut Reader, whose: &str) -> Self {
        Self {
            runs_per_minute: reader.get(&format!("quotas.{whose}-runs-per-minute")),
            cpu_seconds_per_hour: reader.get(&format!("quotas.{whose}-cpu-seconds-per-hour")),
            queued: reader.get(&format!("quotas.{whose}-queued")),
            memory: reader.get(&format!("quotas.{whose}-memory")),
            wall_time: reader.get(&format!("quotas.{whose}-wall-time")),
        }
    }
}

impl FromChecked for NonZeroU32 {
    fn from_checked(checked: Checked) -> Option<Self> {
        u32::from_checked(checked).and_then(Self::new)
    }
}

fn check(limit: Lowered, asked: Option<u64>, max: u64, min: u64) -> Result<(), LimitError> {
    match asked.filter(|asked| *asked > max) {
        Some(asked) => Err(LimitError { limit, asked, min, max }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Environment};
    use super::*;

    const MIB: u64 = 1 << 20;

    fn run(text: &str, room: &str, asked_mib: Option<u64>) -> Result<(u64, u64), LimitError> {
        let Reloadable { limits, quotas, .. } = Config::parse(text, &Environment::default()).unwrap().reloadable;
        let asked = LimitOverrides { run_memory_bytes: asked_mib.map(|mib| mib * MIB), ..LimitOverrides::default() };
        let mut run = limits.general.run;
        if let Some(memory) = asked.run_memory_bytes {
            run.memory = MemoryMax::new(memory).unwrap();
        }
        for quota in quotas.of_execution(&RoomId::new(room).unwrap()) {
            quota.cap(&mut run, &asked)?;
        }
        Ok((run.memory.get() / MIB, run.wall.get()))
    }

    #[test]
    fn quotas_lower_the_limits_of_a_run_and_never_raise_them() {
        assert_eq!(run("", "a", None), Ok((256, 10_000)));
        let text = "quotas.user-memory = \"128MiB\"\nquotas.room-memory = \"64MiB\"\nquotas.room-wall-time = \"2s\"";
        assert_eq!(run(text, "a", None), Ok((64, 2000)));
        assert_eq!(run(text, "standalone", None), Ok((128, 10_000)), "which is no room");
        assert_eq!(run(text, "a", Some(32)), Ok((32, 2000)));
        let refused = run(text, "a", Some(100)).unwrap_err();
        assert_eq!((refused.limit, refused.max), (Lowered::RunMemory, 64 * MIB));
        assert_eq!(run("quotas.user-memory = \"1GiB\"", "a", None), Ok((256, 10_000)));
    }
}
