//! The suites that attack the sandbox, start programs ahead of need and hit limits, run in the machine by root, on cgroup
//! v2 and Debian's kernel, against daemons that they start themselves from the package's programs.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crankcase_tests::vm::{Guest, figures};

use crate::installed::{Installed, share};

/// All of a suite, under emulation on a busy host.
const SUITE: Duration = Duration::from_secs(3000);

/// The executable of a suite, as `make test-vm` built it.
fn executable(suite: &str) -> PathBuf {
    let all = std::env::var("CRANKCASE_SUITES").expect("CRANKCASE_SUITES lists the suites: run this with make");
    let prefix = format!("{suite}-");
    let found = all
        .split_whitespace()
        .map(PathBuf::from)
        .find(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(&prefix)));
    found.unwrap_or_else(|| panic!("{suite} is not in CRANKCASE_SUITES={all}"))
}

/// Runs the tests of a suite whose names hold one of `filters`; without one all.
fn run(suite: &str, filters: &[&str]) {
    let share = share();
    let status = std::process::Command::new("strip")
        .arg("-o")
        .arg(share.path().join(suite))
        .arg(executable(suite))
        .status()
        .expect("strip is installed");
    assert!(status.success());
    let mut host = Installed::on(Guest::resume(Some(share.path())));
    host.guest.ok("systemctl stop crankcase crankcase-spawner.socket crankcase-spawner");
    // Where sandboxes do not see them, as a test wants it: the package's own place is in /usr, which they see.
    host.guest.ok("cp -r \"$(dirname \"$(realpath /usr/bin/crankcase)\")\" /srv/crankcase");
    let slowness = host.guest.slowness();
    let start = Instant::now();
    let output = host.guest.run_within(
        SUITE,
        // On the console too: how far it came is all that is known of a suite that hangs.
        &format!(
            "cd /tmp; export CI=true CRANKCASE_BIN_DIR=/srv/crankcase CRANKCASE_TEST_SLOWNESS={slowness:.1}
             set -o pipefail; /share/{suite} --test-threads=2 {} 2>&1 | tee /dev/ttyS0",
            filters.join(" ")
        ),
    );
    let result = output.stdout.lines().rfind(|line| line.starts_with("test result:")).unwrap_or("no result");
    let seconds = start.elapsed().as_secs();
    figures::note(&format!("suite {suite} on cgroup v2"), format!("{result} ({seconds} s)"));
    assert_eq!(output.status, 0, "{suite}:\n{}", output.stdout);
    assert!(!result.contains(" 0 passed"), "{suite} ran nothing:\n{}", output.stdout);
}

#[test]
#[ignore = "full form: make test-vm"]
fn security() {
    run("security", &[]);
}

#[test]
#[ignore = "full form: make test-vm"]
fn pools() {
    run("pools", &[]);
}

#[test]
#[ignore = "full form: make test-vm"]
fn limits() {
    run("contract", &["limits::"]);
}

#[test]
#[ignore = "full form: make test-vm"]
fn lifecycle() {
    run("lifecycle", &[]);
}
