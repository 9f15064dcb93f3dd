//! The order of one client's numbered messages: in order, ahead, or behind.
//!
//! Numbers are each client's own. The first one, when not above the number it was given, is its start;
//! from then on each must be one more.
//!
//! **Invariants.** What [`ClientOrder`] hands out has strictly increasing numbers; a number is handed out
//! at most once; nothing waits longer than the configured time; the waiting messages of a room never
//! exceed its [`BufferBudget`].

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The largest number a client may use: what JavaScript counts exactly.
pub const MAX_NUMBER: u64 = (1 << 53) - 1;

/// Ranges of skipped numbers that are remembered for [`ClientOrder::processed`].
const REMEMBERED_GAPS: usize = 64;

/// What the waiting messages of one room may take, all its clients together.
#[derive(Debug)]
pub struct BufferBudget {
    messages: AtomicUsize,
    bytes: AtomicUsize,
    max_messages: usize,
    max_bytes: usize,
}

impl BufferBudget {
    /// At most so many messages of at most so many bytes together.
    #[must_use]
    pub fn new(max_messages: usize, max_bytes: usize) -> Arc<Self> {
        Arc::new(Self { messages: AtomicUsize::new(0), bytes: AtomicUsize::new(0), max_messages, max_bytes })
    }

    /// Messages that wait now.
    #[must_use]
    pub fn messages(&self) -> usize {
        self.messages.load(Ordering::Acquire)
    }

    fn take(&self, bytes: usize) -> bool {
        if !add_within(&self.messages, 1, self.max_messages) {
            return false;
        }
        if add_within(&self.bytes, bytes, self.max_bytes) {
            return true;
        }
        self.messages.fetch_sub(1, Ordering::AcqRel);
        false
    }

    fn give_back(&self, bytes: usize) {
        self.messages.fetch_sub(1, Ordering::AcqRel);
        self.bytes.fetch_sub(bytes, Ordering::AcqRel);
    }
}

fn add_within(counter: &AtomicUsize, amount: usize, max: usize) -> bool {
    counter
        .fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| now.checked_add(amount).filter(|sum| *sum <= max))
        .is_ok()
}

/// A message and its sender's number.
#[derive(Debug, PartialEq, Eq)]
pub struct Numbered<T> {
    /// The sender's number.
    pub number: u64,
    /// The message.
    pub message: T,
}

/// What came of a message's arrival.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrival<T> {
    /// To be processed now, in this order; more than one when it closed a gap.
    Ready(Vec<Numbered<T>>),
    /// It waits for the missing ones; the sender is told.
    Ahead {
        /// The first missing number.
        expected: u64,
    },
    /// No room to wait: as [`Arrival::Ahead`], but processed now, without the missing ones.
    Overflow {
        /// The first missing number.
        expected: u64,
        /// To be processed now, in this order.
        ready: Vec<Numbered<T>>,
    },
    /// Seen before, or given up on: without an effect.
    Duplicate,
}

#[derive(Debug)]
struct Waiting<T> {
    message: T,
    bytes: usize,
    since: Instant,
}

/// One client's place in its own counting.
#[derive(Debug)]
pub struct ClientOrder<T> {
    given: u64,
    next: Option<u64>,
    waiting: BTreeMap<u64, Waiting<T>>,
    skipped: VecDeque<Range<u64>>,
    budget: Arc<BufferBudget>,
    wait: Duration,
}

impl<T> ClientOrder<T> {
    /// For a client that was given `next_expected` on joining.
    #[must_use]
    pub fn new(next_expected: u64, budget: Arc<BufferBudget>, wait: Duration) -> Self {
        Self { given: next_expected, next: None, waiting: BTreeMap::new(), skipped: VecDeque::new(), budget, wait }
    }

    /// The client was told a newer `nextExpectedSequence`: counts until its start is known.
    pub fn give(&mut self, next_expected: u64) {
        self.given = next_expected;
    }

    /// The number that is due.
    #[must_use]
    pub fn expected(&self) -> u64 {
        self.next.unwrap_or(self.given)
    }

    /// Whether the client numbers its messages.
    #[must_use]
    pub const fn numbers(&self) -> bool {
        self.next.is_some()
    }

