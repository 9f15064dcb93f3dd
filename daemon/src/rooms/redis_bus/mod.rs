//! Several daemons serve one room: Redis orders what happens to it.
//!
//! Every daemon in which somebody uses a room *follows* it: it holds a [replica](super::replica) and applies what
//! is published about the room, in that order, so that all replicas are the same. One script gives an event its
//! revision and its number and publishes it; whether it is allowed (is its author in the room, is there a place,
//! is it the host) is decided in the same step. A daemon begins to follow by saying where it stands; one script
//! answers with what it missed, or with all of the room, and whatever is published afterwards comes after that
//! answer on the same connection.
//!
//! Redis keeps the room's state for a week after the last event, and each daemon saves what it applies in its own
//! database. Where they differ, the higher number wins: numbers never go back. Members belong to daemons, and
//! daemons hold leases: when one dies, the others take its members out of the room, and tell what it ran as
//! interrupted.
//!
//! Without Redis a daemon goes on alone, with its own counter from the last number it saw. After a lease's time
//! the members of other daemons leave its rooms. When Redis is back, every room is followed again, and members
//! whose room turns out to stand elsewhere get `room-state`.
//!
//! **Invariants.** A number is given to two events only where daemons were cut off from each other, and then no
//! member is told both. An event that this daemon publishes is applied once here, however often the connection
//! breaks. A daemon publishes one event of a room at a time, in the order in which they were given to it.

mod keeper;
pub(super) mod message;
mod script;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use super::bus::{Bus, BusError, Published};
use super::event::RoomEvent;
use super::registry::RoomRegistry;
use super::replica::{Mode, interrupted};
use super::state;
use crate::clock::unix_ms;
use crate::ids::RoomId;
use crate::redis_link::{BadRedisUrl, Link, Pace, State, Up, client};
use keeper::Hearing;
use message::Cursor;
use script::{Answer, Names, Publication};

/// How often one event is tried before it is applied without Redis.
const TRIES: usize = 10;

/// How long things may take; all but the tests use the default.
#[derive(Debug, Clone, Copy)]
struct Timing {
    pace: Pace,
    /// After this a daemon that says nothing is taken for dead.
    lease: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self { pace: Pace::default(), lease: Duration::from_secs(15) }
    }
}

/// The bus of a daemon that shares its rooms with others.
pub struct RedisBus {
    shared: Arc<Shared>,
    _tasks: [AbortOnDropHandle<()>; 2],
}

/// What the bus and its keeper share.
struct Shared {
    registry: Arc<RoomRegistry>,
    names: Arc<Names>,
    hearing: Arc<Hearing>,
    link: Arc<Link<Hearing>>,
    timing: Timing,
    attempts: AtomicU64,
    events: AtomicU64,
    subscribed: tokio::sync::Mutex<Subscribed>,
}

/// The rooms whose events one connection hears.
#[derive(Default)]
struct Subscribed {
    generation: u64,
    rooms: HashSet<RoomId>,
}

impl RedisBus {
    /// Over these rooms; every name in Redis begins with `prefix`. Returns when it is known whether Redis answers,
    /// which takes at most a second. It is no error that it does not: it is tried again in the background.
    ///
    /// # Errors
    /// [`BadRedisUrl`] when the address is none.
    pub async fn connect(url: &str, prefix: &str, registry: Arc<RoomRegistry>) -> Result<Arc<Self>, BadRedisUrl> {
        Self::with_timing(url, prefix, registry, Timing::default()).await
    }

    async fn with_timing(
        url: &str,
        prefix: &str,
        registry: Arc<RoomRegistry>,
        timing: Timing,
    ) -> Result<Arc<Self>, BadRedisUrl> {
        let client = client(url)?;
        let names = Arc::new(Names::new(prefix, uuid::Uuid::new_v4().simple().to_string()));
        let hearing = Arc::new(Hearing::new(Arc::clone(&registry), Arc::clone(&names), timing.lease));
        let link = Arc::new(Link::new(client, timing.pace, Arc::clone(&hearing)));
        let shared = Arc::new(Shared {
            registry,
            names,
            hearing,
            link: Arc::clone(&link),
            timing,
            attempts: AtomicU64::new(0),
            events: AtomicU64::new(0),
            subscribed: tokio::sync::Mutex::default(),
        });
        let kept = tokio::spawn(Arc::clone(&shared).keep());
        let connection = tokio::spawn(link.run());
        shared.link.ready().await;
        Ok(Arc::new(Self { shared, _tasks: [connection, kept].map(AbortOnDropHandle::new) }))
    }
}

impl Bus for RedisBus {
    fn publish<'a>(&'a self, room: &'a RoomId, event: RoomEvent) -> BoxFuture<'a, Result<Published, BusError>> {
        Box::pin(self.shared.publish(room, event))
    }

