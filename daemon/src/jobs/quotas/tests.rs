use tokio::time::advance;

use std::num::NonZeroU32;

use super::*;

const fn some(bound: u32) -> Option<NonZeroU32> {
    NonZeroU32::new(bound)
}

const fn quota(runs: u32, cpu: u32, queued: u32) -> Quota {
    Quota {
        runs_per_minute: some(runs),
        cpu_seconds_per_hour: some(cpu),
        queued: some(queued),
        memory: None,
        wall_time: None,
    }
}

const OFF: Quota = quota(0, 0, 0);

fn enter(quotas: &Quotas, room: &str, user: &str) -> Result<QuotaPlace, QuotaExceeded> {
    quotas.enter(&RoomId::new(room).unwrap(), &UserId::new(user).unwrap(), Some(IpAddr::from([127, 0, 0, 1])))
}

/// A whole run of so much CPU time.
fn run(quotas: &Quotas, room: &str, user: &str, cpu_seconds: u64) -> Result<(), QuotaExceeded> {
    enter(quotas, room, user)?.started().charge(Duration::from_secs(cpu_seconds));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn runs_a_minute_name_the_quota_and_when_to_come_again() {
    let quotas = Quotas::new(QuotaConfig { user: quota(3, 0, 0), room: OFF });
    for _ in 0..3 {
        run(&quotas, "a", "ann", 0).unwrap();
        advance(Duration::from_secs(5)).await;
    }
    let refused = run(&quotas, "b", "ann", 0).unwrap_err();
    let sentence = "The quota of 3 executions a minute for user ann is used up. Try again in 46 s.";
    let expected =
        Refusal::RateLimited { quota: "quota_runs", message: sentence.into(), retry_after: Duration::from_secs(46) };
    assert_eq!(Refusal::from(refused), expected);
    run(&quotas, "a", "ben", 0).unwrap();
    advance(Duration::from_secs(45)).await;
    assert!(run(&quotas, "a", "ann", 0).is_err());
    advance(Duration::from_secs(1)).await;
    run(&quotas, "a", "ann", 0).unwrap();
}

#[tokio::test(start_paused = true)]
async fn cpu_seconds_an_hour_are_charged_after_the_run() {
    let quotas = Quotas::new(QuotaConfig { user: OFF, room: quota(0, 10, 0) });
    run(&quotas, "a", "ann", 9).unwrap();
    run(&quotas, "a", "ben", 9).unwrap();
    let refused = run(&quotas, "a", "cid", 0).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "The quota of 10 seconds of CPU time an hour for room a is used up. Try again in 3660 s."
    );
    run(&quotas, "standalone", "ann", 99).unwrap();
    run(&quotas, "standalone", "ann", 99).unwrap();
    advance(refused.retry_after).await;
    run(&quotas, "a", "cid", 0).unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_waits_counts_until_it_starts_or_goes() {
    let quotas = Quotas::new(QuotaConfig { user: quota(3, 0, 2), room: OFF });
    let first = enter(&quotas, "a", "ann").unwrap();
    let second = enter(&quotas, "b", "ann").unwrap();
    let refused = enter(&quotas, "c", "ann").unwrap_err();
    assert_eq!((refused.kind, refused.bound), (Kind::Queued, some(2).unwrap()));
    first.started().charge(Duration::ZERO);
    drop(second);
    // One ran, one went: two runs of the minute are left.
    run(&quotas, "a", "ann", 0).unwrap();
    run(&quotas, "a", "ann", 0).unwrap();
    assert_eq!(run(&quotas, "a", "ann", 0).unwrap_err().kind, Kind::Runs);
}

#[tokio::test(start_paused = true)]
async fn one_quota_refuses_and_the_other_is_not_charged() {
    let quotas = Quotas::new(QuotaConfig { user: quota(2, 0, 0), room: quota(1, 0, 0) });
    run(&quotas, "a", "ann", 0).unwrap();
    for _ in 0..5 {
        assert_eq!(run(&quotas, "a", "ann", 0).unwrap_err().subject, Subject::Room(RoomId::new("a").unwrap()));
    }
    run(&quotas, "b", "ann", 0).unwrap();
    assert_eq!(run(&quotas, "c", "ann", 0).unwrap_err().subject, Subject::User(UserId::new("ann").unwrap()));
}

#[tokio::test(start_paused = true)]
async fn without_a_name_the_address_counts() {
    let quotas = Quotas::new(QuotaConfig { user: quota(1, 0, 0), room: OFF });
    let from = |address: &str| {
        let (room, user) = (RoomId::standalone(), UserId::new("anonymous").unwrap());
        quotas.enter(&room, &user, Some(address.parse().unwrap())).map(|place| place.started().charge(Duration::ZERO))
    };
    from("10.0.0.1").unwrap();
    from("10.0.0.2").unwrap();
    let refused = from("::ffff:10.0.0.1").unwrap_err();
    assert!(refused.to_string().contains("for address 10.0.0.1 is used up"), "{refused}");
    from("2001:db8::1").unwrap();
    assert!(from("2001:db8::2").is_err(), "the same network");
    from("2001:db8:0:1::1").unwrap();
}

#[tokio::test(start_paused = true)]
async fn quotas_are_off_by_default_and_can_be_swapped() {
    let quotas = Quotas::new(QuotaConfig::default());
    for _ in 0..1000 {
        run(&quotas, "a", "ann", 1000).unwrap();
    }
    assert_eq!(quotas.lock().ledger.len(), 0, "nothing is remembered for nothing");
    let before = enter(&quotas, "a", "ann").unwrap();
    quotas.reconfigure(QuotaConfig { user: quota(1, 0, 1), room: OFF });
    drop(before);
    run(&quotas, "a", "ann", 0).unwrap();
    assert!(run(&quotas, "a", "ann", 0).is_err());
    quotas.reconfigure(QuotaConfig { user: quota(2, 0, 1), room: OFF });
    run(&quotas, "a", "ann", 0).unwrap();
    assert!(run(&quotas, "a", "ann", 0).is_err(), "what was used stays on the account");
}

#[tokio::test(start_paused = true)]
async fn made_up_names_do_not_fill_the_memory_nor_let_anybody_off() {
    let quotas = Quotas::new(QuotaConfig { user: quota(2, 0, 3), room: OFF });
    let waits = enter(&quotas, "a", "waits").unwrap();
    let remembers = |name: &str| quotas.lock().ledger.remembers(&Subject::User(UserId::new(name).unwrap()));
    for name in 0..3 * SUBJECTS_MAX {
        run(&quotas, "a", &format!("made up {name}"), 0).unwrap();
        if name % 1000 == 0 {
            // One who keeps coming is not forgotten.
            advance(Duration::from_millis(1)).await;
            let used_up = name >= 2000;
            assert_eq!(run(&quotas, "a", "busy", 0).is_err(), used_up);
        }
        assert!(quotas.lock().ledger.len() <= SUBJECTS_MAX);
    }
    assert!(remembers("waits") && !remembers("made up 0"));
    drop(waits);
    advance(Duration::from_secs(120)).await;
    for name in 0..SUBJECTS_MAX / 2 {
        run(&quotas, "a", &format!("later {name}"), 0).unwrap();
    }
    assert!(quotas.lock().ledger.len() <= SUBJECTS_MAX);
}
