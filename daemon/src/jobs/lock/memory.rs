//! The lock of one daemon: a FIFO queue a room, no polling, no timers.
//!
//! Whoever wants a room has an [`Entry`] in its queue; the front entry of a room in which nobody runs
//! gets its [`Turn`], and turns it into a [`Hold`] when it starts. Each of the three leaves its place by
//! being dropped, wherever that happens, and the next in line is told in the same moment.
//!
//! **Invariants.** At most one `Hold` or `Turn` of a room exists. A room is in the table exactly while it
//! has a `Hold` or an entry: an idle room costs nothing.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::Place;
use crate::ids::RoomId;
use crate::jobs::RoomQueue;

/// All rooms of a daemon that are held or waited for.
#[derive(Default)]
pub(super) struct Table {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    rooms: HashMap<RoomId, Room>,
    next_number: u64,
}

#[derive(Default)]
struct Room {
    held: bool,
    waiting: VecDeque<Waiter>,
}

struct Waiter {
    /// Ascending in the queue.
    number: u64,
    since: Instant,
    place: watch::Sender<Place>,
    /// None once the turn was given.
    turn: Option<oneshot::Sender<()>>,
}

/// A place in a room's queue, left by dropping it.
pub(super) struct Entry {
    table: Arc<Table>,
    room: RoomId,
    number: u64,
    since: Instant,
    place: watch::Receiver<Place>,
    turn: oneshot::Receiver<()>,
}

/// The first in line of a room in which nobody runs; still in the queue, and left by dropping it.
pub(super) struct Turn {
    entry: Entry,
}

/// The room is held until this is dropped.
pub(super) struct Hold {
    table: Arc<Table>,
    room: RoomId,
}

impl Table {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock leaves the state half changed, so a panic elsewhere must not end the service.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the last place of a room's queue.
    pub(super) fn enqueue(self: &Arc<Self>, room: &RoomId) -> Entry {
        let since = Instant::now();
        let (turn, turn_receiver) = oneshot::channel();
        let mut state = self.lock();
        let number = state.next_number;
        state.next_number += 1;
        let queue = state.rooms.entry(room.clone()).or_default();
        let position = queue.waiting.len();
        let (place, place_receiver) = watch::channel(Place { position, queue_length: position + 1 });
        queue.waiting.push_back(Waiter { number, since, place, turn: Some(turn) });
        queue.call_next();
        drop(state);
        Entry { table: Arc::clone(self), room: room.clone(), number, since, place: place_receiver, turn: turn_receiver }
    }

    /// One room's queue.
    pub(super) fn queue(&self, room: &RoomId) -> RoomQueue {
        self.lock().rooms.get(room).map(Room::queue).unwrap_or_default()
    }

    /// The queues of all rooms in which something waits.
    pub(super) fn queues(&self) -> HashMap<RoomId, RoomQueue> {
        let state = self.lock();
        let waited_for = state.rooms.iter().filter(|(_, room)| !room.waiting.is_empty());
        waited_for.map(|(id, room)| (id.clone(), room.queue())).collect()
    }

    /// The first in line, by number and moment of arrival.
    pub(super) fn front(&self, room: &RoomId) -> Option<(u64, Instant)> {
        let state = self.lock();
        state.rooms.get(room)?.waiting.front().map(|waiter| (waiter.number, waiter.since))
    }

    /// Whether this number still waits.
    pub(super) fn has_entry(&self, room: &RoomId, number: u64) -> bool {
        let state = self.lock();
        let position = |room: &Room| room.waiting.binary_search_by_key(&number, |waiter| waiter.number);
        state.rooms.get(room).is_some_and(|room| position(room).is_ok())
    }

    /// Rooms that are held or waited for.
    pub(super) fn rooms(&self) -> usize {
        self.lock().rooms.len()
    }

    /// Ends one entry: it leaves, or (when `start`) becomes the holder.
    fn remove(&self, id: &RoomId, number: u64, start: bool) {
        let mut state = self.lock();
        let Some(room) = state.rooms.get_mut(id) else { return };
        let Ok(index) = room.waiting.binary_search_by_key(&number, |waiter| waiter.number) else { return };
        room.waiting.remove(index);
        room.held |= start;
        room.renumber(index);
        room.call_next();
        state.forget_if_idle(id);
    }

    fn release(&self, id: &RoomId) {
        let mut state = self.lock();
        let Some(room) = state.rooms.get_mut(id) else { return };
        room.held = false;
        room.call_next();
        state.forget_if_idle(id);
    }
}

impl State {
    fn forget_if_idle(&mut self, id: &RoomId) {
        if self.rooms.get(id).is_some_and(|room| !room.held && room.waiting.is_empty()) {
            self.rooms.remove(id);
            if self.rooms.capacity() > 64 && self.rooms.len() < self.rooms.capacity() / 8 {
                let keep = self.rooms.len() * 2;
                self.rooms.shrink_to(keep);
            }
        }
    }
}

impl Room {
    fn queue(&self) -> RoomQueue {
        let oldest_age = self.waiting.front().map(|waiter| waiter.since.elapsed()).unwrap_or_default();
        RoomQueue { length: self.waiting.len(), oldest_age }
    }

    fn call_next(&mut self) {
        if self.held {
            return;
        }
        if let Some(turn) = self.waiting.front_mut().and_then(|waiter| waiter.turn.take()) {
            // Nobody listens only while its entry is being dropped, and then the drop calls the next one.
            let _ = turn.send(());
        }
    }

    fn renumber(&mut self, from: usize) {
        let queue_length = self.waiting.len();
        for (position, waiter) in self.waiting.iter().enumerate().skip(from) {
            waiter.place.send_replace(Place { position, queue_length });
        }
    }
}

impl Entry {
    /// Where it stands; the sender is gone once it holds the room or has left.
    pub(super) fn place(&self) -> watch::Receiver<Place> {
        self.place.clone()
    }

    /// When it was queued.
    pub(super) fn since(&self) -> Instant {
        self.since
    }

    /// Whether it is its turn now, without waiting.
    pub(super) fn is_called(&self) -> bool {
        !self.turn.is_empty()
    }

    /// Waits until it is the first in line of a room in which nobody runs.
    pub(super) async fn turn(mut self) -> Turn {
        // The sender lives in the table until it is used, and the entry is in the table until it is dropped.
        let _ = (&mut self.turn).await;
        Turn { entry: self }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.table.remove(&self.room, self.number, false);
    }
}

impl Turn {
    /// Tells those who watch the place that it still waits (for another daemon).
    pub(super) fn touch(&self) {
        let state = self.entry.table.lock();
        if let Some(front) = state.rooms.get(&self.entry.room).and_then(|room| room.waiting.front()) {
            front.place.send_modify(|_| ());
        }
    }

    /// Unique in this daemon, ascending by arrival.
    pub(super) fn number(&self) -> u64 {
        self.entry.number
    }

    /// When it was queued.
    pub(super) fn since(&self) -> Instant {
        self.entry.since
    }

    /// Leaves the queue and holds the room.
    pub(super) fn hold(self) -> Hold {
        let entry = self.entry;
        entry.table.remove(&entry.room, entry.number, true);
        // The entry's own drop finds no such number any more.
        Hold { table: Arc::clone(&entry.table), room: entry.room.clone() }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.table.release(&self.room);
    }
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
