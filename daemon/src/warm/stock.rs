//! The book of everything that stands ready: what there is, what is asked for, what should be made next.
//!
//! **Invariants.** It decides and does no I/O. A member leaves it once, to a run or to be destroyed, and never comes
//! back. What is being made when the set-up changes finds no shelf when it comes and is destroyed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crankcase_sandbox::outcome::{SandboxError, Step};
use crankcase_sandbox::spec::StageCommand;
use tracing::{info, warn};

use super::policy::allot;
use super::shelf::{Entry, Key, Load, Setup, Shelf};
use super::template::{Blueprint, Life, Live, Slot};
use crate::config::Warm;

/// Keys that requests asked for beside the languages' own, and that may have a shelf.
const OWN_MAX: usize = 32;
/// After memory had to be given back nothing grows for this long.
const HOLD: Duration = Duration::from_secs(5);

/// Everything that is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The configuration's section.
    pub warm: Arc<Warm>,
    /// Bytes for all of it.
    pub bytes: u64,
    /// The shelves that the languages' defaults ask for.
    pub shelves: Vec<Setup>,
    /// The templates.
    pub templates: Vec<Blueprint>,
}

/// What holds at the moment.
#[derive(Debug, Clone, Copy)]
pub struct Situation {
    /// Runs wait for capacity.
    pub runs_wait: bool,
    /// Sandboxes that may stand ready in all.
    pub sandboxes: u32,
}

/// Something to be made.
#[derive(Debug)]
pub enum Order<T> {
    /// A member of a shelf.
    Member {
        /// The shelf.
        shelf: u64,
        /// What it is made of.
        key: Key,
        /// What it is forked from; none: it is started by itself.
        template: Option<Arc<T>>,
        /// Bytes that it will hold.
        bytes: u64,
    },
    /// A template.
    Template {
        /// Its place.
        slot: u64,
        /// What it is made of.
        blueprint: Blueprint,
    },
}

/// What the metrics show of one kind of one language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Level {
    /// Whose.
    pub language: Arc<str>,
    /// A [`super::policy::Kind`]'s name, or `template`.
    pub kind: &'static str,
    /// How many stand ready.
    pub ready: u32,
    /// How many should.
    pub target: u32,
    /// The age of the oldest.
    pub oldest: Duration,
}

/// The book; `M` is a member, `T` a template.
#[derive(Debug)]
pub struct Stock<M, T> {
    layout: Layout,
    shelves: Vec<Shelf<M>>,
    slots: Vec<Slot<T>>,
    /// Keys that were asked for once and have no shelf yet.
    asked: Vec<(Key, Instant)>,
    next_id: u64,
    hold_until: Option<Instant>,
}

impl<M, T> Stock<M, T> {
    /// An empty one.
    #[must_use]
    pub fn new(layout: Layout, now: Instant) -> Self {
        let warm = Arc::clone(&layout.warm);
        let empty = Layout { warm, bytes: 0, shelves: Vec::new(), templates: Vec::new() };
        let mut stock = Self {
            layout: empty,
            shelves: Vec::new(),
            slots: Vec::new(),
            asked: Vec::new(),
            next_id: 0,
            hold_until: None,
        };
        stock.set_up(layout, now);
        stock
    }

    /// Sets it up anew; what does not fit any more is returned to be destroyed.
    pub fn set_up(&mut self, layout: Layout, now: Instant) -> Vec<M> {
        let mut old = std::mem::take(&mut self.shelves);
        for setup in &layout.shelves {
            let kept = old.iter().position(|shelf| shelf.setup.key == setup.key);
            let mut shelf = match kept {
                Some(at) => old.remove(at),
                None => Shelf::new(self.new_id(), setup.clone(), now),
            };
            shelf.setup = setup.clone();
            self.shelves.push(shelf);
        }
        let mut slots = std::mem::take(&mut self.slots);
        for blueprint in &layout.templates {
            let kept = slots.iter().position(|slot| slot.blueprint == *blueprint);
            let slot = match kept {
                Some(at) => slots.remove(at),
                None => Slot::new(self.new_id(), blueprint.clone()),
            };
            self.slots.push(slot);
        }
        self.asked.clear();
        self.layout = layout;
        old.into_iter().flat_map(|shelf| shelf.ready).map(|ready| ready.member).collect()
    }

