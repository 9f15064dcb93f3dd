//! Who is next. No I/O, no clock.
//!
//! Three rounds inside each other: by [`Class`], then in turns over the rooms of a class, then in turns
//! over the users of a room; a user's own runs go by priority, then first come first served. A client's
//! priority thus reorders nothing but its own user's runs.
//!
//! **Invariants.**
//! - *No class starves*: a more urgent class goes first, but a class that was passed over
//!   [`PASSES`] times is served next.
//! - *No room starves*: while `k` rooms of a class wait, each gets one of any `k` turns of the class.
//! - *No large run starves*: one that does not fit may be passed by smaller ones a bounded number of
//!   times, then everybody behind it waits until it fits.
//! - *The first that fits is served*: among the first [`LOOK_AHEAD`] who could be next.

mod door;
mod ring;

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use tokio::time::Instant;

use self::ring::{Ring, take_turns};
use super::budget::Resources;
use super::config::Class;
use crate::ids::{RoomId, UserId};
use crate::jobs::quotas::network;

/// How often a class is passed over by more urgent ones before it is served.
pub const PASSES: u32 = 8;

/// How many runs that do not fit are passed at most in the search for one that does.
pub const LOOK_AHEAD: usize = 64;

/// The user of a request that names none.
const ANONYMOUS: &str = "anonymous";

/// Who takes turns with whom.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RoomKey {
    /// A room.
    Room(RoomId),
    /// A user outside of any room.
    User(UserId),
    /// An address from which somebody without a name sends, outside of any room.
    Address(IpAddr),
}

impl RoomKey {
    /// A room is one party; outside of rooms each user is, or each address of users without a name.
    #[must_use]
    pub fn new(room: &RoomId, user: &UserId, address: Option<IpAddr>) -> Self {
        match address {
            _ if room.is_room() => Self::Room(room.clone()),
            Some(address) if user.as_str() == ANONYMOUS => Self::Address(network(address)),
            _ => Self::User(user.clone()),
        }
    }
}

/// Where an entry queues.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Party {
    /// Its class.
    pub class: Class,
    /// Its room.
    pub room: RoomKey,
    /// Its user within the room.
    pub user: UserId,
}

/// Names an entry for as long as the queue lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryId(u64);

/// Sorts the entries of one user.
type Slot = (Reverse<i32>, EntryId);

/// An entry that waits.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its name.
    pub id: EntryId,
    /// What it needs.
    pub need: Resources,
    /// Since when it waits.
    pub since: Instant,
    overtaken: u32,
}

type UserQueue = BTreeMap<Slot, Entry>;

#[derive(Debug, Default)]
struct RoomQueue {
    users: Ring<UserId, UserQueue>,
    len: usize,
}

#[derive(Debug, Default)]
struct ClassQueue {
    rooms: Ring<RoomKey, RoomQueue>,
    len: usize,
    passed_over: u32,
}

/// The queue.
#[derive(Debug, Default)]
pub struct FairQueue {
    classes: [ClassQueue; Class::ALL.len()],
    places: HashMap<EntryId, (Party, Slot)>,
    next_id: u64,
}

impl FairQueue {
    /// Entries that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Adds an entry behind its user's others of the same priority.
    pub fn push(&mut self, party: Party, priority: i32, need: Resources, since: Instant) -> EntryId {
        let id = EntryId(self.next_id);
        self.next_id += 1;
        let slot = (Reverse(priority), id);
        let class = &mut self.classes[party.class.rank()];
        let room = class.rooms.get_or_join(&party.room);
        room.users.get_or_join(&party.user).insert(slot, Entry { id, need, since, overtaken: 0 });
        room.len += 1;
        class.len += 1;
        self.places.insert(id, (party, slot));
        id
    }

    /// Takes an entry out, its client having gone; none when it is not here any more.
    pub fn remove(&mut self, id: EntryId) -> Option<Entry> {
        self.take(id, false)
    }

    /// Takes out whom it is the turn of among those that fit; none when the turn is somebody's who does
    /// not fit and may not be passed (again).
    pub fn pop_fitting(&mut self, overtakes: u32, fits: impl Fn(Resources) -> bool) -> Option<Entry> {
        let (passed, found) = self.look(overtakes, fits);
        let found = found?;
        for id in passed {
            if let Some(entry) = self.entry_mut(id) {
                entry.overtaken += 1;
            }
        }
        self.take(found, true)
    }

