//! Far more than the machine can do: answers or clean refusals, and nothing else.

use std::collections::BTreeSet;
use std::time::Duration;

use crankcase_tests::load::generate::burst;
use crankcase_tests::load::watch::{Watch, metric};
use crankcase_tests::load::{Api, Job, Outcome, Program, Stats, Target, WARM_UP, runtime, warm_up};
use crankcase_tests::{Daemon, Options, host, unique};

use crate::alone;

#[test]
fn a_thousand_at_once_are_answered_or_refused_cleanly() {
    let _alone = alone();
    let options = Options::as_shipped().without_pools().set("admission", "queue-length", 100).text(
        "admission",
        "queue-wait",
        "8s",
    );
    let daemon = Daemon::start(options);
    let target = Target::new("crankcase", &daemon.url(""), Api::Crankcase);
    warm_up(&daemon);
    let before = host::settled(&daemon);
    let watch = Watch::start(&daemon);
    let runtime = runtime();
    let prefix = unique("over-");
    let jobs = (0..1000).map(|n| {
        let token = format!("{prefix}-{n}");
        // A third each: in a room of their own, outside of rooms, ten in a room.
        let room = match n % 3 {
            0 => Some(token.clone()),
            1 => None,
            _ => Some(format!("{prefix}-shared-{}", n / 30)),
        };
        Job { program: Program::busy(&token, 300), room, user: token }
    });
    let samples = runtime.block_on(burst(&target, jobs.collect()));
    let stats = Stats::of(&samples);
    assert_eq!(stats.wrongs, 0, "{:?}", stats.wrong);
    assert!(stats.right >= 10, "{} of 1000 were served", stats.right);
    let codes: BTreeSet<&str> = stats.refused.keys().map(String::as_str).collect();
    assert!(codes.contains("OVERLOADED"), "{codes:?}");
    assert!(codes.iter().all(|code| ["OVERLOADED", "ROOM_BUSY", "RATE_LIMIT_EXCEEDED"].contains(code)), "{codes:?}");
    for sample in &samples {
        if let Outcome::Refused { retry_after, .. } = &sample.outcome {
            assert!((1..=60).contains(retry_after), "{retry_after}");
        }
    }
    let seen = watch.seen();
    let health = seen.health.last().copied().unwrap_or_default();
    assert!(health < Duration::from_secs(10), "/health stays there: {health:?}");
    // Counted as what they were.
    let metrics = daemon.get("/metrics").text;
    let refused = metric(&metrics, "crankcase_refusals_total");
    assert_eq!(refused, stats.refusals() as f64, "{metrics}");
    assert!(metrics.contains("reason=\"queue_full\""), "{metrics}");
    assert_eq!(metric(&metrics, "crankcase_runs_total"), stats.right as f64 + f64::from(WARM_UP), "{metrics}");
    drop((runtime, target));
    host::expect_back_to(&daemon, &before);
    daemon.run("python", "print(1)").expect_success();
}