    /// The configuration's section in force.
    #[must_use]
    pub fn warm(&self) -> Arc<Warm> {
        Arc::clone(&self.layout.warm)
    }

    /// Whose a shelf is; nobody's when it is gone.
    #[must_use]
    pub fn language(&self, shelf: u64) -> Option<Arc<str>> {
        self.shelves.iter().find(|s| s.id == shelf).map(|shelf| Arc::clone(&shelf.setup.language))
    }

    const fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Takes the oldest member of this key. A key that is asked for again and again gets a shelf, made by `setup`.
    pub fn take(&mut self, key: &Key, now: Instant, setup: impl FnOnce() -> Option<Setup>) -> Option<M> {
        let keep = self.layout.warm.idle_after;
        if let Some(shelf) = self.shelves.iter_mut().find(|shelf| shelf.setup.key == *key) {
            shelf.demand.record(now, keep);
            return shelf.ready.pop_front().map(|ready| ready.member);
        }
        self.asked.retain(|(_, when)| now.saturating_duration_since(*when) < keep);
        if let Some(at) = self.asked.iter().position(|(asked, _)| asked == key) {
            self.asked.swap_remove(at);
            if self.shelves.iter().filter(|shelf| !shelf.setup.standing).count() < OWN_MAX
                && let Some(setup) = setup()
            {
                let mut shelf = Shelf::new(self.new_id(), setup, now);
                shelf.demand.record(now, keep);
                self.shelves.push(shelf);
            }
        } else {
            if self.asked.len() >= OWN_MAX {
                self.asked.remove(0);
            }
            self.asked.push((key.clone(), now));
        }
        None
    }

    /// The template of this command, for one more fork.
    pub fn template(&mut self, command: &StageCommand, now: Instant) -> Option<Arc<T>> {
        let life = self.life();
        self.slots.iter_mut().find(|slot| slot.blueprint.spec.command == *command)?.fork(life, now)
    }

    /// This template cannot be forked any more.
    pub fn template_lost(&mut self, template: &Arc<T>) {
        let _ = self.slots.iter_mut().any(|slot| slot.lost(template));
    }

    fn life(&self) -> Life {
        Life { runs: self.layout.warm.template_runs, age: self.layout.warm.max_age }
    }

    /// Decides anew how many of each there should be, and takes out what is too much, too old or dead.
    pub fn sweep(
        &mut self,
        now: Instant,
        situation: Situation,
        mut dead: impl FnMut(&mut M) -> bool,
        mut gone: impl FnMut(&T) -> bool,
    ) -> Vec<M> {
        let warm = Arc::clone(&self.layout.warm);
        for slot in &mut self.slots {
            let lost = slot.live.as_ref().filter(|live| gone(&live.template)).map(|live| Arc::clone(&live.template));
            if let Some(template) = lost {
                slot.lost(&template);
            }
        }
        self.shelves.retain(|shelf| {
            let idle = shelf.demand.idle(now).is_some_and(|idle| idle >= warm.idle_after);
            shelf.setup.standing || !idle || !shelf.ready.is_empty() || shelf.making > 0
        });
        let mut figures = Vec::with_capacity(self.shelves.len());
        for shelf in &mut self.shelves {
            let bytes = slot_of(&self.slots, &shelf.setup).filter(|s| s.fills()).map(|s| s.blueprint.bytes);
            figures.push(shelf.figures(bytes, now, warm.idle_after));
        }
        let targets = allot(&figures, self.layout.bytes, situation.sandboxes);
        let mut out = Vec::new();
        for (shelf, target) in self.shelves.iter_mut().zip(targets) {
            shelf.target = target;
            out.extend(shelf.bury(&mut dead));
            out.extend(shelf.trim(now, warm.max_age));
        }
        for at in 0..self.slots.len() {
            if !self.is_template_wanted(at) {
                self.slots[at].live = None;
            }
        }
        out
    }

