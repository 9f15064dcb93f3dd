//! The connection to Redis: kept up in the background, given up quickly, and told about once.
//!
//! One task connects, lets its [`Tenant`] try everything out that it needs, hands it what is published, and keeps
//! trying it out once per heartbeat. Whoever sees a command fail reports it; the link then is *connecting*: one
//! attempt is made at once, and only when that fails too it is *down* until a later attempt succeeds. So a
//! connection that was merely cut costs a moment, and a server that is gone or hangs costs nobody more than that
//! attempt.
//!
//! Redis 5 or later, one server (no cluster). Each tenant has a link of its own: neither waits for the other.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use redis::aio::{MultiplexedConnection, PubSubSink, PubSubStream};
use redis::{AsyncConnectionConfig, Client, Msg, RedisResult};
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

#[cfg(test)]
pub(crate) mod server;

/// A Redis address that cannot be used. Never holds the address, which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("not an address of redis (redis://[[user]:password@]host[:port][/db] or unix:///path/to/socket): {reason}")]
pub struct BadRedisUrl {
    reason: String,
}

/// Reads an address; connects nowhere.
///
/// # Errors
/// [`BadRedisUrl`] when it is none.
pub(crate) fn client(url: &str) -> Result<Client, BadRedisUrl> {
    Client::open(url).map_err(|error| BadRedisUrl { reason: error.to_string() })
}

/// How long things may take; all but the tests use the default.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// One command, or one connection attempt's each half.
    pub(crate) command: Duration,
    /// Between two trials of a connection that is up.
    pub(crate) heartbeat: Duration,
    /// The longest pause between two connection attempts.
    pub(crate) retry_max: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            command: Duration::from_millis(500),
            heartbeat: Duration::from_secs(1),
            retry_max: Duration::from_secs(2),
        }
    }
}

/// What a link is kept for.
pub(crate) trait Tenant: Send + Sync + 'static {
    /// What is so while Redis is used; for the log.
    const TOGETHER: &'static str;
    /// What is so while it is not; for the log and for `/health`.
    const ALONE: &'static str;

    /// The channel that is listened to from the first moment on.
    fn channel(&self) -> String;

    /// Does once all that will be needed, so that a server that is read-only, full or refuses scripts is found
    /// out, and publishes something on [`Tenant::channel`]. `first` on a new connection.
    fn try_out<'a>(&'a self, connection: &'a mut MultiplexedConnection, first: bool) -> BoxFuture<'a, RedisResult<()>>;

    /// Something was published, by this connection; must not block.
    fn heard(&self, generation: u64, message: &Msg);
}

/// How things stand with Redis.
#[derive(Clone)]
pub(crate) enum State {
    /// Being found out; why the last connection was given up.
    Connecting(Arc<str>),
    /// It may be asked.
    Up(Up),
    /// Go on without it; the reason is for the log and for `/health`.
    Down(Arc<str>),
}

/// A connection, and which one it is.
#[derive(Clone)]
pub(crate) struct Up {
    pub(crate) connection: MultiplexedConnection,
    /// Changes what is listened to.
    pub(crate) subscriptions: PubSubSink,
    /// Counts the connections.
    pub(crate) generation: u64,
}

/// Shared by the task that keeps the connection and those who use it.
pub(crate) struct Link<T> {
    client: Client,
    pace: Pace,
    state: watch::Sender<State>,
    tenant: Arc<T>,
}

impl<T: Tenant> Link<T> {
    pub(crate) fn new(client: Client, pace: Pace, tenant: Arc<T>) -> Self {
        Self { client, pace, state: watch::Sender::new(State::Connecting("".into())), tenant }
    }

    /// Host and port or socket path, without user and password.
    fn address(&self) -> String {
        self.client.get_connection_info().addr().to_string()
    }

