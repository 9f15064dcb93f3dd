//! Hundreds of warm runs, and templates that are replaced on the way, leave the host's countable things where they were.

use crankcase_tests::host;

use super::{daemon, filled, python, warm_hits};

#[test]
fn five_hundred_warm_runs_leave_nothing() {
    let daemon = daemon(python(4).set("warm", "template-runs", 100).set("warm", "prepared", 2));
    // As many, and as many at once, as it takes for what serves one sandbox after another (network namespaces, cgroups) to
    // stand.
    std::thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| daemon.run("python", "print(1)").expect_success());
        }
    });
    filled(&daemon);
    let (before, hits) = (host::Snapshot::take(&daemon), warm_hits(&daemon, "python"));
    for n in 0..500 {
        let code = match n % 4 {
            0 => "import os\nif os.fork() == 0:\n    import time; time.sleep(60)",
            1 => "import sys; sys.exit(3)",
            2 => "import os; os.kill(os.getpid(), 11)",
            _ => "open('/tmp/x', 'w').write('x')",
        };
        daemon.run("python", code).expect_success();
    }
    assert_eq!(warm_hits(&daemon, "python") - hits, 500);
    filled(&daemon);
    host::expect_back_to(&daemon, &before);
}
