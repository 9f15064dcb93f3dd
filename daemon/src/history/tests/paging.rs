//! Pages and their cursors, while others write.

use std::collections::HashSet;

use proptest::prelude::*;

use super::super::{Cursor, MAX_PAGE};
use super::*;

/// Reads page after page; calls `between` after each.
async fn walk(history: &History, limit: usize, mut between: impl AsyncFnMut()) -> Vec<(i64, String)> {
    let mut seen = Vec::new();
    let mut before: Option<Cursor> = None;
    loop {
        let page = history.by_room(&room("r1"), limit, before).await.unwrap();
        assert!(page.entries.len() <= limit);
        seen.extend(page.entries.into_iter().map(|entry| (entry.completed_at.unwrap().0, entry.execution_id)));
        // By its text, as a client gives it back.
        let Some(next) = page.next else { return seen };
        before = Some(next.to_string().parse().unwrap());
        between().await;
    }
}

#[test]
fn walking_the_pages_gives_each_entry_once_in_order_whatever_is_added() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    // Few different moments, so that many are equal.
    let moments = prop::collection::vec(0_i64..5, 0..40);
    proptest!(ProptestConfig::with_cases(48), |(first in moments.clone(), added in moments, limit in 1_usize..12)| {
        let place = Place::new();
        let history = place.open();
        runtime.block_on(async {
            let mut number = 0;
            let mut there = Vec::new();
            for &moment in &first {
                number += 1;
                let end = finished(head(number, moment), moment);
                there.push((moment, number, end.head.id.to_string()));
                history.record_finished(&end, Commit::Now).await.unwrap();
            }
            there.sort_by(|left, right| right.cmp(left));

            let mut added = added.iter();
            let seen = walk(&history, limit, async || {
                if let Some(&moment) = added.next() {
                    number += 1;
                    history.record_finished(&finished(head(number, moment), moment), Commit::Now).await.unwrap();
                }
            }).await;

            assert!(seen.is_sorted_by(|left, right| left.0 >= right.0), "{seen:?}");
            let distinct: HashSet<_> = seen.iter().collect();
            assert_eq!(distinct.len(), seen.len(), "an entry came twice");
            let old: HashSet<_> = there.iter().map(|(_, _, id)| id.as_str()).collect();
            let of_old: Vec<_> = seen.iter().map(|(_, id)| id.as_str()).filter(|id| old.contains(id)).collect();
            assert_eq!(of_old, there.iter().map(|(_, _, id)| id.as_str()).collect::<Vec<_>>());
        });
    });
}

#[tokio::test]
async fn new_entries_come_before_the_cursor_and_disturb_no_page() {
    let place = Place::new();
    let history = place.open();
    for number in 0..10 {
        history.record_finished(&finished(head(number, 0), number as i64), Commit::Now).await.unwrap();
    }
    let mut newest = 10;
    let seen = walk(&history, 3, async || {
        newest += 1;
        history.record_finished(&finished(head(newest, 0), newest as i64), Commit::Now).await.unwrap();
    })
    .await;
    assert_eq!(seen.iter().map(|entry| entry.0).collect::<Vec<_>>(), (0..10).rev().collect::<Vec<_>>());
}

#[tokio::test]
async fn the_last_page_says_so_and_limits_are_bounded() {
    let place = Place::new();
    let history = place.open();
    for number in 0..4 {
        history.record_finished(&finished(head(number, 0), number as i64), Commit::Now).await.unwrap();
    }
    let r1 = room("r1");
    let page = history.by_room(&r1, 4, None).await.unwrap();
    assert_eq!((page.entries.len(), page.next), (4, None));
    let page = history.by_room(&r1, 2, None).await.unwrap();
    let page = history.by_room(&r1, 2, page.next).await.unwrap();
    assert_eq!((page.entries.len(), page.next), (2, None));
    assert_eq!(history.by_room(&r1, 0, None).await.unwrap().entries.len(), 1);
    assert_eq!(history.by_room(&r1, usize::MAX, None).await.unwrap().entries.len(), 4.min(MAX_PAGE));
    assert!(history.by_room(&room("empty"), 5, None).await.unwrap().entries.is_empty());
}
