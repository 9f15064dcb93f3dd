//! One stage in a sandbox, from load to end.

use std::time::Duration;

use crankcase_sandbox::outcome::{Exit, KillReason, SandboxError, StageOutcome, Verdict};
use crankcase_sandbox::spec::{StageCommand, StageLimits};
use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::pipe;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::capture::{Capture, Captured};
use super::live_output::LiveOutput;
use crate::spawner_client::{Compiled, Killer, Loaded, Sandbox, Stdio};

/// What to execute, and with what.
pub struct Stage<'a> {
    /// The command.
    pub command: StageCommand,
    /// Its limits.
    pub limits: StageLimits,
    /// All of its stdin.
    pub stdin: &'a str,
    /// More stdin as it comes; none closes stdin behind the text.
    pub input: Option<&'a mut LiveInput>,
    /// Bytes that each of stdout and stderr may have.
    pub output_bytes: usize,
    /// Ends it.
    pub cancel: &'a CancellationToken,
    /// Who is told what it prints.
    pub live: Option<&'a LiveOutput>,
    /// How far it is already.
    pub loaded: Option<Loaded>,
}

/// Stdin as it comes, while the program runs.
pub struct LiveInput {
    receiver: mpsc::Receiver<String>,
    taken: bool,
}

impl LiveInput {
    /// What is sent from the other end of `receiver`'s channel.
    #[must_use]
    pub const fn new(receiver: mpsc::Receiver<String>) -> Self {
        Self { receiver, taken: false }
    }

    /// Whether a stage has had some of it, which no other can have again.
    #[must_use]
    pub const fn is_taken(&self) -> bool {
        self.taken
    }

    async fn next(&mut self) -> Option<String> {
        let more = self.receiver.recv().await;
        self.taken |= more.is_some();
        more
    }
}

/// A stage that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageReport {
    /// How.
    pub outcome: StageOutcome,
    /// What it printed.
    pub stdout: Captured,
    /// What it complained.
    pub stderr: Captured,
}

impl Stage<'_> {
    /// Runs it to its end. What was printed before a limit struck is in the report.
    ///
    /// # Errors
    /// [`SandboxError`]: the sandbox failed, not the program.
    pub async fn run(self, sandbox: &mut Sandbox) -> Result<StageReport, SandboxError> {
        let Stdio { stdin, stdout, stderr } = match self.loaded {
            Some(Loaded::Started(stdio)) => stdio,
            Some(Loaded::Waiting(stdio)) => {
                sandbox.start().await?;
                stdio
            }
            None => sandbox.load_and_start(self.command, self.limits).await?,
        };
        let killer = sandbox.killer();
        let exceeded = Notify::new();
        let (out, err) = (Capture::new(self.output_bytes), Capture::new(self.output_bytes));
        let live = async {
            if let Some(live) = self.live {
                live.tell(&out, &err).await;
            }
        };
        let beside = async {
            tokio::join!(feed(stdin, self.stdin, self.input), watch(&killer, self.cancel, &exceeded), live);
            std::future::pending::<()>().await;
        };
        let end = async {
            let ((), (), ended) =
                tokio::join!(out.read(stdout, &exceeded), err.read(stderr, &exceeded), sandbox.ended());
            ended
        };
        let ended = tokio::select! {
            ended = end => ended,
            () = beside => unreachable!("it waits for ever"),
        };
        Ok(StageReport { outcome: ended?, stdout: out.into_captured(), stderr: err.into_captured() })
    }
}

