//! The connection to Redis: kept up in the background, given up quickly, and told about once.
//!
//! One task connects, tries everything out that the locks need, hears of releases, and keeps trying it out once
//! per heartbeat. Whoever sees a command fail reports it; the link then is *connecting*: one attempt is made
//! at once, and only when that fails too it is *down* until a later attempt succeeds. So a connection
//! that was merely cut costs a moment, and a server that is gone or hangs costs no run more than that attempt.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use redis::aio::{MultiplexedConnection, PubSub};
use redis::{AsyncConnectionConfig, Client, RedisResult};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use super::script::{self, CHANNEL, Keys, Token};
use crate::ids::RoomId;

/// How long things may take; all but the tests use the default.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timing {
    /// After this a key that nobody extends is free.
    pub(super) ttl: Duration,
    /// One command, or one connection attempt's each half.
    pub(super) command: Duration,
    /// Between two trials of a connection that is up.
    pub(super) heartbeat: Duration,
    /// The longest pause between two connection attempts.
    pub(super) retry_max: Duration,
    /// The longest pause between two looks at a key that another daemon holds, when no release is told.
    pub(super) poll: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(30),
            command: Duration::from_millis(500),
            heartbeat: Duration::from_secs(1),
            retry_max: Duration::from_secs(2),
            poll: Duration::from_millis(500),
        }
    }
}

impl Timing {
    /// How long a waiter is vouched for: long enough that one lost look does not cost its place.
    pub(super) fn lease(&self) -> Duration {
        self.poll * 3
    }
}

/// How things stand with Redis.
#[derive(Clone)]
pub(super) enum State {
    /// Being found out; why the last connection was given up.
    Connecting(Arc<str>),
    /// It may be asked.
    Up(Up),
    /// Go on without it; the reason is for the log and for `/health`.
    Down(Arc<str>),
}

/// A connection, and which one it is.
#[derive(Clone)]
pub(super) struct Up {
    pub(super) connection: MultiplexedConnection,
    generation: u64,
}

/// Shared by the task that keeps the connection and those who use it.
pub(super) struct Link {
    client: Client,
    pub(super) timing: Timing,
    state: watch::Sender<State>,
    /// The one waiter of a room that listens for its release, by the room's id.
    listeners: Mutex<HashMap<String, Arc<Notify>>>,
    /// Tokens that may hold a key although nobody needs it any more, to be released when Redis is back.
    debts: Mutex<Vec<(Instant, RoomId, Token)>>,
    instance: String,
}

impl Link {
    pub(super) fn new(client: Client, timing: Timing, instance: String) -> Self {
        Self {
            client,
            timing,
            state: watch::Sender::new(State::Connecting("".into())),
            listeners: Mutex::default(),
            debts: Mutex::default(),
            instance,
        }
    }

    /// Host and port or socket path, without user and password.
    pub(super) fn address(&self) -> String {
        self.client.get_connection_info().addr().to_string()
    }

