//! Against a real `redis-server` of its own per test: two `RoomLocks` stand for two daemons. Without a
//! `redis-server` on the host these tests print SKIP and show nothing.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use nix::sys::signal::Signal;
use tokio::task::JoinSet;

use super::*;
use crate::redis_link::Pace;
use crate::redis_link::server::{Server, eventually};

const LONG: Duration = Duration::from_secs(60);

/// Short enough to see keys expire; commands as patient as they are in earnest.
fn timing() -> Timing {
    Timing {
        ttl: Duration::from_secs(3),
        pace: Pace {
            command: Duration::from_millis(500),
            heartbeat: Duration::from_millis(200),
            retry_max: Duration::from_millis(200),
        },
        poll: Duration::from_millis(400),
    }
}

async fn daemon(server: &Server) -> RoomLocks {
    RoomLocks::with_timing(&server.url(""), timing()).await.unwrap()
}

macro_rules! server_or_skip {
    ($server:expr) => {
        match $server {
            Some(server) => server,
            None => return,
        }
    };
}

fn room(name: &str) -> RoomId {
    RoomId::new(name).unwrap()
}

async fn healthy(locks: &RoomLocks) {
    eventually("redis is used", async || locks.health().is_none()).await;
}

async fn degraded(locks: &RoomLocks) {
    eventually("redis is known to be gone", async || locks.health().is_some()).await;
}

