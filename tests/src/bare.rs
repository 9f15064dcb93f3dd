//! The same programs without a sandbox: spawn, capture, wait. The measure of the benchmarks.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Runs a command in a directory with an environment like the sandbox's, and times it.
///
/// # Errors
/// When it cannot be started.
pub fn run(directory: &Path, argv: &[&str], stdin: &str) -> std::io::Result<(Output, Duration)> {
    let start = Instant::now();
    let (program, arguments) = argv.split_first().ok_or_else(|| std::io::Error::other("no command"))?;
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("HOME", "/tmp")
        .env("LANG", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut pipe) = child.stdin.take() {
        let _ = pipe.write_all(stdin.as_bytes());
    }
    let output = child.wait_with_output()?;
    Ok((output, start.elapsed()))
}
