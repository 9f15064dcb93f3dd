//! From how the stages ended to the contract's words.

use crankcase_sandbox::outcome::{Exit, Limit, SandboxError, StageOutcome, Step, Verdict};
use crankcase_sandbox::spec::StageLimits;
use nix::sys::signal::Signal;

use super::execution::{CompileResult, RunResult, Status, Truncated};
use super::stage::StageReport;
use crate::config::Resolved;
use crate::history::INTERRUPTED;

/// What is shown when a program printed nothing.
const NO_OUTPUT: &str = "No output";

/// What came of the stages.
#[derive(Debug)]
pub struct Ran {
    /// The compile stage, where there was one.
    pub compile: Option<StageReport>,
    /// The run stage, if it came to that; or why the sandbox failed.
    pub run: Result<Option<StageReport>, SandboxError>,
}

impl Ran {
    /// CPU time of all stages.
    #[must_use]
    pub fn cpu_time(&self) -> std::time::Duration {
        let run = self.run.as_ref().ok().and_then(Option::as_ref);
        self.compile.iter().chain(run).map(|report| report.outcome.cpu_time).sum()
    }

    /// The result; both times in whole milliseconds.
    #[must_use]
    pub fn result(self, limits: &Resolved, execution_time: u64, queue_time: u64) -> RunResult {
        let compile = self.compile.as_ref().map(compile_result);
        let mut result = match (self.run, self.compile) {
            (Err(error), _) => failed(Status::Failed, sandbox_sentence(error)),
            (Ok(Some(run)), _) => ended(&run, limits),
            (Ok(None), Some(compile)) => not_compiled(&compile, limits),
            (Ok(None), None) => failed(Status::Cancelled, "The execution was cancelled.".to_owned()),
        };
        result.compile = compile;
        result.execution_time = execution_time;
        result.queue_time = queue_time;
        result
    }
}

/// A result without an outcome.
#[must_use]
pub fn failed(status: Status, error: String) -> RunResult {
    RunResult {
        success: false,
        status,
        output: NO_OUTPUT.to_owned(),
        error: Some(error),
        execution_time: 0,
        stdout: String::new(),
        stderr: String::new(),
        exit_code: None,
        signal: None,
        compile: None,
        truncated: Truncated::default(),
        limit: None,
        cpu_time: 0,
        wall_time: 0,
        memory: 0,
        queue_time: 0,
    }
}

fn sandbox_sentence(error: SandboxError) -> String {
    match error.step {
        Step::Spawner | Step::InitDied | Step::Lost | Step::Missed => format!("The execution was {INTERRUPTED}."),
        _ => format!("The sandbox could not run the program: {error}."),
    }
}

fn ended(run: &StageReport, limits: &Resolved) -> RunResult {
    let (stdout, stderr) = (run.stdout.text(), run.stderr.text());
    let shown = [&stdout, &stderr].into_iter().find(|text| !text.is_empty()).map_or(NO_OUTPUT, String::as_str);
    let (output, cut) = cut_chars(shown, limits.output_chars);
    let (status, error) = status(&run.outcome, &limits.run, limits, "program");
    let (exit_code, signal) = exit(&run.outcome);
    RunResult {
        success: status == Status::Completed,
        status,
        output,
        error,
        execution_time: 0,
        stdout,
        stderr,
        exit_code,
        signal,
        compile: None,
        truncated: Truncated { output: cut, stdout: run.stdout.truncated, stderr: run.stderr.truncated },
        limit: run.outcome.limit.map(|limit| limit.name().to_owned()),
        cpu_time: millis(run.outcome.cpu_time),
        wall_time: millis(run.outcome.wall_time),
        memory: run.outcome.peak_memory,
        queue_time: 0,
    }
}

/// A compile error is a result like any other; a compiler that hit a limit is not.
fn not_compiled(compile: &StageReport, limits: &Resolved) -> RunResult {
    let (stdout, stderr) = (compile.stdout.text(), compile.stderr.text());
    let shown = [&stderr, &stdout].into_iter().find(|text| !text.is_empty()).map_or(NO_OUTPUT, String::as_str);
    let (output, cut) = cut_chars(shown, limits.output_chars);
    let (status, error) = status(&compile.outcome, &limits.compile, limits, "compiler");
    RunResult {
        success: status == Status::Completed,
        output,
        error,
        truncated: Truncated { output: cut, ..Truncated::default() },
        limit: compile.outcome.limit.map(|limit| limit.name().to_owned()),
        ..failed(status, String::new())
    }
}

fn compile_result(report: &StageReport) -> CompileResult {
    let (exit_code, signal) = exit(&report.outcome);
    CompileResult {
        stdout: report.stdout.text(),
        stderr: report.stderr.text(),
        exit_code,
        signal,
        limit: report.outcome.limit.map(|limit| limit.name().to_owned()),
        cpu_time: millis(report.outcome.cpu_time),
        wall_time: millis(report.outcome.wall_time),
        memory: report.outcome.peak_memory,
    }
}

fn status(outcome: &StageOutcome, stage: &StageLimits, limits: &Resolved, who: &str) -> (Status, Option<String>) {
    match outcome.verdict() {
        Verdict::Ok | Verdict::NonzeroExitStatus | Verdict::Signalled => (Status::Completed, None),
        Verdict::Cancelled => (Status::Cancelled, Some("The execution was cancelled.".to_owned())),
        Verdict::TimeLimitExceeded => (Status::Timeout, outcome.limit.map(|l| limit_sentence(l, stage, limits, who))),
        _ => (Status::Failed, outcome.limit.map(|l| limit_sentence(l, stage, limits, who))),
    }
}

