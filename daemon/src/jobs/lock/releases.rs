//! What the locks need of their [`Link`](crate::redis_link::Link): to hear of releases, and to make up for
//! those that did not get through.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use redis::aio::MultiplexedConnection;
use redis::{Msg, RedisResult};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::script::{self, CHANNEL, Keys, Token};
use crate::ids::RoomId;
use crate::redis_link::{Pace, Tenant};

/// How long things may take; all but the tests use the default.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timing {
    /// After this a key that nobody extends is free.
    pub(super) ttl: Duration,
    /// The connection's own times.
    pub(super) pace: Pace,
    /// The longest pause between two looks at a key that another daemon holds, when no release is told.
    pub(super) poll: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self { ttl: Duration::from_secs(30), pace: Pace::default(), poll: Duration::from_millis(500) }
    }
}

impl Timing {
    /// How long a waiter is vouched for: long enough that one lost look does not cost its place.
    pub(super) fn lease(&self) -> Duration {
        self.poll * 3
    }
}

/// Who listens for a release, and which releases are owed.
pub(super) struct Releases {
    timing: Timing,
    instance: String,
    /// The one waiter of a room that listens for its release, by the room's id.
    listeners: Mutex<HashMap<String, Arc<Notify>>>,
    /// Tokens that may hold a key although nobody needs it any more, to be released when Redis is back.
    debts: Mutex<Vec<(Instant, RoomId, Token)>>,
}

impl Releases {
    pub(super) fn new(timing: Timing, instance: String) -> Self {
        Self { timing, instance, listeners: Mutex::default(), debts: Mutex::default() }
    }

    /// Wakes this listener whenever somebody releases the room.
    pub(super) fn listen(self: &Arc<Self>, room: &RoomId) -> Listener {
        let wake = Arc::new(Notify::new());
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.insert(room.to_string(), Arc::clone(&wake));
        drop(listeners);
        Listener { releases: Arc::clone(self), room: room.clone(), wake }
    }

    /// Remembers a token whose release did not get through, for as long as its key can live.
    pub(super) fn owe(&self, room: RoomId, token: Token) {
        let now = Instant::now();
        let mut debts = self.debts.lock().unwrap_or_else(PoisonError::into_inner);
        debts.retain(|(since, ..)| now.duration_since(*since) < self.timing.ttl * 2);
        debts.push((now, room, token));
    }

    async fn pay_debts(&self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        loop {
            let debt = self.debts.lock().unwrap_or_else(PoisonError::into_inner).last().cloned();
            let Some((_, room, token)) = debt else { return Ok(()) };
            script::release(connection, &Keys::of(&room), &token, None, self.timing.lease()).await?;
            self.debts.lock().unwrap_or_else(PoisonError::into_inner).retain(|(.., paid)| *paid != token);
        }
    }

    /// Takes, keeps and releases a key of no room. Then makes up for releases that did not get through.
    async fn probe(&self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        let (keys, token) = (Keys::probe(&self.instance), Token(self.instance.clone()));
        let (ttl, lease) = (self.timing.pace.command, self.timing.lease());
        script::take(connection, &keys, &token, ttl, Duration::ZERO, lease).await?;
        script::keep(connection, &keys, &token, ttl).await?;
        script::release(connection, &keys, &token, None, lease).await?;
        self.pay_debts(connection).await
    }
}

impl Tenant for Releases {
    const TOGETHER: &'static str = "rooms are locked in redis";
    const ALONE: &'static str = "rooms are locked in this daemon's memory alone";

    fn channel(&self) -> String {
        CHANNEL.to_owned()
    }

    fn try_out<'a>(&'a self, connection: &'a mut MultiplexedConnection, _: bool) -> BoxFuture<'a, RedisResult<()>> {
        Box::pin(self.probe(connection))
    }

    fn heard(&self, _: u64, message: &Msg) {
        let Ok(room) = std::str::from_utf8(message.get_payload_bytes()) else { return };
        if let Some(listener) = self.listeners.lock().unwrap_or_else(PoisonError::into_inner).get(room) {
            listener.notify_one();
        }
    }
}

/// Hears of one room's releases until it is dropped.
pub(super) struct Listener {
    releases: Arc<Releases>,
    room: RoomId,
    wake: Arc<Notify>,
}

impl Listener {
    /// Waits for the next release; one that came since the last call counts.
    pub(super) async fn released(&self) {
        self.wake.notified().await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut listeners = self.releases.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        // The next in line may be listening already.
        if listeners.get(self.room.as_str()).is_some_and(|wake| Arc::ptr_eq(wake, &self.wake)) {
            listeners.remove(self.room.as_str());
        }
    }
}