    fn is_template_wanted(&self, at: usize) -> bool {
        let Some(slot) = self.slots.get(at) else { return false };
        self.shelves.iter().any(|shelf| {
            shelf.target > 0 && slot_of(&self.slots, &shelf.setup).is_some_and(|other| other.id == slot.id)
        })
    }

    /// What should be made next; it counts as being made from here on.
    pub fn next(&mut self, now: Instant, situation: Situation) -> Option<Order<T>> {
        if self.hold_until.is_some_and(|until| now < until) {
            return None;
        }
        let (life, max_age) = (self.life(), self.layout.warm.max_age);
        // What was asked for last comes first, then the rest in the languages' order.
        let mut order: Vec<usize> = (0..self.shelves.len()).collect();
        order.sort_by_key(|&at| self.shelves[at].demand.idle(now).unwrap_or(Duration::MAX));
        for at in order {
            let Some(shelf) = self.shelves.get_mut(at) else { continue };
            let mut slot = slot_of_mut(&mut self.slots, &shelf.setup);
            if shelf.target > 0
                && let Some(slot) = slot.as_mut().filter(|slot| slot.lacks(life, now))
            {
                slot.making = true;
                return Some(Order::Template { slot: slot.id, blueprint: slot.blueprint.clone() });
            }
            if let Some(slot) = slot.filter(|slot| slot.fills()) {
                if shelf.lacks(now, max_age)
                    && let Some(template) = slot.fork(life, now)
                {
                    shelf.making += 1;
                    return Some(Order::Member {
                        shelf: shelf.id,
                        key: shelf.setup.key.clone(),
                        template: Some(template),
                        bytes: shelf.setup.forked_bytes,
                    });
                }
            } else if shelf.lacks(now, max_age) && !situation.runs_wait {
                shelf.making += 1;
                return Some(Order::Member {
                    shelf: shelf.id,
                    key: shelf.setup.key.clone(),
                    template: None,
                    bytes: shelf.setup.started_bytes,
                });
            }
        }
        None
    }

    /// An order is not carried out: there is no memory for it now.
    pub fn gave_up(&mut self, order: &Order<T>, now: Instant) {
        self.hold_until = Some(now + Duration::from_secs(1));
        match order {
            Order::Member { shelf, .. } => {
                self.shelves.iter_mut().filter(|s| s.id == *shelf).for_each(|shelf| shelf.making -= 1);
            }
            Order::Template { slot, .. } => {
                self.slots.iter_mut().filter(|s| s.id == *slot).for_each(|slot| slot.making = false);
            }
        }
    }

    /// A member was made, or not. What no shelf wants any more is returned.
    pub fn made(&mut self, shelf: u64, bytes: u64, made: Result<M, SandboxError>, now: Instant) -> Option<M> {
        let Some(shelf) = self.shelves.iter_mut().find(|s| s.id == shelf) else { return made.ok() };
        shelf.making -= 1;
        let (language, kind) = (&shelf.setup.language, shelf.setup.key.kind().name());
        match made {
            Ok(member) => {
                if shelf.backoff.worked() {
                    info!(%language, kind, "made ahead of need again");
                }
                shelf.ready.push_back(Entry { member, bytes, made: now });
            }
            // The template is replaced, the spawner comes back, a place comes free: none of it is this shelf's fault.
            Err(SandboxError { step: Step::Spawner | Step::Template, .. }) => {}
            Err(error) => {
                if shelf.backoff.failed(now) {
                    warn!(%language, kind, %error, "nothing can be made ahead of need; programs are started plainly");
                }
            }
        }
        None
    }

    /// A template was made, or not. The one that it replaces is returned.
    pub fn template_made(&mut self, slot: u64, made: Result<T, SandboxError>, now: Instant) -> Option<Arc<T>> {
        let slot = self.slots.iter_mut().find(|s| s.id == slot)?;
        slot.making = false;
        let language = &slot.blueprint.language;
        match made {
            Ok(template) => {
                if slot.backoff.worked() {
                    info!(%language, "the template starts again");
                }
                let live = Live { template: Arc::new(template), made: now, forks: 0 };
                return slot.live.replace(live).map(|old| old.template);
            }
            Err(SandboxError { step: Step::Spawner, .. }) => {}
            Err(error) => {
                if slot.backoff.failed(now) {
                    warn!(%language, %error, "the template does not start; processes are started one by one");
                }
            }
        }
        None
    }

