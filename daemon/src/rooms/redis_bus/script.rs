//! What Redis is asked, each as one atomic script.
//!
//! Of a room, Redis keeps (below the configured prefix):
//! - `rooms:at:<room>`, a hash: the state (`code`, `language`, `sequence`, `count`, `last`, `execution`,
//!   `recording`), the `epoch` that was begun when Redis last learned the room from a daemon, the `revision`, which
//!   counts the ordered events of that epoch, and the server's `run` id;
//! - `rooms:members:<room>`, a hash, and `rooms:places:<room>`, a sorted set: who is there, by which daemon, and
//!   since when, in microseconds of the server's clock;
//! - `rooms:log:<room>`, a list: the latest events, for a daemon that lost its connection for a moment;
//! - `rooms:new:<room>`: that a name was given to a new room;
//! - `rooms:last:<instance>:<room>`: what a daemon published last, so that it can ask again without doing twice.
//!
//! `rooms:daemons` is a sorted set of the daemons by the ends of their leases. Events are published on
//! `rooms:events:<room>`, what one daemon asked for on `rooms:to:<instance>`; one connection hears both, in the
//! order in which they were published.

use std::sync::LazyLock;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Script, ScriptInvocation};

use super::message::{Cursor, Standing};
use crate::ids::RoomId;

/// Events of one room that are kept for who lost the connection for a moment.
const LOG_LENGTH: usize = 128;
/// How long they are kept after the last one.
const KEEP_LOG: Duration = Duration::from_secs(60);
/// How long a room is kept after the last event.
const KEEP: Duration = Duration::from_secs(7 * 24 * 60 * 60);

fn with_common(script: &str) -> Script {
    Script::new(&format!("{}\n{script}", include_str!("common.lua")))
}

static PUBLISH: LazyLock<Script> = LazyLock::new(|| with_common(include_str!("publish.lua")));
static FOLLOW: LazyLock<Script> = LazyLock::new(|| with_common(include_str!("follow.lua")));
static REAP: LazyLock<Script> = LazyLock::new(|| with_common(include_str!("reap.lua")));
/// KEYS the room, its name as reserved. ARGV instance, for how long.
static RESERVE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
return redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) and 1 or 0
",
    )
});
static LEASE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lease.lua")));

/// How everything is called in Redis, and as whom this daemon speaks.
#[derive(Debug, Clone)]
pub(super) struct Names {
    prefix: String,
    pub(super) instance: String,
}

/// What is to be published.
pub(super) struct Publication<'a> {
    pub(super) epoch: &'a str,
    /// This daemon's number for it, to know it again.
    pub(super) id: u64,
    /// What the script does: see `publish.lua`.
    pub(super) kind: &'static str,
    /// As JSON.
    pub(super) event: &'a str,
    /// Whose place in the room it needs; empty when none.
    pub(super) by: &'a str,
    /// The kind's own.
    pub(super) one: &'a str,
    /// The kind's own.
    pub(super) two: &'a str,
}

/// What came of publishing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// It has its place.
    Done {
        /// Where it came in its epoch; 0 when that was an earlier one.
        revision: u64,
        /// The room's last number after it.
        sequence: u64,
    },
    /// Redis knows the room differently: it must be followed anew.
    Unknown,
    /// Who did it is not in the room.
    Absent,
    /// The counter would go back.
    Behind,
    /// The room is full.
    Full,
    /// Who did it is not the host.
    NotHost,
    /// There is a recording.
    Recording,
    /// There is none.
    NotRecording,
}

impl Names {
    pub(super) fn new(prefix: &str, instance: String) -> Self {
        Self { prefix: prefix.to_owned(), instance }
    }

    /// What this daemon alone hears.
    pub(super) fn own(&self) -> String {
        format!("{}rooms:to:{}", self.prefix, self.instance)
    }

    /// Where a room's events are published.
    pub(super) fn events(&self, room: &RoomId) -> String {
        format!("{}rooms:events:{room}", self.prefix)
    }

    /// The room whose events are published there.
    pub(super) fn room_of(&self, channel: &str) -> Option<RoomId> {
        RoomId::new(channel.strip_prefix(&self.prefix)?.strip_prefix("rooms:events:")?).ok()
    }

    fn leases(&self) -> String {
        format!("{}rooms:daemons", self.prefix)
    }

