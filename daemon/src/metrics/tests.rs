use super::*;
use crate::ids::{RoomId, UserId};
use crate::jobs::admission::memory::Machine;
use crate::jobs::admission::{AdmissionConfig, Class, Request, RoomKey};
use crate::jobs::execution::{CompileResult, Truncated};
use crate::warm::stock::Level;

fn result() -> RunResult {
    RunResult {
        success: true,
        status: Status::Completed,
        output: String::new(),
        error: None,
        execution_time: 0,
        stdout: String::new(),
        stderr: String::new(),
        exit_code: Some(0),
        signal: None,
        compile: None,
        truncated: Truncated::default(),
        limit: None,
        cpu_time: 1500,
        wall_time: 0,
        memory: 0,
        queue_time: 0,
    }
}

fn compiled(exit_code: i32) -> Option<CompileResult> {
    Some(CompileResult {
        stdout: String::new(),
        stderr: String::new(),
        exit_code: Some(exit_code),
        signal: None,
        limit: None,
        cpu_time: 500,
        wall_time: 0,
        memory: 0,
    })
}

fn metrics() -> Metrics {
    let admission = Admission::new(AdmissionConfig::default(), Machine::fixed(2, 4 << 30));
    Metrics::new(["python", "c"], admission)
}

#[track_caller]
fn assert_line(text: &str, line: &str) {
    assert!(text.lines().any(|l| l == line), "no line {line:?} in\n{text}");
}

#[test]
fn runs_are_counted_by_known_language_and_outcome() {
    let metrics = metrics();
    let phases = Phases { waiting: Duration::from_millis(3), ..Phases::default() };
    metrics.run_ended("python", &result(), phases);
    metrics.run_ended("c", &RunResult { compile: compiled(1), ..result() }, phases);
    for made_up in ["x\"}", "y", "python "] {
        metrics.run_ended(made_up, &RunResult { exit_code: Some(3), ..result() }, phases);
    }
    let text = metrics.render();
    assert_line(&text, r#"crankcase_runs_total{language="python",outcome="ok"} 1"#);
    assert_line(&text, r#"crankcase_runs_total{language="c",outcome="compile_error"} 1"#);
    assert_line(&text, r#"crankcase_runs_total{language="other",outcome="nonzero_exit"} 3"#);
    assert_line(&text, r#"crankcase_cpu_seconds_total{language="c"} 2.0"#);
    assert_line(&text, r#"crankcase_waiting_seconds_bucket{le="0.0025"} 0"#);
    assert_line(&text, r#"crankcase_waiting_seconds_bucket{le="0.005"} 5"#);
    assert_line(&text, r#"crankcase_starting_seconds_count{language="other"} 3"#);
    assert_eq!(text.lines().last(), Some("# EOF"));
    assert!(!text.contains("y\""), "nothing that a client wrote");
}

#[test]
fn outcomes_are_told_apart() {
    let limit = |limit: &str, status| RunResult { limit: Some(limit.into()), status, ..result() };
    assert_eq!(outcome(&limit("memory", Status::Failed)), "memory_limit");
    assert_eq!(outcome(&limit("time", Status::Timeout)), "time_limit");
    assert_eq!(outcome(&limit("what is this", Status::Failed)), "internal_error");
    assert_eq!(outcome(&RunResult { signal: Some("SIGSEGV".into()), exit_code: None, ..result() }), "signalled");
    assert_eq!(outcome(&RunResult { compile: compiled(0), ..result() }), "ok");
    assert_eq!(outcome(&RunResult { status: Status::Cancelled, ..result() }), "cancelled");
}

#[test]
fn refusals_are_counted_by_reason() {
    let metrics = metrics();
    metrics.refused(&Refusal::RoomBusy { retry_after: Duration::from_secs(1) });
    metrics.refused(&Refusal::ShuttingDown);
    metrics.refused(&Refusal::ShuttingDown);
    let text = metrics.render();
    assert_line(&text, r#"crankcase_refusals_total{reason="room_busy"} 1"#);
    assert_line(&text, r#"crankcase_refusals_total{reason="shutting_down"} 2"#);
}

#[tokio::test(start_paused = true)]
async fn levels_and_the_admission_show_as_they_are() {
    let metrics = metrics();
    let request = |cpu_millis| Request {
        room: RoomKey::Room(RoomId::new("r").unwrap()),
        user: UserId::new("u").unwrap(),
        class: Class::Interactive,
        priority: 0,
        cpu_millis: Some(cpu_millis),
        memory_bytes: 1 << 20,
        wait: None,
    };
    let admission = metrics.inner.admission.clone();
    let permit = admission.admit(request(1500)).await.unwrap();
    let waiting = admission.enqueue(request(1000)).unwrap();
    tokio::time::advance(Duration::from_millis(2500)).await;
    metrics.levels().sockets.inc();
    let oldest = Duration::from_millis(500);
    metrics.pools().set(&[Level { language: "python".into(), kind: "warm", ready: 4, target: 5, oldest }]);
    metrics.pools().hit("python", "warm");
    let text = metrics.render();
    for line in [
        "crankcase_cpu_budget_cores 2.0",
        "crankcase_cpu_reserved_cores 1.5",
        "crankcase_memory_budget_bytes 3221225472",
        "crankcase_memory_reserved_bytes 1048576",
        "crankcase_admitted 1",
        "crankcase_queue_length 1",
        "crankcase_queue_rooms 1",
        "crankcase_queue_oldest_seconds 2.5",
        "crankcase_sockets 1",
        r#"crankcase_pool_ready{language="python",kind="warm"} 4"#,
        r#"crankcase_pool_target{language="python",kind="warm"} 5"#,
        r#"crankcase_pool_oldest_seconds{language="python",kind="warm"} 0.5"#,
        r#"crankcase_pool_hits_total{language="python",kind="warm"} 1"#,
    ] {
        assert_line(&text, line);
    }
    drop((waiting, permit));
    assert_line(&metrics.render(), "crankcase_admitted 0");
}
