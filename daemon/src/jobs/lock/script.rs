//! What Redis is asked, each as one atomic script. Redis 5 or later, one server (no cluster).
//!
//! `execution:lock:<roomId>` holds the holder's token. `execution:waiting:<roomId>` is a sorted set of the
//! first in line of each daemon, so that a room is first come first served across daemons too: a member is
//! `<arrival>:<token>`, its score the moment until which its daemon vouches for it, both in milliseconds of
//! the server's clock, the only one that counts. Releases are told on one channel, with the room's id.

use std::sync::LazyLock;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Script};

use crate::ids::RoomId;

/// Where releases are told.
pub(super) const CHANNEL: &str = "execution:released";

/// A room's keys, and its name in the channel.
pub(super) struct Keys {
    lock: String,
    waiting: String,
    payload: String,
}

/// Who holds or waits, unique to one place in one daemon's queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token(pub(super) String);

/// What came of an attempt to take a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is held, for this long unless extended.
    Yes,
    /// Somebody holds it, or came earlier. A holder's key expires after this time unless it is extended.
    No(Option<Duration>),
}

/// What came of an extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// It was held all the time.
    Extended,
    /// It was gone and free, and is held again.
    Retaken,
    /// It was gone, and another holder has it.
    Contested,
}

impl Keys {
    /// Those of a room.
    pub(super) fn of(room: &RoomId) -> Self {
        Self {
            lock: format!("execution:lock:{room}"),
            waiting: format!("execution:waiting:{room}"),
            payload: room.to_string(),
        }
    }

    /// Those of no room, to try everything out. No room's id is empty, so nobody takes its releases for theirs.
    pub(super) fn probe(instance: &str) -> Self {
        Self {
            lock: format!("execution:probe:{instance}"),
            waiting: format!("execution:probe:{instance}:waiting"),
            payload: String::new(),
        }
    }
}

/// KEYS lock, waiting. ARGV token, ttl, the waiter's age, lease.
static TAKE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
local members = redis.call('ZRANGE', KEYS[2], 0, -1)
local me = string.format('%015d', now - ARGV[3]) .. ':' .. ARGV[1]
for _, member in ipairs(members) do
  if string.sub(member, 17) == ARGV[1] then me = member end
end
local first = true
for _, member in ipairs(members) do
  if member < me then first = false end
end
if first and redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
  redis.call('ZREM', KEYS[2], me)
  return {1, 0}
end
redis.call('ZADD', KEYS[2], now + ARGV[4], me)
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return {0, redis.call('PTTL', KEYS[1])}
",
    )
});

/// KEYS lock. ARGV token, ttl.
static KEEP: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local holder = redis.call('GET', KEYS[1])
if holder == ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return 1
elseif not holder then
  redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2])
  return 2
end
return 0
",
    )
});

/// KEYS lock, waiting. ARGV token, channel, room, the successor's token or '', its age, lease.
static RELEASE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local told = false
for _, member in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
  if string.sub(member, 17) == ARGV[1] then
    redis.call('ZREM', KEYS[2], member)
    told = true
  end
end
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
  told = true
end
if ARGV[4] ~= '' then
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  redis.call('ZADD', KEYS[2], now + ARGV[6], string.format('%015d', now - ARGV[5]) .. ':' .. ARGV[4])
  redis.call('PEXPIRE', KEYS[2], ARGV[6])
end
if told then redis.call('PUBLISH', ARGV[2], ARGV[3]) end
return 1
",
    )
});

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Takes the key when it is free and nobody came earlier; else vouches for this waiter for the `lease`.
pub(super) async fn take(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    token: &Token,
    ttl: Duration,
    age: Duration,
    lease: Duration,
) -> RedisResult<Taken> {
    let mut call = TAKE.prepare_invoke();
    call.key(&keys.lock).key(&keys.waiting).arg(&token.0).arg(ms(ttl)).arg(ms(age)).arg(ms(lease));
    let (taken, expires): (bool, i64) = call.invoke_async(connection).await?;
    Ok(if taken { Taken::Yes } else { Taken::No(u64::try_from(expires).ok().map(Duration::from_millis)) })
}

/// Extends a key that is held, or takes it again when it is gone and free.
pub(super) async fn keep(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    token: &Token,
    ttl: Duration,
) -> RedisResult<Kept> {
    let kept: i64 = KEEP.key(&keys.lock).arg(&token.0).arg(ms(ttl)).invoke_async(connection).await?;
    Ok(match kept {
        1 => Kept::Extended,
        2 => Kept::Retaken,
        _ => Kept::Contested,
    })
}

/// Gives up the key, if this token holds it, and the place among the waiting.
///
/// The successor is the next in line of the same daemon and its age: without being named here it would lose
/// the room to somebody of another daemon who came later but is quicker to ask.
pub(super) async fn release(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
    token: &Token,
    successor: Option<(&Token, Duration)>,
    lease: Duration,
) -> RedisResult<()> {
    let (next, age) = successor.map_or(("", 0), |(token, age)| (token.0.as_str(), ms(age)));
    let mut call = RELEASE.prepare_invoke();
    call.key(&keys.lock).key(&keys.waiting);
    call.arg(&token.0).arg(CHANNEL).arg(&keys.payload).arg(next).arg(age).arg(ms(lease));
    call.invoke_async::<()>(connection).await
}
