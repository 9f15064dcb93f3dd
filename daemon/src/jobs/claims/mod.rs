//! Correlation ids of several daemons: who carries a request out, and what came of it.
//!
//! [`super::idempotency`] finds the repeats that reach the same daemon. With Redis, the first request's daemon also
//! *claims* its key there, keeps the claim while the execution waits and runs, and leaves the result in its place. A
//! repeat that reaches another daemon waits for that result. A claim whose execution never ran is given up, and one
//! whose daemon died runs out: whoever waits then begins anew.
//!
//! Without Redis every daemon knows its own requests alone.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use redis::aio::MultiplexedConnection;
use redis::{Msg, RedisResult, Script};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

use super::execution::{Finished, Head};
use super::idempotency::Key;
use crate::ids::ExecutionId;
use crate::redis_link::{BadRedisUrl, Link, Pace, Tenant, client};

/// Where the end of a claim is told, with its name.
const CHANNEL: &str = "execution:requests";
/// How long a result is kept for repeats that reach another daemon; its own daemon's history keeps it longer.
const KEEP: Duration = Duration::from_secs(15 * 60);

/// How long things may take; all but the tests use the default.
#[derive(Debug, Clone, Copy)]
struct Timing {
    pace: Pace,
    /// After this a claim that nobody extends is free.
    ttl: Duration,
    /// Between two looks at another daemon's claim, when nothing is told.
    poll: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self { pace: Pace::default(), ttl: Duration::from_secs(30), poll: Duration::from_secs(1) }
    }
}

/// The claims of all daemons; clones share them.
#[derive(Clone, Default)]
pub struct Claims {
    shared: Option<Arc<Shared>>,
}

/// What a request found.
pub enum Claimed {
    /// It is the first: carry it out.
    Here(Claim),
    /// It was carried out; code, input and files are left out.
    Done(Box<Finished>),
    /// Another daemon carries it out.
    Elsewhere(Elsewhere),
}

/// This daemon carries a request out. Dropped without a result, the request is as if it had never been made.
#[must_use = "dropping it gives the request up"]
pub struct Claim {
    held: Option<Held>,
}

struct Held {
    shared: Arc<Shared>,
    name: String,
    value: String,
    /// Extends the claim until it is dropped.
    _keeper: oneshot::Sender<()>,
}

/// Another daemon carries a request out.
pub struct Elsewhere {
    shared: Arc<Shared>,
    name: String,
    id: ExecutionId,
}

struct Shared {
    link: Arc<Link<Ends>>,
    ends: Arc<Ends>,
    timing: Timing,
    instance: String,
    _connection: AbortOnDropHandle<()>,
}

/// Who waits for the end of which claim.
#[derive(Default)]
struct Ends {
    waiting: Mutex<HashMap<String, watch::Sender<()>>>,
}

/// What Redis holds of a request.
enum Found {
    Nothing,
    Running(ExecutionId),
    Done(Box<Finished>),
}

/// KEYS the claim. ARGV the value, its time to live. Gives what is there if it is another's.
static TAKE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local there = redis.call('GET', KEYS[1])
if there and there ~= ARGV[1] then return there end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ''
",
    )
});

/// KEYS the claim. ARGV the value that may be there, the one to put there or '', its time to live, channel.
static END: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local there = redis.call('GET', KEYS[1])
if there and there ~= ARGV[1] then return 0 end
if ARGV[2] == '' then redis.call('DEL', KEYS[1]) else redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
redis.call('PUBLISH', ARGV[4], KEYS[1])
return 1
",
    )
});

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Claims {
    /// Claims shared by all daemons that use this Redis. It is no error that it does not answer.
    ///
    /// # Errors
    /// [`BadRedisUrl`] when the address is none.
    pub async fn in_redis(url: &str) -> Result<Self, BadRedisUrl> {
        Self::with_timing(url, Timing::default()).await
    }

    async fn with_timing(url: &str, timing: Timing) -> Result<Self, BadRedisUrl> {
        let ends = Arc::new(Ends::default());
        let link = Arc::new(Link::new(client(url)?, timing.pace, Arc::clone(&ends)));
        let connection = AbortOnDropHandle::new(tokio::spawn(Arc::clone(&link).run()));
        link.ready().await;
        let instance = uuid::Uuid::new_v4().simple().to_string();
        Ok(Self { shared: Some(Arc::new(Shared { link, ends, timing, instance, _connection: connection })) })
    }

    /// Claims a request for an execution of this id, unless another daemon has.
    pub async fn claim(&self, key: &Key, id: &ExecutionId) -> Claimed {
        let alone = Claimed::Here(Claim { held: None });
        let Some(shared) = &self.shared else { return alone };
        let name = name(key);
        let value = format!("running {} {id}", shared.instance);
        // What was asked on a connection that broke may have been done: asking again finds the own value.
        loop {
            let Some(up) = shared.link.ready().await else { return alone };
            let mut connection = up.connection.clone();
            let mut call = TAKE.key(&name);
            let take = call.arg(&value).arg(ms(shared.timing.ttl)).invoke_async::<String>(&mut connection);
            let Some(there) = shared.link.within(&up, take).await else { continue };
            return match Found::read(&there) {
                Found::Nothing => Claimed::Here(shared.hold(name, value)),
                Found::Done(finished) => Claimed::Done(finished),
                Found::Running(id) => Claimed::Elsewhere(Elsewhere { shared: Arc::clone(shared), name, id }),
            };
        }
    }
}

