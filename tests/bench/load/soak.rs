//! Mixed load for a long time.

use crankcase_tests::Options;
use crankcase_tests::load::soak;

use crate::{Bench, Report};

const MIB: f64 = 1024.0 * 1024.0;

pub fn soak(bench: &Bench, report: &mut Report) {
    let (daemon, own) = bench.daemon(Options::as_shipped().text("rooms", "lock-wait", "60s"));
    let soaked = soak::soak(&daemon, bench.soak);
    report.row(&own.name, "programs that behave", &soaked.benign);
    report.row(&own.name, "hostile ones", &soaked.hostile);
    let failed = soaked.benign.sent - soaked.benign.right;
    report.claim("benign runs that failed", failed as f64, "0", failed == 0);
    report.claim(
        "hostile runs that failed otherwise than by a limit",
        soaked.hostile.wrongs as f64,
        "0",
        soaked.hostile.wrongs == 0,
    );
    let (early, late) = soaked.growth(|level| level.resident as f64 / MIB);
    report.note("resident in the second quarter, MiB", early);
    report.claim("resident in the last quarter, MiB", late, "at most 10 % and 4 MiB more", late <= early * 1.1 + 4.0);
    for (what, of) in [
        ("descriptors", (|level| level.descriptors as f64) as fn(&soak::Level) -> f64),
        ("threads", |level| level.threads as f64),
    ] {
        let (early, late) = soaked.growth(of);
        report.claim(&format!("{what}, last quarter less second"), late - early, "at most 10", late - early <= 10.0);
    }
    let (before, after) = &soaked.rest;
    report.claim("mounts left", after.mounts as f64 - before.mounts as f64, "0", after.mounts <= before.mounts);
    report.claim("cgroups left", after.cgroups as f64 - before.cgroups as f64, "0", after.cgroups <= before.cgroups);
    report.note("resident at rest before, MiB", soaked.resident.0 as f64 / MIB);
    report.note("resident at rest after, MiB", soaked.resident.1 as f64 / MIB);
}
