//! Repeats of a request find the execution of the first: the map of live executions by room, user and
//! correlation id.
//!
//! Everybody who waits for an execution has a [`Share`] of it, whoever carries it out has the [`Owner`].
//! When the last share is dropped before the execution starts, it is abandoned: the owner is told, and a
//! later repeat is a new request. Once started, it ends whether somebody waits or not.
//!
//! **Invariants.** At most one live execution of a key exists. Starting and being abandoned exclude each other.
//!
//! A repeat must not fall between the live executions and the history: call [`Live::begin`] first; only who
//! became the owner looks into the history, and finishes with what is found there. And commit a result to
//! the history before [`Owner::finish`].

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::ids::{CorrelationId, ExecutionId, RoomId, UserId};

/// What makes two requests the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// Where.
    pub room: RoomId,
    /// Who.
    pub user: UserId,
    /// The caller's name for it.
    pub correlation_id: CorrelationId,
}

/// The live executions; clones share them. `T` is what an execution ends with.
pub struct Live<T> {
    entries: Arc<Mutex<Entries<T>>>,
}

struct Entries<T> {
    by_key: HashMap<Key, Entry<T>>,
    next_number: u64,
}

struct Entry<T> {
    /// Tells this execution from a later one of the same key.
    number: u64,
    id: ExecutionId,
    shares: usize,
    started: bool,
    abandoned: CancellationToken,
    done: watch::Receiver<Option<T>>,
}

/// What a request found.
pub enum Begun<T> {
    /// It is the first: carry it out.
    First(Owner<T>, Share<T>),
    /// It is a repeat: wait with the first.
    Repeat(Share<T>),
}

/// A part in waiting for a live execution.
pub struct Share<T> {
    live: Live<T>,
    key: Key,
    number: u64,
    id: ExecutionId,
    done: watch::Receiver<Option<T>>,
}

/// The duty to carry a live execution out. Dropping it without a result ends every share without one.
pub struct Owner<T> {
    live: Live<T>,
    key: Key,
    number: u64,
    abandoned: CancellationToken,
    done: watch::Sender<Option<T>>,
}

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self { entries: Arc::clone(&self.entries) }
    }
}

impl<T> Default for Live<T> {
    fn default() -> Self {
        Self { entries: Arc::new(Mutex::new(Entries { by_key: HashMap::new(), next_number: 0 })) }
    }
}

impl<T> Live<T> {
    /// Finds the live execution of a key, or makes one with this id.
    pub fn begin(&self, key: &Key, id: &ExecutionId) -> Begun<T> {
        let mut entries = self.lock();
        let number = entries.next_number;
        entries.next_number += 1;
        match entries.by_key.entry(key.clone()) {
            Slot::Occupied(mut slot) => {
                slot.get_mut().shares += 1;
                Begun::Repeat(self.share(key, slot.get()))
            }
            Slot::Vacant(slot) => {
                let (done, receiver) = watch::channel(None);
                let abandoned = CancellationToken::new();
                let owner = Owner { live: self.clone(), key: key.clone(), number, abandoned: abandoned.clone(), done };
                let entry = Entry { number, id: id.clone(), shares: 1, started: false, abandoned, done: receiver };
                Begun::First(owner, self.share(key, slot.insert(entry)))
            }
        }
    }

    /// The live execution of a key.
    #[must_use]
    pub fn find(&self, key: &Key) -> Option<ExecutionId> {
        self.lock().by_key.get(key).map(|entry| entry.id.clone())
    }

