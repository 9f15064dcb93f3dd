//! The rooms in memory: read from the store on first need, saved soon after a change, forgotten when idle.
//!
//! **Invariants.** A room is in memory at most once. Everything that changes it happens under its lock, and
//! what its members are told is handed to their connections under the same lock: the order of numbers is the
//! order of sending. A room leaves memory only when nobody is in it, nothing runs and all of it is saved.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use super::bus::{BusError, Published};
use super::delivery::{Sink, deliver, deliver_to_stranger};
use super::event::RoomEvent;
use super::limits::RoomLimits;
use super::members::MemberId;
use super::order::BufferBudget;
use super::replica::Replica;
use super::state::{Applied, Room};
use super::store::{LoggedMessage, Recording, RoomStore};
use crate::clock::unix_ms;
use crate::ids::RoomId;

/// Messages of one room that wait to be saved; while the store fails, the oldest go.
const MAX_UNSAVED: usize = 10_000;
/// Rooms that are saved at the same time.
const SAVES_AT_ONCE: usize = 32;

/// The rooms that somebody is in, or was a moment ago.
pub struct RoomRegistry {
    limits: RoomLimits,
    store: Arc<dyn RoomStore>,
    pub(super) rooms: Mutex<HashMap<RoomId, Arc<Entry>>>,
    unsaved: Mutex<HashSet<RoomId>>,
    recordings: Mutex<Vec<Recording>>,
}

pub(super) struct Entry {
    live: OnceCell<Mutex<Live>>,
    budget: Arc<BufferBudget>,
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// Nobody else has the turn in this room while this is held; keeps the room in memory.
pub(super) struct Turn {
    _entry: Arc<Entry>,
    _turn: tokio::sync::OwnedMutexGuard<()>,
}

/// A room in memory.
pub(super) struct Live {
    pub(super) room: Room,
    pub(super) sinks: HashMap<MemberId, Arc<dyn Sink>>,
    /// How it is shared with other daemons; none while it is not.
    pub(super) replica: Option<Replica>,
    log: Vec<LoggedMessage>,
    dirty: bool,
    saving: bool,
    used: Instant,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Turn {
    async fn take(entry: Arc<Entry>) -> Self {
        let turn = Arc::clone(&entry.turn).lock_owned().await;
        Self { _entry: entry, _turn: turn }
    }
}

impl Live {
    /// Whether this daemon has no use for the room at present.
    fn is_idle(&self) -> bool {
        self.room.is_idle() || self.replica.as_ref().is_some_and(Replica::is_idle)
    }
}

impl RoomRegistry {
    /// No room yet.
    #[must_use]
    pub fn new(limits: RoomLimits, store: Arc<dyn RoomStore>) -> Arc<Self> {
        Arc::new(Self {
            limits,
            store,
            rooms: Mutex::default(),
            unsaved: Mutex::default(),
            recordings: Mutex::default(),
        })
    }

    /// The bounds that hold here.
    #[must_use]
    pub const fn limits(&self) -> &RoomLimits {
        &self.limits
    }

    /// The store behind the rooms.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn RoomStore> {
        &self.store
    }

    /// Rooms in memory.
    #[must_use]
    pub fn len(&self) -> usize {
        lock(&self.rooms).len()
    }

    /// Whether no room is in memory.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Applies an event here and sends what the members connected here are told.
    ///
    /// # Errors
    /// [`BusError`] when the room is not in memory and cannot be brought there.
    pub async fn apply(&self, room: &RoomId, event: RoomEvent) -> Result<Published, BusError> {
        self.with_live(room, |live| self.apply_to(live, room, unix_ms(), event)).await
    }

    /// As [`RoomRegistry::apply`], at this time, with the room locked.
    pub(super) fn apply_to(&self, live: &mut Live, room: &RoomId, at: i64, event: RoomEvent) -> Published {
        let joining = match &event {
            RoomEvent::Joined(member) => Some(member.clone()),
            _ => None,
        };
        let before = live.room.sequence();
        let applied = live.room.apply(at, event);
        let accepted = applied.accepted;
        if let Some(stranger) = joining.filter(|_| !accepted)
            && let Some(sink) = live.sinks.get(&stranger.id)
        {
            deliver_to_stranger(&applied.outgoing, &stranger, sink);
        }
        self.tell(live, room, applied, live.room.sequence() != before);
        Published { accepted, sequence: live.room.sequence() }
    }

