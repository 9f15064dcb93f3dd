//! The lock of several daemons: a key in Redis, taken by the first in line of one daemon's own queue.
//!
//! The [`Hold`] of this daemon's queue always comes first and ends last, so whatever Redis does, one daemon never
//! runs two executions of a room at once. With Redis down the `Hold` is all there is; two daemons may then
//! run one execution each in a room. What runs on takes its key as soon as Redis is back.
//!
//! A key that was lost while its execution ran (flushed, or expired while Redis or this daemon hung) is
//! taken again when it is free. When another daemon has it meanwhile, both executions run to their ends and
//! that is logged as an error: two that overlap are better than one that is lost halfway.
//!
//! A daemon that dies leaves its keys to expire: its rooms are busy for other daemons, and for its own next
//! start, for up to the key's 30 s.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tracing::{Instrument, error, warn};

use super::LockError;
use super::memory::{Hold, Table, Turn};
use super::releases::{Listener, Releases, Timing};
use super::script::{self, Kept, Keys, Taken, Token};
use crate::ids::RoomId;
use crate::redis_link::Link;

/// The part of the locks that talks to Redis.
pub(super) struct Shared {
    link: Arc<Link<Releases>>,
    releases: Arc<Releases>,
    timing: Timing,
    table: Arc<Table>,
    /// Releases and extensions under way.
    tasks: TaskTracker,
    runtime: Handle,
    instance: String,
    _connection: AbortOnDropHandle<()>,
}

/// A token that may have been sent to Redis. Dropped, it is released there in the background.
pub(super) struct Claim {
    shared: Arc<Shared>,
    room: RoomId,
    token: Token,
    /// Redis may know the token.
    sent: bool,
    standing: Standing,
}

/// What is known of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Not held: another daemon has it, or Redis was down.
    Without,
    Held,
    /// Another daemon has it while this one's execution runs, and that was logged.
    Contested,
}

impl Shared {
    /// Must be called within a tokio runtime.
    pub(super) fn start(client: ::redis::Client, table: Arc<Table>, timing: Timing) -> Self {
        let instance = uuid::Uuid::new_v4().to_string();
        let releases = Arc::new(Releases::new(timing, instance.clone()));
        let link = Arc::new(Link::new(client, timing.pace, Arc::clone(&releases)));
        let connection = AbortOnDropHandle::new(tokio::spawn(Arc::clone(&link).run()));
        let (tasks, runtime) = (TaskTracker::new(), Handle::current());
        Self { link, releases, timing, table, tasks, runtime, instance, _connection: connection }
    }

    /// Waits until it is known whether Redis can be used.
    pub(super) async fn settled(&self) {
        let _ = self.link.ready().await;
    }

    /// What is degraded.
    pub(super) fn health(&self) -> Option<String> {
        self.link.health()
    }

    /// Waits until all that was released here is released in Redis.
    pub(super) async fn released(&self) {
        self.tasks.close();
        self.tasks.wait().await;
        self.tasks.reopen();
    }

    fn token(&self, number: u64) -> Token {
        Token(format!("{}:{number}", self.instance))
    }

    /// Takes the room's key for the first in line, or goes without when Redis is down.
    pub(super) async fn claim(
        self: &Arc<Self>,
        room: &RoomId,
        turn: &Turn,
        deadline: Instant,
    ) -> Result<Claim, LockError> {
        let keys = Keys::of(room);
        let token = self.token(turn.number());
        let mut claim =
            Claim { shared: Arc::clone(self), room: room.clone(), token, sent: false, standing: Standing::Without };
        let mut listener: Option<Listener> = None;
        let timing = &self.timing;
        loop {
            let Some(up) = self.link.ready().await else { return Ok(claim) };
            claim.sent = true;
            let mut connection = up.connection.clone();
            let age = turn.since().elapsed();
            let take = script::take(&mut connection, &keys, &claim.token, timing.ttl, age, timing.lease());
            let attempt = self.link.within(&up, take);
            let taken = match &listener {
                // A first attempt is made in any case: that Redis is slow does not make the room busy.
                None => attempt.await,
                Some(_) => timeout_at(deadline, attempt).await.map_err(|_| LockError::Busy)?,
            };
            let expires = match taken {
                Some(Taken::Yes) => {
                    claim.standing = Standing::Held;
                    return Ok(claim);
                }
                Some(Taken::No(expires)) => expires,
                None => continue,
            };
            let Some(listener) = &listener else {
                // Look again at once: it may have been released before this listens.
                listener = Some(self.releases.listen(room));
                turn.touch();
                continue;
            };
            let pause = timing.poll.mul_f64(rand::random_range(0.5..1.0));
            let pause = expires.map_or(pause, |expires| pause.min(expires + Duration::from_millis(1)));
            tokio::select! {
                () = listener.released() => {}
                () = sleep(pause) => {}
                () = sleep_until(deadline) => return Err(LockError::Busy),
            }
        }
    }

