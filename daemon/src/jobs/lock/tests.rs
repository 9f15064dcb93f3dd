use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::FutureExt;
use tokio::task::JoinSet;

use super::*;

const LONG: Duration = Duration::from_secs(60);

fn room(name: &str) -> RoomId {
    RoomId::new(name).unwrap()
}

#[tokio::test]
async fn rooms_do_not_wait_for_each_other() {
    let locks = RoomLocks::in_memory();
    let _a = locks.acquire(&room("a"), Duration::ZERO).await.unwrap();
    let _b = locks.acquire(&room("b"), Duration::ZERO).await.unwrap();
    assert_eq!(locks.acquire(&room("a"), Duration::ZERO).await.err(), Some(LockError::Busy));
}

#[tokio::test(start_paused = true)]
async fn the_wait_is_bounded_and_counts_from_the_arrival() {
    let locks = RoomLocks::in_memory();
    let guard = locks.acquire(&room("a"), LONG).await.unwrap();
    let start = tokio::time::Instant::now();
    let waiting = locks.enqueue(&room("a"));
    assert!(waiting.must_wait());
    tokio::time::advance(Duration::from_secs(3)).await;
    assert_eq!(locks.queue(&room("a")), RoomQueue { length: 1, oldest_age: Duration::from_secs(3) });
    assert_eq!(waiting.acquire(Duration::from_secs(5)).await.err(), Some(LockError::Busy));
    let waited = start.elapsed();
    assert!(waited >= Duration::from_secs(5) && waited < Duration::from_millis(5_010), "{waited:?}");
    assert_eq!(locks.queue(&room("a")), RoomQueue::default());
    drop(guard);
    assert_eq!(locks.rooms(), 0);
}

#[tokio::test]
async fn who_goes_away_is_skipped_and_the_others_are_told() {
    let locks = RoomLocks::in_memory();
    let id = room("a");
    let guard = locks.acquire(&id, LONG).await.unwrap();
    let (first, second, third) = (locks.enqueue(&id), locks.enqueue(&id), locks.enqueue(&id));
    let mut place = third.place();
    assert_eq!(*place.borrow_and_update(), Place { position: 2, queue_length: 3 });
    assert_eq!(locks.queues().get(&id).unwrap().length, 3);

    let mut second = Box::pin(second.acquire(LONG));
    assert!(second.as_mut().now_or_never().is_none());
    drop(second);
    assert!(place.has_changed().unwrap());
    assert_eq!(*place.borrow_and_update(), Place { position: 1, queue_length: 2 });

    drop(guard);
    assert!(!place.has_changed().unwrap(), "the first one is only called, its place is still before");
    let guard = first.acquire(LONG).await.unwrap();
    assert_eq!(*place.borrow_and_update(), Place { position: 0, queue_length: 1 });
    drop(guard);
    assert!(!third.must_wait());
    let guard = third.acquire(LONG).await.unwrap();
    assert!(place.changed().await.is_err(), "the channel closes when the wait is over");
    drop(guard);
    assert_eq!(locks.rooms(), 0);
}

/// The call reaches a waiter, and the waiter goes away before it looks.
#[tokio::test]
async fn a_call_that_nobody_answers_goes_to_the_next() {
    let locks = RoomLocks::in_memory();
    let id = room("a");
    let guard = locks.acquire(&id, LONG).await.unwrap();
    let mut first = Box::pin(locks.acquire(&id, LONG));
    assert!(first.as_mut().now_or_never().is_none());
    let second = locks.enqueue(&id);
    drop(guard);
    drop(first);
    assert!(second.acquire(Duration::ZERO).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_tasks_never_overlap_and_go_in_order() {
    let locks = RoomLocks::in_memory();
    let id = room("a");
    let (running, turns) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let first = locks.acquire(&id, LONG).await.unwrap();
    let mut tasks = JoinSet::new();
    let mut expected = 0;
    for n in 0..2_000usize {
        let waiting = locks.enqueue(&id);
        if n % 5 == 0 {
            // Goes away at some moment, perhaps while it is called.
            tasks.spawn(async move {
                tokio::task::yield_now().await;
                drop(waiting);
            });
            continue;
        }
        let (running, turns, mine) = (Arc::clone(&running), Arc::clone(&turns), expected);
        expected += 1;
        tasks.spawn(async move {
            let guard = waiting.acquire(LONG).await.unwrap();
            assert!(!running.swap(true, Ordering::SeqCst), "two at once");
            assert_eq!(turns.fetch_add(1, Ordering::SeqCst), mine, "out of order");
            tokio::task::yield_now().await;
            running.store(false, Ordering::SeqCst);
            drop(guard);
        });
    }
    drop(first);
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    assert_eq!((turns.load(Ordering::SeqCst), locks.rooms()), (expected, 0));
}
