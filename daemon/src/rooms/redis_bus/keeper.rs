//! What goes on beside publishing: hearing, following again, taking the dead out, going alone.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use redis::aio::MultiplexedConnection;
use redis::{Msg, RedisResult};
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::message::Message;
use super::script::Names;
use super::{Shared, Subscribed};
use crate::ids::RoomId;
use crate::redis_link::{State, Tenant, Up};
use crate::rooms::registry::RoomRegistry;

/// Rooms that are seen to at the same time.
const AT_ONCE: usize = 16;

/// Something to be done about a room.
type SeeTo = fn(Arc<Shared>, Up, RoomId) -> BoxFuture<'static, ()>;

fn follow(shared: Arc<Shared>, up: Up, room: RoomId) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        let Some(_turn) = shared.registry.turn_if_present(&room).await else { return };
        if let Err(error) = shared.follow(&up, &room).await {
            tracing::warn!(%room, %error, "a room cannot be followed");
        }
    })
}

fn reap(shared: Arc<Shared>, up: Up, room: RoomId) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        let mut connection = up.connection.clone();
        shared.link.within(&up, shared.names.reap(&mut connection, &room)).await;
    })
}

/// Hears what Redis says, and notes what is to be done about it.
pub(super) struct Hearing {
    registry: Arc<RoomRegistry>,
    names: Arc<Names>,
    lease: Duration,
    inner: Mutex<Inner>,
    wake: Notify,
}

#[derive(Default)]
struct Inner {
    /// The server's process.
    run: String,
    /// This daemon is about to end.
    leaving: bool,
    dead: HashSet<String>,
    todo: Todo,
}

/// What the keeper is to do.
#[derive(Default)]
struct Todo {
    follow: HashSet<RoomId>,
    follow_all: bool,
    reap: bool,
}

impl Hearing {
    pub(super) fn new(registry: Arc<RoomRegistry>, names: Arc<Names>, lease: Duration) -> Self {
        Self { registry, names, lease, inner: Mutex::default(), wake: Notify::new() }
    }

    /// Names the server's process: one that was started again may not know all that it said.
    pub(super) fn run(&self) -> String {
        self.inner().run.clone()
    }

    /// This daemon is about to end: from now on it says so.
    pub(super) async fn leave(&self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        self.inner().leaving = true;
        self.live(connection, false).await
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the keeper follow a room anew.
    pub(super) fn ask_to_follow(&self, room: &RoomId) {
        self.ask(|todo| {
            todo.follow.insert(room.clone());
        });
    }

    fn ask(&self, todo: impl FnOnce(&mut Todo)) {
        todo(&mut self.inner().todo);
        self.wake.notify_one();
    }

    async fn live(&self, connection: &mut MultiplexedConnection, first: bool) -> RedisResult<()> {
        let leaving = self.inner().leaving;
        let (lapsed, dead) = self.names.live(connection, (!leaving).then_some(self.lease)).await?;
        if first {
            let info: String = redis::cmd("INFO").arg("server").query_async(connection).await?;
            let run = info.lines().find_map(|line| line.strip_prefix("run_id:")).unwrap_or_default();
            run.trim().clone_into(&mut self.inner().run);
        }
        let dead: HashSet<String> = dead.into_iter().collect();
        let newly = {
            let mut inner = self.inner();
            let newly = !dead.is_subset(&inner.dead);
            inner.dead = dead;
            newly
        };
        if newly {
            self.ask(|todo| todo.reap = true);
        }
        if lapsed && !first && !leaving {
            tracing::warn!("the other daemons took this one for dead for a while");
            self.ask(|todo| todo.follow_all = true);
        }
        Ok(())
    }
}

impl Tenant for Hearing {
    const TOGETHER: &'static str = "rooms are shared through redis";
    const ALONE: &'static str = "rooms are shared with no other daemon";

    fn channel(&self) -> String {
        self.names.own()
    }

    fn try_out<'a>(&'a self, connection: &'a mut MultiplexedConnection, first: bool) -> BoxFuture<'a, RedisResult<()>> {
        Box::pin(self.live(connection, first))
    }

    fn heard(&self, generation: u64, message: &Msg) {
        let Some(message) = Message::read(&self.names, message) else { return };
        let room = message.room.clone();
        if !self.registry.hear(&self.names.instance, generation, message) {
            self.ask_to_follow(&room);
        }
    }
}

impl Shared {
    /// Sees to it that rooms are followed, for ever.
    pub(super) async fn keep(self: Arc<Self>) {
        let mut state = self.link.subscribe();
        // It may have come up before this task did.
        state.mark_changed();
        let mut ticks = interval(self.timing.pace.heartbeat);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut down: Option<Instant> = None;
        let mut alone = false;
        loop {
            tokio::select! {
                changed = state.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let now = state.borrow_and_update().clone();
                    match now {
                        State::Up(up) => {
                            (down, alone) = (None, false);
                            self.each(&up, self.registry.present_rooms(), follow).await;
                        }
                        State::Down(_) => down = down.or_else(|| Some(Instant::now())),
                        State::Connecting(_) => {}
                    }
                }
                () = self.hearing.wake.notified() => self.see_to_it().await,
                _ = ticks.tick() => {
                    if down.is_some_and(|since| since.elapsed() >= self.timing.lease) && !alone {
                        alone = true;
                        self.registry.present_rooms().iter().for_each(|room| self.registry.stay_alone(room));
                    }
                    if let Some(up) = self.link.up() {
                        self.forget(&up).await;
                    }
                }
            }
        }
    }

    async fn see_to_it(self: &Arc<Self>) {
        let todo = {
            let mut inner = self.hearing.inner();
            // What the others take out now is not to be brought back.
            if inner.leaving {
                return;
            }
            std::mem::take(&mut inner.todo)
        };
        // A connection that comes back has everything followed anew.
        let Some(up) = self.link.up() else { return };
        if todo.follow_all {
            self.registry.present_rooms().iter().for_each(|room| self.registry.doubt(room));
            self.each(&up, self.registry.present_rooms(), follow).await;
        } else {
            self.each(&up, todo.follow.into_iter().collect(), follow).await;
        }
        if todo.reap {
            self.each(&up, self.registry.present_rooms(), reap).await;
        }
    }

    async fn each(self: &Arc<Self>, up: &Up, rooms: Vec<RoomId>, see_to: SeeTo) {
        let work = rooms.into_iter().map(|room| (Arc::clone(self), up.clone(), room));
        futures_util::stream::iter(work)
            .for_each_concurrent(AT_ONCE, |(shared, up, room)| async move {
                if shared.link.is(up.generation) {
                    see_to(shared, up, room).await;
                }
            })
            .await;
    }

    /// Hears no more of rooms that left memory.
    async fn forget(&self, up: &Up) {
        let mut subscribed = self.subscribed.lock().await;
        let Subscribed { generation, rooms } = &mut *subscribed;
        if *generation != up.generation || !self.link.is(up.generation) {
            return;
        }
        // Who brings one back into memory from here on waits for this lock and listens anew.
        let gone: Vec<RoomId> = rooms.iter().filter(|room| !self.registry.is_present(room)).cloned().collect();
        for room in gone {
            let mut subscriptions = up.subscriptions.clone();
            self.link.within(up, subscriptions.unsubscribe(self.names.events(&room))).await;
            rooms.remove(&room);
        }
    }
}