    /// Keeps the key until the sender is dropped, then releases it and after it the room.
    pub(super) fn keep(&self, claim: Claim, hold: Hold) -> oneshot::Sender<()> {
        let (guard, released) = oneshot::channel();
        self.tasks.spawn_on(keep(claim, hold, released).in_current_span(), &self.runtime);
        guard
    }

    /// Releases a token in Redis, or remembers that it must be.
    async fn release(&self, room: RoomId, token: Token) {
        // No waiting for a connection: the next in line of this daemon waits for this.
        let Some(up) = self.link.up() else { return self.releases.owe(room, token) };
        let (keys, lease) = (Keys::of(&room), self.timing.lease());
        let next = self.table.front(&room);
        let successor = next.map(|(number, since)| (self.token(number), since.elapsed()));
        let mut connection = up.connection.clone();
        let release =
            script::release(&mut connection, &keys, &token, successor.as_ref().map(|(t, age)| (t, *age)), lease);
        if self.link.within(&up, release).await.is_none() {
            self.releases.owe(room, token);
        } else if let (Some((number, _)), Some((successor, _))) = (next, successor)
            && !self.table.has_entry(&room, number)
        {
            // It went away meanwhile and must not be waited for.
            let withdraw = script::release(&mut connection, &keys, &successor, None, lease);
            let _ = self.link.within(&up, withdraw).await;
        }
    }
}

async fn keep(mut claim: Claim, hold: Hold, mut released: oneshot::Receiver<()>) {
    let timing = claim.shared.timing;
    let mut state = claim.shared.link.subscribe();
    // One that started without Redis asks at once: it may have come back since.
    let mut pause = if claim.standing == Standing::Held { timing.ttl / 3 } else { Duration::ZERO };
    loop {
        tokio::select! {
            _ = &mut released => break,
            () = sleep(pause) => {}
            // Redis is back, perhaps without the key.
            Ok(()) = state.changed() => {}
        }
        tokio::select! {
            _ = &mut released => break,
            () = claim.extend() => {}
        }
        pause = timing.ttl / 3;
    }
    claim.release().await;
    drop(hold);
}

impl Claim {
    /// Extends the key, or takes it (again) when it is free.
    async fn extend(&mut self) {
        let link = &self.shared.link;
        let Some(up) = link.up() else { return };
        self.sent = true;
        let mut connection = up.connection.clone();
        let keys = Keys::of(&self.room);
        let keep = script::keep(&mut connection, &keys, &self.token, self.shared.timing.ttl);
        let Some(kept) = link.within(&up, keep).await else { return };
        self.standing = match (kept, self.standing) {
            (Kept::Retaken, Standing::Held) => {
                warn!(room = %self.room, "the room's lock was gone from redis while its execution runs; taken again");
                Standing::Held
            }
            (Kept::Extended | Kept::Retaken, _) => Standing::Held,
            (Kept::Contested, Standing::Held) => {
                error!(
                    room = %self.room,
                    "the room's lock was lost in redis while its execution runs, and another daemon holds it: \
                     two executions of this room overlap until one of them ends"
                );
                Standing::Contested
            }
            (Kept::Contested, Standing::Without) => {
                warn!(
                    room = %self.room,
                    "an execution that started without redis overlaps another daemon's in the same room"
                );
                Standing::Contested
            }
            (Kept::Contested, Standing::Contested) => Standing::Contested,
        };
    }

    async fn release(mut self) {
        if std::mem::take(&mut self.sent) {
            self.shared.release(self.room.clone(), self.token.clone()).await;
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.sent {
            let (shared, room, token) = (Arc::clone(&self.shared), self.room.clone(), self.token.clone());
            let release = async move { shared.release(room, token).await };
            self.shared.tasks.spawn_on(release.in_current_span(), &self.shared.runtime);
        }
    }
}