fn limit_sentence(limit: Limit, stage: &StageLimits, limits: &Resolved, who: &str) -> String {
    let seconds = |ms: u64| ms as f64 / 1000.0;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    match limit {
        Limit::Time => format!("Time limit exceeded: the {who} ran for more than {} s.", seconds(stage.wall.get())),
        Limit::Cpu => {
            format!("CPU time limit exceeded: the {who} used more than {} s of CPU time.", seconds(stage.cpu.get()))
        }
        Limit::Memory => {
            format!("Memory limit exceeded: the {who} used more than {} MiB.", mib(stage.memory.get()))
        }
        Limit::Output => {
            format!("Output limit exceeded: the {who} printed more than {} KiB.", limits.output_bytes as f64 / 1024.0)
        }
        Limit::Processes => {
            format!("Process limit exceeded: the {who} started more than {} processes or threads.", stage.pids.get())
        }
        Limit::Disk => format!(
            "Disk limit exceeded: the {who} wrote a file of more than {} MiB or filled its {} MiB of space.",
            mib(stage.file_size),
            mib(limits.sandbox.box_size.get())
        ),
    }
}

/// The exit code, or the name of the signal; of a limit that we enforced by a signal neither is the program's.
#[must_use]
pub fn exit(outcome: &StageOutcome) -> (Option<i32>, Option<String>) {
    match outcome.exit {
        Exit::Code(code) => (Some(code.into()), None),
        Exit::Signal(number) => {
            let name = Signal::try_from(i32::from(number)).map_or_else(|_| format!("SIG{number}"), |s| s.to_string());
            (None, Some(name))
        }
    }
}

/// Milliseconds, rounded.
#[must_use]
pub fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from((duration.as_micros() + 500) / 1000).unwrap_or(u64::MAX)
}

/// Cut at a number of Unicode characters; whether there were more.
fn cut_chars(text: &str, chars: usize) -> (String, bool) {
    match text.char_indices().nth(chars) {
        None => (text.to_owned(), false),
        Some((at, _)) => (text[..at].to_owned(), true),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{Config, Environment};
    use crate::jobs::capture::Captured;

    fn limits() -> Resolved {
        Config::parse("", &Environment::default()).unwrap().reloadable.limits.general
    }

    fn report(exit: Exit, limit: Option<Limit>, stdout: &str, stderr: &str) -> StageReport {
        let captured = |text: &str| Captured { bytes: text.into(), truncated: false };
        StageReport {
            outcome: StageOutcome {
                exit,
                limit,
                cancelled: false,
                cpu_time: Duration::from_micros(1500),
                wall_time: Duration::from_millis(3),
                peak_memory: 5,
            },
            stdout: captured(stdout),
            stderr: captured(stderr),
        }
    }

    fn result(compile: Option<StageReport>, run: Option<StageReport>) -> RunResult {
        Ran { compile, run: Ok(run) }.result(&limits(), 12, 3)
    }

    #[test]
    fn any_own_end_is_a_success() {
        let hello = result(None, Some(report(Exit::Code(0), None, "hi\n", "warn")));
        assert_eq!((hello.success, hello.status, hello.output.as_str()), (true, Status::Completed, "hi\n"));
        assert_eq!((hello.execution_time, hello.queue_time, hello.cpu_time), (12, 3, 2));
        let bad = result(None, Some(report(Exit::Code(3), None, "", "oops")));
        assert_eq!((bad.success, bad.exit_code, bad.output.as_str()), (true, Some(3), "oops"));
        let crash = result(None, Some(report(Exit::Signal(11), None, "", "")));
        assert_eq!(
            (crash.success, crash.signal.as_deref(), crash.output.as_str()),
            (true, Some("SIGSEGV"), "No output")
        );
        assert!(crash.error.is_none());
    }

    #[test]
    fn limits_are_named_and_keep_the_output() {
        for (limit, status, word) in [
            (Limit::Time, Status::Timeout, "Time limit"),
            (Limit::Cpu, Status::Timeout, "CPU time"),
            (Limit::Memory, Status::Failed, "Memory"),
            (Limit::Output, Status::Failed, "Output"),
            (Limit::Processes, Status::Failed, "Process"),
            (Limit::Disk, Status::Failed, "Disk"),
        ] {
            let ended = result(None, Some(report(Exit::Signal(9), Some(limit), "before", "")));
            assert_eq!((ended.success, ended.status, ended.output.as_str()), (false, status, "before"));
            assert_eq!(ended.limit.as_deref(), Some(limit.name()));
            assert!(ended.error.unwrap().starts_with(word));
        }
    }

    #[test]
    fn a_compile_error_is_reported_as_a_success() {
        let error = result(Some(report(Exit::Code(1), None, "", "main.c:1: error")), None);
        assert_eq!((error.success, error.output.as_str(), error.exit_code), (true, "main.c:1: error", None));
        assert_eq!(error.compile.unwrap().exit_code, Some(1));
        let slow = result(Some(report(Exit::Signal(9), Some(Limit::Time), "", "")), None);
        assert_eq!((slow.success, slow.status), (false, Status::Timeout));
        assert!(slow.error.unwrap().contains("compiler"));
    }

    #[test]
    fn our_own_failures_are_told_apart() {
        let run = Err(SandboxError { step: Step::Spawner, errno: 0 });
        let lost = Ran { compile: None, run }.result(&limits(), 1, 0);
        assert_eq!((lost.success, lost.status), (false, Status::Failed));
        assert!(lost.error.unwrap().contains(INTERRUPTED));
    }

    #[test]
    fn output_is_cut_between_characters() {
        assert_eq!(cut_chars("aéb", 2), ("aé".to_owned(), true));
        assert_eq!(cut_chars("aéb", 3), ("aéb".to_owned(), false));
    }
}