    fn reserve<'a>(&'a self, room: &'a RoomId) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let Some(up) = self.shared.link.ready().await else { return true };
            let mut connection = up.connection.clone();
            self.shared.link.within(&up, self.shared.names.reserve(&mut connection, room)).await.unwrap_or(true)
        })
    }

    fn health(&self) -> Option<String> {
        self.shared.link.health()
    }

    fn leave(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if let Some(up) = self.shared.link.up() {
                let mut connection = up.connection.clone();
                self.shared.link.within(&up, self.shared.hearing.leave(&mut connection)).await;
            }
        })
    }
}

impl Shared {
    async fn publish(&self, room: &RoomId, event: RoomEvent) -> Result<Published, BusError> {
        let _turn = self.registry.turn(room).await?;
        if let RoomEvent::StateRequested { .. } = event {
            // Its answer is of this daemon's replica: it stands where the member's own stream of events does.
            return self.registry.apply_aside(room, event).await;
        }
        let here = match event.by() {
            Some(by) => self.registry.here(room, by).await?,
            None => None,
        };
        if event.by().is_some() && here.is_none() && !matches!(event, RoomEvent::Joined(_) | RoomEvent::Left(_)) {
            return self.registry.silent(room).await;
        }
        self.registry.let_go(room, &event).await?;
        let asked = Asked {
            id: self.events.fetch_add(1, Ordering::Relaxed) + 1,
            json: serde_json::to_string(&event).unwrap_or_default(),
            details: details(room, &event, self.registry.limits().members, here.map(|member| member.user.to_string())),
            event,
        };
        for _ in 0..TRIES {
            let Some(up) = self.link.ready().await else { break };
            if let Some(published) = self.try_publish(&up, room, &asked).await? {
                return Ok(published);
            }
            if self.registry.has_applied(room, asked.id).await? {
                return Ok(Published { accepted: true, ..self.registry.silent(room).await? });
            }
        }
        if self.link.up().is_some() {
            tracing::error!(%room, "an event could not be published and is told in this daemon alone");
            self.hearing.ask_to_follow(room);
        }
        self.registry.apply_alone(room, asked.event).await
    }

    /// None when it must be tried again.
    async fn try_publish(&self, up: &Up, room: &RoomId, asked: &Asked) -> Result<Option<Published>, BusError> {
        let Some(cursor) = self.follow(up, room).await? else { return Ok(None) };
        let Details { kind, one, two } = &asked.details;
        let by = asked.event.by();
        let publication = Publication {
            epoch: &cursor.epoch,
            id: asked.id,
            kind,
            event: &asked.json,
            by: by.map_or("", |by| by.as_str()),
            one,
            two,
        };
        let mut connection = up.connection.clone();
        let answer = self.link.within(up, self.names.publish(&mut connection, room, &publication)).await;
        let refused = match answer {
            None => return Ok(None),
            Some(Answer::Done { revision, sequence }) => {
                let done = Published { accepted: true, sequence };
                let there = Cursor { epoch: cursor.epoch, revision };
                let told = asked.event.is_fleeting() || self.applied(up, room, asked.id, &there).await?;
                return Ok(told.then_some(done));
            }
            Some(Answer::Unknown) => {
                self.registry.lose(room).await?;
                return Ok(None);
            }
            Some(Answer::Absent) => {
                let robbed = match by {
                    Some(by) => self.registry.here(room, by).await?.is_some(),
                    None => false,
                };
                if robbed {
                    self.registry.lose(room).await?;
                    return Ok(None);
                }
                return self.registry.silent(room).await.map(Some);
            }
            Some(Answer::Behind) => return self.registry.silent(room).await.map(Some),
            Some(Answer::Full) => state::full(self.registry.limits().members),
            Some(Answer::NotHost) if matches!(asked.event, RoomEvent::RecordingStarted { .. }) => {
                state::ONLY_HOST_STARTS.to_owned()
            }
            Some(Answer::NotHost) => state::ONLY_HOST_STOPS.to_owned(),
            Some(Answer::Recording) => state::ALREADY_RECORDING.to_owned(),
            Some(Answer::NotRecording) => state::NOT_RECORDING.to_owned(),
        };
        match by {
            Some(by) => self.registry.refuse(room, by, &refused).await.map(Some),
            None => self.registry.silent(room).await.map(Some),
        }
    }