    /// Gives back so many bytes, of what was asked for longest ago first.
    pub fn shrink(&mut self, mut bytes: u64, now: Instant) -> (Vec<M>, Vec<Arc<T>>) {
        self.hold_until = Some(now + HOLD);
        let mut order: Vec<usize> = (0..self.shelves.len()).collect();
        order.sort_by_key(|&at| std::cmp::Reverse(self.shelves[at].demand.idle(now).unwrap_or(Duration::MAX)));
        let mut members = Vec::new();
        for at in order {
            while bytes > 0
                && let Some(ready) = self.shelves[at].ready.pop_front()
            {
                bytes = bytes.saturating_sub(ready.bytes);
                members.push(ready.member);
            }
        }
        let mut templates = Vec::new();
        for slot in &mut self.slots {
            if bytes == 0 {
                break;
            }
            if let Some(live) = slot.live.take() {
                bytes = bytes.saturating_sub(slot.blueprint.bytes);
                templates.push(live.template);
            }
        }
        (members, templates)
    }

    /// For the metrics: one of each language and kind.
    #[must_use]
    pub fn levels(&self, now: Instant) -> Vec<Level> {
        let mut levels: Vec<Level> = Vec::new();
        let mut add = |language: &Arc<str>, kind, ready: usize, target, oldest: Duration| {
            let ready = u32::try_from(ready).unwrap_or(u32::MAX);
            match levels.iter_mut().find(|level| level.language == *language && level.kind == kind) {
                Some(level) => {
                    level.ready += ready;
                    level.target += target;
                    level.oldest = level.oldest.max(oldest);
                }
                None => levels.push(Level { language: Arc::clone(language), kind, ready, target, oldest }),
            }
        };
        let age = |made: Instant| now.saturating_duration_since(made);
        for shelf in &self.shelves {
            let oldest = shelf.ready.front().map_or(Duration::ZERO, |ready| age(ready.made));
            add(&shelf.setup.language, shelf.setup.key.kind().name(), shelf.ready.len(), shelf.target, oldest);
        }
        for (at, slot) in self.slots.iter().enumerate() {
            let oldest = slot.live.as_ref().map_or(Duration::ZERO, |live| age(live.made));
            let target = u32::from(self.is_template_wanted(at));
            add(&slot.blueprint.language, "template", usize::from(slot.live.is_some()), target, oldest);
        }
        levels
    }

    /// The languages for which something fails again and again.
    #[must_use]
    pub fn failing(&self) -> Vec<Arc<str>> {
        let shelves = self.shelves.iter().filter(|s| s.backoff.is_bad()).map(|s| &s.setup.language);
        let slots = self.slots.iter().filter(|s| s.backoff.is_bad()).map(|s| &s.blueprint.language);
        let mut languages: Vec<_> = shelves.chain(slots).cloned().collect();
        languages.sort();
        languages.dedup();
        languages
    }
}

/// The template whose forks fill a shelf.
fn slot_of<'a, T>(slots: &'a [Slot<T>], setup: &Setup) -> Option<&'a Slot<T>> {
    let command = forkable(setup)?;
    slots.iter().find(|slot| slot.blueprint.spec.command == *command)
}

fn slot_of_mut<'a, T>(slots: &'a mut [Slot<T>], setup: &Setup) -> Option<&'a mut Slot<T>> {
    let command = forkable(setup)?;
    slots.iter_mut().find(|slot| slot.blueprint.spec.command == *command)
}

fn forkable(setup: &Setup) -> Option<&StageCommand> {
    match &setup.key.load {
        Some(Load { command, gate: true, .. }) if setup.setting.fork => Some(command),
        _ => None,
    }
}

#[cfg(test)]
#[path = "stock_tests.rs"]
mod tests;
