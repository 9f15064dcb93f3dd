//! What Piston's `execute` answers.

use std::str::FromStr;

use nix::sys::signal::Signal;
use serde::Serialize;

use crate::jobs::execution::{CompileResult, RunResult};

/// The whole answer.
#[derive(Debug, Serialize)]
pub struct Answer {
    language: String,
    version: String,
    run: Stage,
    #[serde(skip_serializing_if = "Option::is_none")]
    compile: Option<Stage>,
}

/// One stage, with the fields of Piston's `safe_call`. Status and message are those of `isolate`.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Stage {
    stdout: String,
    stderr: String,
    output: String,
    code: Option<i32>,
    signal: Option<String>,
    message: Option<String>,
    status: Option<&'static str>,
    cpu_time: u64,
    wall_time: u64,
    memory: u64,
}

/// How a stage ended.
struct End<'a> {
    code: Option<i32>,
    signal: Option<&'a str>,
    limit: Option<&'a str>,
    stderr_was_cut: bool,
}

impl Answer {
    /// A compiler that failed is told twice, as Piston does: there was no run, and clients read `run`.
    pub fn new(language: &str, version: String, result: &RunResult) -> Self {
        let compile = result.compile.as_ref().map(Stage::compile);
        let failed = compile.as_ref().filter(|stage| stage.code != Some(0)).cloned();
        let run = failed.unwrap_or_else(|| Stage::run(result));
        Self { language: language.to_owned(), version, run, compile }
    }
}

/// Whether any stage came to an end of its own or by a limit.
pub fn has_outcome(result: &RunResult) -> bool {
    result.exit_code.is_some() || result.signal.is_some() || result.limit.is_some() || result.compile.is_some()
}

impl Stage {
    fn run(result: &RunResult) -> Self {
        let end = End {
            code: result.exit_code,
            signal: result.signal.as_deref(),
            limit: result.limit.as_deref(),
            stderr_was_cut: result.truncated.stderr && !result.truncated.stdout,
        };
        let usage = (result.cpu_time, result.wall_time, result.memory);
        Self::new(&result.stdout, &result.stderr, &end, usage)
    }

    fn compile(result: &CompileResult) -> Self {
        let end = End {
            code: result.exit_code,
            signal: result.signal.as_deref(),
            limit: result.limit.as_deref(),
            stderr_was_cut: result.stderr.len() > result.stdout.len(),
        };
        let usage = (result.cpu_time, result.wall_time, result.memory);
        Self::new(&result.stdout, &result.stderr, &end, usage)
    }

    fn new(stdout: &str, stderr: &str, end: &End<'_>, (cpu_time, wall_time, memory): (u64, u64, u64)) -> Self {
        let (status, message) = end.told();
        // Whatever hits a limit is killed.
        let killed = end.limit.map(|_| "SIGKILL");
        Self {
            stdout: stdout.to_owned(),
            stderr: stderr.to_owned(),
            output: format!("{stdout}{stderr}"),
            code: end.code.filter(|_| killed.is_none()),
            signal: killed.or(end.signal).map(str::to_owned),
            message,
            status,
            cpu_time,
            wall_time,
            memory,
        }
    }
}

impl End<'_> {
    fn told(&self) -> (Option<&'static str>, Option<String>) {
        let told = |status, message: &str| (Some(status), Some(message.to_owned()));
        match (self.limit, self.signal, self.code) {
            (Some("time"), _, _) => told("TO", "Time limit exceeded (wall clock)"),
            (Some("cpu"), _, _) => told("TO", "Time limit exceeded"),
            (Some("output"), _, _) if self.stderr_was_cut => told("EL", "stderr length exceeded"),
            (Some("output"), _, _) => told("OL", "stdout length exceeded"),
            (Some("memory"), _, _) => told("SG", "Memory limit exceeded"),
            (Some("processes"), _, _) => told("SG", "Process limit exceeded"),
            (Some(_), _, _) => told("SG", "Disk limit exceeded"),
            (None, Some(signal), _) => {
                let number = Signal::from_str(signal).map_or_else(|_| signal.to_owned(), |s| (s as i32).to_string());
                told("SG", &format!("Caught fatal signal {number}"))
            }
            (None, None, Some(0) | None) => (None, None),
            (None, None, Some(code)) => told("RE", &format!("Exited with error status {code}")),
        }
    }
}
