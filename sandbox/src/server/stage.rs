//! One stage from load to end: its clocks, its counters, and how they become an outcome. No I/O but reading counters.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use crankcase_sandbox::outcome::{Exit, KillReason, Limit, StageOutcome};
use crankcase_sandbox::spec::StageLimits;
use nix::libc;

use super::TICK;
use crate::cgroup::Usage;

/// A stage that is loaded or runs.
pub struct Stage {
    pub limits: StageLimits,
    /// The payload is started ahead of need and stands in its interpreter's gate.
    pub gate: bool,
    /// Ends of the daemon's, until they are handed over.
    pub stdio: Vec<OwnedFd>,
    /// The payload's go socket; closed once `execve` succeeded.
    pub go: Option<OwnedFd>,
    clock: Option<Clock>,
    /// What we ended it for.
    pub cause: Option<Cause>,
}

/// Why the spawner killed a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    Limit(Limit),
    Cancelled,
}

impl From<KillReason> for Cause {
    fn from(reason: KillReason) -> Self {
        match reason {
            KillReason::Output => Self::Limit(Limit::Output),
            KillReason::Cancelled => Self::Cancelled,
        }
    }
}

#[derive(Clone, Copy)]
struct Clock {
    started: Instant,
    base: Usage,
    next_look: Instant,
}

/// How a stage's processes ended, as far as init could see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    pub exit: Exit,
    pub box_full: bool,
}

impl Stage {
    pub const fn new(limits: StageLimits, gate: bool, go: OwnedFd, stdio: Vec<OwnedFd>) -> Self {
        Self { limits, gate, stdio, go: Some(go), clock: None, cause: None }
    }

    /// `base` is what had been used before.
    pub fn start(&mut self, now: Instant, base: Usage) {
        self.clock = Some(Clock { started: now, base, next_look: now + TICK });
    }

    pub const fn is_started(&self) -> bool {
        self.clock.is_some()
    }

    /// Whether the OOM killer struck since it was started.
    pub fn is_out_of_memory(&self, usage: Usage) -> bool {
        self.clock.is_some_and(|clock| usage.oom_kills > clock.base.oom_kills)
    }

    /// When to look at it next.
    pub fn due(&self) -> Option<Instant> {
        self.clock.map(|clock| clock.next_look.min(clock.started + self.limits.wall.duration()))
    }

    /// Whether a limit is hit by now.
    pub fn look(&mut self, now: Instant, usage: impl FnOnce() -> Option<Usage>) -> Option<Limit> {
        let limits = self.limits;
        let clock = self.clock.as_mut()?;
        clock.next_look = now + TICK;
        if let Some(usage) = usage()
            && let Some(limit) = counted_limit(&limits, clock.base, usage)
        {
            return Some(limit);
        }
        (now >= clock.started + limits.wall.duration()).then_some(Limit::Time)
    }

    /// The outcome, from what was seen and counted. The peak is all that was held at once, by the interpreter as well. What
    /// a start ahead of need holds comes on top of the limit, so the limit is the most that is told.
    pub fn outcome(&self, now: Instant, ended: Ended, usage: Usage, peak_memory: u64) -> StageOutcome {
        let (base, wall_time) = self.clock.map_or((usage, Duration::ZERO), |c| (c.base, now - c.started));
        let cancelled = self.cause == Some(Cause::Cancelled);
        let limit = match self.cause {
            Some(Cause::Cancelled) => None,
            // Counters that stood when our own signal went out say more than the signal.
            Some(Cause::Limit(limit)) => match counted_limit(&self.limits, base, usage) {
                Some(counted @ (Limit::Memory | Limit::Processes)) if limit == Limit::Time => Some(counted),
                _ => Some(limit),
            },
            None => counted_limit(&self.limits, base, usage).or_else(|| self.limit_of(ended)),
        };
        StageOutcome {
            exit: ended.exit,
            limit,
            cancelled,
            cpu_time: usage.cpu.saturating_sub(base.cpu),
            wall_time,
            peak_memory: peak_memory.min(self.limits.memory.get()),
        }
    }

    fn limit_of(&self, ended: Ended) -> Option<Limit> {
        match ended.exit {
            Exit::Signal(signal) if i32::from(signal) == libc::SIGXCPU => Some(Limit::Cpu),
            Exit::Signal(signal) if i32::from(signal) == libc::SIGXFSZ => Some(Limit::Disk),
            Exit::Code(0) => None,
            _ => ended.box_full.then_some(Limit::Disk),
        }
    }
}

