//! `make bench`: a program through `POST /compile` against the same program spawned bare, interleaved, as ratios.
//!
//! Absolute times move with the machine's load; the ratio of two medians that were measured turn by turn in the
//! same minutes holds. `N=500 bench-latency` sets the number of runs of each (200 by default). Prints a table and
//! one line of JSON. With `CRANKCASE_BENCH_URL` it measures a daemon that is already there.
#![forbid(unsafe_code)]

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use crankcase_tests::{Daemon, Options, bare};
use serde_json::{Value, json};

struct Case {
    name: &'static str,
    language: &'static str,
    file: &'static str,
    code: &'static str,
    /// What the bare measure does, one command after the other.
    bare: &'static [&'static [&'static str]],
    /// Whether each run gets a program of its own, so that no artefact is there already.
    fresh: bool,
}

const C: &str = "#include <stdio.h>\nint main(void) { puts(\"hello\"); return 0; }\n";
const CASES: &[Case] = &[
    Case {
        name: "python",
        language: "python",
        file: "main.py",
        code: "print('hello')\n",
        bare: &[&["/usr/bin/python3", "main.py"]],
        fresh: false,
    },
    Case {
        name: "node",
        language: "javascript",
        file: "main.js",
        code: "console.log('hello')\n",
        bare: &[&["/usr/bin/node", "main.js"]],
        fresh: false,
    },
    Case {
        name: "c, compile + run",
        language: "c",
        file: "main.c",
        code: C,
        bare: &[&["/usr/bin/gcc", "-O2", "-o", "main", "main.c"], &["./main"]],
        fresh: true,
    },
    Case { name: "c, same source again", language: "c", file: "main.c", code: C, bare: &[&["./main"]], fresh: false },
];

fn main() -> anyhow::Result<()> {
    let count: usize = std::env::var("N").ok().map_or(Ok(200), |text| text.parse()).context("N is a number")?;
    let daemon;
    let url = if let Ok(url) = std::env::var("CRANKCASE_BENCH_URL") {
        url
    } else {
        daemon = Daemon::start(Options::new());
        daemon.url("")
    };
    let client = reqwest::blocking::Client::builder().timeout(Duration::from_secs(60)).build()?;
    let directory = tempfile::tempdir()?;
    let mut results = Vec::new();
    println!(
        "{:<22} {:>9} {:>9} {:>9}   {:>9} {:>9}   ratio of p50, p95",
        "", "p50", "p95", "p99", "bare p50", "bare p95"
    );
    for case in CASES {
        let (mut ours, mut theirs) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for n in 0..count + 10 {
            let code = if case.fresh {
                format!("{}/* {n} {} */\n", case.code, std::process::id())
            } else {
                case.code.to_owned()
            };
            let through = request(&client, &url, case.language, &code)?;
            let bare = spawn(directory.path(), case, &code)?;
            // The first ten warm caches on both sides.
            if n >= 10 {
                ours.push(through);
                theirs.push(bare);
            }
        }
        results.push(report(case.name, &mut ours, &mut theirs));
    }
    println!("{}", json!({"bench": "latency", "runs": count, "results": results}));
    Ok(())
}

fn request(client: &reqwest::blocking::Client, url: &str, language: &str, code: &str) -> anyhow::Result<Duration> {
    let start = Instant::now();
    let response = client.post(format!("{url}/compile")).json(&json!({"language": language, "code": code})).send()?;
    let body: Value = response.json()?;
    let elapsed = start.elapsed();
    ensure!(body["stdout"] == "hello\n", "it went wrong: {body}");
    Ok(elapsed)
}

fn spawn(directory: &Path, case: &Case, code: &str) -> anyhow::Result<Duration> {
    std::fs::write(directory.join(case.file), code)?;
    let mut total = Duration::ZERO;
    for argv in case.bare {
        let (output, elapsed) = bare::run(directory, argv, "")?;
        ensure!(output.status.success(), "{argv:?}: {output:?}");
        total += elapsed;
    }
    Ok(total)
}

fn report(name: &str, ours: &mut [Duration], theirs: &mut [Duration]) -> Value {
    ours.sort_unstable();
    theirs.sort_unstable();
    let ms = |values: &[Duration], percent: usize| {
        let index = (values.len() * percent).div_ceil(100).saturating_sub(1);
        values.get(index).map_or(0.0, |value| value.as_secs_f64() * 1000.0)
    };
    let [p50, p95, p99] = [50, 95, 99].map(|percent| ms(ours, percent));
    let [bare50, bare95, bare99] = [50, 95, 99].map(|percent| ms(theirs, percent));
    println!(
        "{name:<22} {p50:>6.1} ms {p95:>6.1} ms {p99:>6.1} ms   {bare50:>6.1} ms {bare95:>6.1} ms   {:.2}, {:.2}",
        p50 / bare50,
        p95 / bare95
    );
    json!({
        "name": name, "p50": p50, "p95": p95, "p99": p99, "bareP50": bare50, "bareP95": bare95, "bareP99": bare99,
        "ratioP50": p50 / bare50, "ratioP95": p95 / bare95,
    })
}
