//! Many users at once: everybody gets their own result, and a crash in the middle loses none that was answered.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::Duration;

use crankcase_tests::{Daemon, Options, eventually, host, node};
use serde_json::Value;

use crate::alone;

fn daemon() -> Daemon {
    // Five users of one room wait for each other, twenty rooms wait for two cores.
    Daemon::start(Options::new().text("rooms", "lock-wait", "60s").set("rooms", "events-per-second", 1000))
}

#[test]
fn a_hundred_users_in_twenty_rooms_each_get_their_own_results() {
    let _alone = alone();
    let daemon = daemon();
    daemon.run("python", "print(1)").expect_success();
    let output = node::command(&[&daemon]).arg("load.js").output().expect("node is installed");
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().unwrap_or_default();
    let errors = String::from_utf8_lossy(&output.stderr);
    println!("{last}");
    assert!(output.status.success(), "{last}\n{errors}\n{}", tail(&daemon.log()));
    let summary: Value = serde_json::from_str(last).expect("a summary");
    let summary = &summary["summary"];
    assert_eq!((&summary["wrongs"], &summary["overlaps"]), (&0.into(), &0.into()), "{summary}");
    assert!(summary["answered"].as_u64().is_some_and(|answered| answered >= 200), "{summary}");
    assert_eq!(summary["refused"], serde_json::json!({}), "nobody waits that long here: {summary}");
    // Every answer is in the history, with its own token.
    let answered: Vec<Value> = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(|line: &Value| line["answered"].is_string())
        .collect();
    expect_recorded(&daemon, &answered);
}

#[test]
fn killed_in_the_middle_nothing_that_was_answered_is_lost() {
    let _alone = alone();
    let mut daemon = daemon();
    daemon.run("python", "print(1)").expect_success();
    let mut load = node::command(&[&daemon])
        .arg("load.js")
        .env("TOLERATE", "1")
        .env("SECONDS", "60")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("node is installed");
    let pipe = load.stdout.take().expect("it is piped");
    let (sender, lines) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    // In the middle is once many have been answered.
    let mut answered: Vec<Value> = Vec::new();
    while answered.len() < 150 {
        let line = lines.recv_timeout(Duration::from_secs(60)).expect("answers keep coming");
        answered.extend(serde_json::from_str(&line));
    }
    let below = host::descendants(daemon.pid());
    daemon.kill_everything();
    eventually(Duration::from_secs(20), || {
        let alive: Vec<_> = below.iter().filter(|pid| host::is_alive(**pid)).collect();
        if alive.is_empty() { Ok(()) } else { Err(format!("{alive:?} live on")) }
    });
    // What arrived before the connections broke was answered too.
    eventually(Duration::from_secs(30), || match load.try_wait() {
        Ok(Some(_)) => Ok(()),
        _ => Err("the clients still run"),
    });
    reader.join().expect("it ends with its pipe");
    answered.extend(lines.try_iter().filter_map(|line| serde_json::from_str(&line).ok()));
    answered.retain(|line| line["answered"].is_string());

    let daemon = daemon.start_again();
    expect_recorded(&daemon, &answered);
    let path = daemon.data().join("crankcase.db");
    let open = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let connection = rusqlite::Connection::open_with_flags(&path, open).expect("the database");
    let check: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("a check");
    assert_eq!(check, "ok");
    for room in rooms(&answered) {
        let list = daemon.get(&format!("/api/execution/history/room/{room}?limit=500")).expect_status(200);
        for entry in list.body["history"].as_array().expect("a list") {
            assert!(!["queued", "running"].contains(&entry["status"].as_str().unwrap_or_default()), "{entry}");
        }
        let room = daemon.get(&format!("/api/diagnostics/room/{room}")).expect_status(200);
        assert!(room.body.is_object(), "{}", room.text);
    }
    let live: i64 = connection
        .query_row("SELECT count(*) FROM executions WHERE status IN ('queued', 'running')", [], |row| row.get(0))
        .expect("a count");
    assert_eq!(live, 0);
}

fn rooms(answered: &[Value]) -> Vec<String> {
    let mut rooms: Vec<String> = answered.iter().filter_map(|line| line["room"].as_str().map(str::to_owned)).collect();
    rooms.sort_unstable();
    rooms.dedup();
    rooms
}

#[track_caller]
fn expect_recorded(daemon: &Daemon, answered: &[Value]) {
    assert!(!answered.is_empty());
    for line in answered {
        let id = line["answered"].as_str().expect("an id");
        let record = daemon.get(&format!("/api/execution/history/execution/{id}"));
        assert_eq!(record.status, 200, "{id} was answered and is not recorded: {}", record.text);
        assert_eq!(
            (record.str("/execution/roomId"), record.str("/execution/userId")),
            (line["room"].as_str().unwrap_or_default(), line["user"].as_str().unwrap_or_default(),)
        );
        assert!(record.str("/execution/output").contains(line["token"].as_str().unwrap_or("?")), "{}", record.text);
    }
}

fn tail(text: &str) -> &str {
    let start = text.len().saturating_sub(8000);
    text.get(start..).unwrap_or(text)
}
