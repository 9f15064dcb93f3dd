//! Many at once: a burst on an idle machine, and requests a second while sixteen are always under way.
//!
//! Ours and bare take turns of a few seconds, and what is told is the ratio of their medians.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, ensure};
use crankcase_tests::bare;
use reqwest::blocking::Client;
use serde_json::{Value, json};

use super::cases::Case;
use super::{request, wait_for_stock};

/// Students who press Run, and within which time.
const STUDENTS: u32 = 30;
pub const WITHIN: [Duration; 2] = [Duration::from_millis(100), Duration::ZERO];
/// Requests that are always under way.
const AT_ONCE: usize = 16;
/// How long one turn of a throughput measure takes.
const TURN: Duration = Duration::from_secs(3);
/// Turns of each.
const TURNS: usize = 5;

/// The ratio of requests a second to bare starts on all cores.
pub fn throughput(url: &str, case: &'static Case, target: f64) -> anyhow::Result<Value> {
    let directory = tempfile::tempdir()?;
    std::fs::write(directory.path().join(case.file), case.code)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        ours.push(requests(url, case)?);
        theirs.push(rate(cores()?, || run_bare(directory.path(), case))?);
    }
    let (ours, theirs) = (median(&mut ours), median(&mut theirs));
    let name = format!("{}, {AT_ONCE} at once", case.name);
    println!("{name:<26} {ours:>7.0} requests/s   {theirs:>7.0} bare/s   {:.2}; {target}", ours / theirs);
    Ok(json!({ "name": name, "perSecond": ours, "barePerSecond": theirs, "ratio": ours / theirs, "toReach": target }))
}

/// The ratio of the last answer of a burst to what as many bare runs need on all cores. Of one that comes spread over a time
/// the answer cannot come before that is over, however fast: so there is also one that comes in a moment.
pub fn burst(client: &Client, url: &str, case: &Case, within: Duration, target: f64) -> anyhow::Result<Value> {
    let directory = tempfile::tempdir()?;
    std::fs::write(directory.path().join(case.file), case.code)?;
    wait_for_stock(client, url)?;
    // The first finds what stands ready though nobody has asked for it yet; it is told apart.
    let first = last_answer(client, url, case, within)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..2 * TURNS {
        theirs.push(all_bare(directory.path(), case)?.as_secs_f64() * 1000.0);
        wait_for_stock(client, url)?;
        ours.push(last_answer(client, url, case, within)?.as_secs_f64() * 1000.0);
    }
    let (ours, theirs) = (median(&mut ours), median(&mut theirs));
    let first = first.as_secs_f64() * 1000.0;
    let name = format!("{}, {STUDENTS} within {} ms", case.name, within.as_millis());
    println!(
        "{name:<26} {ours:>6.1} ms, the first {first:>6.1} ms   {theirs:>6.1} ms bare   {:.2}, {:.2}; {target}",
        ours / theirs,
        first / theirs
    );
    Ok(
        json!({ "name": name, "ms": ours, "firstMs": first, "bareMs": theirs, "ratio": ours / theirs, "toReach": target }),
    )
}

/// From the first request of a burst to the last answer.
fn last_answer(client: &Client, url: &str, case: &Case, within: Duration) -> anyhow::Result<Duration> {
    let start = Instant::now() + Duration::from_millis(50);
    std::thread::scope(|scope| {
        let students: Vec<_> = (0..STUDENTS)
            .map(|n| {
                scope.spawn(move || {
                    let at = start + within * n / STUDENTS;
                    std::thread::sleep(at.saturating_duration_since(Instant::now()));
                    request(client, url, case.language, case.code).map(|_| start.elapsed())
                })
            })
            .collect();
        let mut last = Duration::ZERO;
        for student in students {
            last = last.max(student.join().map_err(|_| anyhow!("a student panicked"))??);
        }
        Ok(last)
    })
}

/// As many bare runs as students, on all cores.
fn all_bare(directory: &Path, case: &Case) -> anyhow::Result<Duration> {
    let (start, begun) = (Instant::now(), AtomicUsize::new(0));
    on_threads(cores()?, || {
        while begun.fetch_add(1, Ordering::Relaxed) < STUDENTS as usize {
            run_bare(directory, case)?;
        }
        Ok(0)
    })?;
    Ok(start.elapsed())
}

/// Answered requests a second, with [`AT_ONCE`] always under way. One thread asks for all of them: it shares the cores with
/// what it measures, and should take little of them.
fn requests(url: &str, case: &'static Case) -> anyhow::Result<f64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(60)).build()?;
        let (start, mut students) = (Instant::now(), tokio::task::JoinSet::new());
        for _ in 0..AT_ONCE {
            let post =
                client.post(format!("{url}/compile")).json(&json!({"language": case.language, "code": case.code}));
            students.spawn(async move {
                let mut done = 0_u32;
                while start.elapsed() < TURN {
                    let post = post.try_clone().context("a request with a body")?;
                    let body: Value = post.send().await?.json().await?;
                    ensure!(body["stdout"] == "hello\n", "it went wrong: {body}");
                    done += 1;
                }
                Ok(done)
            });
        }
        let mut done = 0;
        while let Some(one) = students.join_next().await {
            done += one??;
        }
        Ok(f64::from(done) / start.elapsed().as_secs_f64())
    })
}

/// How often a second something is done by so many threads.
fn rate(threads: usize, work: impl Fn() -> anyhow::Result<()> + Sync) -> anyhow::Result<f64> {
    let start = Instant::now();
    let done = on_threads(threads, || {
        let mut done = 0;
        while start.elapsed() < TURN {
            work()?;
            done += 1;
        }
        Ok(done)
    })?;
    Ok(done as f64 / start.elapsed().as_secs_f64())
}

fn on_threads(threads: usize, work: impl Fn() -> anyhow::Result<usize> + Sync) -> anyhow::Result<usize> {
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(&work)).collect();
        all.into_iter().map(|one| one.join().map_err(|_| anyhow!("a thread panicked"))?).sum()
    })
}

fn run_bare(directory: &Path, case: &Case) -> anyhow::Result<()> {
    let (output, _) = bare::run(directory, case.bare.first().context("a bare command")?, "")?;
    ensure!(output.status.success(), "{output:?}");
    Ok(())
}

fn cores() -> anyhow::Result<usize> {
    Ok(std::thread::available_parallelism()?.get())
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