/// The two stages of a process that compiled and ran. What a compiler used before its program ran is not known apart
/// and counts as the program's.
#[must_use]
pub fn told_apart(
    report: StageReport,
    compiled: Option<Compiled>,
    compile: &mut Option<StageReport>,
) -> Option<StageReport> {
    let Some(Compiled { exit_code, text }) = compiled else {
        // It ended before its compiler did. By a limit, or cancelled: that is the compiler's.
        return match report.outcome.verdict() {
            Verdict::Ok | Verdict::NonzeroExitStatus | Verdict::Signalled => Some(report),
            _ => {
                *compile = Some(report);
                None
            }
        };
    };
    let mut outcome = StageOutcome { exit: Exit::Code(exit_code), limit: None, cancelled: false, ..report.outcome };
    if exit_code == 0 {
        (outcome.cpu_time, outcome.wall_time, outcome.peak_memory) = (Duration::ZERO, Duration::ZERO, 0);
    }
    let stderr = Captured { bytes: text.into_bytes(), truncated: false };
    *compile = Some(StageReport { outcome, stdout: Captured::default(), stderr });
    (exit_code == 0).then_some(report)
}

/// Writes stdin; a program that does not read it is no error.
async fn feed(mut stdin: pipe::Sender, text: &str, input: Option<&mut LiveInput>) {
    if stdin.write_all(text.as_bytes()).await.is_err() {
        return;
    }
    let Some(input) = input else { return };
    while let Some(more) = input.next().await {
        if stdin.write_all(more.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn watch(killer: &Killer, cancel: &CancellationToken, exceeded: &Notify) {
    let reason = tokio::select! {
        () = cancel.cancelled() => KillReason::Cancelled,
        () = exceeded.notified() => KillReason::Output,
    };
    killer.kill(reason).await;
}

#[cfg(test)]
mod tests {
    use crankcase_sandbox::outcome::Limit;

    use super::*;

    fn report(exit: Exit, limit: Option<Limit>) -> StageReport {
        let outcome = StageOutcome {
            exit,
            limit,
            cancelled: false,
            cpu_time: Duration::from_millis(40),
            wall_time: Duration::from_millis(50),
            peak_memory: 7,
        };
        StageReport { outcome, stdout: Captured::default(), stderr: Captured::default() }
    }

    fn apart(report: StageReport, compiled: Option<(u8, &str)>) -> (Option<StageReport>, Option<StageReport>) {
        let compiled = compiled.map(|(exit_code, text)| Compiled { exit_code, text: text.to_owned() });
        let mut compile = None;
        let run = told_apart(report, compiled, &mut compile);
        (compile, run)
    }

    #[test]
    fn a_program_that_was_compiled_and_ran_has_both_stages() {
        let ran = report(Exit::Code(3), None);
        let (compile, run) = apart(ran.clone(), Some((0, "a warning")));
        let compile = compile.unwrap();
        assert_eq!((compile.outcome.exit, compile.stderr.text().as_str()), (Exit::Code(0), "a warning"));
        assert_eq!((compile.outcome.cpu_time, run), (Duration::ZERO, Some(ran)), "nothing is counted twice");
    }

    #[test]
    fn a_compile_error_has_no_run() {
        let (compile, run) = apart(report(Exit::Code(1), None), Some((1, "Main.java:1: error")));
        let compile = compile.unwrap();
        assert_eq!((compile.outcome.verdict(), run), (Verdict::NonzeroExitStatus, None));
        assert_eq!((compile.stderr.text().as_str(), compile.outcome.cpu_time.as_millis()), ("Main.java:1: error", 40));
    }

    #[test]
    fn a_limit_before_the_compiler_is_through_is_the_compilers() {
        let (compile, run) = apart(report(Exit::Signal(9), Some(Limit::Memory)), None);
        assert_eq!((compile.unwrap().outcome.limit, run), (Some(Limit::Memory), None));
        let (compile, run) = apart(report(Exit::Signal(9), Some(Limit::Time)), Some((0, "")));
        assert_eq!((compile.unwrap().outcome.limit, run.unwrap().outcome.limit), (None, Some(Limit::Time)));
        let (compile, run) = apart(report(Exit::Signal(11), None), None);
        assert!(compile.is_none() && run.is_some(), "it crashed: the program's own doing, as far as anybody knows");
    }
}