fn counted_limit(limits: &StageLimits, base: Usage, usage: Usage) -> Option<Limit> {
    if usage.oom_kills > base.oom_kills {
        Some(Limit::Memory)
    } else if usage.pids_refused > base.pids_refused {
        Some(Limit::Processes)
    } else if usage.cpu.saturating_sub(base.cpu) >= limits.cpu.duration() {
        Some(Limit::Cpu)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use crankcase_sandbox::spec::{CpuQuota, CpuTime, MemoryMax, PidsMax, WallTime};

    use super::*;

    fn stage() -> Stage {
        let limits = StageLimits {
            memory: MemoryMax::new(64 << 20).unwrap(),
            pids: PidsMax::new(8).unwrap(),
            cpu_quota: CpuQuota::new(1000).unwrap(),
            wall: WallTime::new(1000).unwrap(),
            cpu: CpuTime::new(500).unwrap(),
            open_files: 64,
            file_size: 1 << 20,
            stack: 8 << 20,
        };
        Stage::new(limits, false, OwnedFd::from(std::fs::File::open("/dev/null").unwrap()), Vec::new())
    }

    const EXITED: Ended = Ended { exit: Exit::Code(0), box_full: false };

    #[test]
    fn the_start_is_not_charged() {
        let mut stage = stage();
        let now = Instant::now();
        let base = Usage { cpu: Duration::from_millis(400), ..Usage::default() };
        stage.start(now, base);
        let usage = Usage { cpu: Duration::from_millis(450), ..base };
        let outcome = stage.outcome(now + Duration::from_millis(60), EXITED, usage, 14 << 20);
        assert_eq!((outcome.limit, outcome.cpu_time), (None, Duration::from_millis(50)));
        assert_eq!(outcome.peak_memory, 14 << 20, "an interpreter is part of what its program needs");
        let full = stage.outcome(now, EXITED, usage, 70 << 20);
        assert_eq!(full.peak_memory, 64 << 20, "what the limit was raised by is not told");
        assert_eq!(outcome.wall_time, Duration::from_millis(60));
    }

    #[test]
    fn counters_name_the_limit() {
        let mut stage = stage();
        let now = Instant::now();
        stage.start(now, Usage::default());
        let killed = Ended { exit: Exit::Signal(9), box_full: false };
        let at = now + Duration::from_millis(10);
        let oom = Usage { oom_kills: 1, pids_refused: 4, ..Usage::default() };
        assert_eq!(stage.outcome(at, killed, oom, 0).limit, Some(Limit::Memory));
        let bomb = Usage { pids_refused: 4, ..Usage::default() };
        assert_eq!(stage.outcome(at, EXITED, bomb, 0).limit, Some(Limit::Processes));
        let busy = Usage { cpu: Duration::from_millis(500), ..Usage::default() };
        assert_eq!(stage.look(at, || Some(busy)), Some(Limit::Cpu));
    }

    #[test]
    fn a_full_disk_counts_only_when_the_program_failed() {
        let mut stage = stage();
        let now = Instant::now();
        stage.start(now, Usage::default());
        let full = |exit| Ended { exit, box_full: true };
        assert_eq!(stage.outcome(now, full(Exit::Code(0)), Usage::default(), 0).limit, None);
        assert_eq!(stage.outcome(now, full(Exit::Code(1)), Usage::default(), 0).limit, Some(Limit::Disk));
        let too_large = Ended { exit: Exit::Signal(25), box_full: false };
        assert_eq!(stage.outcome(now, too_large, Usage::default(), 0).limit, Some(Limit::Disk));
    }

    #[test]
    fn wall_time_strikes_at_its_deadline_and_cancelling_is_no_limit() {
        let mut stage = stage();
        let now = Instant::now();
        assert_eq!(stage.due(), None);
        stage.start(now, Usage::default());
        assert_eq!(stage.due(), Some(now + TICK));
        assert_eq!(stage.look(now + Duration::from_millis(999), || None), None);
        assert_eq!(stage.due(), Some(now + Duration::from_millis(1000)));
        assert_eq!(stage.look(now + Duration::from_millis(1000), || None), Some(Limit::Time));
        stage.cause = Some(Cause::Cancelled);
        let outcome = stage.outcome(now, Ended { exit: Exit::Signal(9), box_full: true }, Usage::default(), 0);
        assert!(outcome.cancelled && outcome.limit.is_none());
    }
}
