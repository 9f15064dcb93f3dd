//! Redis that is cut, stopped or flushed, and daemons that are taken for dead.

use super::*;

/// Only a connection that was fine for a while is made again before anybody goes on alone.
async fn settled(daemons: &[&Daemon]) {
    let up = |daemon: &&Daemon| daemon.bus.shared.link.up().is_some();
    eventually("all are connected", async || daemons.iter().all(up)).await;
    tokio::time::sleep(timing().pace.heartbeat * 3).await;
}

#[tokio::test]
async fn a_connection_that_is_cut_costs_no_number() {
    let server = server_or_skip!(Server::started().await);
    let (one, two) = (Daemon::start(&server).await, Daemon::start(&server).await);
    let (a, b) = (one.join("a").await, two.join("b").await);
    let mut edits = 0;
    for _ in 0..5 {
        settled(&[&one, &two]).await;
        server.ask::<i64>(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
        for _ in 0..10 {
            assert!(one.edit("a", "x").await.accepted);
            assert!(two.edit("b", "y").await.accepted);
            edits += 2;
        }
        settled(&[&one, &two]).await;
        server.ask::<i64>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
        for _ in 0..10 {
            assert!(two.edit("b", "z").await.accepted);
            edits += 1;
        }
    }
    eventually("both are level", async || one.sequence() == edits && two.sequence() == edits).await;
    for (ear, other) in [(&a, "B"), (&b, "A")] {
        assert_eq!(ear.heard("room-state").len(), 1, "nothing was missed");
        assert!(ear.heard("code-update").iter().all(|update| update["username"] == other));
    }
    assert_eq!((a.numbers().len(), b.numbers().len()), (100, 50));
    assert_eq!((one.bus.health(), two.bus.health()), (None, None));
}

#[tokio::test]
async fn without_redis_each_goes_on_alone_and_they_meet_at_the_higher_number() {
    let mut server = server_or_skip!(Server::started().await);
    let (one, two) = (Daemon::start(&server).await, Daemon::start(&server).await);
    let (a, b) = (one.join("a").await, two.join("b").await);
    let (ear_a, ear_b) = (one.join("ear-a").await, two.join("ear-b").await);
    one.edit("a", "together").await;
    server.stop();
    one.degraded().await;
    two.degraded().await;
    assert!(one.bus.health().unwrap().ends_with("rooms are shared with no other daemon"));
    for n in 2..=4 {
        assert_eq!(one.edit("a", "one").await, Published { accepted: true, sequence: n });
    }
    assert_eq!(two.edit("b", "two").await, Published { accepted: true, sequence: 2 });
    let late = two.join("late").await;
    assert_eq!(late.last("room-state")["code"], "two");
    eventually("the others are not vouched for", async || {
        names(&b.last("participants-list")) == [("ear-b".to_owned(), false), ("late".to_owned(), false)]
    })
    .await;
    assert_eq!(b.last("host-assigned"), json!({"isHost": true}));

    server.start(&[]).await;
    one.healthy().await;
    two.healthy().await;
    for ear in [&b, &ear_b, &late] {
        eventually("the lower one is told", async || ear.last("room-state")["sequence"] == 4).await;
        assert_eq!(ear.last("room-state")["code"], "one");
    }
    eventually("all are there again, the first is host", async || {
        names(&b.last("participants-list")).first() == Some(&("a".to_owned(), true))
            && names(&a.last("participants-list")).len() == 4
            && names(&b.last("participants-list")).len() == 4
    })
    .await;
    assert_eq!(b.last("host-assigned"), json!({"isHost": false}));
    assert_eq!(two.edit("b", "again").await, Published { accepted: true, sequence: 5 });
    eventually("all go on together", async || ear_a.numbers().last() == Some(&5)).await;
    assert_eq!(a.heard("room-state").len(), 1, "the higher one missed nothing");
    [ear_a, ear_b, late].iter().for_each(|ear| ear.check(true));
    [a, b].iter().for_each(|ear| ear.check(false));
}

#[tokio::test]
async fn a_flushed_server_learns_the_rooms_again() {
    let server = server_or_skip!(Server::started().await);
    let (one, two) = (Daemon::start(&server).await, Daemon::start(&server).await);
    let (a, b) = (one.join("a").await, two.join("b").await);
    for n in 1..20 {
        server.ask::<()>(&["FLUSHALL"]).await;
        let (daemon, by) = if n % 2 == 0 { (&one, "a") } else { (&two, "b") };
        assert!(daemon.edit(by, &format!("{n}")).await.accepted);
        assert!(daemon.sequence() >= n);
    }
    let last = one.sequence().max(two.sequence());
    one.edit("a", "last").await;
    two.edit("b", "really").await;
    eventually("both are level", async || one.sequence() == two.sequence() && one.sequence() >= last + 2).await;
    eventually("both are there", async || {
        names(&a.last("participants-list")) == [("b".to_owned(), false)]
            && names(&b.last("participants-list")) == [("a".to_owned(), true)]
    })
    .await;
    a.check(false);
    b.check(false);
}

#[tokio::test]
async fn who_knows_less_is_corrected() {
    let server = server_or_skip!(Server::started().await);
    let one = Daemon::start(&server).await;
    let (_, ear) = (one.join("a").await, one.join("ear").await);
    for n in 1..=5 {
        one.edit("a", &format!("{n}")).await;
    }
    server.ask::<()>(&["FLUSHALL"]).await;
    let two = Daemon::start(&server).await;
    let b = two.join("b").await;
    eventually("it learns the room", async || b.last("room-state")["sequence"] == 5).await;
    assert_eq!(b.last("room-state")["code"], "5");
    assert_eq!(two.edit("b", "6").await.sequence, 6);
    eventually("it is heard", async || ear.numbers() == [1, 2, 3, 4, 5, 6]).await;
    eventually("the first is host", async || names(&b.last("participants-list"))[0] == ("a".to_owned(), true)).await;
    assert_ne!(b.last("host-assigned"), json!({"isHost": true}));
    ear.check(true);
    b.check(false);
}

#[tokio::test]
async fn the_stored_number_is_where_the_counter_starts() {
    let server = server_or_skip!(Server::started().await);
    let (one, two) = (Daemon::start(&server).await, Daemon::start(&server).await);
    let stored = StoredRoom {
        room: r(),
        code: "stored".to_owned(),
        language: "go".to_owned(),
        sequence: 41,
        execution_count: 7,
        last_execution_at: Some(1),
    };
    one.store.save_room(&stored, &[]).await.unwrap();
    let b = two.join("b").await;
    assert_eq!(two.edit("b", "new").await.sequence, 1);
    // The daemon that knows more makes it known.
    let a = one.join("a").await;
    assert_eq!((&a.last("room-state")["code"], &a.last("room-state")["sequence"]), (&json!("stored"), &json!(41)));
    eventually("the other one knows", async || b.last("room-state")["sequence"] == 41).await;
    assert_eq!(b.last("room-state")["executionState"]["executionCount"], 7);
    assert_eq!(two.edit("b", "newer").await.sequence, 42);
    // And nothing is lost when both forget it.
    one.leave("a").await;
    two.leave("b").await;
    for daemon in [&one, &two] {
        eventually("it leaves memory", async || {
            daemon.registry.save().await;
            daemon.registry.evict(Duration::ZERO);
            daemon.registry.is_empty()
        })
        .await;
    }
    eventually("nobody listens any more", async || {
        server.ask::<Vec<String>>(&["PUBSUB", "CHANNELS", "test:rooms:events:*"]).await.is_empty()
    })
    .await;
    let a = one.join("a").await;
    assert_eq!((&a.last("room-state")["code"], &a.last("room-state")["sequence"]), (&json!("newer"), &json!(42)));
    assert_eq!(a.last("host-assigned"), json!({"isHost": true}));
}

#[tokio::test]
async fn a_room_is_full_for_all_daemons() {
    let server = server_or_skip!(Server::started().await);
    let limits = RoomLimits { members: 2, ..RoomLimits::default() };
    let (one, two) = (Daemon::with(&server, limits.clone()).await, Daemon::with(&server, limits).await);
    one.join("a").await;
    two.join("b").await;
    let (ear, published) = two.try_join("c").await;
    assert!(!published.accepted);
    assert_eq!(ear.all(), [("error", json!({"message": state::full(2)}))]);
    assert!(!two.edit("c", "x").await.accepted);
    one.leave("a").await;
    assert!(two.try_join("c").await.1.accepted);
}

#[tokio::test]
async fn an_operator_moves_the_counter_for_all_daemons() {
    let server = server_or_skip!(Server::started().await);
    let (one, two) = (Daemon::start(&server).await, Daemon::start(&server).await);
    let b = two.join("b").await;
    assert_eq!(one.publish(RoomEvent::Advanced { to: 9 }).await, Published { accepted: true, sequence: 9 });
    assert_eq!(one.publish(RoomEvent::Advanced { to: 9 }).await, Published { accepted: false, sequence: 9 });
    eventually("it is told", async || b.last("room-state")["sequence"] == 9).await;
    assert_eq!(two.edit("b", "x").await.sequence, 10);
}

/// A daemon that hung is taken for dead; it comes back with all its members, in their places.
#[tokio::test]
async fn a_daemon_that_was_taken_for_dead_comes_back() {
    let server = server_or_skip!(Server::started().await);
    let (one, two) = (Daemon::start(&server).await, Daemon::start(&server).await);
    let (a, b) = (one.join("a").await, two.join("b").await);
    one.edit("a", "1").await;
    let instance = &one.bus.shared.names.instance;
    eventually("it is taken out", async || {
        // Until the other one sees it before the next heartbeat.
        let just_over = (unix_ms() * 1000 - 1_000_000).to_string();
        server.ask::<i64>(&["ZADD", "test:rooms:daemons", &just_over, instance]).await;
        !b.heard("user-left").is_empty()
    })
    .await;
    eventually("it is there again", async || names(&b.last("participants-list")) == [("a".to_owned(), true)]).await;
    assert_eq!(b.last("host-assigned"), json!({"isHost": false}));
    assert!(one.edit("a", "2").await.accepted);
    eventually("it is heard", async || b.numbers() == [1, 2]).await;
    a.check(false);
    b.check(false);
}

/// Whatever happens to Redis and the connections, in whatever order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_number_is_told_twice() {
    let mut server = server_or_skip!(Server::started().await);
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let daemons = [Daemon::start(&server).await, Daemon::start(&server).await];
    let ears = [daemons[0].join("m0").await, daemons[1].join("m1").await];
    let listeners = [daemons[0].join("ear0").await, daemons[1].join("ear1").await];
    let mut up = true;
    for step in 0..120 {
        match *["edit", "edit", "edit", "edit", "burst", "cut", "flush", "server", "hang"].choose(&mut rng).unwrap() {
            "burst" => {
                let burst = daemons.iter().enumerate().flat_map(|(n, daemon)| {
                    (0..5)
                        .map(move |edit| async move { daemon.edit(&format!("m{n}"), &format!("{step}.{edit}")).await })
                });
                assert!(futures_util::future::join_all(burst).await.iter().all(|published| published.accepted));
            }
            "cut" if up => {
                server.ask::<i64>(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
            }
            "flush" if up => server.ask::<()>(&["FLUSHALL"]).await,
            "hang" if up => {
                server.signal(Signal::SIGSTOP);
                let edit = daemons[0].edit("m0", "while it hangs");
                let wake = async {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    server.signal(Signal::SIGCONT);
                };
                assert!(tokio::join!(edit, wake).0.accepted);
            }
            "server" if up => {
                server.stop();
                up = false;
            }
            "server" => {
                server.start(&[]).await;
                up = true;
            }
            _ => {
                let n = rng.random_range(0..2);
                assert!(daemons[n].edit(&format!("m{n}"), &format!("{step}")).await.accepted);
            }
        }
    }
    if !up {
        server.start(&[]).await;
    }
    for daemon in &daemons {
        daemon.healthy().await;
    }
    for (n, daemon) in daemons.iter().enumerate() {
        assert!(daemon.edit(&format!("m{n}"), "the end").await.accepted);
    }
    eventually("both are level", async || daemons[0].sequence() == daemons[1].sequence()).await;
    eventually("all are there", async || ears.iter().all(|ear| names(&ear.last("participants-list")).len() == 3)).await;
    ears.iter().for_each(|ear| ear.check(false));
    listeners.iter().for_each(|ear| ear.check(true));
}