    /// Follows the state.
    pub(crate) fn subscribe(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// What is degraded, as one sentence for `/health`.
    pub(crate) fn health(&self) -> Option<String> {
        match &*self.state.borrow() {
            State::Down(reason) => Some(format!("redis at {} cannot be used ({reason}); {}", self.address(), T::ALONE)),
            _ => None,
        }
    }

    /// The connection, if it is up now.
    pub(crate) fn up(&self) -> Option<Up> {
        match &*self.state.borrow() {
            State::Up(up) => Some(up.clone()),
            _ => None,
        }
    }

    /// Whether this connection is up now.
    pub(crate) fn is(&self, generation: u64) -> bool {
        self.up().is_some_and(|up| up.generation == generation)
    }

    /// A connection to use, or none when there is none; waits while that is being found out, which takes
    /// at most twice the command time-out.
    pub(crate) async fn ready(&self) -> Option<Up> {
        let mut state = self.subscribe();
        match state.wait_for(|state| !matches!(state, State::Connecting(_))).await.as_deref() {
            Ok(State::Up(up)) => Some(up.clone()),
            _ => None,
        }
    }

    /// Carries out a command within its time-out; a failure is reported.
    pub(crate) async fn within<V>(&self, up: &Up, command: impl Future<Output = RedisResult<V>>) -> Option<V> {
        let reason = match timeout(self.pace.command, command).await {
            Ok(Ok(value)) => return Some(value),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {:?}", self.pace.command),
        };
        self.report(up.generation, &reason);
        None
    }

    /// Gives up a connection that was seen to be no good.
    pub(crate) fn report(&self, generation: u64, reason: &str) {
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

    /// Keeps the connection, for ever.
    pub(crate) async fn run(self: Arc<Self>) {
        const RETRY_MIN: Duration = Duration::from_millis(50);
        let mut pause = RETRY_MIN;
        let mut generation = 0;
        let mut warned = false;
        loop {
            let reason = match self.open().await {
                Ok((connection, subscriptions, messages)) => {
                    let since = Instant::now();
                    generation += 1;
                    if warned {
                        info!(redis = self.address(), "redis is back, {} again", T::TOGETHER);
                    } else if generation == 1 {
                        info!(redis = self.address(), "{}", T::TOGETHER);
                    }
                    warned = false;
                    let up = Up { connection, subscriptions, generation };
                    self.state.send_replace(State::Up(up.clone()));
                    let reason = self.watch_over(up, messages).await;
                    if since.elapsed() > self.pace.heartbeat {
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
                warn!(redis = self.address(), reason, "redis cannot be used, {}", T::ALONE);
                warned = true;
            }
            self.state.send_replace(State::Down(reason.into()));
            sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
            pause = (pause * 2).min(self.pace.retry_max);
        }
    }

    /// Connects, and lets all be tried out that is needed.
    async fn open(&self) -> Result<(MultiplexedConnection, PubSubSink, PubSubStream), String> {
        let limit = self.pace.command;
        let connect = async {
            // Every use has a time-out of its own around it.
            let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
            let connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
            let mut messages = self.client.get_async_pubsub().await?;
            messages.subscribe(self.tenant.channel()).await?;
            Ok::<_, redis::RedisError>((connection, messages))
        };
        let late = |_| format!("no answer within {limit:?}");
        let (mut connection, messages) =
            timeout(limit, connect).await.map_err(late)?.map_err(|error| error.to_string())?;
        let tried = self.tenant.try_out(&mut connection, true);
        timeout(limit, tried).await.map_err(late)?.map_err(|error| error.to_string())?;
        let (subscriptions, messages) = messages.split();
        Ok((connection, subscriptions, messages))
    }

    /// Returns with the reason when the connection is no good any more.
    async fn watch_over(&self, up: Up, mut messages: PubSubStream) -> String {
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
                sleep(self.pace.heartbeat).await;
                match timeout(self.pace.command, self.tenant.try_out(&mut connection, false)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => break error.to_string(),
                    Err(_) => break format!("no answer within {:?}", self.pace.command),
                }
            }
        };
        let hear = async {
            // What is tried out comes along every heartbeat, so silence means that nothing arrives.
            let silence = self.pace.heartbeat * 3 + self.pace.command;
            loop {
                match timeout(silence, messages.next()).await {
                    Ok(Some(message)) => self.tenant.heard(up.generation, &message),
                    Ok(None) => break "the connection for messages was closed".to_owned(),
                    Err(_) => break format!("nothing was heard within {silence:?}"),
                }
            }
        };
        tokio::select! {
            reason = reported => reason,
            reason = heartbeat => reason,
            reason = hear => reason,
        }
    }
}