    /// How many of its messages wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether the message of this number has been handed out, as far as a message that itself has the
    /// number `before` may know (`None`: any that was handed out). What was given up on was not.
    #[must_use]
    pub fn processed(&self, number: u64, before: Option<u64>) -> bool {
        number < before.unwrap_or_else(|| self.expected()).min(self.expected())
            && !self.skipped.iter().any(|gap| gap.contains(&number))
    }

    /// Takes a message of at most [`MAX_NUMBER`]; `bytes` is what it counts for in the budget.
    pub fn arrive(&mut self, number: u64, bytes: usize, message: T, now: Instant) -> Arrival<T> {
        let expected = match self.next {
            Some(next) => next,
            None if number <= self.given => number,
            None => self.given,
        };
        if number < expected || self.waiting.contains_key(&number) {
            return Arrival::Duplicate;
        }
        self.next = Some(expected);
        if number == expected {
            self.next = Some(number + 1);
            let mut ready = vec![Numbered { number, message }];
            self.take_contiguous(&mut ready);
            return Arrival::Ready(ready);
        }
        if self.budget.take(bytes) {
            self.waiting.insert(number, Waiting { message, bytes, since: now });
            return Arrival::Ahead { expected };
        }
        let mut ready = Vec::new();
        self.take_below(number, &mut ready);
        self.skip_to(number);
        self.next = Some(number + 1);
        ready.push(Numbered { number, message });
        self.take_contiguous(&mut ready);
        Arrival::Overflow { expected, ready }
    }

    /// When the first waiting message has waited long enough.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.waiting.values().map(|waiting| waiting.since + self.wait).min()
    }

    /// What has waited long enough, with everything below it, in order, without the missing ones.
    pub fn expire(&mut self, now: Instant) -> Vec<Numbered<T>> {
        let due = self.waiting.iter().rev().find(|(_, waiting)| waiting.since + self.wait <= now);
        let Some(due) = due.map(|(number, _)| *number) else { return Vec::new() };
        self.advance(due + 1)
    }

    /// Gives up on every number below `to` that is missing; what waits below it is handed out.
    pub fn advance(&mut self, to: u64) -> Vec<Numbered<T>> {
        let mut ready = Vec::new();
        self.take_below(to, &mut ready);
        if to > self.expected() {
            self.skip_to(to);
        }
        self.take_contiguous(&mut ready);
        ready
    }

    /// Gives up on everything that is missing.
    pub fn flush(&mut self) -> Vec<Numbered<T>> {
        match self.waiting.last_key_value() {
            Some((last, _)) => self.advance(last + 1),
            None => Vec::new(),
        }
    }

    fn take_below(&mut self, bound: u64, ready: &mut Vec<Numbered<T>>) {
        while let Some(entry) = self.waiting.first_entry().filter(|entry| *entry.key() < bound) {
            let (number, waiting) = entry.remove_entry();
            self.hand_out(number, waiting, ready);
        }
    }

    fn take_contiguous(&mut self, ready: &mut Vec<Numbered<T>>) {
        while let Some(waiting) = self.next.and_then(|next| self.waiting.remove(&next)) {
            let number = self.expected();
            self.hand_out(number, waiting, ready);
        }
    }

    fn hand_out(&mut self, number: u64, waiting: Waiting<T>, ready: &mut Vec<Numbered<T>>) {
        self.skip_to(number);
        self.next = Some(number + 1);
        self.budget.give_back(waiting.bytes);
        ready.push(Numbered { number, message: waiting.message });
    }

    fn skip_to(&mut self, number: u64) {
        let expected = self.expected();
        if number > expected {
            if self.skipped.len() == REMEMBERED_GAPS {
                self.skipped.pop_front();
            }
            self.skipped.push_back(expected..number);
            self.next = Some(number);
        }
    }
}

impl<T> Drop for ClientOrder<T> {
    fn drop(&mut self) {
        for waiting in self.waiting.values() {
            self.budget.give_back(waiting.bytes);
        }
    }
}

#[cfg(test)]
#[path = "order_tests.rs"]
mod tests;
