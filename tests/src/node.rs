//! The tests that are written in JavaScript, against the official `socket.io-client`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Daemon;
use crate::options::ADMIN_TOKEN;

/// Where the scripts lie.
#[must_use]
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}

/// A node process that gets the daemons' addresses.
#[must_use]
pub fn command(daemons: &[&Daemon]) -> Command {
    let urls: Vec<String> = daemons.iter().map(|daemon| daemon.url("")).collect();
    let mut command = Command::new("node");
    command
        .current_dir(directory())
        .env("CRANKCASE_URL", urls.first().map_or("", String::as_str))
        .env("CRANKCASE_URLS", urls.join(","))
        .env("CRANKCASE_ADMIN_TOKEN", ADMIN_TOKEN)
        .stdin(Stdio::null());
    command
}

/// Runs a file of `node:test` tests.
///
/// # Panics
/// When one of them fails, with all that was printed.
#[track_caller]
pub fn test(file: &str, daemons: &[&Daemon]) {
    assert!(
        directory().join("node_modules/socket.io-client").exists(),
        "tests/clients/node_modules is missing: run tests/setup first"
    );
    let output = command(daemons).args(["--test", "--test-reporter=spec", file]).output().expect("node is installed");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if !output.status.success() {
        let logs: Vec<String> = daemons.iter().map(|daemon| daemon.log()).collect();
        panic!("{file}:\n{text}\n--- the daemon's log\n{}", logs.join("\n"));
    }
    assert!(text.contains("ℹ pass") && !text.contains("ℹ pass 0"), "{file} ran nothing:\n{text}");
}
