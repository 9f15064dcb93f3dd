//! The history at a million executions in ten thousand rooms: how long its questions take, and how long a write waits
//! while a hundred thousand executions are pruned. What is written meanwhile, and for as long as that without any
//! pruning, is what a busy daemon writes: [`RATE`] executions a second from queued to their end, each begun when it is
//! due, whatever became of those before.
//!
//! `cargo run --release -p crankcase-tests --bin bench-history [EXECUTIONS [ROOMS [DIRECTORY]]]`; everything is made
//! in a temporary directory and removed. Prints a table and, as its last line, the figures as JSON. Ends with 1 when
//! a target is missed.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use crankcase::history::{Commit, History, Options, Timestamp};
use crankcase::ids::{CorrelationId, ExecutionId, RoomId, UserId};
use crankcase::jobs::execution::{Finished, Head, RunResult, Status, Truncated};
use serde_json::json;
use tokio::task::JoinSet;

/// To reach.
const QUESTION_P99: Duration = Duration::from_millis(10);
const LONGEST_WRITE: Duration = Duration::from_millis(100);

const PRUNED: u64 = 100_000;
/// Executions begun in a second: more than two cores can run.
const RATE: u32 = 250;
/// How long they are written without any pruning, for comparison.
const CALM: Duration = Duration::from_secs(20);
const QUESTIONS: u64 = 500;
const WRITERS: u64 = 64;
const USERS: u64 = 25_000;
const DAY: i64 = 24 * 60 * 60 * 1000;

fn main() -> Result<ExitCode> {
    // Each slow write says what was slow.
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
        .with_writer(std::io::stderr)
        .init();
    let mut arguments = std::env::args().skip(1);
    let executions = arguments.next().map_or(Ok(1_000_000), |text| text.parse()).context("EXECUTIONS")?;
    let rooms = arguments.next().map_or(Ok(10_000), |text| text.parse()).context("ROOMS")?;
    let directory = match arguments.next() {
        Some(parent) => tempfile::tempdir_in(parent)?,
        None => tempfile::tempdir()?,
    };
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(bench(&directory.path().join("history.db"), Load { executions, rooms, now: Timestamp::now().0 }))
}

/// What is recorded: an execution's every property follows from its number.
#[derive(Clone, Copy)]
struct Load {
    executions: u64,
    rooms: u64,
    now: i64,
}

impl Load {
    /// Spread over rooms, users and 28 days; the first [`PRUNED`] are older than 30.
    fn execution(self, number: u64) -> Result<Finished> {
        let dice = scramble(number);
        let queued_at = if number < PRUNED {
            self.now - 40 * DAY + number as i64
        } else {
            let share = (number - PRUNED) as f64 / self.executions as f64;
            self.now - 28 * DAY + (share * 28.0 * DAY as f64) as i64
        };
        let time = dice % 2000;
        let text = format!("{dice:x} ");
        let output = text.repeat(1 + (dice >> 8) as usize % 40);
        let id = ExecutionId::new(&format!("exec-{queued_at}-{dice:016x}"))?;
        Ok(Finished {
            head: Head {
                correlation_id: CorrelationId::from(&id),
                id,
                room: self.room(dice)?,
                user: self.user(dice)?,
                username: format!("Student {}", dice % USERS),
                language: ["python", "javascript", "java", "cpp"][dice as usize % 4].into(),
                code: text.repeat(1 + (dice >> 16) as usize % 80),
                stdin: String::new(),
                args: vec![],
                files: vec![],
                priority: 0,
                queued_at,
            },
            started_at: Some(queued_at + 3),
            completed_at: queued_at + time as i64,
            result: RunResult {
                success: !dice.is_multiple_of(10),
                status: if dice.is_multiple_of(10) { Status::Timeout } else { Status::Completed },
                stdout: output.clone(),
                output,
                error: None,
                execution_time: time,
                stderr: String::new(),
                exit_code: Some(0),
                signal: None,
                compile: None,
                truncated: Truncated::default(),
                limit: None,
                cpu_time: time / 2,
                wall_time: time,
                memory: 10 << 20,
                queue_time: 3,
            },
        })
    }

    fn room(self, dice: u64) -> Result<RoomId> {
        Ok(RoomId::new(&format!("{:06x}", scramble((dice >> 24) % self.rooms) & 0xff_ffff))?)
    }

