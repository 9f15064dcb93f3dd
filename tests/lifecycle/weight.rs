//! The CPU weight that all sandboxes have together, and each has among them.

use std::path::Path;

use crankcase_tests::{Daemon, Options, eventually, host, unique};

/// What v1 and v2 call it: its file, and what the weights 400 and 100 are there.
const NAMES: [(&str, u64, u64); 2] = [("cpu.shares", 4096, 1024), ("cpu.weight", 400, 100)];

#[test]
fn all_sandboxes_together_weigh_four_times_a_host_cgroup_and_each_as_much_as_the_other() {
    let daemon = Daemon::start(Options::new());
    let tokens = [unique("token-"), unique("token-")];
    let read = |directory: &Path, file: &str| {
        std::fs::read_to_string(directory.join(file)).ok().and_then(|text| text.trim().parse::<u64>().ok())
    };
    std::thread::scope(|scope| {
        for token in &tokens {
            let daemon = &daemon;
            scope.spawn(move || {
                daemon.program("python", "import time; time.sleep(2)").args(&[token]).run().expect_success()
            });
        }
        for token in &tokens {
            let _ = host::wait_for_argument(token);
        }
        eventually(std::time::Duration::from_secs(10), || {
            // By depth: what stands beside the host's own cgroups, then the parent of the sandboxes, then each of them.
            let mut found: Vec<(usize, u64, u64, u64)> = Vec::new();
            for directory in host::cgroups(daemon.cgroup()) {
                for (file, heavy, plain) in NAMES {
                    if let Some(weight) = read(&directory, file) {
                        found.push((directory.components().count(), weight, heavy, plain));
                    }
                }
            }
            found.sort_unstable();
            let top = found.first().map_or(0, |first| first.0);
            let parents = found.iter().filter(|(depth, weight, heavy, _)| *depth == top && weight == heavy).count();
            let leaves = found.iter().filter(|(depth, weight, _, plain)| *depth > top + 1 && weight == plain).count();
            if parents == 1 && leaves >= 2 { Ok(()) } else { Err(found) }
        });
    });
}
