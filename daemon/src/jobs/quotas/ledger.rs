//! What each user and each room has used. No I/O; the time comes in as an argument.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use thiserror::Error;
use tokio::time::Instant;

use super::window::Window;
use super::{Quota, QuotaConfig};
use crate::ids::{RoomId, UserId};

/// Users, addresses and rooms that are remembered. With both windows one takes about 600 bytes.
pub const SUBJECTS_MAX: usize = 10_000;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// When to come again because of too many that wait: nobody knows when one of them starts.
const QUEUED_RETRY: Duration = Duration::from_secs(1);

/// Whose quota it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A user with a name.
    User(UserId),
    /// The address of users without a name.
    Address(IpAddr),
    /// A room.
    Room(RoomId),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => write!(f, "user {user}"),
            Self::Address(address) => write!(f, "address {address}"),
            Self::Room(room) => write!(f, "room {room}"),
        }
    }
}

/// Which quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Runs a minute.
    Runs,
    /// CPU seconds an hour.
    Cpu,
    /// Runs that wait at once.
    Queued,
}

impl Kind {
    /// The label in the metrics.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Runs => "quota_runs",
            Self::Cpu => "quota_cpu",
            Self::Queued => "quota_queued",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Runs => "executions a minute",
            Self::Cpu => "seconds of CPU time an hour",
            Self::Queued => "executions that wait at once",
        })
    }
}

/// A quota is used up.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("The quota of {bound} {kind} for {subject} is used up. Try again in {} s.", retry_seconds(*.retry_after))]
pub struct QuotaExceeded {
    /// Whose.
    pub subject: Subject,
    /// Which.
    pub kind: Kind,
    /// How much it is.
    pub bound: NonZeroU32,
    /// When it is not used up any more.
    pub retry_after: Duration,
}

fn retry_seconds(retry_after: Duration) -> u64 {
    retry_after.as_millis().div_ceil(1000).max(1) as u64
}

#[derive(Debug)]
struct Usage {
    runs: Option<Box<Window>>,
    cpu: Option<Box<Window>>,
    queued: u32,
    last_used: Instant,
}

impl Usage {
    const fn new(now: Instant) -> Self {
        Self { runs: None, cpu: None, queued: 0, last_used: now }
    }

    fn runs(&mut self, now: Instant) -> &mut Window {
        self.runs.get_or_insert_with(|| Box::new(Window::new(MINUTE, now)))
    }

    fn cpu(&mut self, now: Instant) -> &mut Window {
        self.cpu.get_or_insert_with(|| Box::new(Window::new(HOUR, now)))
    }
}

/// All usage that is remembered, of at most [`SUBJECTS_MAX`] subjects.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    usage: HashMap<Subject, Usage>,
}

impl Ledger {
    /// Enters one run that waits for all subjects, or for none of them.
    pub(super) fn enter(
        &mut self,
        config: &QuotaConfig,
        subjects: &[Subject],
        now: Instant,
    ) -> Result<(), QuotaExceeded> {
        for subject in subjects {
            self.check(config.of(subject), subject, now)?;
        }
        for subject in subjects {
            let quota = config.of(subject);
            let usage = self.remember(subject, now);
            usage.queued += 1;
            usage.last_used = now;
            if quota.runs_per_minute.is_some() {
                usage.runs(now).add(1, now);
            }
        }
        Ok(())
    }

    /// One that waited waits no more. If it never ran it does not count as a run.
    pub(super) fn leave(&mut self, subjects: &[Subject], entered: Instant, ran: bool, now: Instant) {
        for subject in subjects {
            let Some(usage) = self.usage.get_mut(subject) else { continue };
            usage.queued = usage.queued.saturating_sub(1);
            if let Some(runs) = usage.runs.as_mut().filter(|_| !ran) {
                runs.take_back(1, entered, now);
            }
        }
    }

    /// Charges CPU time that was used.
    pub(super) fn charge(&mut self, config: &QuotaConfig, subjects: &[Subject], cpu: Duration, now: Instant) {
        let millis = u32::try_from(cpu.as_millis()).unwrap_or(u32::MAX);
        for subject in subjects.iter().filter(|subject| config.of(subject).cpu_seconds_per_hour.is_some()) {
            let usage = self.remember(subject, now);
            usage.last_used = now;
            usage.cpu(now).add(millis, now);
        }
    }

    fn check(&mut self, quota: Quota, subject: &Subject, now: Instant) -> Result<(), QuotaExceeded> {
        let Some(usage) = self.usage.get_mut(subject) else { return Ok(()) };
        // Also when it is refused: one who keeps coming must not be forgotten, and so let off.
        usage.last_used = now;
        let exceeded =
            |kind, bound, retry_after| Err(QuotaExceeded { subject: subject.clone(), kind, bound, retry_after });
        if let Some(bound) = quota.queued.filter(|bound| usage.queued >= bound.get()) {
            return exceeded(Kind::Queued, bound, QUEUED_RETRY);
        }
        if let (Some(bound), Some(runs)) = (quota.runs_per_minute, &mut usage.runs) {
            let most = u64::from(bound.get());
            if runs.sum(now) >= most {
                return exceeded(Kind::Runs, bound, runs.until_below(most, now));
            }
        }
        if let (Some(bound), Some(cpu)) = (quota.cpu_seconds_per_hour, &mut usage.cpu) {
            let most = u64::from(bound.get()) * 1000;
            if cpu.sum(now) >= most {
                return exceeded(Kind::Cpu, bound, cpu.until_below(most, now));
            }
        }
        Ok(())
    }

    fn remember(&mut self, subject: &Subject, now: Instant) -> &mut Usage {
        if self.usage.len() >= SUBJECTS_MAX && !self.usage.contains_key(subject) {
            self.forget(now);
        }
        self.usage.entry(subject.clone()).or_insert_with(|| Usage::new(now))
    }

    /// Makes room: first whoever has nothing on the account; if that is not an eighth of all, the
    /// eighth that was away longest. Who waits stays: its guard will come back.
    fn forget(&mut self, now: Instant) {
        self.usage.retain(|_, usage| {
            let used = |window: &mut Option<Box<Window>>| window.as_mut().is_some_and(|window| window.sum(now) > 0);
            usage.queued > 0 || used(&mut usage.runs) || used(&mut usage.cpu)
        });
        let keep = SUBJECTS_MAX - SUBJECTS_MAX / 8;
        if self.usage.len() > keep {
            let mut last_used: Vec<Instant> = self.usage.values().map(|usage| usage.last_used).collect();
            let (_, oldest_kept, _) = last_used.select_nth_unstable_by_key(keep - 1, |at| Reverse(*at));
            let oldest_kept = *oldest_kept;
            self.usage.retain(|_, usage| usage.queued > 0 || usage.last_used > oldest_kept);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.usage.len()
    }

    #[cfg(test)]
    pub(super) fn remembers(&self, subject: &Subject) -> bool {
        self.usage.contains_key(subject)
    }
}
