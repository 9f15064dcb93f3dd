//! Keeps a spawner alive for a daemon that has given up the privilege to start one.
//!
//! Under systemd this is systemd's work; here it is for `crankcase serve` started by hand. The supervisor does nothing
//! but start, wait and start again; it ends when the daemon does (its lifeline) or on a termination signal.

use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;

use crankcase_sandbox::sys;

use crate::cgroup;

/// The daemon passes the reading end's counterpart here: as stdout.
const LIFELINE_FD: i32 = 1;
/// A spawner that lived this long is started again at once.
const STABLE: Duration = Duration::from_secs(10);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// How long an orderly end may take before the spawner is killed.
const END_DEADLINE: Duration = Duration::from_secs(8);

/// Supervises; in the end the directory `remove`, with the spawner's socket, is gone, and so are the cgroups below
/// `cgroup_base` that the spawner and its daemon were in, if nobody else is.
pub fn supervise(remove: Option<&Path>, cgroup_base: Option<&str>) -> Result<(), String> {
    let result = keep_alive();
    cgroup::remove_rest(cgroup_base);
    if let Some(directory) = remove {
        // What is in it was made by root before anybody else had a part in it; links are not followed.
        let _ = std::fs::remove_dir_all(directory);
    }
    result
}

fn keep_alive() -> Result<(), String> {
    let text = |errno: nix::errno::Errno| errno.to_string();
    let lifeline = sys::inherited_fd(LIFELINE_FD).map_err(text)?;
    let mut wanted = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGCHLD] {
        wanted.add(signal);
    }
    wanted.thread_block().map_err(text)?;
    let signals = SignalFd::with_flags(&wanted, SfdFlags::SFD_CLOEXEC).map_err(text)?;
    let mut backoff = Duration::from_millis(50);
    loop {
        let started = Instant::now();
        let mut child = start()?;
        if wait(&mut child, &lifeline, &signals)? {
            return end(child);
        }
        eprintln!("crankcase-spawner: the spawner died and is started again");
        backoff = if started.elapsed() > STABLE { Duration::from_millis(50) } else { (backoff * 2).min(BACKOFF_MAX) };
        std::thread::sleep(backoff);
    }
}

fn start() -> Result<Child, String> {
    let own = std::fs::read_link("/proc/self/exe").map_err(|error| format!("finding the own binary: {error}"))?;
    let arguments = std::env::args_os().skip(1).filter(|argument| argument != "--supervise");
    Command::new(own)
        .args(["--lifeline-fd", "1"])
        .args(arguments)
        .spawn()
        .map_err(|error| format!("starting the spawner: {error}"))
}

/// True when it is time to end, false when the spawner died.
fn wait(child: &mut Child, lifeline: &impl std::os::fd::AsFd, signals: &SignalFd) -> Result<bool, String> {
    loop {
        let mut fds =
            [PollFd::new(lifeline.as_fd(), PollFlags::empty()), PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => continue,
            other => other.map_err(|errno| errno.to_string())?,
        };
        if fds[0].any().unwrap_or(true) {
            return Ok(true);
        }
        if fds[1].any().unwrap_or(false) {
            let signal = signals.read_signal().ok().flatten().map(|info| info.ssi_signo);
            if signal.is_some_and(|number| number != Signal::SIGCHLD as u32) {
                return Ok(true);
            }
        }
        if child.try_wait().map_err(|error| error.to_string())?.is_some() {
            return Ok(false);
        }
    }
}

fn end(mut child: Child) -> Result<(), String> {
    let pid = Pid::from_raw(i32::try_from(child.id()).map_err(|e| e.to_string())?);
    let _ = kill(pid, Signal::SIGTERM);
    let deadline = Instant::now() + END_DEADLINE;
    while child.try_wait().map_err(|error| error.to_string())?.is_none() {
        if Instant::now() > deadline {
            let _ = child.kill();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