    /// Sends what a room says and keeps what is to be saved of it; all of the room if it is `changed`.
    pub(super) fn tell(&self, live: &mut Live, room: &RoomId, applied: Applied, changed: bool) {
        deliver(&applied.outgoing, live.room.members(), &live.sinks);
        if let Some(recording) = applied.recording {
            lock(&self.recordings).push(recording);
        }
        live.log.extend(applied.logged);
        if live.log.len() > MAX_UNSAVED {
            let excess = live.log.len() - MAX_UNSAVED;
            live.log.drain(..excess);
        }
        if changed {
            live.dirty = true;
            lock(&self.unsaved).insert(room.clone());
        }
    }

    /// Connects a member that is about to join; gives the room's budget for messages that wait.
    ///
    /// # Errors
    /// [`BusError`] when the room is not in memory and cannot be brought there.
    pub async fn attach(
        &self,
        room: &RoomId,
        member: MemberId,
        sink: Arc<dyn Sink>,
    ) -> Result<Arc<BufferBudget>, BusError> {
        let entry = self.entry(room)?;
        let mut live = lock(self.load(room, &entry).await?);
        live.used = Instant::now();
        live.sinks.insert(member, sink);
        Ok(Arc::clone(&entry.budget))
    }

    /// Disconnects a member that has left.
    pub fn detach(&self, room: &RoomId, member: &MemberId) {
        if let Some(live) = self.present(room).as_ref().and_then(|entry| entry.live.get()) {
            let mut live = lock(live);
            live.used = Instant::now();
            live.sinks.remove(member);
        }
    }

    /// What the diagnostics routes tell of a room; none when it is not in memory.
    #[must_use]
    pub fn diagnostics(&self, room: &RoomId) -> Option<Value> {
        let entry = self.present(room)?;
        let live = lock(entry.live.get()?);
        let members: Vec<Value> = live
            .room
            .members()
            .iter()
            .map(|member| {
                let order = live.sinks.get(&member.id).map(|sink| sink.order()).unwrap_or_default();
                json!({
                    "userId": member.user,
                    "username": member.username,
                    "isHost": live.room.members().is_host(&member.id),
                    "nextExpectedSequence": order.expected,
                    "buffered": order.waiting,
                })
            })
            .collect();
        let mut view = live.room.diagnostics();
        view["members"] = Value::Array(members);
        view["bufferedMessages"] = json!(entry.budget.messages());
        view["unsavedMessages"] = json!(live.log.len());
        Some(view)
    }

    /// The rooms in memory, for the diagnostics routes: id, members, last number, messages that wait.
    #[must_use]
    pub fn overview(&self) -> Vec<Value> {
        let rooms: Vec<_> = lock(&self.rooms).iter().map(|(room, entry)| (room.clone(), Arc::clone(entry))).collect();
        rooms
            .into_iter()
            .filter_map(|(room, entry)| {
                let live = lock(entry.live.get()?);
                Some(json!({
                    "roomId": room,
                    "memberCount": live.room.members().len(),
                    "sequence": live.room.sequence(),
                    "bufferedMessages": entry.budget.messages(),
                }))
            })
            .collect()
    }

    /// Lets every client of a room that waits for a number below `to` go on without it; how many did.
    pub fn advance_clients(&self, room: &RoomId, to: u64) -> usize {
        let Some(entry) = self.present(room) else { return 0 };
        let Some(live) = entry.live.get() else { return 0 };
        let sinks: Vec<_> = lock(live).sinks.values().cloned().collect();
        let waits = |sink: &&Arc<dyn Sink>| {
            let order = sink.order();
            order.waiting > 0 && order.expected.is_some_and(|expected| expected < to)
        };
        sinks.iter().filter(waits).map(|sink| sink.advance(to)).count()
    }

    /// Forgets rooms that have been idle for `idle` and are saved; how many.
    pub fn evict(&self, idle: Duration) -> usize {
        let mut rooms = lock(&self.rooms);
        let before = rooms.len();
        rooms.retain(|_, entry| {
            // Somebody got it under this lock and is about to use it, or it is being read.
            if Arc::strong_count(entry) > 1 {
                return true;
            }
            let Some(live) = entry.live.get() else { return false };
            let live = lock(live);
            !live.is_idle() || !live.sinks.is_empty() || live.dirty || live.saving || live.used.elapsed() < idle
        });
        before - rooms.len()
    }

