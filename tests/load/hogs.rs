//! Programs that take all the memory they may, many more than fit.

use std::time::Duration;

use crankcase_tests::load::generate::burst;
use crankcase_tests::load::watch::Watch;
use crankcase_tests::load::{Api, Job, Program, Stats, Target, runtime, warm_up};
use crankcase_tests::{Daemon, Options, host, unique};

use crate::alone;

#[test]
fn forty_memory_hogs_hurt_only_themselves() {
    let _alone = alone();
    // Room for three at once and something small.
    let options = Options::as_shipped().without_pools().text("admission", "memory", "800MiB").text(
        "admission",
        "queue-wait",
        "120s",
    );
    let daemon = Daemon::start(options);
    let target = Target::new("crankcase", &daemon.url(""), Api::Crankcase);
    warm_up(&daemon);
    let before = host::settled(&daemon);
    let privileged = daemon.privileged();
    let watch = Watch::start(&daemon);
    let runtime = runtime();
    let hogs = (0..40).map(|n| Job { program: Program::memory_hog(), room: None, user: format!("hog-{n}") });
    let prefix = unique("calm-");
    let calm = (0..10).map(|n| Job {
        program: Program::hello(&format!("{prefix}-{n}")),
        room: Some(format!("{prefix}-{n}")),
        user: format!("calm-{n}"),
    });
    let (hogs, calm) =
        runtime.block_on(async { tokio::join!(burst(&target, hogs.collect()), burst(&target, calm.collect())) });
    let (hogs, calm) = (Stats::of(&hogs), Stats::of(&calm));
    assert_eq!((hogs.right, calm.right), (40, 10), "{:?} {:?}", hogs.wrong, calm.wrong);
    assert_eq!(daemon.privileged(), privileged, "the spawner lives");
    let health = watch.seen().health.last().copied().unwrap_or_default();
    assert!(health < Duration::from_secs(10), "/health stays there: {health:?}");
    // Each hog was ended by its own limit and none by its neighbour's hunger.
    let metrics = daemon.get("/metrics").text;
    assert!(metrics.contains("crankcase_runs_total{language=\"python\",outcome=\"memory_limit\"} 40\n"), "{metrics}");
    let peak = peak_of_all(&daemon);
    assert!(peak <= 800 << 20, "all sandboxes together held {peak} bytes");
    drop((runtime, target));
    host::expect_back_to(&daemon, &before);
}

/// The most that the cgroup above all sandboxes ever held, on v1 or v2; 0 where nothing tells.
fn peak_of_all(daemon: &Daemon) -> u64 {
    let of = |directory: &std::path::Path| {
        let read = |name| std::fs::read_to_string(directory.join(name)).ok()?.trim().parse::<u64>().ok();
        read("memory.max_usage_in_bytes").or_else(|| read("memory.peak"))
    };
    host::cgroups(daemon.cgroup()).iter().filter_map(|directory| of(directory)).max().unwrap_or(0)
}
