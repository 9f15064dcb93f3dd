//! What stands ready ahead of need, from outside: that it is used, used once, and missed by nobody when it is gone.
#![forbid(unsafe_code)]

mod failures;
mod indistinguishable;
mod leaks;
mod limits;
mod networks;
mod paths;
mod single_use;

use std::time::Duration;

use crankcase_tests::{Daemon, Options, eventually};

/// A daemon with nothing ready but what `options` ask for, once that stands.
fn daemon(options: Options) -> Daemon {
    let daemon = Daemon::start(options);
    filled(&daemon);
    daemon
}

/// Pools of python alone, filled by forks.
fn python(size: u32) -> Options {
    Options::new().set("warm", "python", size)
}

/// Waits until as much stands ready as should.
#[track_caller]
fn filled(daemon: &Daemon) {
    // What a run took shows once the keeper has settled, 10 ms later; a short run is answered before.
    std::thread::sleep(Duration::from_millis(50));
    eventually(Duration::from_secs(60), || {
        let text = daemon.get("/metrics").text;
        let levels = |name: &str| {
            let mut found: Vec<String> = text.lines().filter_map(|l| l.strip_prefix(name)).map(str::to_owned).collect();
            found.sort();
            found
        };
        let (ready, target) = (levels("crankcase_pool_ready"), levels("crankcase_pool_target"));
        if ready == target && !ready.is_empty() { Ok(()) } else { Err(format!("{ready:?} of {target:?}")) }
    });
}

/// A counter or a level of the pools; 0 when it was never counted.
fn pool(daemon: &Daemon, name: &str, language: &str, kind: &str) -> u64 {
    let text = daemon.get("/metrics").text;
    let wanted = format!("crankcase_pool_{name}{{language=\"{language}\",kind=\"{kind}\"}} ");
    let value = text.lines().find_map(|line| line.strip_prefix(&wanted));
    value.map_or(0, |value| value.parse().expect("a whole number"))
}

/// Whether this machine, emulated by another, is too slow for interpreters that take long to start: what does not come to
/// its gate in time is started plainly, and what hits are counted says nothing.
fn too_slow_to_count() -> bool {
    crankcase_tests::slowness() > 3.0
}

/// Runs that took a process that was started ahead of need, from the stock or as a fork of its own.
fn warm_hits(daemon: &Daemon, language: &str) -> u64 {
    pool(daemon, "hits_total", language, "warm") + pool(daemon, "hits_total", language, "fork")
}