    /// Follows the state.
    pub(super) fn subscribe(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Why Redis is not used at present.
    pub(super) fn trouble(&self) -> Option<Arc<str>> {
        match &*self.state.borrow() {
            State::Down(reason) => Some(Arc::clone(reason)),
            _ => None,
        }
    }

    /// The connection, if it is up now.
    pub(super) fn up(&self) -> Option<Up> {
        match &*self.state.borrow() {
            State::Up(up) => Some(up.clone()),
            _ => None,
        }
    }

    /// A connection to use, or none when there is none; waits while that is being found out, which takes
    /// at most twice the command time-out.
    pub(super) async fn ready(&self) -> Option<Up> {
        let mut state = self.subscribe();
        match state.wait_for(|state| !matches!(state, State::Connecting(_))).await.as_deref() {
            Ok(State::Up(up)) => Some(up.clone()),
            _ => None,
        }
    }

    /// Carries out a command within its time-out; a failure is reported.
    pub(super) async fn within<T>(&self, up: &Up, command: impl Future<Output = RedisResult<T>>) -> Option<T> {
        let reason = match timeout(self.timing.command, command).await {
            Ok(Ok(value)) => return Some(value),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {:?}", self.timing.command),
        };
        self.report(up.generation, &reason);
        None
    }

    fn report(&self, generation: u64, reason: &str) {
        let first = self.state.send_if_modified(|state| {
            let current = matches!(state, State::Up(up) if up.generation == generation);
            if current {
                *state = State::Connecting(reason.into());
            }
            current
        });
        if first {
            info!(redis = self.address(), reason, "lost the connection to redis, connecting again");
        }
    }

    /// Wakes this listener whenever somebody releases the room.
    pub(super) fn listen(self: &Arc<Self>, room: &RoomId) -> Listener {
        let wake = Arc::new(Notify::new());
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.insert(room.to_string(), Arc::clone(&wake));
        drop(listeners);
        Listener { link: Arc::clone(self), room: room.clone(), wake }
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

    /// Keeps the connection, for ever.
    pub(super) async fn run(self: Arc<Self>) {
        const RETRY_MIN: Duration = Duration::from_millis(50);
        let mut pause = RETRY_MIN;
        let mut generation = 0;
        let mut warned = false;
        loop {
            let reason = match self.open().await {
                Ok((connection, releases)) => {
                    let since = Instant::now();
                    generation += 1;
                    if warned {
                        info!(redis = self.address(), "redis is back, rooms are locked in redis again");
                    } else if generation == 1 {
                        info!(redis = self.address(), "rooms are locked in redis");
                    }
                    warned = false;
                    let up = Up { connection, generation };
                    self.state.send_replace(State::Up(up.clone()));
                    let reason = self.watch_over(up, releases).await;
                    if since.elapsed() > self.timing.heartbeat {
                        // It was fine for a while: try once more before anybody goes on without it.
                        pause = RETRY_MIN;
                        self.report(generation, &reason);
                        continue;
                    }
                    reason
                }
                Err(reason) => reason,
            };
            if !warned {
                let redis = self.address();
                warn!(redis, reason, "redis cannot be used, rooms are locked in this daemon's memory alone");
                warned = true;
            }
            self.state.send_replace(State::Down(reason.into()));
            sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
            pause = (pause * 2).min(self.timing.retry_max);
        }
    }

    /// Connects, and tries out all that is needed.
    async fn open(&self) -> Result<(MultiplexedConnection, PubSub), String> {
        let limit = self.timing.command;
        let connect = async {
            // Every use has a time-out of its own around it.
            let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
            let connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
            let mut releases = self.client.get_async_pubsub().await?;
            releases.subscribe(CHANNEL).await?;
            Ok::<_, redis::RedisError>((connection, releases))
        };
        let late = |_| format!("no answer within {limit:?}");
        let (mut connection, releases) =
            timeout(limit, connect).await.map_err(late)?.map_err(|error| error.to_string())?;
        timeout(limit, self.probe(&mut connection)).await.map_err(late)?.map_err(|error| error.to_string())?;
        Ok((connection, releases))
    }

    /// Takes, keeps and releases a key of no room: a server that is read-only, full or refuses scripts is found
    /// out. Then makes up for releases that did not get through.
    async fn probe(&self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        let (keys, token) = (Keys::probe(&self.instance), Token(self.instance.clone()));
        let (ttl, lease) = (self.timing.command, self.timing.lease());
        script::take(connection, &keys, &token, ttl, Duration::ZERO, lease).await?;
        script::keep(connection, &keys, &token, ttl).await?;
        script::release(connection, &keys, &token, None, lease).await?;
        self.pay_debts(connection).await
    }

    /// Returns with the reason when the connection is no good any more.
    async fn watch_over(&self, up: Up, mut releases: PubSub) -> String {
        let mut state = self.subscribe();
        let reported = async {
            match state.wait_for(|state| !matches!(state, State::Up(_))).await.as_deref() {
                Ok(State::Connecting(reason)) => reason.to_string(),
                _ => String::new(),
            }
        };
        let heartbeat = async {
            let mut connection = up.connection.clone();
            loop {
                sleep(self.timing.heartbeat).await;
                match timeout(self.timing.command, self.probe(&mut connection)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => break error.to_string(),
                    Err(_) => break format!("no answer within {:?}", self.timing.command),
                }
            }
        };
        let hear = async {
            let mut messages = releases.on_message();
            // The probe's own release comes along every heartbeat, so silence means that nothing arrives.
            let silence = self.timing.heartbeat * 3 + self.timing.command;
            loop {
                match timeout(silence, messages.next()).await {
                    Ok(Some(message)) => self.wake(message.get_payload_bytes()),
                    Ok(None) => break "the connection for releases was closed".to_owned(),
                    Err(_) => break format!("no release was heard of within {silence:?}"),
                }
            }
        };
        tokio::select! {
            reason = reported => reason,
            reason = heartbeat => reason,
            reason = hear => reason,
        }
    }

    fn wake(&self, room: &[u8]) {
        let Ok(room) = std::str::from_utf8(room) else { return };
        if let Some(listener) = self.listeners.lock().unwrap_or_else(PoisonError::into_inner).get(room) {
            listener.notify_one();
        }
    }
}

/// Hears of one room's releases until it is dropped.
pub(super) struct Listener {
    link: Arc<Link>,
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
        let mut listeners = self.link.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        // The next in line may be listening already.
        if listeners.get(self.room.as_str()).is_some_and(|wake| Arc::ptr_eq(wake, &self.wake)) {
            listeners.remove(self.room.as_str());
        }
    }
}
