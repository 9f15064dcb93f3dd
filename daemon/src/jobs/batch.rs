//! One program against many inputs: compiled once, run for each, each run with its verdict.

use crankcase_sandbox::outcome::Verdict;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::execution::{CompileResult, Head, Status, Truncated};
use super::{Refusal, Submission};

/// Inputs of one batch.
pub const MAX_CASES: usize = 100;

/// A program and its inputs.
#[derive(Debug, Clone)]
pub struct BatchSubmission {
    /// Program, limits, owner. Its `stdin` is empty and not used.
    pub submission: Submission,
    /// 1 to [`MAX_CASES`].
    pub cases: Vec<Case>,
}

/// One input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// All of stdin.
    pub stdin: String,
    /// What stdout must be; none: the program must only leave with 0.
    pub expected_output: Option<String>,
}

/// A batch that ended.
#[derive(Debug, Clone)]
pub struct BatchFinished {
    /// Who, where, what; its stdin is empty.
    pub head: Head,
    /// Unix milliseconds of its end.
    pub completed_at: i64,
    /// Completed when every case ran and when a compile error is reported; cancelled or failed otherwise.
    pub status: Status,
    /// One clear sentence, only when not completed.
    pub error: Option<String>,
    /// Whole milliseconds from the request's arrival.
    pub execution_time: u64,
    /// Milliseconds spent waiting for lock and admission.
    pub queue_time: u64,
    /// The compile stage, where there was one.
    pub compile: Option<CompileResult>,
    /// In the order of the cases. Empty after a compile error; shorter than the cases when it was ended.
    pub results: Vec<CaseResult>,
    /// Whether this is an earlier batch's result, not run again.
    pub replayed: bool,
}

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CaseResult {
    /// What came of it.
    pub verdict: CaseVerdict,
    /// Up to its limit.
    pub stdout: String,
    /// Up to its limit.
    pub stderr: String,
    /// The exit code, when it exited.
    pub exit_code: Option<i32>,
    /// The signal's name, when one ended it.
    pub signal: Option<String>,
    /// The limit that ended it.
    pub limit: Option<String>,
    /// What was cut; `output` never is, for there is none.
    pub truncated: Truncated,
    /// CPU milliseconds.
    pub cpu_time: u64,
    /// Wall milliseconds.
    pub wall_time: u64,
    /// Peak bytes.
    pub memory: u64,
}

/// The judge's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CaseVerdict {
    /// It left with 0 and printed what was expected.
    Accepted,
    /// It left with 0 and printed something else.
    WrongAnswer,
    /// Wall or CPU time.
    TimeLimitExceeded,
    /// Memory.
    MemoryLimitExceeded,
    /// Output bytes.
    OutputLimitExceeded,
    /// Processes.
    ProcessLimitExceeded,
    /// Work directory.
    DiskLimitExceeded,
    /// It left with another code than 0, or a signal ended it.
    RuntimeError,
    /// Somebody ended it.
    Cancelled,
    /// The sandbox failed; the program is not to blame.
    InternalError,
}

impl CaseVerdict {
    /// From how the run ended and what it printed.
    #[must_use]
    pub fn judge(verdict: Verdict, stdout: &str, expected: Option<&str>) -> Self {
        match verdict {
            Verdict::Ok if expected.is_none_or(|expected| same_output(stdout, expected)) => Self::Accepted,
            Verdict::Ok => Self::WrongAnswer,
            Verdict::NonzeroExitStatus | Verdict::Signalled => Self::RuntimeError,
            Verdict::TimeLimitExceeded => Self::TimeLimitExceeded,
            Verdict::MemoryLimitExceeded => Self::MemoryLimitExceeded,
            Verdict::OutputLimitExceeded => Self::OutputLimitExceeded,
            Verdict::ProcessLimitExceeded => Self::ProcessLimitExceeded,
            Verdict::DiskLimitExceeded => Self::DiskLimitExceeded,
            Verdict::Cancelled => Self::Cancelled,
        }
    }
}

/// As judges compare: blanks at the ends of lines and empty lines at the end of the text do not count.
#[must_use]
pub fn same_output(printed: &str, expected: &str) -> bool {
    trimmed(printed).eq(trimmed(expected))
}

fn trimmed(text: &str) -> impl Iterator<Item = &str> {
    text.trim_end().split('\n').map(str::trim_end)
}

/// Who runs batches.
pub trait BatchRunner: Send + Sync + 'static {
    /// Compiles once, runs for each case, records it, and gives all verdicts. Dropping the future of a batch that
    /// still waits cancels it.
    ///
    /// # Errors
    /// [`Refusal`] as for a single run.
    fn run_batch(&self, batch: BatchSubmission) -> BoxFuture<'_, Result<BatchFinished, Refusal>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_at_the_ends_do_not_count() {
        for (printed, expected, same) in [
            ("1 2\n", "1 2", true),
            ("1 2 \r\n3\n\n", "1 2\n3", true),
            ("", "\n", true),
            ("1  2", "1 2", false),
            ("\n1", "1", false),
            ("1\n\n2", "1\n2", false),
            (" 1", "1", false),
        ] {
            assert_eq!(same_output(printed, expected), same, "{printed:?} {expected:?}");
        }
    }

    #[test]
    fn limits_outweigh_the_output() {
        assert_eq!(CaseVerdict::judge(Verdict::Ok, "1", Some("1")), CaseVerdict::Accepted);
        assert_eq!(CaseVerdict::judge(Verdict::Ok, "1", None), CaseVerdict::Accepted);
        assert_eq!(CaseVerdict::judge(Verdict::Ok, "2", Some("1")), CaseVerdict::WrongAnswer);
        assert_eq!(CaseVerdict::judge(Verdict::TimeLimitExceeded, "1", Some("1")), CaseVerdict::TimeLimitExceeded);
        assert_eq!(CaseVerdict::judge(Verdict::NonzeroExitStatus, "1", Some("1")), CaseVerdict::RuntimeError);
        assert_eq!(serde_json::to_value(CaseVerdict::WrongAnswer).unwrap(), "wrong-answer");
    }
}
