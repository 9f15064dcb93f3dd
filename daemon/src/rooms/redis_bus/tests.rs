//! Against a real `redis-server` of its own per test: two registries, each with its own store, stand for two
//! daemons. Without a `redis-server` on the host these tests print SKIP and show nothing.

use std::sync::Mutex;

use nix::sys::signal::Signal;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::*;
use crate::ids::{CorrelationId, ExecutionId, UserId};
use crate::redis_link::server::{Server, eventually};
use crate::rooms::delivery::{OrderView, Sink, Wire};
use crate::rooms::limits::RoomLimits;
use crate::rooms::members::{Dialect, Member, MemberId};
use crate::rooms::store::{MemoryStore, RoomStore, StoredRoom};

fn timing() -> Timing {
    // Patient: on a busy machine nobody should go on alone who was not told to.
    let pace = Pace {
        command: Duration::from_secs(5),
        heartbeat: Duration::from_millis(100),
        retry_max: Duration::from_millis(100),
    };
    Timing { pace, lease: Duration::from_secs(2) }
}

macro_rules! server_or_skip {
    ($server:expr) => {
        match $server {
            Some(server) => server,
            None => return,
        }
    };
}

fn r() -> RoomId {
    RoomId::new("räum 1").unwrap()
}

/// What one member is told.
#[derive(Default)]
struct Ear(Mutex<Vec<(&'static str, Value)>>);

impl Ear {
    fn all(&self) -> Vec<(&'static str, Value)> {
        self.0.lock().unwrap().clone()
    }

    fn heard(&self, event: &str) -> Vec<Value> {
        self.all().into_iter().filter(|(name, _)| *name == event).map(|(_, payload)| payload).collect()
    }

    fn last(&self, event: &str) -> Value {
        self.heard(event).pop().unwrap_or_default()
    }

    /// The numbers of its `code-update`s.
    fn numbers(&self) -> Vec<u64> {
        self.heard("code-update").iter().map(|update| update["sequence"].as_u64().unwrap()).collect()
    }

    /// Whatever happened: no number is told twice or after a higher one, and to one who `only_listens` (who
    /// changes something is not told of it) a number is missing only where `room-state` was told again.
    fn check(&self, only_listens: bool) {
        let mut last: Option<u64> = None;
        for (event, payload) in self.all() {
            let number = payload.get("sequence").and_then(Value::as_u64);
            match (event, number, last) {
                ("room-state", Some(number), before) => {
                    assert!(before.is_none_or(|before| number >= before), "{number} after {before:?}");
                    last = Some(number);
                }
                (_, Some(number), Some(before)) => {
                    assert!(number > before, "{event}: {number} after {before}");
                    assert!(!only_listens || number == before + 1, "{event}: {number} after {before}");
                    last = Some(number);
                }
                _ => {}
            }
        }
    }
}

impl Sink for Ear {
    fn send(&self, message: &Wire) {
        let payload = serde_json::from_str(message.payload.get()).unwrap();
        self.0.lock().unwrap().push((message.event, payload));
    }
    fn order(&self) -> OrderView {
        OrderView::default()
    }
    fn advance(&self, _: u64) {}
}

struct Daemon {
    registry: Arc<RoomRegistry>,
    store: Arc<MemoryStore>,
    bus: Arc<RedisBus>,
}

impl Daemon {
    async fn start(server: &Server) -> Self {
        Self::with(server, RoomLimits::default()).await
    }

    async fn with(server: &Server, limits: RoomLimits) -> Self {
        Self::with_timing(server, limits, timing()).await
    }

    async fn with_timing(server: &Server, limits: RoomLimits, timing: Timing) -> Self {
        let store = Arc::new(MemoryStore::default());
        let registry = RoomRegistry::new(limits, store.clone());
        let bus = RedisBus::with_timing(&server.url(""), "test:", Arc::clone(&registry), timing).await.unwrap();
        Self { registry, store, bus }
    }

    async fn publish(&self, event: RoomEvent) -> Published {
        self.bus.publish(&r(), event).await.unwrap()
    }

    /// A listener joins who was heard of in this daemon alone.
    async fn join(&self, name: &str) -> Arc<Ear> {
        let (ear, published) = self.try_join(name).await;
        assert!(published.accepted);
        ear
    }

    async fn try_join(&self, name: &str) -> (Arc<Ear>, Published) {
        let ear = Arc::new(Ear::default());
        let member = Member {
            id: MemberId::new(name),
            user: UserId::new(name).unwrap(),
            username: name.to_uppercase(),
            color: None,
            dialect: Dialect::Current,
            cursor_name: None,
            place: 0,
        };
        self.registry.attach(&r(), member.id.clone(), ear.clone()).await.unwrap();
        let published = self.publish(RoomEvent::Joined(member)).await;
        (ear, published)
    }

    async fn leave(&self, name: &str) {
        let id = MemberId::new(name);
        self.publish(RoomEvent::Left(id.clone())).await;
        self.registry.detach(&r(), &id);
    }

    async fn edit(&self, by: &str, code: &str) -> Published {
        let event = RoomEvent::CodeChanged { by: MemberId::new(by), code: code.to_owned(), client_sequence: None };
        self.publish(event).await
    }

    fn sequence(&self) -> u64 {
        self.registry.diagnostics(&r()).map_or(0, |told| told["sequence"].as_u64().unwrap())
    }

    async fn healthy(&self) {
        eventually("redis is used", async || self.bus.health().is_none()).await;
    }

    async fn degraded(&self) {
        eventually("redis is known to be gone", async || self.bus.health().is_some()).await;
    }
}

fn started(execution: &ExecutionId) -> RoomEvent {
    RoomEvent::ExecutionStarted {
        execution: execution.clone(),
        correlation_id: CorrelationId::new("c").unwrap(),
        user: UserId::new("a").unwrap(),
        username: "A".to_owned(),
        client_sequence: None,
    }
}

fn finished(execution: &ExecutionId) -> RoomEvent {
    let response = serde_json::from_value(json!({"success": true, "correlationId": "c", "userId": "a"})).unwrap();
    RoomEvent::ExecutionFinished { execution: execution.clone(), response, client_sequence: None }
}

fn names(list: &Value) -> Vec<(String, bool)> {
    let told = list.as_array().unwrap().iter();
    told.map(|one| (one["userId"].as_str().unwrap().to_owned(), one["isHost"].as_bool().unwrap())).collect()
}

#[tokio::test]
async fn who_joins_on_the_second_daemon_sees_the_room_of_the_first() {
    let server = server_or_skip!(Server::started().await);
    let (one, two) = (Daemon::start(&server).await, Daemon::start(&server).await);
    let a = one.join("a").await;
    assert_eq!(a.last("host-assigned"), json!({"isHost": true}));
    one.edit("a", "print(\"é\n\")").await;
    let language =
        RoomEvent::LanguageChanged { by: MemberId::new("a"), language: "python".to_owned(), client_sequence: None };
    one.publish(language).await;
    let execution = ExecutionId::generate(1);
    assert_eq!(one.publish(started(&execution)).await, Published { accepted: true, sequence: 3 });

    let b = two.join("b").await;
    let state = &b.heard("room-state")[0];
    assert_eq!((&state["code"], &state["language"]), (&json!("print(\"é\n\")"), &json!("python")));
    assert_eq!((&state["sequence"], &state["nextExpectedSequence"]), (&json!(3), &json!(4)));
    assert_eq!(state["executionState"]["currentExecutionId"], json!(execution));
    assert_eq!(state["executionState"]["executionCount"], 1);
    assert_eq!(b.heard("host-assigned"), Vec::<Value>::new());
    assert_eq!(names(&b.last("participants-list")), [("a".to_owned(), true)]);
    eventually("the first hears of the second", async || {
        names(&a.last("participants-list")) == [("b".to_owned(), false)] && a.last("user-joined")["username"] == "B"
    })
    .await;

    // What happens on either side is told on both, and the same.
    two.edit("b", "x").await;
    let chat = RoomEvent::Chat { by: MemberId::new("a"), username: None, message: "hi".to_owned() };
    one.publish(chat).await;
    one.publish(finished(&execution)).await;
    eventually("the second hears the result", async || b.heard("execution-result").len() == 1).await;
    assert_eq!(b.last("execution-result"), a.last("execution-result"));
    assert_eq!(b.last("execution-result")["sequence"], 5);
    assert_eq!(b.last("receive-chat")["message"], "hi");
    assert_eq!(a.numbers(), [4]);

    // The host leaves: the other daemon's member is host, and may record.
    let record = || RoomEvent::RecordingStarted { by: MemberId::new("b"), recording_id: "rec-1".to_owned() };
    assert!(!two.publish(record()).await.accepted);
    assert_eq!(b.last("error")["message"], state::ONLY_HOST_STARTS);
    one.leave("a").await;
    eventually("the second is host", async || b.last("host-assigned") == json!({"isHost": true})).await;
    assert_eq!(b.last("user-left")["userId"], "a");
    assert_eq!(b.last("participants-list"), json!([]));
    assert!(two.publish(record()).await.accepted);
    assert!(!two.publish(record()).await.accepted);
    let third = one.join("c").await;
    assert_eq!(third.heard("recording-started").len(), 1, "a recording goes on");
    two.edit("b", "y").await;
    assert!(two.publish(RoomEvent::RecordingStopped { by: MemberId::new("b") }).await.accepted);
    eventually("both keep the recording", async || {
        let told = !third.heard("recording-stopped").is_empty();
        one.registry.save().await;
        two.registry.save().await;
        told && one.store.recordings().len() == 1 && one.store.recordings()[0].from_sequence == 6
    })
    .await;
    assert_eq!(one.store.recordings(), two.store.recordings());
    a.check(false);
    b.check(false);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn edits_of_both_daemons_are_heard_in_one_order_without_holes() {
    const EACH: usize = 50;
    let server = server_or_skip!(Server::started().await);
    let daemons = [Arc::new(Daemon::start(&server).await), Arc::new(Daemon::start(&server).await)];
    let ears = [daemons[0].join("ear0").await, daemons[1].join("ear1").await];
    let mut tasks = JoinSet::new();
    for n in 0..4 {
        let daemon = Arc::clone(&daemons[n % 2]);
        tasks.spawn(async move {
            let name = format!("m{n}");
            daemon.join(&name).await;
            for edit in 0..EACH {
                assert!(daemon.edit(&name, &format!("{name} {edit}")).await.accepted);
                let pause = rand::rng().random_range(0..3);
                for _ in 0..pause {
                    tokio::task::yield_now().await;
                }
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    eventually("both heard all", async || ears.iter().all(|ear| ear.numbers().len() == 4 * EACH)).await;
    assert_eq!(ears[0].numbers(), (1..=4 * EACH as u64).collect::<Vec<_>>());
    assert_eq!(ears[0].heard("code-update"), ears[1].heard("code-update"));
    ears.iter().for_each(|ear| ear.check(true));
    for member in 0..4 {
        let own: Vec<_> = ears[0]
            .heard("code-update")
            .into_iter()
            .filter(|update| update["username"] == format!("M{member}"))
            .collect();
        let in_order = (0..EACH).all(|edit| own[edit]["code"] == format!("m{member} {edit}"));
        assert!(in_order, "what one member does keeps its order");
    }
}

#[tokio::test]
async fn a_dead_daemon_leaves_nothing_behind() {
    let server = server_or_skip!(Server::started().await);
    let (one, two) = (Daemon::start(&server).await, Daemon::start(&server).await);
    one.join("a").await;
    let b = two.join("b").await;
    let execution = ExecutionId::generate(1);
    one.publish(started(&execution)).await;
    drop(one.bus);
    eventually("its member is gone", async || b.last("user-left")["userId"] == "a").await;
    eventually("its execution is over", async || !b.heard("execution-result").is_empty()).await;
    let result = b.last("execution-result");
    assert_eq!((&result["success"], &result["error"]), (&json!(false), &json!("interrupted")));
    assert_eq!((&result["executionId"], &result["correlationId"]), (&json!(execution), &json!("c")));
    assert_eq!(b.last("host-assigned"), json!({"isHost": true}));
    assert_eq!(b.last("participants-list"), json!([]));
    b.check(true);

    // One whose last daemon died is found without its members.
    drop(two.bus);
    let lease = timing().lease;
    let three = Daemon::start(&server).await;
    tokio::time::sleep(lease).await;
    let c = three.join("c").await;
    assert_eq!(c.last("room-state")["sequence"], 2);
    assert_eq!(c.last("host-assigned"), json!({"isHost": true}));
    assert_eq!(c.last("participants-list"), json!([]));

    // One that stops in good order is not waited for.
    let long = Timing { lease: Duration::from_secs(600), ..timing() };
    let four = Daemon::with_timing(&server, RoomLimits::default(), long).await;
    four.join("d").await;
    four.bus.leave().await;
    drop(four.bus);
    eventually("it is gone", async || c.last("user-left")["userId"] == "d").await;
}

mod loss;
