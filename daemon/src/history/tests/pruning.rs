//! What is forgotten and what is not.

use std::time::Duration;

use super::super::{Pruned, Recording, StoredRoom};
use super::*;

const DAY: i64 = 24 * 60 * 60 * 1000;

fn counts(place: &Place) -> [i64; 4] {
    let raw = place.raw();
    ["executions", "programs", "messages", "rooms"]
        .map(|table| raw.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap())
}

#[tokio::test]
async fn what_is_older_than_its_time_goes_and_nothing_else() {
    let place = Place::new();
    let history = place.open();
    let now = 100 * DAY;
    let bound = now - 30 * DAY;
    for number in 0..300 {
        history.record_finished(&finished(head(number, bound - 1 - number as i64), now), Commit::Now).await.unwrap();
    }
    history.record_finished(&finished(head(1000, bound), now), Commit::Now).await.unwrap();
    history.record_queued(&head(1001, bound - DAY), Commit::Now).await.unwrap();
    let message = |sequence, at| {
        let history = history.clone();
        async move {
            let payload = serde_json::json!({});
            history.append_message(&room("r"), sequence, "code-update", &payload, None, Timestamp(at)).await.unwrap();
        }
    };
    message(1, bound - 1).await;
    message(2, bound).await;
    for (id, at) in [("old", bound - 1), ("new", bound)] {
        let recording = Recording {
            recording_id: id.into(),
            room_id: "r".into(),
            host: "u".into(),
            from_sequence: 1,
            to_sequence: Some(1),
            started_at: Timestamp(at),
            stopped_at: Some(Timestamp(at)),
        };
        history.save_recording(&recording).await.unwrap();
    }
    history.save_room(&StoredRoom::new(room("r"), Timestamp(now - 400 * DAY))).await.unwrap();
    history.save_room(&StoredRoom::new(room("empty"), Timestamp(now - 400 * DAY))).await.unwrap();
    history.save_room(&StoredRoom::new(room("young"), Timestamp(now - 100 * DAY))).await.unwrap();

    let pruned = history.prune_once(Timestamp(now)).await.unwrap();
    assert_eq!(pruned, Pruned { executions: 300, messages: 1, recordings: 1, rooms: 1, pages: 0 });
    assert_eq!(counts(&place), [2, 2, 1, 2]);
    assert!(history.execution(&head(1001, bound - DAY).id).await.unwrap().is_some(), "it has not ended");
    assert!(history.load_room(&room("r")).await.unwrap().is_some(), "it has messages");
    assert!(history.recording("old").await.unwrap().is_none());
    assert!(history.recording("new").await.unwrap().is_some());
    assert_eq!(history.prune_once(Timestamp(now)).await.unwrap(), Pruned::default());
}

#[tokio::test]
async fn a_bound_on_size_takes_the_oldest_and_gives_the_space_back() {
    let place = Place::new();
    let bound = 2 << 20;
    let history = place.open_with(Options { max_bytes: Some(bound), ..Options::default() });
    let now = 100 * DAY;
    for number in 0..200_u64 {
        let at = now - 1000 + number as i64 * 2;
        let mut end = finished(head(number, at), now);
        end.head.code = "x".repeat(20_000);
        history.record_finished(&end, Commit::Now).await.unwrap();
        let payload = serde_json::json!({"code": "y".repeat(20_000)});
        history.append_message(&room("r"), number, "code-update", &payload, None, Timestamp(at + 1)).await.unwrap();
    }
    let pruned = history.prune_once(Timestamp(now)).await.unwrap();
    assert!(pruned.executions > 0 && pruned.messages > 0 && pruned.pages > 0, "{pruned:?}");
    history.close().await;
    let size = std::fs::metadata(place.path()).unwrap().len();
    assert!(size <= bound, "{size} bytes");

    // The newest of both stay.
    let [executions, programs, messages, _] = counts(&place);
    assert_eq!((executions, programs), (200 - pruned.executions as i64, executions));
    assert!(executions > 0 && messages > 0, "{executions} {messages}");
    let raw = place.raw();
    let oldest: i64 = raw.query_row("SELECT min(created_at) FROM executions", [], |row| row.get(0)).unwrap();
    assert_eq!(oldest, now - 1000 + pruned.executions as i64 * 2);
    let lowest: i64 = raw.query_row("SELECT min(sequence) FROM messages", [], |row| row.get(0)).unwrap();
    assert_eq!(lowest, pruned.messages as i64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_get_in_between_the_batches() {
    let place = Place::new();
    let history = place.open_with(Options { keep_executions: Duration::ZERO, ..Options::default() });
    for number in 0..3000 {
        history.record_finished(&finished(head(number, 1), 2), Commit::Now).await.unwrap();
    }
    let pruning = tokio::spawn({
        let history = history.clone();
        async move { history.prune_once(Timestamp(DAY)).await }
    });
    let mut written = 0;
    while !pruning.is_finished() {
        written += 1;
        history.record_finished(&finished(head(written, 2 * DAY), 2 * DAY), Commit::Now).await.unwrap();
    }
    assert_eq!(pruning.await.unwrap().unwrap().executions, 3000);
    assert!(written > 1, "nothing was written meanwhile");
    assert_eq!(counts(&place)[..2], [written as i64, written as i64]);
}
