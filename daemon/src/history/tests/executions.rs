//! Recording and finding executions.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::json;

use super::super::executions::INTERRUPT;
use super::super::prune::Kind;
use super::super::queries::{BY_CORRELATION, STATS, page_sql, whole};
use super::super::{INTERRUPTED, RoomStats};
use super::*;
use crate::jobs::execution::{CompileResult, StoredFile};

/// The contract's record.
const FIELDS: [&str; 20] = [
    "executionId",
    "correlationId",
    "roomId",
    "userId",
    "username",
    "language",
    "code",
    "stdin",
    "output",
    "error",
    "success",
    "executionTime",
    "queuedAt",
    "startedAt",
    "completedAt",
    "status",
    "priority",
    "metadata",
    "createdAt",
    "updatedAt",
];

#[tokio::test]
async fn a_record_reads_as_the_contract_says() {
    let place = Place::new();
    let history = place.open();
    let head = head(1, 1_769_644_800_000);
    let id = head.id.clone();

    history.record_queued(&head, Commit::Now).await.unwrap();
    let record = serde_json::to_value(history.execution(&id).await.unwrap().unwrap()).unwrap();
    assert_eq!(record["status"], "queued");
    assert_eq!(record["queuedAt"], "2026-01-29T00:00:00.000Z");
    assert_eq!(record["createdAt"], record["queuedAt"]);
    assert_eq!(record["completedAt"], json!(null));

    history.record_started(&id, 1_769_644_800_005).await.unwrap();
    history.flush().await.unwrap();
    let record = serde_json::to_value(history.execution(&id).await.unwrap().unwrap()).unwrap();
    assert_eq!(record["status"], "running");
    assert_eq!(record["startedAt"], "2026-01-29T00:00:00.005Z");
    assert!(history.finished(&id).await.unwrap().is_none());
    assert!(history.by_room(&room("r1"), 50, None).await.unwrap().entries.is_empty());

    let mut end = finished(head, 1_769_644_800_020);
    end.started_at = Some(1_769_644_800_005);
    history.record_finished(&end, Commit::Now).await.unwrap();
    let record = serde_json::to_value(history.execution(&id).await.unwrap().unwrap()).unwrap();
    let keys: Vec<&String> = record.as_object().unwrap().keys().collect();
    assert_eq!(keys.len(), FIELDS.len());
    assert!(FIELDS.iter().all(|field| record.get(field).is_some()), "{keys:?}");
    assert_eq!(record["code"], "print(1)");
    assert_eq!(record["metadata"]["stdout"], "out\n");
    assert_eq!(record["metadata"]["exitCode"], 0);
    assert_eq!(record["updatedAt"], "2026-01-29T00:00:00.020Z");

    let page = history.by_user(&user("u1"), 50, None).await.unwrap();
    let entry = serde_json::to_value(&page.entries[0]).unwrap();
    let fields: Vec<_> = FIELDS.into_iter().filter(|field| !["code", "stdin"].contains(field)).collect();
    assert_eq!(entry.as_object().unwrap().len(), fields.len());
    assert!(fields.iter().all(|field| entry[field] == record[field] || *field == "metadata"));
    assert_eq!(entry["metadata"]["memory"], 4096);
    assert!(entry["metadata"].get("files").is_none(), "files are code");
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), any::<String>(), Just("a\0b\u{1F600}".to_owned()), Just("x".repeat(70_000))]
}

