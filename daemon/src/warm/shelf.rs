//! One kind of member: what it is made of, which stand ready, what was asked for.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crankcase_sandbox::spec::{SandboxSpec, StageCommand, StageLimits};

use super::backoff::Backoff;
use super::demand::Demand;
use super::policy::{Figures, Kind};
use crate::config::WarmLanguage;

/// What a member is made of. A run takes one only if it would have made the very same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The sandbox.
    pub spec: SandboxSpec,
    /// What is loaded into it, if anything.
    pub load: Option<Load>,
}

/// A payload that stands ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    /// The command and its environment.
    pub command: StageCommand,
    /// What it may use.
    pub limits: StageLimits,
    /// Whether it was executed up to its gate, not only to one step before `execve`.
    pub gate: bool,
}

impl Key {
    /// The kind of member.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match &self.load {
            None => Kind::Prepared,
            Some(Load { gate: false, .. }) => Kind::Loaded,
            Some(Load { gate: true, .. }) => Kind::Warm,
        }
    }
}

/// What a shelf is set up with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    /// Whose it is; [`super::ANY`] for prepared sandboxes, which serve all.
    pub language: Arc<str>,
    /// What its members are made of.
    pub key: Key,
    /// How many, and whether forks may fill it.
    pub setting: WarmLanguage,
    /// Bytes that a member holds when it was started by itself.
    pub started_bytes: u64,
    /// Bytes that a member holds when it was forked.
    pub forked_bytes: u64,
    /// Whether the language's own defaults asked for it, not a request.
    pub standing: bool,
}

/// A member that stands ready.
#[derive(Debug)]
pub(super) struct Entry<M> {
    pub member: M,
    pub bytes: u64,
    pub made: Instant,
}

/// The shelf of one [`Key`].
#[derive(Debug)]
pub(super) struct Shelf<M> {
    pub id: u64,
    pub setup: Setup,
    /// Oldest first.
    pub ready: VecDeque<Entry<M>>,
    pub making: u32,
    pub target: u32,
    pub demand: Demand,
    pub backoff: Backoff,
}

impl<M> Shelf<M> {
    pub fn new(id: u64, setup: Setup, now: Instant) -> Self {
        Self {
            id,
            setup,
            ready: VecDeque::new(),
            making: 0,
            target: 0,
            demand: Demand::new(now),
            backoff: Backoff::default(),
        }
    }

    /// For [`super::policy::allot`]; `template_bytes` where a template fills it.
    pub fn figures(&mut self, template_bytes: Option<u64>, now: Instant, keep: Duration) -> Figures {
        let forked = template_bytes.is_some();
        Figures {
            kind: self.setup.key.kind(),
            size: self.setup.setting.size,
            max: self.setup.setting.max,
            member_bytes: if forked { self.setup.forked_bytes } else { self.setup.started_bytes },
            beside_bytes: template_bytes.filter(|_| self.setup.standing).unwrap_or(0),
            forked,
            standing: self.setup.standing,
            peak: self.demand.peak(now, keep),
            idle: self.demand.idle(now),
        }
    }

    /// Members that are not due to be replaced.
    pub fn fresh(&self, now: Instant, max_age: Duration) -> u32 {
        let fresh = self.ready.iter().filter(|ready| now.saturating_duration_since(ready.made) < max_age).count();
        u32::try_from(fresh).unwrap_or(u32::MAX)
    }

    /// Whether another member should be made.
    pub fn lacks(&self, now: Instant, max_age: Duration) -> bool {
        self.fresh(now, max_age) + self.making < self.target && self.backoff.ready(now)
    }

    /// Takes out what is too much, and what is so old that it serves nobody even while there is nothing newer.
    pub fn trim(&mut self, now: Instant, max_age: Duration) -> Vec<M> {
        let ancient = self.ready.iter().take_while(|r| now.saturating_duration_since(r.made) >= max_age * 2).count();
        let surplus = self.ready.len().saturating_sub(self.target as usize).max(ancient);
        self.ready.drain(..surplus).map(|ready| ready.member).collect()
    }

    /// Takes out what is dead.
    pub fn bury(&mut self, mut dead: impl FnMut(&mut M) -> bool) -> Vec<M> {
        let mut buried = Vec::new();
        for mut ready in std::mem::take(&mut self.ready) {
            if dead(&mut ready.member) {
                buried.push(ready.member);
            } else {
                self.ready.push_back(ready);
            }
        }
        buried
    }
}
