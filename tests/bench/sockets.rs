//! `make bench-sockets`: what an idle connection costs the daemon. Opens `COUNT` sockets (10,000) in `ROOMS` rooms
//! (1,000) with the official client and compares the daemon's resident memory before and after.
#![forbid(unsafe_code)]

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use anyhow::{Context as _, ensure};
use crankcase_tests::{Daemon, Options, host, node};
use serde_json::{Value, json};

fn main() -> anyhow::Result<()> {
    let number = |name: &str, default: u64| {
        std::env::var(name).ok().map_or(Ok(default), |text| text.parse()).with_context(|| format!("{name} is a number"))
    };
    let (count, rooms) = (number("COUNT", 10_000)?, number("ROOMS", 1_000)?);
    let daemon = Daemon::start(Options::new().set("rate-limit", "requests-per-second", "\"off\""));
    let before = host::resident(daemon.pid());
    let mut client = node::command(&[&daemon])
        .arg("idle.js")
        .env("COUNT", count.to_string())
        .env("ROOMS", rooms.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(client.stdout.take().context("its stdout")?).read_line(&mut line)?;
    let connected = serde_json::from_str::<Value>(&line).context("the client failed")?["connected"].as_u64();
    ensure!(connected == Some(count), "only {connected:?} of {count} are connected");
    let after = host::resident(daemon.pid());
    drop(client.stdin.take());
    client.wait()?;
    let each = after.saturating_sub(before) / count;
    println!("{count} idle sockets in {rooms} rooms: {before} bytes resident before, {after} after, {each} each");
    println!("{}", json!({"sockets": count, "rooms": rooms, "before": before, "after": after, "each": each}));
    Ok(())
}