    /// How many are live.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().by_key.len()
    }

    /// Whether none is live.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn share(&self, key: &Key, entry: &Entry<T>) -> Share<T> {
        Share {
            live: self.clone(),
            key: key.clone(),
            number: entry.number,
            id: entry.id.clone(),
            done: entry.done.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Entries<T>> {
        // Nothing under the lock leaves the map half changed, so a panic elsewhere must not end the service.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Entries<T> {
    fn get_mut(&mut self, key: &Key, number: u64) -> Option<&mut Entry<T>> {
        self.by_key.get_mut(key).filter(|entry| entry.number == number)
    }
}

impl<T> Share<T> {
    /// The execution's id: the first request's, whoever holds this share.
    #[must_use]
    pub fn id(&self) -> &ExecutionId {
        &self.id
    }
}

impl<T: Clone> Share<T> {
    /// Waits for the end; none when the owner went without a result.
    pub async fn result(mut self) -> Option<T> {
        self.done.wait_for(Option::is_some).await.ok().and_then(|result| result.clone())
    }
}

impl<T> Drop for Share<T> {
    fn drop(&mut self) {
        let mut entries = self.live.lock();
        let Some(entry) = entries.get_mut(&self.key, self.number) else { return };
        entry.shares -= 1;
        if entry.shares == 0 && !entry.started {
            let abandoned = entry.abandoned.clone();
            entries.by_key.remove(&self.key);
            drop(entries);
            abandoned.cancel();
        }
    }
}

impl<T> Owner<T> {
    /// Cancelled when the last share is dropped before [`Owner::start`].
    #[must_use]
    pub fn abandoned(&self) -> &CancellationToken {
        &self.abandoned
    }

    /// From now on it can't be abandoned; false when it was already.
    #[must_use = "an abandoned execution must not run"]
    pub fn start(&self) -> bool {
        match self.live.lock().get_mut(&self.key, self.number) {
            Some(entry) => {
                entry.started = true;
                true
            }
            None => false,
        }
    }

    /// Gives every share the result.
    pub fn finish(self, result: T) {
        self.done.send_replace(Some(result));
    }
}

impl<T> Drop for Owner<T> {
    fn drop(&mut self) {
        let mut entries = self.live.lock();
        if entries.get_mut(&self.key, self.number).is_some() {
            entries.by_key.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(correlation_id: &str) -> Key {
        Key {
            room: RoomId::new("room").unwrap(),
            user: UserId::new("user").unwrap(),
            correlation_id: CorrelationId::new(correlation_id).unwrap(),
        }
    }

    fn first(live: &Live<u32>, key: &Key) -> (Owner<u32>, Share<u32>) {
        match live.begin(key, &ExecutionId::generate(1)) {
            Begun::First(owner, share) => (owner, share),
            Begun::Repeat(_) => panic!("there is one already"),
        }
    }

    fn repeat(live: &Live<u32>, key: &Key) -> Share<u32> {
        match live.begin(key, &ExecutionId::generate(2)) {
            Begun::First(..) => panic!("it would run twice"),
            Begun::Repeat(share) => share,
        }
    }

    #[tokio::test]
    async fn a_repeat_gets_the_result_of_the_first() {
        let live = Live::default();
        let (owner, share) = first(&live, &key("a"));
        let other = first(&live, &key("b"));
        let again = repeat(&live, &key("a"));
        assert_eq!(again.id(), share.id());
        assert_eq!(live.find(&key("a")).as_ref(), Some(share.id()));
        assert!(owner.start());
        let waiting = tokio::spawn(again.result());
        owner.finish(7);
        assert_eq!((share.result().await, waiting.await.unwrap()), (Some(7), Some(7)));
        assert_eq!(live.find(&key("a")), None);
        drop(other);
        assert!(live.is_empty());
    }

    #[test]
    fn the_last_share_abandons_what_has_not_started() {
        let live = Live::default();
        let (owner, share) = first(&live, &key("a"));
        let again = repeat(&live, &key("a"));
        drop(share);
        assert!(!owner.abandoned().is_cancelled());
        drop(again);
        assert!(owner.abandoned().is_cancelled());
        assert!(!owner.start());

        // A later repeat is a new request, and the end of the old one does not touch it.
        let (owner_of_second, share) = first(&live, &key("a"));
        drop(owner);
        assert_eq!(live.find(&key("a")).as_ref(), Some(share.id()));
        assert!(owner_of_second.start());
        drop(share);
        assert!(!owner_of_second.abandoned().is_cancelled(), "what runs ends and is recorded");
        drop(repeat(&live, &key("a")));
        drop(owner_of_second);
        assert!(live.is_empty());
    }

    #[tokio::test]
    async fn an_owner_that_vanishes_ends_the_wait() {
        let live = Live::default();
        let (owner, share) = first(&live, &key("a"));
        drop(owner);
        assert_eq!(share.result().await, None);
        assert!(live.is_empty());
    }

    #[test]
    fn starting_and_being_abandoned_exclude_each_other() {
        for _ in 0..500 {
            let live = Live::default();
            let (owner, share) = first(&live, &key("a"));
            let dropper = std::thread::spawn(move || drop(share));
            let started = owner.start();
            dropper.join().unwrap();
            assert_ne!(started, owner.abandoned().is_cancelled());
        }
    }
}
