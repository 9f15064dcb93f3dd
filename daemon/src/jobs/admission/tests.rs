use std::collections::HashSet;

use proptest::prelude::*;
use tokio::task::JoinSet;

use super::*;
use crate::ids::RoomId;

const MIB: u64 = 1024 * 1024;

fn admission(config: AdmissionConfig) -> Admission {
    Admission::new(config, Machine::fixed(2, 4096 * MIB))
}

pub(super) fn request(room: &str, user: &str) -> Request {
    Request {
        room: RoomKey::Room(RoomId::new(room).unwrap()),
        user: UserId::new(user).unwrap(),
        class: Class::Interactive,
        priority: 0,
        cpu_millis: None,
        memory_bytes: 64 * MIB,
        wait: None,
    }
}

/// Admits four, which is all that two cores take.
async fn fill(admission: &Admission) -> Vec<Permit> {
    let mut permits = Vec::new();
    for _ in 0..4 {
        permits.push(admission.admit(request("filler", "f")).await.unwrap());
    }
    permits
}

#[tokio::test(start_paused = true)]
async fn a_permit_passes_on_to_the_next() {
    let admission = admission(AdmissionConfig::default());
    let mut permits = fill(&admission).await;
    let waiting = admission.enqueue(request("a", "u")).unwrap();
    let snapshot = admission.snapshot();
    assert_eq!((snapshot.running, snapshot.queued), (4, 1));
    assert_eq!(snapshot.reserved, Resources { cpu_millis: 2000, memory_bytes: 256 * MIB });
    tokio::time::advance(Duration::from_secs(2)).await;
    let room = RoomKey::Room(RoomId::new("a").unwrap());
    assert_eq!(admission.snapshot().rooms.get(&room), Some(&Waiters { length: 1, oldest_age: Duration::from_secs(2) }));
    permits.pop();
    let permit = waiting.admitted().await.unwrap();
    assert_eq!(permit.waited(), Duration::from_secs(2));
    drop((permit, permits));
    assert_idle(&admission);
}

