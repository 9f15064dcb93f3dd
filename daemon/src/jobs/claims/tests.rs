//! Against a real `redis-server`. Without one on the host these tests print SKIP and show nothing.

use nix::sys::signal::Signal;

use super::*;
use crate::ids::{CorrelationId, RoomId, UserId};
use crate::jobs::execution::Status;
use crate::jobs::verdict::failed;
use crate::redis_link::server::{Server, eventually};

fn timing() -> Timing {
    let pace = Pace {
        command: Duration::from_millis(500),
        heartbeat: Duration::from_millis(100),
        retry_max: Duration::from_millis(100),
    };
    Timing { pace, ttl: Duration::from_secs(2), poll: Duration::from_secs(1) }
}

fn key(correlation_id: &str) -> Key {
    Key {
        room: RoomId::new("r").unwrap(),
        user: UserId::new("u").unwrap(),
        correlation_id: CorrelationId::new(correlation_id).unwrap(),
    }
}

fn finished(key: &Key, id: &ExecutionId) -> Finished {
    let head = Head {
        id: id.clone(),
        correlation_id: key.correlation_id.clone(),
        room: key.room.clone(),
        user: key.user.clone(),
        username: "U".to_owned(),
        language: "c".to_owned(),
        code: "secret".to_owned(),
        stdin: "secret".to_owned(),
        args: Vec::new(),
        files: Vec::new(),
        priority: 0,
        queued_at: 1,
    };
    Finished { head, started_at: Some(2), completed_at: 3, result: failed(Status::Failed, "why".to_owned()) }
}

async fn daemon(server: &Server) -> Claims {
    Claims::with_timing(&server.url(""), timing()).await.unwrap()
}

fn here(claimed: Claimed) -> Claim {
    match claimed {
        Claimed::Here(claim) => claim,
        Claimed::Done(_) => panic!("it is done"),
        Claimed::Elsewhere(_) => panic!("another daemon has it"),
    }
}

fn elsewhere(claimed: Claimed) -> Elsewhere {
    match claimed {
        Claimed::Elsewhere(elsewhere) => elsewhere,
        Claimed::Here(_) => panic!("it would run twice"),
        Claimed::Done(_) => panic!("it is done"),
    }
}

macro_rules! server_or_skip {
    () => {
        match Server::started().await {
            Some(server) => server,
            None => return,
        }
    };
}

#[tokio::test]
async fn a_repeat_on_another_daemon_gets_the_result() {
    let server = server_or_skip!();
    let (one, two) = (daemon(&server).await, daemon(&server).await);
    let (key, id) = (key("c"), ExecutionId::generate(1));
    let claim = here(one.claim(&key, &id).await);
    let waiting = elsewhere(two.claim(&key, &ExecutionId::generate(2)).await);
    assert_eq!(waiting.id(), &id);
    let waiting = tokio::spawn(waiting.result());
    // Longer than a claim lives that nobody extends.
    tokio::time::sleep(timing().ttl * 2).await;
    assert!(!waiting.is_finished());
    let end = finished(&key, &id);
    claim.finish(&end).await;
    let told = waiting.await.unwrap().unwrap();
    assert_eq!((told.head.id, told.result), (id.clone(), end.result.clone()));
    assert_eq!((told.head.code.as_str(), told.head.stdin.as_str()), ("", ""), "what ran is not kept in redis");
    match two.claim(&key, &ExecutionId::generate(3)).await {
        Claimed::Done(done) => assert_eq!((done.head.id, done.result), (id, end.result)),
        _ => panic!("the result is kept"),
    }
    let other = Key { user: UserId::new("v").unwrap(), ..key };
    drop(here(two.claim(&other, &ExecutionId::generate(4)).await));
}

#[tokio::test]
async fn what_never_ran_may_be_asked_for_again() {
    let server = server_or_skip!();
    let (one, two) = (daemon(&server).await, daemon(&server).await);
    let claim = here(one.claim(&key("c"), &ExecutionId::generate(1)).await);
    let waiting = tokio::spawn(elsewhere(two.claim(&key("c"), &ExecutionId::generate(2)).await).result());
    drop(claim);
    assert!(waiting.await.unwrap().is_none());
    let _claim = here(two.claim(&key("c"), &ExecutionId::generate(2)).await);
}

#[tokio::test]
async fn a_dead_daemons_claim_runs_out_and_a_flushed_one_is_taken_again() {
    let server = server_or_skip!();
    let (one, two) = (daemon(&server).await, daemon(&server).await);
    let claim = here(one.claim(&key("c"), &ExecutionId::generate(1)).await);
    server.ask::<()>(&["FLUSHALL"]).await;
    let name = name(&key("c"));
    eventually("it is there again", async || server.ask::<i64>(&["EXISTS", &name]).await == 1).await;
    let _ = elsewhere(two.claim(&key("c"), &ExecutionId::generate(2)).await);
    drop(claim);
    eventually("it is given up", async || server.ask::<i64>(&["EXISTS", &name]).await == 0).await;
    server.ask::<()>(&["SET", &name, "running dead exec-5-0", "PX", "300"]).await;
    let waiting = elsewhere(two.claim(&key("c"), &ExecutionId::generate(2)).await);
    assert_eq!(waiting.id().as_str(), "exec-5-0");
    assert!(waiting.result().await.is_none());
}

#[tokio::test]
async fn without_redis_every_daemon_goes_on_alone() {
    let mut server = server_or_skip!();
    let (one, two) = (daemon(&server).await, daemon(&server).await);
    let claim = here(one.claim(&key("c"), &ExecutionId::generate(1)).await);
    server.signal(Signal::SIGSTOP);
    drop(here(two.claim(&key("c"), &ExecutionId::generate(2)).await));
    server.signal(Signal::SIGCONT);
    claim.finish(&finished(&key("c"), &ExecutionId::generate(1))).await;
    server.stop();
    drop(here(one.claim(&key("d"), &ExecutionId::generate(3)).await));
    server.start(&[]).await;
    eventually("it is used again", async || {
        let claim = here(one.claim(&key("e"), &ExecutionId::generate(4)).await);
        let shared = claim.held.is_some();
        drop(claim);
        shared
    })
    .await;
    let alone = Claims::default();
    drop(here(alone.claim(&key("c"), &ExecutionId::generate(5)).await));
}