#[tokio::test]
async fn two_daemons_exclude_each_other() {
    let server = server_or_skip!(Server::started().await);
    let (one, two) = (daemon(&server).await, daemon(&server).await);
    let id = room("räum 1");
    let guard = one.acquire(&id, Duration::ZERO).await.unwrap();
    let ttl: i64 = server.ask(&["PTTL", "execution:lock:räum 1"]).await;
    assert!((1..=3_000).contains(&ttl), "{ttl}");

    // Another room is free, this one is busy for the whole wait.
    drop(two.acquire(&room("other"), Duration::ZERO).await.unwrap());
    let start = Instant::now();
    assert_eq!(two.acquire(&id, Duration::from_millis(300)).await.err(), Some(LockError::Busy));
    assert!((300..800).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    assert_eq!(two.rooms(), 0);

    // A release is told: the waiter does not wait for its next look.
    let waiting = two.enqueue(&id);
    let mut place = waiting.place();
    assert!(!waiting.must_wait());
    let waiter = tokio::spawn(waiting.acquire(LONG));
    place.changed().await.unwrap();
    assert_eq!(two.queue(&id).length, 1);
    drop(guard);
    let guard = waiter.await.unwrap().unwrap();
    assert_eq!(one.acquire(&id, Duration::ZERO).await.err(), Some(LockError::Busy));
    drop(guard);
    one.released().await;
    two.released().await;
    eventually("nothing is left in redis", async || {
        server.ask::<Vec<String>>(&["KEYS", "execution:[lw]*"]).await.is_empty()
    })
    .await;
}

#[tokio::test]
async fn a_release_reaches_the_other_daemon_at_once() {
    let server = server_or_skip!(Server::started().await);
    let patient = Timing { poll: Duration::from_secs(60), ..timing() };
    let one = RoomLocks::with_timing(&server.url(""), Timing { ttl: LONG, ..patient }).await.unwrap();
    let two = RoomLocks::with_timing(&server.socket_url(), Timing { ttl: LONG, ..patient }).await.unwrap();
    assert_eq!(two.health(), None);
    for _ in 0..20 {
        let guard = one.acquire(&room("a"), LONG).await.unwrap();
        let waiting = two.enqueue(&room("a"));
        let mut place = waiting.place();
        let waiter = tokio::spawn(waiting.acquire(LONG));
        place.changed().await.unwrap();
        drop(guard);
        let start = Instant::now();
        drop(waiter.await.unwrap().unwrap());
        assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    }
}

/// Fifty waiters in each of two daemons, arriving five by five: none overlaps another, and they run in order of
/// arrival, although each daemon's next in line stands nearer to what was just released.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_daemons_with_fifty_waiters_each_run_one_at_a_time_in_order() {
    let server = server_or_skip!(Server::started().await);
    let daemons = [daemon(&server).await, daemon(&server).await];
    let id = room("a");
    let (running, order) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
    let first = daemons[0].acquire(&id, LONG).await.unwrap();
    let mut tasks = JoinSet::new();
    for n in 0..100usize {
        let waiting = daemons[n / 5 % 2].enqueue(&id);
        let (running, order) = (Arc::clone(&running), Arc::clone(&order));
        tasks.spawn(async move {
            let guard = waiting.acquire(LONG).await.unwrap();
            assert!(!running.swap(true, Ordering::SeqCst), "two at once");
            order.lock().unwrap().push(n);
            tokio::time::sleep(Duration::from_millis(1)).await;
            running.store(false, Ordering::SeqCst);
            drop(guard);
        });
        if n % 5 == 4 {
            // Arrivals of two daemons are told apart by the server's clock, when it hears of them.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    drop(first);
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    let order = order.lock().unwrap();
    let displaced = order.iter().enumerate().filter(|(at, n)| at.abs_diff(**n) > 1).count();
    // A slow moment of the machine may blur a few arrivals at the border of two fives.
    assert!(displaced <= 10, "{displaced} of {order:?}");
    assert_eq!(order.len(), 100);
}

#[tokio::test]
async fn a_waiter_that_goes_away_does_not_hold_the_others_up() {
    let server = server_or_skip!(Server::started().await);
    let [one, two, three] = [daemon(&server).await, daemon(&server).await, daemon(&server).await];
    let id = room("a");
    let guard = one.acquire(&id, LONG).await.unwrap();
    let waiting = two.enqueue(&id);
    let mut place = waiting.place();
    let early = tokio::spawn(waiting.acquire(LONG));
    place.changed().await.unwrap();
    let waiting = three.enqueue(&id);
    let mut place = waiting.place();
    let late = tokio::spawn(waiting.acquire(LONG));
    place.changed().await.unwrap();
    early.abort();
    assert!(early.await.is_err());
    two.released().await;
    drop(guard);
    let start = Instant::now();
    let _guard = late.await.unwrap().unwrap();
    assert!(start.elapsed() < timing().lease(), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_long_run_keeps_its_key() {
    let server = server_or_skip!(Server::started().await);
    let (one, two) = (daemon(&server).await, daemon(&server).await);
    let _guard = one.acquire(&room("a"), LONG).await.unwrap();
    assert_eq!(two.acquire(&room("a"), timing().ttl * 2).await.err(), Some(LockError::Busy));
}

#[tokio::test]
async fn the_key_of_a_dead_daemon_expires() {
    let server = server_or_skip!(Server::started().await);
    let locks = daemon(&server).await;
    let set: String = server.ask(&["SET", "execution:lock:a", "of the dead", "PX", "1500"]).await;
    assert_eq!(set, "OK");
    let start = Instant::now();
    let guard = locks.acquire(&room("a"), LONG).await.unwrap();
    assert!((1_000..5_000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    // Only the holder releases.
    let _: () = server.ask(&["SET", "execution:lock:a", "of another"]).await;
    drop(guard);
    locks.released().await;
    assert_eq!(server.ask::<String>(&["GET", "execution:lock:a"]).await, "of another");
}

#[tokio::test]
async fn a_server_that_starts_late_is_used_then() {
    let mut server = server_or_skip!(Server::prepare());
    let (one, two) = (daemon(&server).await, daemon(&server).await);
    assert!(one.health().unwrap().contains(&format!("127.0.0.1:{}", server.port)), "{:?}", one.health());
    let id = room("a");
    let guard = one.acquire(&id, Duration::ZERO).await.unwrap();
    assert_eq!(one.acquire(&id, Duration::from_millis(50)).await.err(), Some(LockError::Busy));
    server.start(&[]).await;
    healthy(&one).await;
    healthy(&two).await;
    // What runs takes its key, so that the other daemon waits for it.
    eventually("the key is taken", async || server.ask::<bool>(&["EXISTS", "execution:lock:a"]).await).await;
    assert_eq!(two.acquire(&id, Duration::from_millis(50)).await.err(), Some(LockError::Busy));
    drop(guard);
    drop(two.acquire(&id, LONG).await.unwrap());
}

#[tokio::test]
async fn a_server_that_is_killed_stops_nobody() {
    let mut server = server_or_skip!(Server::started().await);
    let locks = daemon(&server).await;
    let id = room("a");
    let guard = locks.acquire(&id, LONG).await.unwrap();
    let waiter = tokio::spawn({
        let waiting = locks.enqueue(&id);
        waiting.acquire(LONG)
    });
    server.stop();
    // At once, before anybody may know of it.
    let start = Instant::now();
    drop(locks.acquire(&room("b"), Duration::from_secs(5)).await.unwrap());
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    degraded(&locks).await;
    assert!(!waiter.is_finished(), "one daemon never runs two at once");
    drop(guard);
    let guard = waiter.await.unwrap().unwrap();
    server.start(&[]).await;
    healthy(&locks).await;
    eventually("the key is taken", async || server.ask::<bool>(&["EXISTS", "execution:lock:a"]).await).await;
    drop(guard);
    locks.released().await;
    assert!(!server.ask::<bool>(&["EXISTS", "execution:lock:a"]).await);
}

#[tokio::test]
async fn a_server_that_dies_frees_who_waits_for_another_daemon() {
    let mut server = server_or_skip!(Server::started().await);
    let (one, two) = (daemon(&server).await, daemon(&server).await);
    let _guard = one.acquire(&room("a"), LONG).await.unwrap();
    let waiting = two.enqueue(&room("a"));
    let mut place = waiting.place();
    let waiter = tokio::spawn(waiting.acquire(LONG));
    place.changed().await.unwrap();
    server.stop();
    assert!(waiter.await.unwrap().is_ok(), "without redis a daemon goes on alone");
}

#[tokio::test]
async fn a_server_that_hangs_costs_a_moment_and_leaves_no_stale_key() {
    let server = server_or_skip!(Server::started().await);
    // A stale key would stay for longer than this test waits.
    let locks = RoomLocks::with_timing(&server.url(""), Timing { ttl: LONG, ..timing() }).await.unwrap();
    server.signal(Signal::SIGSTOP);
    let start = Instant::now();
    let guard = locks.acquire(&room("a"), Duration::from_secs(5)).await;
    let waited = start.elapsed();
    // From now on it costs nothing.
    let start = Instant::now();
    let other = locks.acquire(&room("b"), Duration::ZERO).await;
    let waited_again = start.elapsed();
    let health = locks.health();
    server.signal(Signal::SIGCONT);
    drop((guard.unwrap(), other.unwrap()));
    assert!(waited < Duration::from_millis(2_500), "{waited:?}");
    assert!(waited_again < Duration::from_millis(300), "{waited_again:?}");
    assert!(health.unwrap().contains("no answer within"));
    healthy(&locks).await;
    // The command that hung is carried out late, for a run that has ended.
    eventually("nothing is held", async || server.ask::<Vec<String>>(&["KEYS", "execution:lock:*"]).await.is_empty())
        .await;
    let other = daemon(&server).await;
    drop(other.acquire(&room("a"), Duration::ZERO).await.unwrap());
}

#[tokio::test]
async fn a_key_that_was_flushed_is_taken_again() {
    let server = server_or_skip!(Server::started().await);
    let (one, two) = (daemon(&server).await, daemon(&server).await);
    let id = room("a");
    let guard = one.acquire(&id, LONG).await.unwrap();
    let _: () = server.ask(&["FLUSHALL"]).await;
    let _: () = server.ask(&["SCRIPT", "FLUSH"]).await;
    assert_eq!(one.acquire(&id, Duration::from_millis(50)).await.err(), Some(LockError::Busy), "the queue still holds");
    eventually("the key is taken again", async || server.ask::<bool>(&["EXISTS", "execution:lock:a"]).await).await;
    assert_eq!(two.acquire(&id, Duration::from_millis(50)).await.err(), Some(LockError::Busy));
    assert_eq!((one.health(), two.health()), (None, None));
    drop(guard);
    drop(two.acquire(&id, LONG).await.unwrap());
}

#[tokio::test]
async fn a_lock_that_another_daemon_took_meanwhile_stays_its_own() {
    let server = server_or_skip!(Server::started().await);
    let (one, two) = (daemon(&server).await, daemon(&server).await);
    let id = room("a");
    let guard = one.acquire(&id, LONG).await.unwrap();
    let _: () = server.ask(&["FLUSHALL"]).await;
    let other = two.acquire(&id, LONG).await.unwrap();
    let token: String = server.ask(&["GET", "execution:lock:a"]).await;
    // Past every extension of the first one, which runs to its end and leaves the key alone.
    tokio::time::sleep(timing().ttl).await;
    assert_eq!(server.ask::<String>(&["GET", "execution:lock:a"]).await, token);
    drop(guard);
    one.released().await;
    assert_eq!(server.ask::<String>(&["GET", "execution:lock:a"]).await, token);
    drop(other);
    two.released().await;
    assert!(!server.ask::<bool>(&["EXISTS", "execution:lock:a"]).await);
}

#[tokio::test]
async fn a_connection_that_is_cut_is_made_again_without_going_alone() {
    let server = server_or_skip!(Server::started().await);
    let (one, two) = (daemon(&server).await, daemon(&server).await);
    let _guard = one.acquire(&room("a"), LONG).await.unwrap();
    tokio::time::sleep(timing().pace.heartbeat * 2).await;
    for kind in ["normal", "pubsub"] {
        let _: i64 = server.ask(&["CLIENT", "KILL", "TYPE", kind]).await;
        assert_eq!(two.acquire(&room("a"), Duration::from_millis(100)).await.err(), Some(LockError::Busy));
        assert_eq!(two.health(), None);
        tokio::time::sleep(timing().pace.heartbeat * 2).await;
    }
}

/// A server that answers but cannot be written is not used, and does not make the state flap.
#[tokio::test]
async fn a_server_that_refuses_writes_is_not_used() {
    let mut server = server_or_skip!(Server::prepare());
    server.start(&["--replicaof", "127.0.0.1 1"]).await;
    let locks = daemon(&server).await;
    assert!(locks.health().is_some());
    drop(locks.acquire(&room("a"), Duration::ZERO).await.unwrap());
    let _: () = server.ask(&["REPLICAOF", "NO", "ONE"]).await;
    healthy(&locks).await;
}

/// All that is logged by this thread while it exists.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn begin(&self) -> tracing::subscriber::DefaultGuard {
        let log = self.clone();
        let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false);
        tracing::subscriber::set_default(subscriber.with_writer(move || log.clone()).finish())
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(data)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn passwords_stay_secret() {
    let mut server = server_or_skip!(Server::prepare());
    server.start(&["--requirepass", "right-one"]).await;
    let log = Log::default();
    let _log = log.begin();
    let right = RoomLocks::with_timing(&server.url(":right-one@"), timing()).await.unwrap();
    assert_eq!(right.health(), None);
    drop(right.acquire(&room("a"), Duration::ZERO).await.unwrap());
    let wrong = RoomLocks::with_timing(&server.url(":wrong-one@"), timing()).await.unwrap();
    let health = wrong.health().unwrap();
    assert!(!health.contains("-one") && health.contains("authentication"), "{health}");
    server.stop();
    degraded(&right).await;
    let text = log.text();
    assert!(text.contains("redis cannot be used") && !text.contains("-one"), "{text}");
    for bad in ["redis://:wrong-one@[::1", "http://:wrong-one@host", "rediss://:wrong-one@host", ""] {
        let error = RoomLocks::check_url(bad).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("wrong-one"), "{error:?}");
    }
}

#[tokio::test]
async fn each_change_is_logged_once() {
    let mut server = server_or_skip!(Server::started().await);
    let log = Log::default();
    let _log = log.begin();
    let locks = daemon(&server).await;
    for times in 1..=2 {
        server.stop();
        degraded(&locks).await;
        // Long enough for several more attempts.
        tokio::time::sleep(timing().pace.retry_max * 5).await;
        drop(locks.acquire(&room("a"), Duration::ZERO).await.unwrap());
        server.start(&[]).await;
        healthy(&locks).await;
        let text = log.text();
        assert_eq!(text.matches(" WARN ").count(), times, "{text}");
        assert_eq!(text.matches("redis is back").count(), times, "{text}");
    }
}

/// Two daemons, four rooms, waiters that come and go, and a server that is killed, hangs and is flushed:
/// in one daemon two executions of a room never run at once, everyone gets an answer, nothing stays behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_redis_does_one_daemon_never_runs_two_at_once() {
    let mut server = server_or_skip!(Server::started().await);
    let daemons = [daemon(&server).await, daemon(&server).await];
    let running: Arc<Vec<AtomicBool>> = Arc::new((0..8).map(|_| AtomicBool::new(false)).collect());
    let runs = Arc::new(AtomicUsize::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    for n in 0..48usize {
        let (daemon, which_room) = (n % 2, (n / 2) % 4);
        let (locks, running, runs, stop) =
            (daemons[daemon].clone(), Arc::clone(&running), Arc::clone(&runs), Arc::clone(&stop));
        tasks.spawn(async move {
            let id = room(&which_room.to_string());
            while !stop.load(Ordering::SeqCst) {
                if rand::random_ratio(1, 4) {
                    let patience = Duration::from_millis(rand::random_range(0..10));
                    let _ = tokio::time::timeout(patience, locks.acquire(&id, LONG)).await;
                    continue;
                }
                let guard = locks.acquire(&id, LONG).await.unwrap();
                let flag = &running[daemon * 4 + which_room];
                assert!(!flag.swap(true, Ordering::SeqCst), "two at once");
                tokio::time::sleep(Duration::from_millis(1)).await;
                runs.fetch_add(1, Ordering::SeqCst);
                flag.store(false, Ordering::SeqCst);
                drop(guard);
            }
        });
    }
    let progress = async |runs: &AtomicUsize| {
        let before = runs.load(Ordering::SeqCst);
        eventually("it goes on", async || runs.load(Ordering::SeqCst) > before + 100).await;
    };
    progress(&runs).await;
    server.stop();
    progress(&runs).await;
    server.start(&[]).await;
    for locks in &daemons {
        healthy(locks).await;
    }
    progress(&runs).await;
    server.signal(Signal::SIGSTOP);
    progress(&runs).await;
    server.signal(Signal::SIGCONT);
    for locks in &daemons {
        healthy(locks).await;
    }
    progress(&runs).await;
    let _: () = server.ask(&["FLUSHALL"]).await;
    progress(&runs).await;
    stop.store(true, Ordering::SeqCst);
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    for locks in &daemons {
        locks.released().await;
        assert_eq!(locks.rooms(), 0);
    }
    eventually("nothing is left in redis", async || {
        server.ask::<Vec<String>>(&["KEYS", "execution:[lw]*"]).await.is_empty()
    })
    .await;
}
