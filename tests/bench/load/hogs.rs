//! Programs that take all the memory they may.

use std::process::{Command, Stdio};

use crankcase_tests::load::generate::burst;
use crankcase_tests::load::stats::percentile;
use crankcase_tests::load::watch::{self, Watch};
use crankcase_tests::load::{Job, Program, Stats, runtime, warm_up};
use crankcase_tests::{Options, host, unique};

use crate::{Bench, Report};

const MIB: u64 = 1024 * 1024;
/// What the host must keep, in the variant that comes near it.
const ROOM: u64 = 1200 * MIB;

pub fn hogs(bench: &Bench, report: &mut Report) {
    let count = bench.pick(40, 16);
    // Once with a budget for four of them, once with all the budget there is but a reserve that leaves the host
    // little to give: then it is the look at the host that holds them back.
    let reserve = watch::available().saturating_sub(ROOM);
    let variants = [
        ("a budget of 1 GiB", Options::as_shipped().text("admission", "memory", "1GiB"), 256 * MIB),
        (
            "a reserve near what is free",
            Options::as_shipped().text("sandbox", "memory-reserve", &format!("{}KiB", reserve / 1024)),
            reserve,
        ),
    ];
    for (label, options, reserve) in variants {
        let (daemon, own) = bench.daemon(options.text("admission", "queue-wait", "2m"));
        warm_up(&daemon);
        let canary = Canary::start();
        let before = host::settled(&daemon);
        let privileged = daemon.privileged();
        let watch = Watch::start(&daemon);
        let runtime = runtime();
        let jobs = (0..count).map(|n| Job {
            program: Program::memory_hog(),
            room: None,
            user: format!("{}-{n}", unique("hog-")),
        });
        let stats = Stats::of(&runtime.block_on(burst(&own, jobs.collect())));
        let seen = watch.seen();
        report.row(&own.name, &format!("{count} hogs, {label}"), &stats);
        report.claim("not ended by their own limit", stats.wrongs as f64, "0", stats.right == count);
        let spare = (seen.available_min as f64 - reserve as f64) / MIB as f64;
        report.claim("least memory available above the reserve, MiB", spare, "at least 0", spare >= 0.0);
        let killed = usize::from(!canary.lives()) + usize::from(daemon.privileged() != privileged);
        report.claim("processes outside the sandboxes killed", killed as f64, "0", killed == 0);
        let health = percentile(&seen.health, 100.0);
        report.claim("GET /health, slowest, ms", health, "below 100", health < 100.0);
        drop((runtime, own));
        host::expect_back_to(&daemon, &before);
    }
}

/// A process that the kernel would rather kill than any other.
struct Canary(std::process::Child);

impl Canary {
    fn start() -> Self {
        let code = "open('/proc/self/oom_score_adj', 'w').write('1000')\nx = bytearray(b'x') * (64 << 20)\ninput()\n";
        let child = Command::new("python3").args(["-c", code]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
        Self(child.expect("python is installed"))
    }

    fn lives(&self) -> bool {
        host::is_alive(i32::try_from(self.0.id()).unwrap_or(0))
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