#[tokio::test(start_paused = true)]
async fn the_wait_is_bounded_by_the_configuration_and_by_the_request() {
    let config = AdmissionConfig { queue_wait: Duration::from_secs(5), ..AdmissionConfig::default() };
    let admission = admission(config);
    let permits = fill(&admission).await;
    for (asked, waited) in [(None, 5), (Some(60), 5), (Some(2), 2)] {
        let start = Instant::now();
        let request = Request { wait: asked.map(Duration::from_secs), ..request("a", "u") };
        assert_eq!(admission.admit(request).await.unwrap_err(), AdmissionError::WaitOver);
        assert!(start.elapsed().abs_diff(Duration::from_secs(waited)) < Duration::from_millis(5));
    }
    assert_eq!(admission.snapshot().queued, 0);
    drop(permits);
    assert_idle(&admission);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_at_once_and_says_when_to_come_again() {
    let admission = admission(AdmissionConfig { queue_length: 3, ..AdmissionConfig::default() });
    let permits = fill(&admission).await;
    let waiting: Vec<_> = (0..3).map(|_| admission.enqueue(request("a", "u")).unwrap()).collect();
    let refused = admission.enqueue(request("a", "u")).err();
    assert_eq!(refused, Some(AdmissionError::QueueFull));
    tokio::time::advance(Duration::from_secs(6)).await;
    drop(permits);
    // Four took six seconds each; with three under way three more are waited for.
    assert_eq!(admission.snapshot().running, 3);
    assert_eq!(admission.retry_after(), Duration::from_secs(2));
    drop(waiting);
    assert_idle(&admission);
}

#[tokio::test(start_paused = true)]
async fn without_a_queue_runs_start_at_once_or_are_refused() {
    let admission = admission(AdmissionConfig { queue_length: 0, ..AdmissionConfig::default() });
    let permits = fill(&admission).await;
    assert_eq!(admission.admit(request("a", "u")).await.unwrap_err(), AdmissionError::QueueFull);
    drop(permits);
    assert!(admission.admit(request("a", "u")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn when_the_one_leaves_for_whom_the_others_held_back_they_go_on() {
    let admission = admission(AdmissionConfig { overtakes: 0, ..AdmissionConfig::default() });
    let mut permits = fill(&admission).await;
    permits.pop();
    let large = Request { cpu_millis: Some(2000), ..request("a", "u") };
    let large = admission.enqueue(large).unwrap();
    let small = admission.enqueue(request("b", "u")).unwrap();
    assert_eq!((admission.snapshot().running, admission.snapshot().queued), (3, 2));
    drop(large);
    assert_eq!((admission.snapshot().running, admission.snapshot().queued), (4, 0));
    drop(small);
}

#[tokio::test(start_paused = true)]
async fn whoever_gives_way_is_told() {
    let admission = admission(AdmissionConfig { queue_length: 4, ..AdmissionConfig::default() });
    let _permits = fill(&admission).await;
    let mut flood: Vec<_> = (0..4).map(|_| admission.enqueue(request("flood", "f")).unwrap()).collect();
    let calm = admission.enqueue(request("calm", "c")).unwrap();
    assert_eq!(flood.pop().unwrap().admitted().await.unwrap_err(), AdmissionError::QueueFull);
    assert_eq!(admission.snapshot().queued, 4);
    drop(calm);
}

#[tokio::test(start_paused = true)]
async fn places_are_published_and_a_dropped_waiter_leaves_at_once() {
    let admission = admission(AdmissionConfig::default());
    let watcher = tokio::spawn({
        let admission = admission.clone();
        async move { admission.watch().await }
    });
    let permits = fill(&admission).await;
    let first = admission.enqueue(request("a", "u")).unwrap();
    let second = admission.enqueue(request("a", "u")).unwrap();
    let other = admission.enqueue(request("b", "v")).unwrap();
    let place = |position, queue_length| Place { position, queue_length };
    let mut places = second.place();
    places.wait_for(|now| *now == place(2, 3)).await.unwrap();
    other.place().wait_for(|now| *now == place(1, 3)).await.unwrap();
    drop(first);
    assert_eq!(admission.snapshot().queued, 2, "at once");
    places.wait_for(|now| now.queue_length == 2).await.unwrap();
    drop(permits);
    places.changed().await.unwrap_err();
    drop((second, other));
    assert_idle(&admission);
    watcher.abort();
}

#[tokio::test(start_paused = true)]
async fn what_can_never_run_is_refused_and_what_is_only_wide_is_not() {
    let admission = admission(AdmissionConfig::default());
    let large = Request { memory_bytes: 4096 * MIB, ..request("a", "u") };
    let refused = AdmissionError::TooLarge { needed: 4096 * MIB, budget: 3072 * MIB };
    assert_eq!(admission.admit(large).await.unwrap_err(), refused);
    let wide = Request { cpu_millis: Some(64_000), ..request("a", "u") };
    let permit = admission.admit(wide).await.unwrap();
    assert_eq!(permit.reserved().cpu_millis, 2000);
}

#[tokio::test(start_paused = true)]
async fn memory_that_the_run_stage_does_not_need_is_given_back() {
    let admission = admission(AdmissionConfig::default());
    let large = |room| Request { memory_bytes: 2048 * MIB, ..request(room, "u") };
    let mut compiler = admission.admit(large("a")).await.unwrap();
    let second = admission.enqueue(large("b")).unwrap();
    assert_eq!(admission.snapshot().queued, 1);
    compiler.shrink_memory(256 * MIB);
    let second = second.admitted().await.unwrap();
    assert_eq!(admission.snapshot().reserved.memory_bytes, (2048 + 256) * MIB);
    drop((compiler, second));
    assert_idle(&admission);
}

#[tokio::test(start_paused = true)]
async fn a_new_configuration_drops_nobody() {
    let admission = admission(AdmissionConfig::default());
    let mut permits = fill(&admission).await;
    let waiting = admission.enqueue(request("a", "u")).unwrap();
    let narrow = AdmissionConfig { cpu_millis: Some(500), queue_length: 0, ..AdmissionConfig::default() };
    admission.reconfigure(narrow);
    permits.truncate(1);
    assert_eq!((admission.snapshot().running, admission.snapshot().queued), (1, 1), "the smaller budget holds");
    assert_eq!(admission.enqueue(request("b", "u")).err(), Some(AdmissionError::QueueFull));
    admission.reconfigure(AdmissionConfig::default());
    let permit = waiting.admitted().await.unwrap();
    drop((permit, permits));
    assert_idle(&admission);
}

#[tokio::test(start_paused = true)]
async fn closing_refuses_those_who_wait_and_leaves_those_who_run() {
    let admission = admission(AdmissionConfig::default());
    let permits = fill(&admission).await;
    let waiting = admission.enqueue(request("a", "u")).unwrap();
    admission.close();
    assert_eq!(waiting.admitted().await.unwrap_err(), AdmissionError::Closed);
    assert_eq!(admission.admit(request("a", "u")).await.unwrap_err(), AdmissionError::Closed);
    assert_eq!(admission.snapshot().running, 4);
    drop(permits);
    assert_idle(&admission);
}

/// Comes back when it has run for 100 ms, with the time it waited.
async fn run(admission: Admission, room: String) -> Option<(String, Duration)> {
    let permit = admission.admit(request(&room, "u")).await.ok()?;
    tokio::time::sleep(Duration::from_millis(100)).await;
    Some((room, permit.waited()))
}

#[tokio::test(start_paused = true)]
async fn one_room_that_floods_delays_calm_rooms_by_no_more_than_a_round() {
    // A queue shorter than the flood: the calm rooms must get in as well as through.
    for queue_length in [64, 1024] {
        let admission = admission(AdmissionConfig { queue_length, ..AdmissionConfig::default() });
        let mut runs = JoinSet::new();
        for _ in 0..500 {
            runs.spawn(run(admission.clone(), "flood".into()));
        }
        for room in 0..10 {
            let admission = admission.clone();
            runs.spawn(async move {
                let mut worst = Duration::ZERO;
                for _ in 0..20 {
                    tokio::time::sleep(Duration::from_millis(37)).await;
                    worst = worst.max(run(admission.clone(), format!("calm {room}")).await?.1);
                }
                Some(("calm".to_owned(), worst))
            });
        }
        let mut calm = Vec::new();
        let mut flood_served = 0;
        while let Some(ended) = runs.join_next().await {
            match ended.unwrap() {
                Some((room, worst)) if room == "calm" => calm.push(worst),
                Some(_) => flood_served += 1,
                None => {}
            }
        }
        // Eleven rooms over four places: three runs of 100 ms each make a round.
        assert_eq!(calm.len(), 10, "no calm run was refused");
        assert!(calm.iter().all(|worst| *worst <= Duration::from_millis(310)), "{calm:?}");
        assert!(flood_served >= queue_length.min(500) - 10, "the flood itself was served as far as it fitted in");
        assert_idle(&admission);
    }
}

fn assert_idle(admission: &Admission) {
    let snapshot = admission.snapshot();
    assert_eq!((snapshot.running, snapshot.queued, snapshot.reserved), (0, 0, Resources::default()));
    assert!(admission.shared.lock().waiters.is_empty());
}

/// What one client of the random tests does.
#[derive(Debug, Clone)]
struct Client {
    arrives_ms: u64,
    patience_ms: u64,
    runs_ms: u64,
    room: u8,
    class: usize,
    cpu_millis: u64,
    memory_mib: u64,
    shrinks: bool,
}

fn client() -> impl Strategy<Value = Client> {
    (0..200u64, 0..400u64, 0..50u64, 0..5u8, 0..3usize, 1..2500u64, 1..3000u64, any::<bool>()).prop_map(
        |(arrives_ms, patience_ms, runs_ms, room, class, cpu_millis, memory_mib, shrinks)| Client {
            arrives_ms,
            patience_ms,
            runs_ms,
            room,
            class,
            cpu_millis,
            memory_mib,
            shrinks,
        },
    )
}

async fn act(admission: Admission, client: Client) {
    tokio::time::sleep(Duration::from_millis(client.arrives_ms)).await;
    let request = Request {
        class: Class::ALL[client.class],
        cpu_millis: Some(client.cpu_millis),
        memory_bytes: client.memory_mib * MIB,
        wait: client.shrinks.then_some(Duration::from_millis(client.patience_ms / 2)),
        ..request(&format!("r{}", client.room), "u")
    };
    let life = async {
        let mut permit = admission.admit(request).await?;
        tokio::time::sleep(Duration::from_millis(client.runs_ms / 2)).await;
        if client.shrinks {
            permit.shrink_memory(permit.reserved().memory_bytes / 2);
        }
        tokio::time::sleep(Duration::from_millis(client.runs_ms / 2)).await;
        Ok::<(), AdmissionError>(())
    };
    // Whoever runs out of patience drops everything wherever it stands.
    let _served_or_refused = tokio::time::timeout(Duration::from_millis(client.patience_ms), life).await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_permit_leaks_whoever_drops_what_and_when(clients in prop::collection::vec(client(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let admission = admission(AdmissionConfig { queue_length: 20, ..AdmissionConfig::default() });
            let mut tasks = JoinSet::new();
            for client in clients {
                tasks.spawn(act(admission.clone(), client));
            }
            while tasks.join_next().await.is_some() {
                let snapshot = admission.snapshot();
                assert!(snapshot.reserved.within(snapshot.budget));
            }
            assert_idle(&admission);
        });
    }
}

/// What happens to the deciding part in the random tests.
#[derive(Debug, Clone)]
enum Event {
    Enter { class: usize, room: u8, user: u8, priority: i32, cpu: u64, memory: u64 },
    Release(usize),
    Leave(usize),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (0..3usize, 0..4u8, 0..3u8, 0..2i32, 1..600u64, 1..600u64).prop_map(
            |(class, room, user, priority, cpu, memory)| Event::Enter { class, room, user, priority, cpu, memory }
        ),
        2 => any::<usize>().prop_map(Event::Release),
        1 => any::<usize>().prop_map(Event::Leave),
    ]
}

fn party(class: usize, room: u8, user: u8) -> Party {
    Party {
        class: Class::ALL[class],
        room: RoomKey::Room(RoomId::new(&format!("r{room}")).unwrap()),
        user: UserId::new(&format!("u{user}")).unwrap(),
    }
}

proptest! {
    #[test]
    fn the_budget_holds_the_head_is_served_and_a_users_runs_keep_their_order(
        events in prop::collection::vec(event(), 1..200)
    ) {
        let total = Resources { cpu_millis: 1000, memory_bytes: 1000 };
        let mut core = Core::new(total, QueueLimits { length: 30, overtakes: 3 });
        let now = Instant::now();
        let mut running: Vec<Resources> = Vec::new();
        let mut waiting: HashMap<EntryId, (Party, i32, Resources)> = HashMap::new();
        for event in events {
            match event {
                Event::Enter { class, room, user, priority, cpu, memory } => {
                    let (party, need) =
                        (party(class, room, user), Resources { cpu_millis: cpu, memory_bytes: memory });
                    if let Ok(entered) = core.enter(party.clone(), priority, need, now) {
                        waiting.insert(entered.id, (party, priority, need));
                        if let Some(id) = entered.gave_way {
                            prop_assert!(waiting.remove(&id).is_some());
                        }
                    } else {
                        prop_assert_eq!(waiting.len(), 30, "refused although there was a place");
                    }
                }
                Event::Release(nth) if !running.is_empty() => {
                    core.release(running.swap_remove(nth % running.len()), Duration::from_secs(1));
                }
                Event::Leave(nth) if !waiting.is_empty() => {
                    let mut ids: Vec<_> = waiting.keys().copied().collect();
                    ids.sort();
                    let id = ids[nth % ids.len()];
                    waiting.remove(&id);
                    prop_assert!(core.leave(id));
                }
                _ => {}
            }
            while let Some(admitted) = core.admit_one() {
                let (party, priority, need) = waiting.remove(&admitted.id).unwrap();
                prop_assert_eq!(need, admitted.reserved);
                running.push(need);
                let passed = waiting.iter().find(|(id, (other, other_priority, _))| {
                    *other == party && (*other_priority, std::cmp::Reverse(**id)) > (priority, std::cmp::Reverse(admitted.id))
                });
                prop_assert!(passed.is_none(), "passed one of the same user: {:?}", passed);
                prop_assert!(core.budget().reserved().within(total));
            }
            let order = core.queue().order();
            prop_assert_eq!(order.len(), waiting.len());
            prop_assert_eq!(order.iter().copied().collect::<HashSet<_>>(), waiting.keys().copied().collect());
            if let Some(head) = order.first() {
                prop_assert!(!core.budget().fits(waiting[head].2), "the head fits and still waits");
            }
            prop_assert_eq!(core.budget().running(), running.len());
            let sum = |field: fn(&Resources) -> u64| running.iter().map(field).sum::<u64>();
            let reserved = core.budget().reserved();
            prop_assert_eq!((reserved.cpu_millis, reserved.memory_bytes), (sum(|r| r.cpu_millis), sum(|r| r.memory_bytes)));
        }
    }

    #[test]
    fn each_of_k_waiting_rooms_gets_one_of_any_k_turns(lengths in prop::collection::vec(1..12usize, 1..12)) {
        let total = Resources { cpu_millis: 1, memory_bytes: 1 };
        let mut core = Core::new(total, QueueLimits { length: 1000, overtakes: 0 });
        let now = Instant::now();
        let mut left = lengths.clone();
        let mut names = HashMap::new();
        for (room, length) in lengths.iter().enumerate() {
            for nth in 0..*length {
                let party = party(1, room as u8, (nth % 3) as u8);
                names.insert(core.enter(party, 0, total, now).unwrap().id, room);
            }
        }
        let mut turns = Vec::new();
        while let Some(admitted) = core.admit_one() {
            let room = names[&admitted.id];
            let waiting: Vec<_> = (0..left.len()).filter(|room| left[*room] > 0).collect();
            turns.push((room, waiting));
            left[room] -= 1;
            core.release(admitted.reserved, Duration::ZERO);
        }
        prop_assert!(left.iter().all(|left| *left == 0));
        // From any turn on: the rooms that wait all through the next k turns have one of them each.
        for start in 0..turns.len() {
            let k = turns[start].1.len();
            let Some(window) = turns.get(start..start + k) else { continue };
            for room in &turns[start].1 {
                prop_assert_eq!(window.iter().filter(|(served, _)| served == room).count(), 1, "room {} from {}", room, start);
            }
        }
    }
}