    /// With the keys and arguments that all scripts of a room have.
    fn of<'a>(&self, script: &'a Script, room: &RoomId) -> ScriptInvocation<'a> {
        let mut call = script.prepare_invoke();
        for key in ["at", "members", "places", "log"] {
            call.key(format!("{}rooms:{key}:{room}", self.prefix));
        }
        call.key(self.leases());
        call.arg(self.events(room)).arg(&self.instance);
        call.arg(KEEP.as_millis().to_string()).arg(KEEP_LOG.as_millis().to_string()).arg(LOG_LENGTH);
        call
    }

    /// Gives an event its place and tells every daemon.
    pub(super) async fn publish(
        &self,
        connection: &mut MultiplexedConnection,
        room: &RoomId,
        what: &Publication<'_>,
    ) -> RedisResult<Answer> {
        let mut call = self.of(&PUBLISH, room);
        call.key(format!("{}rooms:last:{}:{room}", self.prefix, self.instance));
        call.arg(what.epoch).arg(what.id).arg(what.kind).arg(what.event).arg(what.by).arg(what.one).arg(what.two);
        let (answer, revision, sequence): (String, u64, u64) = call.invoke_async(connection).await?;
        Ok(match answer.as_str() {
            "done" => Answer::Done { revision, sequence },
            "absent" => Answer::Absent,
            "behind" => Answer::Behind,
            "full" => Answer::Full,
            "not-host" => Answer::NotHost,
            "recording" => Answer::Recording,
            "not-recording" => Answer::NotRecording,
            _ => Answer::Unknown,
        })
    }

    /// Begins to follow a room. What is missing here is told on the own channel, with the attempt's number.
    pub(super) async fn follow(
        &self,
        connection: &mut MultiplexedConnection,
        room: &RoomId,
        attempt: u64,
        (run, lease): (&str, Duration),
        standing: &Standing,
    ) -> RedisResult<()> {
        let mut call = self.of(&FOLLOW, room);
        let fresh = uuid::Uuid::new_v4().simple().to_string();
        call.arg(self.own()).arg(attempt).arg(room.as_str());
        call.arg(lease.as_micros().to_string()).arg(run).arg(fresh);
        match &standing.cursor {
            Some(Cursor { epoch, revision }) => call.arg(&**epoch).arg(*revision),
            None => call.arg("").arg(0),
        };
        let stored = &standing.stored;
        call.arg(stored.sequence).arg(&stored.code).arg(&stored.language).arg(stored.execution_count);
        call.arg(stored.last_execution_at.map(|at| at.to_string()).unwrap_or_default());
        let running = standing.running.as_ref();
        let running = running.map(|(id, interrupted)| format!("{} {id} {interrupted}", self.instance));
        call.arg(running.unwrap_or_default()).arg(standing.recording.clone().unwrap_or_default());
        for (id, place, json) in &standing.members {
            call.arg(id.as_str()).arg(*place).arg(json);
        }
        call.invoke_async::<()>(connection).await
    }

    /// Takes the name of a room that is to be made; false when some daemon knows one of that name.
    pub(super) async fn reserve(&self, connection: &mut MultiplexedConnection, room: &RoomId) -> RedisResult<bool> {
        let mut call = RESERVE.prepare_invoke();
        call.key(format!("{}rooms:at:{room}", self.prefix)).key(format!("{}rooms:new:{room}", self.prefix));
        call.arg(&self.instance).arg(KEEP.as_millis().to_string());
        call.invoke_async(connection).await
    }

    /// Takes what dead daemons left in a room out of it.
    pub(super) async fn reap(&self, connection: &mut MultiplexedConnection, room: &RoomId) -> RedisResult<()> {
        self.of(&REAP, room).invoke_async::<()>(connection).await
    }

    /// Says that this daemon lives, or without a lease that it ends; gives whether it had been taken for dead, and
    /// who is.
    pub(super) async fn live(
        &self,
        connection: &mut MultiplexedConnection,
        lease: Option<Duration>,
    ) -> RedisResult<(bool, Vec<String>)> {
        let mut call = LEASE.prepare_invoke();
        // Who ends is not forgotten at once: the others must learn that it is dead.
        let lease = lease.map_or_else(|| "-1".to_owned(), |lease| lease.as_micros().to_string());
        call.key(self.leases()).arg(&self.instance).arg(lease).arg(self.own());
        let mut told: Vec<String> = call.invoke_async(connection).await?;
        let lapsed = told.first().is_some_and(|held| held == "lapsed");
        Ok((lapsed, told.split_off(1.min(told.len()))))
    }
}
