//! Rooms, their logs and recordings.

use serde_json::json;

use super::super::{Gap, Recording, StoredRoom};
use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_who_make_a_room_one_does() {
    let place = Place::new();
    let history = place.open();
    let makers: Vec<_> = (0..20)
        .map(|_| {
            let history = history.clone();
            tokio::spawn(async move { history.create_room(&room("abc123")).await.unwrap() })
        })
        .collect();
    let mut made = 0;
    for maker in makers {
        made += u32::from(maker.await.unwrap());
    }
    assert_eq!(made, 1);
    let stored = history.load_room(&room("abc123")).await.unwrap().unwrap();
    assert_eq!((stored.code.as_str(), stored.language.as_str()), ("//Welcome to JustCoding", "javascript"));
    assert_eq!((stored.sequence, stored.execution_count, stored.last_execution_at), (0, 0, None));
}

#[tokio::test]
async fn a_room_comes_back_as_saved_and_keeps_its_beginning() {
    let place = Place::new();
    let history = place.open();
    assert_eq!(history.load_room(&room("r")).await.unwrap(), None);
    let mut state = StoredRoom::new(room("r"), Timestamp(5));
    history.save_room(&state).await.unwrap();
    state = StoredRoom {
        code: "print('é\0')".into(),
        language: "python".into(),
        sequence: 41,
        execution_count: 3,
        last_execution_at: Some(Timestamp(8)),
        updated_at: Timestamp(9),
        ..state
    };
    history.save_room(&StoredRoom { created_at: Timestamp(7), ..state.clone() }).await.unwrap();
    assert!(!history.create_room(&room("r")).await.unwrap());
    drop(history);
    let history = place.open();
    assert_eq!(history.load_room(&room("r")).await.unwrap(), Some(state));
}

async fn log(history: &History, sequences: &[u64]) {
    for &sequence in sequences {
        let payload = json!({"code": format!("c{sequence}"), "sequence": sequence});
        let (user, at) = (user("u"), Timestamp(sequence as i64));
        history.append_message(&room("r"), sequence, "code-update", &payload, Some(&user), at).await.unwrap();
    }
    history.flush().await.unwrap();
}

#[tokio::test]
async fn a_crash_before_saving_the_room_gives_no_number_twice() {
    let place = Place::new();
    let history = place.open();
    history.save_room(&StoredRoom { sequence: 2, ..StoredRoom::new(room("r"), Timestamp(0)) }).await.unwrap();
    log(&history, &[1, 2, 3, 4]).await;
    assert_eq!(history.load_room(&room("r")).await.unwrap().unwrap().sequence, 4);
}

#[tokio::test]
async fn the_log_is_read_by_place_and_by_number_and_knows_its_gaps() {
    let place = Place::new();
    let history = place.open();
    let r = room("r");
    assert!(history.gaps(&r).await.unwrap().is_empty());
    log(&history, &[3, 4, 5, 9, 10, 12]).await;
    let numbers = |messages: Vec<super::super::StoredMessage>| -> Vec<u64> {
        messages.into_iter().map(|message| message.sequence).collect()
    };
    assert_eq!(numbers(history.messages(&r, 2, 0).await.unwrap()), [12, 10]);
    assert_eq!(numbers(history.messages(&r, 2, 4).await.unwrap()), [4, 3]);
    assert_eq!(numbers(history.messages(&r, 2, 6).await.unwrap()), [0; 0]);
    assert_eq!(numbers(history.messages_between(&r, 4, 10).await.unwrap()), [4, 5, 9, 10]);
    assert_eq!(numbers(history.messages_between(&r, 11, u64::MAX).await.unwrap()), [12]);
    assert_eq!(numbers(history.messages_between(&r, 10, 4).await.unwrap()), [0; 0]);
    assert_eq!(history.message_count(&r).await.unwrap(), 6);
    assert_eq!(history.gaps(&r).await.unwrap(), [Gap { from: 6, to: 8 }, Gap { from: 11, to: 11 }]);

    let message = history.messages(&r, 1, 5).await.unwrap().remove(0);
    assert_eq!(
        serde_json::to_value(message).unwrap(),
        json!({"sequence": 3, "type": "code-update", "userId": "u", "timestamp": "1970-01-01T00:00:00.003Z",
               "payload": {"code": "c3", "sequence": 3}})
    );
    history.append_message(&r, 3, "language-update", &json!("go"), None, Timestamp(9)).await.unwrap();
    history.flush().await.unwrap();
    let message = history.messages_between(&r, 3, 3).await.unwrap().remove(0);
    assert_eq!((message.kind.as_str(), message.payload, message.user_id), ("language-update", json!("go"), None));
}

#[tokio::test]
async fn a_recording_is_found_again() {
    let place = Place::new();
    let history = place.open();
    let mut recording = Recording {
        recording_id: "rec-1".into(),
        room_id: "r".into(),
        host: "u".into(),
        from_sequence: 7,
        to_sequence: None,
        started_at: Timestamp(1),
        stopped_at: None,
    };
    history.save_recording(&recording).await.unwrap();
    assert_eq!(history.recording("rec-1").await.unwrap().as_ref(), Some(&recording));
    (recording.to_sequence, recording.stopped_at) = (Some(9), Some(Timestamp(2)));
    history.save_recording(&recording).await.unwrap();
    assert_eq!(history.recording("rec-1").await.unwrap(), Some(recording));
    assert_eq!(history.recording("rec-2").await.unwrap(), None);
}
