use super::*;
use crate::ids::UserId;
use crate::rooms::bus::LocalBus;
use crate::rooms::create::{CreateError, create_room};
use crate::rooms::delivery::{OrderView, Wire};
use crate::rooms::members::{Dialect, Member};
use crate::rooms::state::WELCOME;
use crate::rooms::store::{MemoryStore, StoreError};

#[derive(Default)]
struct Ear(Mutex<Vec<(&'static str, Value)>>);

impl Ear {
    fn heard(&self, event: &str) -> Vec<Value> {
        lock(&self.0).iter().filter(|(name, _)| *name == event).map(|(_, payload)| payload.clone()).collect()
    }
}

impl Sink for Ear {
    fn send(&self, message: &Wire) {
        lock(&self.0).push((message.event, serde_json::from_str(message.payload.get()).unwrap()));
    }
    fn order(&self) -> OrderView {
        OrderView::default()
    }
    fn advance(&self, _: u64) {}
}

fn room(name: &str) -> RoomId {
    RoomId::new(name).unwrap()
}

fn registry(limits: RoomLimits) -> (Arc<RoomRegistry>, Arc<MemoryStore>) {
    let store = Arc::new(MemoryStore::default());
    (RoomRegistry::new(limits, store.clone()), store)
}

async fn join(registry: &RoomRegistry, room: &RoomId, name: &str) -> Arc<Ear> {
    let ear = Arc::new(Ear::default());
    let member = Member {
        id: MemberId::new(name),
        user: UserId::new(name).unwrap(),
        username: name.to_owned(),
        color: None,
        dialect: Dialect::Current,
        cursor_name: None,
        place: 0,
    };
    registry.attach(room, member.id.clone(), ear.clone()).await.unwrap();
    assert!(registry.apply(room, RoomEvent::Joined(member)).await.unwrap().accepted);
    ear
}

async fn leave(registry: &RoomRegistry, room: &RoomId, name: &str) {
    let id = MemberId::new(name);
    registry.apply(room, RoomEvent::Left(id.clone())).await.unwrap();
    registry.detach(room, &id);
}

fn code(by: &str, code: &str) -> RoomEvent {
    RoomEvent::CodeChanged { by: MemberId::new(by), code: code.to_owned(), client_sequence: None }
}

#[tokio::test]
async fn a_room_survives_leaving_memory() {
    let (registry, store) = registry(RoomLimits::default());
    let r = room("r");
    join(&registry, &r, "a").await;
    registry.apply(&r, code("a", "kept")).await.unwrap();
    assert_eq!(registry.evict(Duration::ZERO), 0, "somebody is there");
    leave(&registry, &r, "a").await;
    assert_eq!(registry.evict(Duration::ZERO), 0, "it is not saved");
    registry.save().await;
    assert_eq!(registry.evict(Duration::from_secs(60)), 0, "it was used a moment ago");
    assert_eq!(registry.evict(Duration::ZERO), 1);
    assert!(registry.is_empty());
    let ear = join(&registry, &r, "b").await;
    let state = &ear.heard("room-state")[0];
    assert_eq!(
        (&state["code"], &state["sequence"], &state["nextExpectedSequence"]),
        (&json!("kept"), &json!(1), &json!(2))
    );
    assert_eq!(store.messages(&r).len(), 1);
    assert_eq!(store.messages(&r)[0].payload["code"], "kept");
}

#[tokio::test]
async fn what_cannot_be_saved_is_saved_later() {
    let (registry, store) = registry(RoomLimits::default());
    let r = room("r");
    join(&registry, &r, "a").await;
    registry.apply(&r, code("a", "1")).await.unwrap();
    store.fail(true);
    registry.save().await;
    registry.apply(&r, code("a", "2")).await.unwrap();
    leave(&registry, &r, "a").await;
    registry.save().await;
    assert_eq!(registry.evict(Duration::ZERO), 0);
    store.fail(false);
    registry.save().await;
    let sequences: Vec<u64> = store.messages(&r).iter().map(|message| message.sequence).collect();
    assert_eq!(sequences, [1, 2]);
    assert_eq!(store.room(&r).unwrap().code, "2");
    assert_eq!(registry.evict(Duration::ZERO), 1);
}

#[tokio::test]
async fn an_unreadable_room_is_an_error_and_not_a_new_one() {
    let (registry, store) = registry(RoomLimits::default());
    store.fail(true);
    let refused = registry.apply(&room("r"), code("a", "x")).await;
    assert!(matches!(refused, Err(BusError::Store(StoreError(_)))));
    store.fail(false);
    assert!(registry.apply(&room("r"), code("a", "x")).await.is_ok());
}

#[tokio::test]
async fn memory_holds_so_many_rooms() {
    let (registry, _) = registry(RoomLimits { rooms: 2, ..RoomLimits::default() });
    join(&registry, &room("1"), "a").await;
    join(&registry, &room("2"), "a").await;
    assert_eq!(registry.apply(&room("3"), code("a", "x")).await, Err(BusError::TooManyRooms));
    leave(&registry, &room("1"), "a").await;
    assert!(registry.apply(&room("3"), code("a", "x")).await.is_ok(), "an idle one makes place");
    assert_eq!(registry.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_are_heard_in_the_order_of_their_numbers() {
    let (registry, _) = registry(RoomLimits::default());
    let r = room("r");
    let ear = join(&registry, &r, "listener").await;
    for name in ["a", "b", "c", "d"] {
        join(&registry, &r, name).await;
    }
    let mut tasks = tokio::task::JoinSet::new();
    for name in ["a", "b", "c", "d"] {
        let (registry, r) = (Arc::clone(&registry), r.clone());
        tasks.spawn(async move {
            for index in 0..100 {
                registry.apply(&r, code(name, &format!("{name}{index}"))).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    let numbers: Vec<u64> =
        ear.heard("code-update").iter().map(|update| update["sequence"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=400).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_keeper_saves_soon_and_at_the_end() {
    let within = Duration::from_millis(100);
    let (registry, store) = registry(RoomLimits { save_within: within, ..RoomLimits::default() });
    let r = room("r");
    let stop = CancellationToken::new();
    let keeper = tokio::spawn(Arc::clone(&registry).maintain(stop.clone()));
    join(&registry, &r, "a").await;
    registry.apply(&r, code("a", "1")).await.unwrap();
    let saved = async {
        while store.room(&r).is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), saved).await.unwrap();
    registry.apply(&r, code("a", "2")).await.unwrap();
    stop.cancel();
    keeper.await.unwrap();
    assert_eq!(store.room(&r).unwrap().code, "2");
}

#[tokio::test]
async fn recordings_are_kept() {
    let (registry, store) = registry(RoomLimits::default());
    let r = room("r");
    join(&registry, &r, "a").await;
    let by = MemberId::new("a");
    let start = RoomEvent::RecordingStarted { by: by.clone(), recording_id: "rec".to_owned() };
    registry.apply(&r, start).await.unwrap();
    registry.apply(&r, code("a", "1")).await.unwrap();
    registry.apply(&r, RoomEvent::RecordingStopped { by }).await.unwrap();
    store.fail(true);
    registry.save().await;
    assert!(store.recordings().is_empty());
    store.fail(false);
    registry.save().await;
    let recordings = store.recordings();
    assert_eq!(recordings.len(), 1);
    assert_eq!((recordings[0].from_sequence, recordings[0].to_sequence), (1, 1));
}

#[tokio::test]
async fn new_rooms_have_new_names() {
    let (registry, store) = registry(RoomLimits::default());
    let bus = LocalBus::new(Arc::clone(&registry));
    let first = create_room(&registry, &bus).await.unwrap();
    let second = create_room(&registry, &bus).await.unwrap();
    assert_ne!(first, second);
    assert!(first.as_str().len() == 6 && first.as_str().chars().all(|c| c.is_ascii_hexdigit()));
    assert_eq!(store.room(&first).unwrap().code, WELCOME);
    assert_eq!(store.create_room(&store.room(&first).unwrap()).await, Ok(false));
    store.fail(true);
    assert!(matches!(create_room(&registry, &bus).await, Err(CreateError::Store(_))));
}

#[tokio::test]
async fn diagnostics_tell_what_is_in_memory() {
    let (registry, _) = registry(RoomLimits::default());
    let r = room("r");
    assert_eq!(registry.diagnostics(&r), None);
    join(&registry, &r, "a").await;
    registry.apply(&r, code("a", "1")).await.unwrap();
    let told = registry.diagnostics(&r).unwrap();
    assert_eq!((&told["sequence"], &told["memberCount"], &told["unsavedMessages"]), (&json!(1), &json!(1), &json!(1)));
    assert_eq!(registry.overview(), [json!({"roomId": "r", "memberCount": 1, "sequence": 1, "bufferedMessages": 0})]);
    assert_eq!(registry.advance_clients(&r, 5), 0, "nobody numbers anything");
}