    fn user(self, dice: u64) -> Result<UserId> {
        Ok(UserId::new(&format!("user-{:08x}", scramble((dice >> 20) % USERS) as u32))?)
    }
}

/// SplitMix64: the same load every time, no two neighbours alike.
fn scramble(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

async fn bench(path: &Path, load: Load) -> Result<ExitCode> {
    let history = History::open(path, Options::default())?;
    let begun = Instant::now();
    fill(&history, load).await?;
    let filled = begun.elapsed();
    history.close().await;
    let bytes = std::fs::metadata(path)?.len();
    let begun = Instant::now();
    let history = History::open(path, Options::default())?;
    let opened = begun.elapsed();
    println!(
        "{} executions in {} rooms recorded in {:.1} s ({:.0}/s), {} MiB, opened again in {:.1} ms\n",
        load.executions,
        load.rooms,
        filled.as_secs_f64(),
        load.executions as f64 / filled.as_secs_f64(),
        bytes >> 20,
        ms(opened)
    );

    let questions = ask(&history, load).await?;
    println!("{:<28} {:>9} {:>9} {:>9} {:>9}", "question (ms)", "p50", "p95", "p99", "longest");
    for (name, times) in &questions {
        let [p50, p95, p99, longest] = percentiles(times);
        println!("{name:<28} {p50:>9.3} {p95:>9.3} {p99:>9.3} {longest:>9.3}");
    }

    let calm = write_while(&history, load, 1, tokio::time::sleep(CALM)).await?.1;
    let begun = Instant::now();
    let control = Control::start();
    let (pruned, busy) = write_while(&history, load, 2, history.prune_once(Timestamp(load.now))).await?;
    let pruning = begun.elapsed();
    let late = control.stop();
    let pruned = pruned?.executions;
    println!("\n{:<28} {:>9} {:>9} {:>9} {:>9} {:>9}", "write (ms)", "writes", "p50", "p95", "p99", "longest");
    for (name, times) in [("alone", &calm), ("while pruning", &busy)] {
        let [p50, p95, p99, longest] = percentiles(times);
        println!("{name:<28} {:>9} {p50:>9.3} {p95:>9.3} {p99:>9.3} {longest:>9.3}", times.len());
    }
    let [p50, p95, p99, longest] = percentiles(&late);
    let name = "a bare thread, late by";
    println!("{name:<28} {:>9} {p50:>9.3} {p95:>9.3} {p99:>9.3} {longest:>9.3}", late.len());
    println!("\npruned {pruned} executions in {:.1} s", pruning.as_secs_f64());

    let slow: Vec<_> = questions
        .iter()
        .filter(|(_, times)| percentiles(times)[2] >= ms(QUESTION_P99))
        .map(|(name, _)| *name)
        .collect();
    let met = slow.is_empty() && percentiles(&busy)[3] <= ms(LONGEST_WRITE) && pruned == PRUNED.min(load.executions);
    if !met {
        println!("missed: questions over {QUESTION_P99:?}: {slow:?}; or a write over {LONGEST_WRITE:?}; or the count");
    }
    let figures = |times: &[Duration]| {
        let [p50, p95, p99, longest] = percentiles(times);
        json!({"count": times.len(), "p50": p50, "p95": p95, "p99": p99, "longest": longest})
    };
    let by_name: serde_json::Map<_, _> =
        questions.iter().map(|(name, times)| ((*name).to_owned(), figures(times))).collect();
    println!(
        "{}",
        json!({
            "executions": load.executions, "rooms": load.rooms, "bytes": bytes, "fillSeconds": filled.as_secs_f64(),
            "questionsMs": by_name, "writeMs": figures(&calm), "writeWhilePruningMs": figures(&busy),
            "bareThreadLateMs": figures(&late),
            "pruned": pruned, "pruneSeconds": pruning.as_secs_f64(), "met": met,
        })
    );
    Ok(if met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// By the same calls as the daemon's, many at once as there.
async fn fill(history: &History, load: Load) -> Result<()> {
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let history = history.clone();
            tokio::spawn(async move {
                for number in (writer..load.executions).step_by(WRITERS as usize) {
                    history.record_finished(&load.execution(number)?, Commit::Now).await?;
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for writer in writers {
        writer.await??;
    }
    Ok(())
}

/// The time of each question, with its answer as JSON, of random rooms, users and executions.
async fn ask(history: &History, load: Load) -> Result<Vec<(&'static str, Vec<Duration>)>> {
    let mut questions: Vec<(&'static str, Vec<Duration>)> = Vec::new();
    macro_rules! question {
        ($name:literal, |$dice:ident| $answer:expr) => {{
            let mut times = Vec::new();
            for number in 0..QUESTIONS {
                let $dice = scramble(u64::MAX / 2 + number);
                let begun = Instant::now();
                std::hint::black_box($answer);
                times.push(begun.elapsed());
            }
            questions.push(($name, times));
        }};
    }
    question!("room history, 50", |dice| {
        serde_json::to_vec(&history.by_room(&load.room(dice)?, 50, None).await?.entries)?
    });
    question!("room history, 500", |dice| {
        serde_json::to_vec(&history.by_room(&load.room(dice)?, 500, None).await?.entries)?
    });
    question!("room history, second page", |dice| {
        let room = load.room(dice)?;
        let next = history.by_room(&room, 25, None).await?.next;
        serde_json::to_vec(&history.by_room(&room, 25, next).await?.entries)?
    });
    question!("user history, 50", |dice| {
        serde_json::to_vec(&history.by_user(&load.user(dice)?, 50, None).await?.entries)?
    });
    question!("room statistics, 1 h", |dice| {
        serde_json::to_vec(&history.room_stats(&load.room(dice)?, Duration::from_secs(3600)).await?)?
    });
    question!("room statistics, 30 days", |dice| {
        serde_json::to_vec(&history.room_stats(&load.room(dice)?, Duration::from_secs(30 * 86_400)).await?)?
    });
    question!("one execution", |dice| {
        let id = load.execution(dice % load.executions)?.head.id;
        serde_json::to_vec(&history.execution(&id).await?.context("not found")?)?
    });
    question!("correlation id", |dice| {
        let head = load.execution(dice % load.executions)?.head;
        history.find_by_correlation(&head.room, &head.user, &head.correlation_id).await?.context("not found")?
    });
    Ok(questions)
}

/// Executions from queued to their end, at [`RATE`], until the other is done; the time of every awaited write.
async fn write_while<T>(
    history: &History,
    load: Load,
    run: u64,
    other: impl Future<Output = T>,
) -> Result<(T, Vec<Duration>)> {
    let done = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (history, done) = (history.clone(), Arc::clone(&done));
        async move {
            let mut executions = JoinSet::new();
            let mut due = tokio::time::interval(Duration::from_secs(1) / RATE);
            let mut number = load.executions * (run + 1);
            while !done.load(Ordering::Relaxed) {
                due.tick().await;
                number += 1;
                executions.spawn(write(history.clone(), load, number));
            }
            let times = executions.join_all().await.into_iter().collect::<Result<Vec<_>>>()?;
            anyhow::Ok(times.into_iter().flatten().collect())
        }
    });
    let outcome = other.await;
    done.store(true, Ordering::Relaxed);
    Ok((outcome, writer.await??))
}

/// One execution's awaited writes.
async fn write(history: History, load: Load, number: u64) -> Result<[Duration; 2]> {
    let mut finished = load.execution(number)?;
    finished.head.queued_at = load.now;
    let begun = Instant::now();
    history.record_queued(&finished.head, Commit::Now).await?;
    let queued = begun.elapsed();
    history.record_started(&finished.head.id, load.now).await?;
    let begun = Instant::now();
    history.record_finished(&finished, Commit::Now).await?;
    Ok([queued, begun.elapsed()])
}

/// A thread that only sleeps, and how late it wakes: what the machine's other work adds to every figure.
struct Control {
    done: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Vec<Duration>>,
}

impl Control {
    fn start() -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let done = Arc::clone(&done);
            move || {
                let nap = Duration::from_millis(1);
                let mut late = Vec::new();
                while !done.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    std::thread::sleep(nap);
                    late.push(begun.elapsed().saturating_sub(nap));
                }
                late
            }
        });
        Self { done, thread }
    }

    fn stop(self) -> Vec<Duration> {
        self.done.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

/// Of a half, 95 and 99 hundredths, and the longest, in milliseconds.
fn percentiles(times: &[Duration]) -> [f64; 4] {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    [50, 95, 99, 100].map(|percent| {
        let index = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
        sorted.get(index).map_or(0.0, |time| ms(*time))
    })
}

fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
