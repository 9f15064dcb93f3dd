//! What waits, and for how long.

use std::time::Duration;

use crankcase_tests::{eventually, host, shared, unique};

#[test]
fn a_waiting_execution_is_counted_in_its_room_and_globally() {
    let (room, token) = (unique("room-"), unique("token-"));
    std::thread::scope(|scope| {
        let first = scope
            .spawn(|| shared().program("python", "import time; time.sleep(2)").who(&room, "u1").args(&[&token]).run());
        let _ = host::wait_for_argument(&token);
        let second = scope.spawn(|| shared().program("python", "print(2)").who(&room, "u2").run());
        eventually(Duration::from_secs(10), || {
            let answer = shared().get(&format!("/api/execution/queue/status/{room}"));
            assert_eq!((answer.status, answer.str("/roomId")), (200, room.as_str()), "{}", answer.text);
            if first.is_finished() || answer.number("/queueLength") == 1 { Ok(()) } else { Err(answer.text) }
        });
        if !first.is_finished() {
            let all = shared().get("/api/execution/queue/status").expect_status(200);
            assert!(all.body["queueStats"][&room]["oldestAge"].is_u64() || first.is_finished(), "{}", all.text);
            assert!(
                all.number("/global/running") >= 1 || all.number("/queueStats/global/running") >= 1,
                "{}",
                all.text
            );
        }
        assert_eq!(first.join().expect("an answer").status, 200);
        assert_eq!(second.join().expect("an answer").expect_stdout(), "2\n");
    });
    let after = shared().get(&format!("/api/execution/queue/status/{room}"));
    assert_eq!((after.number("/queueLength"), after.number("/oldestAge")), (0, 0), "{}", after.text);
    let pair = shared().get(&format!("/api/execution/queue/status?roomId={room}")).expect_status(200);
    assert_eq!(pair.number("/queueStats/length"), 0, "{}", pair.text);
}

#[test]
fn a_waiting_run_whose_client_has_gone_leaves_the_queue() {
    let (room, token, never) = (unique("room-"), unique("token-"), unique("never-"));
    std::thread::scope(|scope| {
        let first = scope
            .spawn(|| shared().program("python", "import time; time.sleep(3)").who(&room, "u1").args(&[&token]).run());
        let _ = host::wait_for_argument(&token);
        let impatient =
            reqwest::blocking::Client::builder().timeout(Duration::from_millis(500)).build().expect("a client");
        let body = shared().program("python", "print('ran')").who(&room, "u2").with("correlationId", never.as_str());
        let error = impatient.post(shared().url("/compile")).json(body.body()).send().expect_err("it gave up");
        assert!(error.is_timeout(), "{error}");
        eventually(Duration::from_secs(10), || {
            let answer = shared().get(&format!("/api/execution/queue/status/{room}"));
            if answer.number("/queueLength") == 0 { Ok(()) } else { Err(answer.text) }
        });
        assert_eq!(first.join().expect("an answer").status, 200);
    });
    let list = shared().get(&format!("/api/execution/history/room/{room}"));
    let entries = list.body["history"].as_array().expect("a list");
    let gone = entries.iter().find(|entry| entry["correlationId"] == *never);
    assert!(gone.is_none_or(|entry| entry["status"] == "cancelled"), "{}", list.text);
}

#[test]
fn a_run_whose_client_has_gone_ends_and_is_recorded() {
    let (room, correlation) = (unique("room-"), unique("c-"));
    let impatient = reqwest::blocking::Client::builder().timeout(Duration::from_millis(700)).build().expect("a client");
    let program = shared()
        .program("python", "import time; time.sleep(1.5); print('ended')")
        .who(&room, "u")
        .with("correlationId", correlation.as_str());
    let _ = impatient.post(shared().url("/compile")).json(program.body()).send();
    eventually(Duration::from_secs(30), || {
        let list = shared().get(&format!("/api/execution/history/room/{room}"));
        let entry = &list.body["history"][0];
        if entry["status"] == "completed" && entry["output"] == "ended\n" { Ok(()) } else { Err(list.text) }
    });
}

#[test]
fn a_running_execution_can_be_cancelled() {
    let (room, token) = (unique("room-"), unique("token-"));
    std::thread::scope(|scope| {
        let run = scope.spawn(|| {
            let code = "import time\nprint('before', flush=True)\ntime.sleep(60)";
            shared().program("python", code).who(&room, "u").args(&[&token]).with("correlationId", token.as_str()).run()
        });
        let pid = host::wait_for_argument(&token);
        let id = eventually(Duration::from_secs(10), || find_live(&room));
        let answer = shared().delete(&format!("/api/execution/{id}"));
        assert_eq!((answer.status, &answer.body["success"]), (200, &true.into()), "{}", answer.text);
        let run = run.join().expect("an answer");
        assert_eq!(
            (run.status, run.str("/status"), &run.body["success"]),
            (200, "cancelled", &false.into()),
            "{}",
            run.text
        );
        assert!(!host::is_alive(pid) || host::processes_with_argument(&token).is_empty());
        let again = shared().delete(&format!("/api/execution/{id}"));
        assert!([404, 409].contains(&again.status), "it has ended already: {}", again.text);
    });
    assert_eq!(shared().delete("/api/execution/exec-0-nothing").status, 404);
}

/// The id of the one execution of a room that has not ended, as the database has it.
fn find_live(room: &str) -> Result<String, String> {
    let path = shared().data().join("crankcase.db");
    let open = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let connection = rusqlite::Connection::open_with_flags(&path, open).map_err(|error| error.to_string())?;
    let query = "SELECT execution_id FROM executions WHERE room_id = ?1 AND status = 'running'";
    connection.query_row(query, [room], |row| row.get(0)).map_err(|error| error.to_string())
}