    /// Saves what changed. A room that cannot be saved stays to be saved again.
    pub async fn save(&self) {
        let rooms: Vec<RoomId> = std::mem::take(&mut *lock(&self.unsaved)).into_iter().collect();
        for some in rooms.chunks(SAVES_AT_ONCE) {
            futures_util::future::join_all(some.iter().map(|room| self.save_room(room))).await;
        }
        let recordings = std::mem::take(&mut *lock(&self.recordings));
        for recording in recordings {
            if let Err(error) = self.store.save_recording(&recording).await {
                tracing::warn!(room = %recording.room, recording = recording.id, %error, "a recording is not saved");
                let mut unsaved = lock(&self.recordings);
                if unsaved.len() < MAX_UNSAVED {
                    unsaved.push(recording);
                }
            }
        }
    }

    async fn save_room(&self, room: &RoomId) {
        let Some(entry) = self.present(room) else { return };
        let Some(live) = entry.live.get() else { return };
        let (stored, messages) = {
            let mut live = lock(live);
            live.dirty = false;
            live.saving = true;
            (live.room.stored(), std::mem::take(&mut live.log))
        };
        let saved = self.store.save_room(&stored, &messages).await;
        let mut live = lock(live);
        live.saving = false;
        if let Err(error) = saved {
            tracing::warn!(%room, %error, "a room is not saved");
            live.dirty = true;
            let newer = std::mem::replace(&mut live.log, messages);
            live.log.extend(newer);
            lock(&self.unsaved).insert(room.clone());
        }
    }

    /// Saves and evicts until told to stop, then saves a last time.
    pub async fn maintain(self: Arc<Self>, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(self.limits.save_within / 2);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            self.save().await;
            self.evict(self.limits.idle);
        }
        self.save().await;
    }

    pub(super) async fn with_live<T>(&self, room: &RoomId, act: impl FnOnce(&mut Live) -> T) -> Result<T, BusError> {
        let entry = self.entry(room)?;
        let mut live = lock(self.load(room, &entry).await?);
        live.used = Instant::now();
        Ok(act(&mut live))
    }

    /// Waits for the turn in a room.
    pub(super) async fn turn(&self, room: &RoomId) -> Result<Turn, BusError> {
        Ok(Turn::take(self.entry(room)?).await)
    }

    /// As [`RoomRegistry::turn`], in a room that is in memory.
    pub(super) async fn turn_if_present(&self, room: &RoomId) -> Option<Turn> {
        Some(Turn::take(self.present(room)?).await)
    }

    /// Does something with a room that is in memory; it may be forgotten as if nobody did.
    pub(super) fn with_present<T>(&self, room: &RoomId, act: impl FnOnce(&mut Live) -> T) -> Option<T> {
        let entry = self.present(room)?;
        let mut live = lock(entry.live.get()?);
        Some(act(&mut live))
    }

    fn present(&self, room: &RoomId) -> Option<Arc<Entry>> {
        lock(&self.rooms).get(room).cloned()
    }

    fn entry(&self, room: &RoomId) -> Result<Arc<Entry>, BusError> {
        let mut rooms = lock(&self.rooms);
        if let Some(entry) = rooms.get(room) {
            return Ok(Arc::clone(entry));
        }
        if rooms.len() >= self.limits.rooms {
            drop(rooms);
            if self.evict(Duration::ZERO) == 0 {
                return Err(BusError::TooManyRooms);
            }
            rooms = lock(&self.rooms);
        }
        let budget = BufferBudget::new(self.limits.buffered_messages, self.limits.buffered_bytes);
        let entry = rooms
            .entry(room.clone())
            .or_insert_with(|| Arc::new(Entry { live: OnceCell::new(), budget, turn: Arc::default() }));
        Ok(Arc::clone(entry))
    }

    async fn load<'a>(&self, room: &RoomId, entry: &'a Entry) -> Result<&'a Mutex<Live>, BusError> {
        let live = entry
            .live
            .get_or_try_init(|| async {
                let room = match self.store.load_room(room).await? {
                    Some(stored) => Room::restore(stored, self.limits.members),
                    None => Room::new(room.clone(), self.limits.members),
                };
                Ok::<_, BusError>(Mutex::new(Live {
                    room,
                    sinks: HashMap::new(),
                    replica: None,
                    log: Vec::new(),
                    dirty: false,
                    saving: false,
                    used: Instant::now(),
                }))
            })
            .await?;
        Ok(live)
    }
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
