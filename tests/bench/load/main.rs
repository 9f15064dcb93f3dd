//! `make bench-load`: many users at once, floods, overload, memory hogs and a soak against a daemon of its own, and the
//! same load against peers that speak Piston's interface.
//!
//! ```text
//! bench-load [--scenario NAME]... [--short] [--peer NAME=URL]... [--out FILE] [--list]
//! ```
//!
//! Prints a table and one line of JSON, and writes the JSON to FILE (`target/bench-load.json` by default). A claim that is
//! missed is marked; it fails nobody. `SOAK=10m` or `SOAK=1h` sets how long the soak takes.
#![forbid(unsafe_code)]

mod hogs;
mod overload;
mod report;
mod rooms;
mod soak;
mod users;
mod weight;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use crankcase_tests::load::soak::time_asked as soak_time;
use crankcase_tests::load::{Api, Target};
use crankcase_tests::{Daemon, Options};
use report::Report;

/// A scenario: its name, what it shows, and what to do.
type Scenario = (&'static str, &'static str, fn(&Bench, &mut Report));

const SCENARIOS: &[Scenario] = &[
    ("users", "3, 5, 10, 50 and 100 users press Run at once, each in an own room, 20 times", users::users),
    ("steady", "open loop: requests at an even rate, up to what the machine can do", users::steady),
    ("one-room", "100 users press Run at once in one room", rooms::one_room),
    ("flood", "one room sends 500 requests beside ten calm rooms", rooms::flood),
    ("overload", "1,000 requests of 300 ms of CPU at once, against the goodput at 4 at once", overload::overload),
    ("hogs", "40 programs that each take their whole memory", hogs::hogs),
    ("weight", "ten sandboxes that compute, beside a host that does too", weight::weight),
    ("soak", "mixed load with one in twenty hostile: 10 minutes, or SOAK=1h", soak::soak),
];

/// What was asked for.
pub struct Bench {
    /// Fewer rounds, shorter loads.
    pub short: bool,
    /// Other services that get the same load, where it means something to them.
    pub peers: Vec<Target>,
    /// How long the soak takes.
    pub soak: Duration,
}

impl Bench {
    /// A daemon as it is shipped, and how to reach it.
    fn daemon(&self, options: Options) -> (Daemon, Target) {
        let daemon = Daemon::start(options);
        let target = Target::new("crankcase", &daemon.url(""), Api::Crankcase);
        (daemon, target)
    }

    /// `long`, or `short` where that was asked for.
    fn pick<T>(&self, long: T, short: T) -> T {
        if self.short { short } else { long }
    }
}

fn main() -> anyhow::Result<()> {
    // Clients are elsewhere in real life. Here they share the cores, and must not be what is waited for: more weight for
    // the session that this runs in, of which the daemon is no part once it is weighed with its spawner.
    let _ = std::fs::write("/proc/self/autogroup", "-15");
    let mut chosen: Vec<&Scenario> = Vec::new();
    let mut bench = Bench { short: false, peers: Vec::new(), soak: Duration::from_secs(600) };
    let mut out = PathBuf::from("target/bench-load.json");
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().with_context(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--scenario" => {
                let name = value()?;
                let found = SCENARIOS.iter().find(|(known, ..)| *known == name);
                chosen.push(found.with_context(|| format!("no scenario {name}; --list shows them"))?);
            }
            "--short" => bench.short = true,
            "--peer" => {
                let peer = value()?;
                let (name, url) = peer.split_once('=').context("--peer NAME=URL")?;
                bench.peers.push(Target::new(name, url, Api::Piston));
            }
            "--out" => out = value()?.into(),
            "--list" => {
                SCENARIOS.iter().for_each(|(name, what, _)| println!("{name:<10} {what}"));
                return Ok(());
            }
            other => bail!("unknown argument {other}; --list shows the scenarios"),
        }
    }
    bench.soak = soak_time(bench.pick(Duration::from_secs(600), Duration::from_secs(60)));
    if chosen.is_empty() {
        chosen = SCENARIOS.iter().collect();
    }
    let mut report = Report::new(bench.short);
    for (name, what, run) in chosen {
        report.begin(name, what);
        run(&bench, &mut report);
    }
    let json = report.json().to_string();
    println!("{json}");
    if let Some(parent) = out.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(&out, format!("{json}\n")).with_context(|| format!("writing {}", out.display()))
}