    /// Waits until what was published here has come back and is told. False when that cannot be expected any more.
    async fn applied(&self, up: &Up, room: &RoomId, id: u64, there: &Cursor) -> Result<bool, BusError> {
        let mut state = self.link.subscribe();
        let mut late = std::pin::pin!(sleep(self.timing.pace.command * 2));
        loop {
            let (mode, cursor, mut progress) = self.registry.mode(room).await?;
            if self.registry.has_applied(room, id).await? {
                return Ok(true);
            }
            match cursor {
                Some(cursor) if mode == Mode::Following(up.generation) && cursor.epoch == there.epoch => {
                    if cursor.revision >= there.revision {
                        return Ok(true);
                    }
                }
                _ => return Ok(false),
            }
            tokio::select! {
                _ = progress.changed() => {}
                _ = state.wait_for(|state| !is(state, up)) => return Ok(false),
                () = &mut late => {
                    self.link.report(up.generation, "an event that was published did not come back");
                    return Ok(false);
                }
            }
        }
    }

    /// Follows a room, its turn being held; none when that did not come to an end.
    async fn follow(&self, up: &Up, room: &RoomId) -> Result<Option<Cursor>, BusError> {
        if let (Mode::Following(generation), Some(cursor), _) = self.registry.mode(room).await?
            && generation == up.generation
        {
            return Ok(Some(cursor));
        }
        let attempt = self.attempts.fetch_add(1, Ordering::Relaxed) + 1;
        // From here on nothing of the room's channel is applied until the answer is there.
        let standing = self.registry.ask(room, attempt).await?;
        if !self.listen(up, room).await {
            return Ok(None);
        }
        let mut state = self.link.subscribe();
        let run = self.hearing.run();
        let mut connection = up.connection.clone();
        let asking = self.names.follow(&mut connection, room, attempt, (&run, self.timing.lease), &standing);
        if self.link.within(up, asking).await.is_none() {
            return Ok(None);
        }
        let mut late = std::pin::pin!(sleep(self.timing.pace.command * 2));
        loop {
            let (mode, cursor, mut progress) = self.registry.mode(room).await?;
            match mode {
                Mode::Asking(pending) if pending == attempt => {}
                Mode::Following(generation) if generation == up.generation => return Ok(cursor),
                _ => return Ok(None),
            }
            tokio::select! {
                _ = progress.changed() => {}
                _ = state.wait_for(|state| !is(state, up)) => return Ok(None),
                () = &mut late => {
                    self.link.report(up.generation, "where a room stands was asked and not answered");
                    return Ok(None);
                }
            }
        }
    }

    /// Hears a room's events by this connection.
    async fn listen(&self, up: &Up, room: &RoomId) -> bool {
        let mut subscribed = self.subscribed.lock().await;
        if subscribed.generation > up.generation {
            return false;
        }
        if subscribed.generation < up.generation {
            *subscribed = Subscribed { generation: up.generation, rooms: HashSet::new() };
        }
        if !subscribed.rooms.contains(room) {
            let mut subscriptions = up.subscriptions.clone();
            if self.link.within(up, subscriptions.subscribe(self.names.events(room))).await.is_none() {
                return false;
            }
            subscribed.rooms.insert(room.clone());
        }
        true
    }
}

/// Whether the link still is what it was.
fn is(state: &State, up: &Up) -> bool {
    matches!(state, State::Up(now) if now.generation == up.generation)
}

/// An event to be published.
struct Asked {
    id: u64,
    event: RoomEvent,
    json: String,
    details: Details,
}

/// What the script must know of an event.
struct Details {
    kind: &'static str,
    one: String,
    two: String,
}

fn details(room: &RoomId, event: &RoomEvent, max_members: usize, user: Option<String>) -> Details {
    let (kind, one, two) = match event {
        RoomEvent::Joined(member) => {
            ("join", max_members.to_string(), serde_json::to_string(member).unwrap_or_default())
        }
        RoomEvent::Left(_) => ("leave", String::new(), String::new()),
        RoomEvent::CodeChanged { code, .. } => ("code", code.clone(), String::new()),
        RoomEvent::LanguageChanged { language, .. } => ("language", language.clone(), String::new()),
        RoomEvent::ExecutionStarted { execution, .. } => {
            ("started", execution.to_string(), interrupted(room, event, unix_ms()).unwrap_or_default())
        }
        RoomEvent::ExecutionFinished { execution, .. } => ("finished", execution.to_string(), String::new()),
        RoomEvent::RecordingStarted { recording_id, .. } => ("record", recording_id.clone(), user.unwrap_or_default()),
        RoomEvent::Advanced { to } => ("advance", to.to_string(), String::new()),
        RoomEvent::RecordingStopped { .. } => ("stop", String::new(), String::new()),
        RoomEvent::Typing { .. } | RoomEvent::CursorMoved { .. } => ("fleeting", String::new(), String::new()),
        RoomEvent::Chat { .. }
        | RoomEvent::DebugState { .. }
        | RoomEvent::StateRequested { .. }
        | RoomEvent::ExecutionQueued { .. }
        | RoomEvent::ExecutionOutput { .. } => ("plain", String::new(), String::new()),
    };
    Details { kind, one, two }
}

#[cfg(test)]
mod tests;
