//! One room, or one user, that floods: it gets its turns and no more, and calm rooms do not notice that they are beside it.

use std::sync::Arc;
use std::time::Duration;

use crankcase_tests::load::generate::{Until, burst, closed};
use crankcase_tests::load::{Api, Job, Program, Stats, Target, runtime};
use crankcase_tests::{Daemon, Options, unique};

use crate::alone;

#[test]
fn calm_rooms_are_served_while_others_flood() {
    let _alone = alone();
    let options = Options::as_shipped().set("admission", "queue-length", 50);
    let daemon = Daemon::start(options);
    let target = Target::new("crankcase", &daemon.url(""), Api::Crankcase);
    let runtime = runtime();
    let prefix = unique("calm-");
    for (kind, shared) in [("room", true), ("user", false)] {
        let flood = unique(kind);
        let storm = (0..400).map(|n| Job {
            program: Program::busy(&format!("{flood}-{n}"), 100),
            room: shared.then(|| flood.clone()),
            user: flood.clone(),
        });
        let calm = {
            let prefix = prefix.clone();
            Arc::new(move |user: usize, n: usize| {
                let (room, token) = (format!("{prefix}-{user}"), format!("{prefix}-{user}-{n}"));
                Job { program: Program::hello(&token), room: Some(room), user: format!("user-{user}") }
            })
        };
        let (storm, calm) = runtime.block_on(async {
            tokio::join!(
                burst(&target, storm.collect()),
                closed(&target, 10, Until::Count(6), Duration::from_millis(300), calm)
            )
        });
        let (storm, calm) = (Stats::of(&storm), Stats::of(&calm));
        assert_eq!((calm.sent, calm.right), (60, 60), "{kind}: {:?} {:?}", calm.refused, calm.wrong);
        assert_eq!(storm.wrongs, 0, "{kind}: {:?}", storm.wrong);
        assert!(storm.right > 0 && storm.refusals() > 0, "{kind}: {storm:?}");
    }
    daemon.run("python", "print(1)").expect_success();
}