fn execution() -> impl Strategy<Value = Finished> {
    let compile =
        (text(), text(), any::<Option<i32>>(), 0..u64::MAX / 2).prop_map(|(stdout, stderr, exit_code, time)| {
            CompileResult {
                stdout,
                stderr,
                exit_code,
                signal: None,
                limit: Some("time".into()),
                cpu_time: time,
                wall_time: time,
                memory: time,
            }
        });
    let streams = (text(), text(), text(), any::<bool>(), prop::option::of(text()), prop::option::of(compile));
    let numbers = (any::<Option<i32>>(), 0..u64::MAX / 2, any::<[bool; 3]>(), any::<i32>(), any::<Option<i32>>());
    let status = prop::sample::select(vec![Status::Completed, Status::Failed, Status::Timeout, Status::Cancelled]);
    let files = prop::collection::vec((text(), any::<Vec<u8>>()), 0..3);
    (streams, numbers, status, files, prop::collection::vec(text(), 0..3)).prop_map(
        |(
            (output, stdout, stderr, same, error, compile),
            (exit_code, large, cut, priority, start),
            status,
            files,
            args,
        )| {
            let mut head = head(1, 1_700_000_000_000);
            head.id = ExecutionId::generate(head.queued_at);
            (head.code, head.stdin, head.args, head.priority) = (stderr.clone(), output.clone(), args, priority);
            head.files = files.into_iter().map(|(name, content)| StoredFile { name, content }).collect();
            let mut end = finished(head, 1_700_000_000_009);
            end.started_at = start.map(i64::from);
            end.result = RunResult {
                success: same,
                status,
                stdout: if same { output.clone() } else { stdout },
                output,
                error,
                execution_time: large,
                stderr,
                exit_code,
                signal: exit_code.map(|code| code.to_string()),
                compile,
                truncated: Truncated { output: cut[0], stdout: cut[1], stderr: cut[2] },
                limit: Some("memory".into()),
                cpu_time: large,
                wall_time: 1,
                memory: large,
                queue_time: 2,
            };
            end
        },
    )
}

