//! `make bench`: a program through `POST /compile` against the same program spawned bare, interleaved, as ratios.
//!
//! Absolute times move with the machine's load; the ratio of two medians that were measured turn by turn in the
//! same minutes holds. `N=500 bench-latency` sets the number of runs of each (200 by default), `bench-latency go rust`
//! measures only the cases whose names hold one of these words. Prints a table and one line of JSON. With
//! `CRANKCASE_BENCH_URL` it measures a daemon that is already there; the default configuration is what the others get.
#![forbid(unsafe_code)]

mod cases;
mod crowd;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use cases::{Again, CASES, Case, Turn};
use crankcase_tests::{Daemon, Options, bare};
use serde_json::{Value, json};

/// Turns that warm caches on both sides before anything counts.
const WARM_UP: usize = 5;

fn main() -> anyhow::Result<()> {
    let count: usize = std::env::var("N").ok().map_or(Ok(200), |text| text.parse()).context("N is a number")?;
    let words: Vec<String> = std::env::args().skip(1).collect();
    let wanted = |case: &&Case| words.is_empty() || words.iter().any(|word| case.name.contains(word.as_str()));
    let daemon;
    let url = if let Ok(url) = std::env::var("CRANKCASE_BENCH_URL") {
        url
    } else {
        // It is made in the background after the start; nothing is measured before it is there.
        std::process::Command::new(crankcase_tests::daemon::binary("crankcase")).arg("precompile").status()?;
        daemon = Daemon::start(Options::as_shipped().text("rate-limit", "requests-per-second", "off"));
        daemon.url("")
    };
    let client = reqwest::blocking::Client::builder().timeout(Duration::from_secs(60)).build()?;
    let directory = tempfile::tempdir()?;
    let mut results = Vec::new();
    println!(
        "{:<26} {:>9} {:>9} {:>9}   {:>9} {:>9}   ratio of p50, p95; to reach",
        "", "p50", "p95", "p99", "bare p50", "bare p95"
    );
    for case in CASES.iter().filter(wanted) {
        if case.bare.iter().flat_map(|argv| argv.first()).any(|tool| tool.starts_with('/') && !Path::new(tool).exists())
        {
            println!("{:<26} not installed here", case.name);
            continue;
        }
        let (mut first, mut second) = (Row::default(), Row::default());
        for n in 0..count + WARM_UP {
            let code = source(case, n);
            if case.stocked {
                wait_for_stock(&client, &url)?;
            }
            let through = request(&client, &url, case.language, &code)?;
            let again = match &case.turn {
                Turn::FreshAndAgain(_, again) => Some((again, request(&client, &url, case.language, &code)?)),
                Turn::Same | Turn::Fresh(_) => None,
            };
            let times = spawn(directory.path(), case, &code)?;
            if n < WARM_UP {
                continue;
            }
            first.add(through, times.iter().sum());
            if let Some((Again { against_last, .. }, through)) = again {
                second.add(through, if *against_last { times[times.len() - 1] } else { times.iter().sum() });
            }
        }
        results.push(first.report(case.name, case.target));
        if let Turn::FreshAndAgain(_, again) = &case.turn {
            results.push(second.report(again.name, again.target));
        }
    }
    for case in CASES.iter().filter(wanted) {
        if let Some(target) = case.crowd.burst {
            for within in crowd::WITHIN {
                results.push(crowd::burst(&client, &url, case, within, target)?);
            }
        }
        if let Some(target) = case.crowd.throughput {
            results.push(crowd::throughput(&url, case, target)?);
        }
    }
    println!("{}", json!({"bench": "latency", "runs": count, "results": results}));
    Ok(())
}

fn source(case: &Case, n: usize) -> String {
    match case.turn {
        Turn::Same => case.code.to_owned(),
        Turn::Fresh(comment) | Turn::FreshAndAgain(comment, _) => {
            format!("{}{comment} {n} {}\n", case.code, std::process::id())
        }
    }
}

fn request(client: &reqwest::blocking::Client, url: &str, language: &str, code: &str) -> anyhow::Result<Duration> {
    let start = Instant::now();
    let response = client.post(format!("{url}/compile")).json(&json!({"language": language, "code": code})).send()?;
    let body: Value = response.json()?;
    let elapsed = start.elapsed();
    ensure!(body["stdout"] == "hello\n", "it went wrong: {body}");
    Ok(elapsed)
}

/// Waits until as much stands ready as should, which may take as long as a few JVMs need at a low weight.
fn wait_for_stock(client: &reqwest::blocking::Client, url: &str) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let health: Value = client.get(format!("{url}/health")).send()?.json()?;
        let (ready, target) = (health["pools"]["ready"].as_u64(), health["pools"]["target"].as_u64());
        if ready >= target {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "the pools do not fill: {health}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// How long each of the bare commands took.
fn spawn(directory: &Path, case: &Case, code: &str) -> anyhow::Result<Vec<Duration>> {
    std::fs::write(directory.join(case.file), code)?;
    let mut times = Vec::new();
    for argv in case.bare {
        let (output, elapsed) = bare::run(directory, argv, "")?;
        ensure!(output.status.success(), "{argv:?}: {output:?}");
        times.push(elapsed);
    }
    Ok(times)
}

/// What one line of the table is made of.
#[derive(Default)]
struct Row {
    ours: Vec<Duration>,
    theirs: Vec<Duration>,
}

impl Row {
    fn add(&mut self, ours: Duration, theirs: Duration) {
        self.ours.push(ours);
        self.theirs.push(theirs);
    }

    fn report(mut self, name: &str, target: f64) -> Value {
        self.ours.sort_unstable();
        self.theirs.sort_unstable();
        let ms = |values: &[Duration], percent: usize| {
            let index = (values.len() * percent).div_ceil(100).saturating_sub(1);
            values.get(index).map_or(0.0, |value| value.as_secs_f64() * 1000.0)
        };
        let [p50, p95, p99] = [50, 95, 99].map(|percent| ms(&self.ours, percent));
        let [bare50, bare95, bare99] = [50, 95, 99].map(|percent| ms(&self.theirs, percent));
        println!(
            "{name:<26} {p50:>6.1} ms {p95:>6.1} ms {p99:>6.1} ms   {bare50:>6.1} ms {bare95:>6.1} ms   \
             {:.2}, {:.2}; {target}",
            p50 / bare50,
            p95 / bare95
        );
        json!({
            "name": name, "p50": p50, "p95": p95, "p99": p99, "bareP50": bare50, "bareP95": bare95,
            "bareP99": bare99, "ratioP50": p50 / bare50, "ratioP95": p95 / bare95, "toReach": target,
        })
    }
}
