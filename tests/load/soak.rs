//! Mixed load with one in twenty hostile, for ten minutes; `SOAK=90s` or `SOAK=1h` sets another time, for this test and
//! for the bench.

use std::time::Duration;

use crankcase_tests::load::soak::{soak, time_asked};
use crankcase_tests::{Daemon, Options};

use crate::alone;

const MIB: f64 = 1024.0 * 1024.0;

#[test]
fn nothing_grows_and_nobody_suffers() {
    let _alone = alone();
    let time = time_asked(Duration::from_secs(600));
    let options = Options::as_shipped()
        .without_pools()
        .text("rooms", "lock-wait", "60s")
        .text("admission", "queue-wait", "120s")
        .text("rate-limit", "requests-per-second", "off");
    let daemon = Daemon::start(options);
    let soaked = soak(&daemon, time);
    let (benign, hostile) = (&soaked.benign, &soaked.hostile);
    println!("{} benign, {} hostile", benign.sent, hostile.sent);
    assert!(benign.sent >= 50 && hostile.sent >= 2, "{} and {}", benign.sent, hostile.sent);
    assert_eq!(benign.right, benign.sent, "{:?} {:?}", benign.refused, benign.wrong);
    assert_eq!(hostile.right, hostile.sent, "{:?} {:?}", hostile.refused, hostile.wrong);
    let (early, late) = soaked.growth(|level| level.resident as f64 / MIB);
    println!("resident {early:.1} then {late:.1} MiB; at rest {:?}", soaked.resident);
    assert!(late <= early * 1.1 + 6.0, "resident memory grows: {early:.1} then {late:.1} MiB, {:?}", soaked.levels);
    let (early, late) = soaked.growth(|level| level.threads as f64);
    assert!(late <= early + 8.0, "threads grow: {early} then {late}");
    let (early, late) = soaked.growth(|level| level.descriptors as f64);
    assert!(late <= early + 16.0, "descriptors grow: {early} then {late}");
    let (before, after) = &soaked.rest;
    assert!(after.is_within(before), "{before:?} then {after:?}");
}
