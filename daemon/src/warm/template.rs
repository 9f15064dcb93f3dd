//! One started interpreter of a language, whose forks fill its shelves.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crankcase_sandbox::spec::TemplateSpec;

use super::backoff::Backoff;

/// A template whose successor does not come is used this many times longer before it is given up.
const OVERTIME: u32 = 4;

/// What a template is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blueprint {
    /// Whose it is.
    pub language: Arc<str>,
    /// What it is.
    pub spec: TemplateSpec,
    /// Bytes that it holds.
    pub bytes: u64,
}

/// After how much a template is replaced: what its forks share must not serve for ever.
#[derive(Debug, Clone, Copy)]
pub(super) struct Life {
    pub runs: u32,
    pub age: Duration,
}

/// A template that can be forked.
#[derive(Debug)]
pub(super) struct Live<T> {
    pub template: Arc<T>,
    pub made: Instant,
    pub forks: u32,
}

/// The place of one template.
#[derive(Debug)]
pub(super) struct Slot<T> {
    pub id: u64,
    pub blueprint: Blueprint,
    pub live: Option<Live<T>>,
    pub making: bool,
    pub backoff: Backoff,
}

impl<T> Slot<T> {
    pub fn new(id: u64, blueprint: Blueprint) -> Self {
        Self { id, blueprint, live: None, making: false, backoff: Backoff::default() }
    }

    /// The template, for one more fork.
    pub fn fork(&mut self, life: Life, now: Instant) -> Option<Arc<T>> {
        let live = self.live.as_mut()?;
        let used_up = live.forks >= life.runs.saturating_mul(OVERTIME)
            || now.saturating_duration_since(live.made) >= life.age * OVERTIME;
        if used_up {
            self.live = None;
            return None;
        }
        live.forks += 1;
        Some(Arc::clone(&live.template))
    }

    /// Whether there is none, or one that should be replaced, and it may be tried.
    pub fn lacks(&self, life: Life, now: Instant) -> bool {
        let due = self
            .live
            .as_ref()
            .is_none_or(|live| live.forks >= life.runs || now.saturating_duration_since(live.made) >= life.age);
        due && !self.making && self.backoff.ready(now)
    }

    /// Whether its shelves are filled by forks: not when it fails again and again.
    pub const fn fills(&self) -> bool {
        self.live.is_some() || !self.backoff.is_bad()
    }

    /// Gives this template up; without effect when it was replaced meanwhile.
    pub fn lost(&mut self, template: &Arc<T>) -> bool {
        let found = self.live.as_ref().is_some_and(|live| Arc::ptr_eq(&live.template, template));
        if found {
            self.live = None;
        }
        found
    }
}