#[test]
fn any_execution_comes_back_exactly() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let place = Place::new();
    let history = place.open();
    proptest!(ProptestConfig::with_cases(64), |(end in execution(), queued: bool)| {
        let back = runtime.block_on(async {
            if queued {
                history.record_queued(&end.head, Commit::Now).await.unwrap();
            }
            history.record_finished(&end, Commit::Now).await.unwrap();
            history.finished(&end.head.id).await.unwrap().unwrap()
        });
        assert_same(&back, &end);
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_writers_share_commits_and_each_reads_its_own() {
    let place = Place::new();
    let history = place.open();
    let writers: Vec<_> = (0..32_u64)
        .map(|writer| {
            let history = history.clone();
            tokio::spawn(async move {
                for number in 0..25_i64 {
                    let mut head = head(writer, number);
                    head.room = room(&format!("r{writer}"));
                    history.record_queued(&head, Commit::Now).await.unwrap();
                    history.record_started(&head.id, number).await.unwrap();
                    let end = finished(head, number);
                    history.record_finished(&end, Commit::Now).await.unwrap();
                    // Committed means that everybody sees it.
                    assert_same(&history.finished(&end.head.id).await.unwrap().unwrap(), &end);
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    for writer in 0..32 {
        let page = history.by_room(&room(&format!("r{writer}")), 500, None).await.unwrap();
        assert_eq!(page.entries.len(), 25);
        assert!(page.next.is_none());
    }
    let (writes, commits) =
        (history.activity().writes.load(Ordering::Relaxed), history.activity().commits.load(Ordering::Relaxed));
    assert_eq!(writes, 32 * 25 * 3);
    assert!(commits < writes, "{commits} commits for {writes} writes");
}

#[tokio::test]
async fn what_may_wait_is_committed_with_others() {
    let place = Place::new();
    let history = place.open();
    let before = history.activity().commits.load(Ordering::Relaxed);
    let begun = Instant::now();
    history.record_queued(&head(1, 5), Commit::Together).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(9), "nobody came, and it did not wait: {:?}", begun.elapsed());
    let together: Vec<_> = (2..40)
        .map(|number| {
            let history = history.clone();
            tokio::spawn(async move { history.record_queued(&head(number, 5), Commit::Together).await })
        })
        .collect();
    for write in together {
        write.await.unwrap().unwrap();
    }
    let commits = history.activity().commits.load(Ordering::Relaxed) - before;
    assert!(commits <= 4, "{commits} commits for one write and 38 that came together");
}

#[tokio::test]
async fn what_waits_is_one_commit_and_a_bad_write_harms_nobody_else() {
    let place = Place::new();
    let history = place.open();
    history.record_queued(&head(1, 5), Commit::Now).await.unwrap();
    let before = history.activity().commits.load(Ordering::Relaxed);

    // Held by somebody else, the lock lets everything gather: the first write by itself, the others behind it.
    let queue = |numbers: std::ops::Range<u64>| {
        numbers.map(|number| {
            let history = history.clone();
            tokio::spawn(async move { history.record_queued(&head(number, 5), Commit::Now).await })
        })
    };
    let mut raw = place.raw();
    let held = raw.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
    let good: Vec<_> = queue(10..40).collect();
    eventually("all wait", || history.pending_writes() == 30).await;
    drop(held);
    for write in good {
        write.await.unwrap().unwrap();
    }
    let commits = history.activity().commits.load(Ordering::Relaxed) - before;
    assert!(commits <= 2, "{commits} commits for 30 writes that waited together");

    let held = raw.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
    let good: Vec<_> = queue(50..60).collect();
    let bad = queue(1..2).next().unwrap();
    let more: Vec<_> = queue(60..70).collect();
    eventually("all wait", || history.pending_writes() == 21).await;
    drop(held);
    for write in good.into_iter().chain(more) {
        write.await.unwrap().unwrap();
    }
    assert!(bad.await.unwrap().is_err());
    assert_eq!(history.health(), None, "a mistaken write is no fault of the storage");
    for number in (10..40).chain(50..70) {
        assert!(history.execution(&head(number, 5).id).await.unwrap().is_some(), "{number}");
    }
}

#[tokio::test]
async fn a_callers_end_does_not_undo_its_record() {
    let place = Place::new();
    let history = place.open();
    let mut raw = place.raw();
    let held = raw.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
    let caller = tokio::spawn({
        let history = history.clone();
        async move { history.record_queued(&head(1, 5), Commit::Now).await }
    });
    eventually("it waits", || history.pending_writes() == 1).await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    drop(held);
    history.flush().await.unwrap();
    assert!(history.execution(&head(1, 5).id).await.unwrap().is_some());
}

#[tokio::test]
async fn what_was_left_unfinished_is_closed_as_interrupted() {
    let place = Place::new();
    let history = place.open();
    let (queued, running, done) = (head(1, 10), head(2, 20), head(3, 30));
    history.record_queued(&queued, Commit::Now).await.unwrap();
    history.record_queued(&running, Commit::Now).await.unwrap();
    history.record_started(&running.id, 21).await.unwrap();
    history.record_finished(&finished(done.clone(), 31), Commit::Now).await.unwrap();
    drop(history);

    let opened_at = now();
    let history = place.open();
    for (id, started_at) in [(&queued.id, None), (&running.id, Some(21))] {
        let end = history.finished(id).await.unwrap().unwrap();
        assert_eq!((end.result.status, end.result.success), (Status::Failed, false));
        assert_eq!(end.result.error.as_deref(), Some(INTERRUPTED));
        assert_eq!(end.result.output, "No output");
        assert_eq!(end.started_at, started_at);
        assert!((opened_at..=now()).contains(&end.completed_at));
    }
    assert_same(&history.finished(&done.id).await.unwrap().unwrap(), &finished(done, 31));
    assert_eq!(history.by_room(&room("r1"), 50, None).await.unwrap().entries.len(), 3);
    drop(history);
    assert_eq!(
        place.raw().query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0)).unwrap(),
        "ok".to_owned()
    );
}

#[tokio::test]
async fn a_correlation_id_belongs_to_room_and_user_and_to_what_started() {
    let place = Place::new();
    let history = place.open();
    let correlation = CorrelationId::new("c1").unwrap();
    let record = |number: u64, user_id: &str, started: Option<i64>| {
        let mut head = head(number, 10);
        (head.user, head.correlation_id) = (user(user_id), correlation.clone());
        let mut end = finished(head, 20 + number as i64);
        end.started_at = started;
        end
    };
    let find = |room_id: &str, user_id: &str| {
        let (history, correlation) = (history.clone(), correlation.clone());
        let (room, user) = (room(room_id), user(user_id));
        async move { history.find_by_correlation(&room, &user, &correlation).await.unwrap() }
    };

    history.record_finished(&record(1, "u1", None), Commit::Now).await.unwrap();
    assert!(find("r1", "u1").await.is_none(), "refused, so it may be tried again");
    let ran = record(2, "u1", Some(11));
    history.record_finished(&ran, Commit::Now).await.unwrap();
    history.record_finished(&record(3, "u2", Some(11)), Commit::Now).await.unwrap();
    history.record_finished(&record(4, "u1", None), Commit::Now).await.unwrap();
    assert_same(&find("r1", "u1").await.unwrap(), &ran);
    assert!(find("r2", "u1").await.is_none());
    assert!(find("r1", "u3").await.is_none());
}

#[tokio::test]
async fn stats_are_exact_and_zero_when_empty() {
    let place = Place::new();
    let history = place.open();
    let hour = Duration::from_secs(3600);
    let empty = history.room_stats(&room("r1"), hour).await.unwrap();
    assert_eq!(
        serde_json::to_value(empty).unwrap(),
        json!({"totalExecutions": 0, "successfulExecutions": 0, "failedExecutions": 0,
               "avgExecutionTime": 0, "totalExecutionTime": 0})
    );

    let now = now();
    for (number, (age, time, success)) in
        [(1_000, 10, true), (2_000, 25, false), (3_000_000, 7, true), (3_700_000, 1_000, true)].into_iter().enumerate()
    {
        let mut end = finished(head(number as u64, now - age - 5), now - age);
        (end.result.execution_time, end.result.success) = (time, success);
        history.record_finished(&end, Commit::Now).await.unwrap();
    }
    history.record_queued(&head(9, now), Commit::Now).await.unwrap();
    let mut elsewhere = finished(head(10, now), now);
    elsewhere.head.room = room("r2");
    history.record_finished(&elsewhere, Commit::Now).await.unwrap();

    let stats = RoomStats {
        total_executions: 3,
        successful_executions: 2,
        failed_executions: 1,
        avg_execution_time: 14.0,
        total_execution_time: 42,
    };
    assert_eq!(history.room_stats(&room("r1"), hour).await.unwrap(), stats);
    assert_eq!(serde_json::to_string(&stats).unwrap().matches("14").count(), 1);
    assert!(!serde_json::to_string(&stats).unwrap().contains("14.0"));
    let all = history.room_stats(&room("r1"), Duration::MAX).await.unwrap();
    assert_eq!((all.total_executions, all.total_execution_time), (4, 1042));
    assert_eq!(all.avg_execution_time, 260.5);
}

#[tokio::test]
async fn every_question_of_an_execution_uses_its_index() {
    let place = Place::new();
    let history = place.open();
    history.record_finished(&finished(head(1, 1), 2), Commit::Now).await.unwrap();
    let raw = place.raw();
    for (index, sql) in [
        ("INDEX executions_by_room (room_id=? AND completed_at", page_sql("room_id", false)),
        ("INDEX executions_by_room (room_id=? AND completed_at", page_sql("room_id", true)),
        ("INDEX executions_by_user (user_id=? AND completed_at", page_sql("user_id", false)),
        ("INDEX executions_by_user (user_id=? AND completed_at", page_sql("user_id", true)),
        ("COVERING INDEX executions_by_room (room_id=? AND completed_at", STATS.to_owned()),
        ("INDEX executions_by_correlation (room_id=? AND user_id=? AND correlation_id=?", whole(BY_CORRELATION)),
        ("INDEX executions_by_age (created_at<?", Kind::OLD_EXECUTIONS.to_owned()),
        ("INDEX executions_unfinished", INTERRUPT.to_owned()),
    ] {
        let mut statement = raw.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let parameters = statement.parameter_count();
        let plan: Vec<String> = statement
            .query_map(rusqlite::params_from_iter(vec![1; parameters]), |row| row.get(3))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        let plan = plan.join("; ");
        assert!(plan.contains(index) && !plan.contains("TEMP B-TREE"), "{sql}\n{plan}");
    }
}
