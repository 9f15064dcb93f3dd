//! Whatever dies costs at most the run that used it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crankcase_tests::{Daemon, Options, eventually, host, unique};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{daemon, filled, pool, python, warm_hits};

/// Living python processes below the daemon: those whose parent is the spawner are templates, the others members.
fn pythons(daemon: &Daemon, of_template: bool) -> Vec<i32> {
    let spawner = daemon.spawner();
    let mut found = host::descendants(daemon.pid());
    found.retain(|pid| host::name(*pid).starts_with("python") && (host::parent(*pid) == Some(spawner)) == of_template);
    found
}

#[test]
fn the_spawners_death_empties_the_pools_and_they_fill_again() {
    let daemon = daemon(python(3));
    for _ in 0..3 {
        host::end(daemon.spawner());
        eventually(Duration::from_secs(30), || {
            let next = daemon.run("python", "print('next')");
            if next.stdout() == "next\n" { Ok(()) } else { Err(next.text) }
        });
        filled(&daemon);
        let before = pool(&daemon, "hits_total", "python", "warm");
        assert_eq!(daemon.run("python", "print(1)").expect_stdout(), "1\n");
        assert_eq!(pool(&daemon, "hits_total", "python", "warm"), before + 1);
    }
    assert_eq!(daemon.get("/health").body["degraded"].as_array().map(Vec::len), Some(0));
}

#[test]
fn a_member_that_is_killed_while_it_waits_costs_no_run() {
    let daemon = daemon(python(3));
    for round in 0..4 {
        // One that was made ready this moment may be on its way below its init yet.
        let members = eventually(Duration::from_secs(10), || {
            let members = pythons(&daemon, false);
            if members.len() == 3 { Ok(members) } else { Err(members) }
        });
        if round % 2 == 0 {
            // The sandboxes as a whole: who takes one finds it gone, and passes on to the next.
            members.iter().filter_map(|pid| host::parent(*pid)).for_each(host::end);
        } else {
            // The interpreter alone: found when it is looked at, once a second.
            host::end(members[0]);
            eventually(Duration::from_secs(20), || {
                let now = pythons(&daemon, false);
                if now.len() == 3 && !now.contains(&members[0]) { Ok(()) } else { Err(now) }
            });
        }
        for n in 0..4 {
            assert_eq!(daemon.run("python", &format!("print({n})")).expect_stdout(), format!("{n}\n"));
        }
        filled(&daemon);
    }
    assert_eq!(warm_hits(&daemon, "python"), 16);
}

#[test]
fn a_template_that_is_killed_is_replaced_and_costs_no_run() {
    let daemon = daemon(python(2));
    for _ in 0..3 {
        let templates = pythons(&daemon, true);
        assert_eq!(templates.len(), 1);
        host::end(templates[0]);
        for n in 0..6 {
            assert_eq!(daemon.run("python", &format!("print({n})")).expect_stdout(), format!("{n}\n"));
        }
        eventually(Duration::from_secs(20), || {
            let now = pythons(&daemon, true);
            if now.len() == 1 && now != templates { Ok(()) } else { Err(now) }
        });
        filled(&daemon);
    }
}

#[test]
fn a_run_whose_sandbox_is_killed_is_interrupted_and_the_next_one_works() {
    let daemon = daemon(python(2));
    let token = unique("tk");
    let name = &token[..token.len().min(15)];
    let code = format!("import ctypes, time\nctypes.CDLL(None).prctl(15, b'{name}')\ntime.sleep(50)");
    let answer = std::thread::scope(|scope| {
        let run = scope.spawn(|| daemon.run("python", &code));
        let program = host::wait_for_name(name);
        host::end(host::parent(program).expect("its init"));
        run.join().expect("an answer, not a hang")
    });
    assert_eq!(answer.body["success"].as_bool(), Some(false), "{}", answer.text);
    assert!(answer.str("/error").contains("interrupted"), "{}", answer.text);
    assert_eq!(daemon.run("python", "print('next')").expect_stdout(), "next\n");
    assert_eq!(warm_hits(&daemon, "python"), 2);
}

/// Stops a process, whatever it does.
fn stop(pid: i32) {
    let _ = kill(Pid::from_raw(pid), Signal::SIGSTOP);
    eventually(Duration::from_secs(5), || match host::status(pid, "State") {
        Some(state) if !state.starts_with(['T', 'Z', 'X']) => Err(state),
        _ => Ok(()),
    });
}

/// Whether a stopped process still has its gate's descriptor: its program has not begun.
fn in_its_gate(pid: i32) -> bool {
    std::fs::symlink_metadata(format!("/proc/{pid}/fd/63")).is_ok()
}

#[test]
fn a_member_that_dies_with_the_word_unread_costs_no_run() {
    for fork in [true, false] {
        let daemon = daemon(Options::new().set("warm", "python", format!("{{ size = 1, fork = {fork} }}")));
        let members = pythons(&daemon, false);
        assert_eq!(members.len(), 1);
        stop(members[0]);
        let answer = std::thread::scope(|scope| {
            let run = scope.spawn(|| daemon.program("python", "print(input())").stdin("given again\n").run());
            // Let go, as far as the spawner knows, and dead before it heard of it.
            std::thread::sleep(Duration::from_millis(500));
            assert!(in_its_gate(members[0]));
            host::end(members[0]);
            run.join().expect("an answer, not a hang")
        });
        assert_eq!(answer.expect_stdout(), "given again\n");
    }
}

#[test]
fn members_that_are_killed_all_the_time_cost_at_most_their_run() {
    let daemon = daemon(python(4));
    let (next, killed, answers) = (AtomicBool::new(true), AtomicUsize::new(0), &mut Vec::new());
    let deadline = Instant::now() + Duration::from_secs(60);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while next.load(Ordering::Relaxed) {
                for pid in pythons(&daemon, false).into_iter().take(1) {
                    stop(pid);
                    if in_its_gate(pid) {
                        host::end(pid);
                        killed.fetch_add(1, Ordering::Relaxed);
                    } else {
                        let _ = kill(Pid::from_raw(pid), Signal::SIGCONT);
                    }
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        // Until enough of them were met by it: a run takes less time than a look at all processes.
        while answers.len() < 150 || (killed.load(Ordering::Relaxed) < 5 && Instant::now() < deadline) {
            answers.push(daemon.run("python", &format!("print({})", answers.len())));
        }
        next.store(false, Ordering::Relaxed);
    });
    let killed = killed.into_inner();
    let (mut right, mut begun) = (0, 0);
    for (n, answer) in answers.iter().enumerate() {
        if answer.body["signal"].as_str() == Some("SIGKILL") {
            // It had read the word and not yet closed the descriptor: its program's beginning, as far as anybody can know.
            begun += 1;
        } else if answer.body["success"].as_bool() == Some(true) {
            assert_eq!(answer.stdout(), format!("{n}\n"), "{}", answer.text);
            right += 1;
        } else {
            assert!(answer.str("/error").contains("interrupted"), "{}", answer.text);
        }
    }
    assert!(killed >= 5 && right >= 50 && begun <= killed, "{killed} killed, {right} right, {begun} had begun");
    filled(&daemon);
    assert_eq!(daemon.run("python", "print('next')").expect_stdout(), "next\n");
}