    /// All entries in the order in which they would be served if nobody came and everything fitted.
    #[must_use]
    pub fn order(&self) -> Vec<EntryId> {
        let mut lists = self.classes.each_ref().map(|class| {
            let rooms = class.rooms.iter().map(|(_, room)| {
                take_turns(room.users.iter().map(|(_, user)| user.values().map(|e| e.id).collect()).collect())
            });
            take_turns(rooms.collect()).into_iter().peekable()
        });
        let mut passed_over = self.classes.each_ref().map(|class| class.passed_over);
        let mut order = Vec::with_capacity(self.len());
        loop {
            let waiting = lists.each_mut().map(|list| list.peek().is_some());
            let Some(&class) = class_order(waiting, passed_over).first() else { return order };
            order.extend(lists[class].next());
            count_pass(class, lists.each_mut().map(|list| list.peek().is_some()), &mut passed_over);
        }
    }

    /// Every entry with its party.
    pub fn iter(&self) -> impl Iterator<Item = (&Party, &Entry)> {
        self.places.iter().filter_map(|(_, (party, slot))| {
            let room = self.classes[party.class.rank()].rooms.get(&party.room)?;
            Some((party, room.users.get(&party.user)?.get(slot)?))
        })
    }

    /// Who was passed, and who fits.
    fn look(&self, overtakes: u32, fits: impl Fn(Resources) -> bool) -> (Vec<EntryId>, Option<EntryId>) {
        let waiting = self.classes.each_ref().map(|class| class.len > 0);
        let order = class_order(waiting, self.classes.each_ref().map(|class| class.passed_over));
        let rooms = order.into_iter().flat_map(|class| self.classes[class].rooms.iter());
        let heads = rooms.flat_map(|(_, room)| room.users.iter()).filter_map(|(_, user)| user.values().next());
        let mut passed = Vec::new();
        for head in heads {
            if fits(head.need) {
                return (passed, Some(head.id));
            }
            if head.overtaken >= overtakes || passed.len() == LOOK_AHEAD {
                break;
            }
            passed.push(head.id);
        }
        (passed, None)
    }

    fn entry_mut(&mut self, id: EntryId) -> Option<&mut Entry> {
        let (party, slot) = self.places.get(&id)?;
        let room = self.classes[party.class.rank()].rooms.get_mut(&party.room)?;
        room.users.get_mut(&party.user)?.get_mut(slot)
    }

    fn take(&mut self, id: EntryId, served: bool) -> Option<Entry> {
        let (party, slot) = self.places.remove(&id)?;
        let class = &mut self.classes[party.class.rank()];
        let room = class.rooms.get_mut(&party.room)?;
        let user = room.users.get_mut(&party.user)?;
        let entry = user.remove(&slot)?;
        room.len -= 1;
        class.len -= 1;
        if user.is_empty() {
            room.users.remove(&party.user);
        } else if served {
            room.users.took_turn(&party.user);
        }
        if room.len == 0 {
            class.rooms.remove(&party.room);
        } else if served {
            class.rooms.took_turn(&party.room);
        }
        if class.len == 0 {
            class.passed_over = 0;
        }
        if served {
            let mut passed_over = self.classes.each_ref().map(|class| class.passed_over);
            let waiting = self.classes.each_ref().map(|class| class.len > 0);
            count_pass(party.class.rank(), waiting, &mut passed_over);
            for (class, passed) in self.classes.iter_mut().zip(passed_over) {
                class.passed_over = passed;
            }
        }
        Some(entry)
    }
}

/// The classes in which something waits: overdue ones first, most overdue first, then by urgency.
fn class_order(waiting: [bool; 3], passed_over: [u32; 3]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..waiting.len()).filter(|class| waiting[*class]).collect();
    order.sort_by_key(|class| Reverse(if passed_over[*class] >= PASSES { passed_over[*class] } else { 0 }));
    order
}

/// A class was served: the less urgent ones that wait were passed over.
fn count_pass(served: usize, waiting: [bool; 3], passed_over: &mut [u32; 3]) {
    passed_over[served] = 0;
    for class in served + 1..waiting.len() {
        passed_over[class] = if waiting[class] { passed_over[class].saturating_add(1) } else { 0 };
    }
}

#[cfg(test)]
mod tests;
