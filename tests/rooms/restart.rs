//! A room survives its daemon: code, language, numbers and counts are there again.

use std::process::Output;
use std::time::Duration;

use crankcase_tests::{Daemon, Options, eventually, node, unique};
use nix::sys::signal::Signal;

/// Runs a script on a daemon and gives what it printed.
fn script(daemon: &Daemon, code: &str, room: &str) -> String {
    let mut command = node::command(&[daemon]);
    let Output { status, stdout, stderr } =
        command.args(["--input-type=module", "-e", code]).env("ROOM", room).output().expect("node is installed");
    assert!(status.success(), "{}\n{}", String::from_utf8_lossy(&stderr), daemon.log());
    String::from_utf8_lossy(&stdout).into_owned()
}

const CHANGE: &str = "
import { join } from './lib.js';
const room = process.env.ROOM;
const alice = await join('websocket', room, 'alice');
const bob = await join('websocket', room, 'bob');
for (let n = 0; n < 5; n++) alice.emit('code-change', { roomId: room, code: 'version ' + n });
alice.emit('language-change', { roomId: room, language: 'ruby' });
alice.emit('execute-code', { roomId: room, code: 'print(1)', language: 'python' });
await bob.wait('execution-result');
console.log((await bob.settled(room)).sequence);
process.exit(0);
";

const READ: &str = "
import { join } from './lib.js';
const alice = await join('websocket', process.env.ROOM, 'alice');
const { code, language, sequence, nextExpectedSequence, executionState } = alice.state;
console.log([code, language, sequence, nextExpectedSequence, executionState.executionCount, executionState.isExecuting].join('|'));
process.exit(0);
";

#[test]
fn after_a_shutdown_everything_is_as_it_was() {
    let mut daemon = Daemon::start(Options::new());
    let room = unique("room-");
    let sequence: u64 = script(&daemon, CHANGE, &room).trim().parse().expect("a number");
    daemon.terminate();
    let daemon = daemon.start_again();
    let state = script(&daemon, READ, &room);
    assert_eq!(state.trim(), format!("version 4|ruby|{sequence}|{}|1|false", sequence + 1));
}

#[test]
fn after_a_crash_the_code_is_at_most_two_seconds_old() {
    let mut daemon = Daemon::start(Options::new());
    let room = unique("room-");
    let sequence: u64 = script(&daemon, CHANGE, &room).trim().parse().expect("a number");
    // It has two seconds from the last change; a busy machine gets a few more.
    let path = daemon.data().join("crankcase.db");
    eventually(Duration::from_secs(6), || {
        let open = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
        let connection = rusqlite::Connection::open_with_flags(&path, open)?;
        let saved = "SELECT 1 FROM rooms WHERE room_id = ?1 AND code = 'version 4' AND language = 'ruby'";
        connection.query_row(saved, [&room], |_| Ok(()))
    });
    daemon.signal(Signal::SIGKILL);
    daemon.wait(Duration::from_secs(20));
    let daemon = daemon.start_again();
    let state = script(&daemon, READ, &room);
    let fields: Vec<&str> = state.trim().split('|').collect();
    assert_eq!(fields[..2], ["version 4", "ruby"]);
    let restored: u64 = fields[2].parse().expect("a number");
    assert!(restored >= sequence, "a number is never given twice: {restored} after {sequence}");
}