/// No id has control characters, so names of different requests differ.
fn name(key: &Key) -> String {
    format!("execution:request:{}\n{}\n{}", key.room, key.user, key.correlation_id)
}

impl Shared {
    fn hold(self: &Arc<Self>, name: String, value: String) -> Claim {
        let (keeper, released) = oneshot::channel();
        tokio::spawn(Arc::clone(self).extend(name.clone(), value.clone(), released));
        Claim { held: Some(Held { shared: Arc::clone(self), name, value, _keeper: keeper }) }
    }

    /// Keeps a claim alive, and takes it again when Redis forgot it.
    async fn extend(self: Arc<Self>, name: String, value: String, mut released: oneshot::Receiver<()>) {
        loop {
            tokio::select! {
                _ = &mut released => return,
                () = sleep(self.timing.ttl / 3) => {}
            }
            let Some(up) = self.link.up() else { continue };
            let mut connection = up.connection.clone();
            let mut call = TAKE.key(&name);
            let keep = call.arg(&value).arg(ms(self.timing.ttl)).invoke_async::<String>(&mut connection);
            let _ = self.link.within(&up, keep).await;
        }
    }

    /// Puts something in a claim's place, or nothing.
    async fn end(&self, name: &str, value: &str, result: &str) {
        let Some(up) = self.link.up() else { return };
        let mut connection = up.connection.clone();
        let mut call = END.key(name);
        call.arg(value).arg(result).arg(ms(KEEP)).arg(CHANNEL);
        let _ = self.link.within(&up, call.invoke_async::<i64>(&mut connection)).await;
    }
}

impl Claim {
    /// Leaves the result for repeats; it is committed to this daemon's history already.
    pub async fn finish(mut self, finished: &Finished) {
        let Some(held) = self.held.take() else { return };
        held.shared.end(&held.name, &held.value, &done(finished)).await;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let (Some(held), Ok(runtime)) = (self.held.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move { held.shared.end(&held.name, &held.value, "").await });
        }
    }
}

impl Elsewhere {
    /// The execution that is waited for.
    #[must_use]
    pub const fn id(&self) -> &ExecutionId {
        &self.id
    }

    /// Waits for the result; none when the claim was given up or its daemon died, or when Redis has been gone for as
    /// long as a claim lives.
    pub async fn result(self) -> Option<Finished> {
        let Self { shared, name, .. } = self;
        let mut listener = shared.ends.listen(&name);
        let mut seen = Instant::now();
        loop {
            if let Some(up) = shared.link.ready().await {
                let mut connection = up.connection.clone();
                let get = async { redis::cmd("GET").arg(&name).query_async::<Option<String>>(&mut connection).await };
                if let Some(there) = shared.link.within(&up, get).await {
                    match there.as_deref().map_or(Found::Nothing, Found::read) {
                        Found::Done(finished) => return Some(*finished),
                        Found::Nothing => return None,
                        Found::Running(_) => seen = Instant::now(),
                    }
                }
            }
            if seen.elapsed() > shared.timing.ttl {
                return None;
            }
            tokio::select! {
                _ = listener.told.changed() => {}
                () = sleep(shared.timing.poll) => {}
            }
        }
    }
}

impl Found {
    fn read(value: &str) -> Self {
        match value.split_once(' ') {
            Some(("running", rest)) => {
                rest.split_once(' ').and_then(|(_, id)| ExecutionId::new(id).ok()).map_or(Self::Nothing, Self::Running)
            }
            Some(("done", json)) => {
                serde_json::from_str(json).map_or(Self::Nothing, |finished| Self::Done(Box::new(finished)))
            }
            _ => Self::Nothing,
        }
    }
}

/// A repeat is told the result alone: what was run need not be kept.
fn done(finished: &Finished) -> String {
    let head = Head {
        code: String::new(),
        stdin: String::new(),
        args: Vec::new(),
        files: Vec::new(),
        ..finished.head.clone()
    };
    let told = Finished { head, ..finished.clone() };
    serde_json::to_string(&told).map_or_else(|_| String::new(), |json| format!("done {json}"))
}

impl Ends {
    fn waiting(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<()>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listen(self: &Arc<Self>, name: &str) -> Listener {
        let told = self.waiting().entry(name.to_owned()).or_default().subscribe();
        Listener { ends: Arc::clone(self), name: name.to_owned(), told }
    }
}

/// Hears of one claim's end until it is dropped.
struct Listener {
    ends: Arc<Ends>,
    name: String,
    told: watch::Receiver<()>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut waiting = self.ends.waiting();
        // Its own receiver is the last.
        if waiting.get(&self.name).is_some_and(|teller| teller.receiver_count() == 1) {
            waiting.remove(&self.name);
        }
    }
}

impl Tenant for Ends {
    const TOGETHER: &'static str = "repeated requests are known to all daemons";
    const ALONE: &'static str = "repeated requests are known to their own daemon alone";

    fn channel(&self) -> String {
        CHANNEL.to_owned()
    }

    fn try_out<'a>(&'a self, connection: &'a mut MultiplexedConnection, _: bool) -> BoxFuture<'a, RedisResult<()>> {
        Box::pin(async move {
            // No request's name ends here.
            END.key("execution:request:")
                .arg("")
                .arg("try")
                .arg(1)
                .arg(CHANNEL)
                .invoke_async::<i64>(connection)
                .await?;
            Ok(())
        })
    }

    fn heard(&self, _: u64, message: &Msg) {
        let Ok(name) = std::str::from_utf8(message.get_payload_bytes()) else { return };
        if let Some(teller) = self.waiting().get(name) {
            teller.send_replace(());
        }
    }
}
