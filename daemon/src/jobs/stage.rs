//! One stage in a sandbox, from load to end.

use crankcase_sandbox::outcome::{KillReason, SandboxError, StageOutcome};
use crankcase_sandbox::spec::{StageCommand, StageLimits};
use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::pipe;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::capture::{Capture, Captured};
use super::live_output::LiveOutput;
use crate::spawner_client::{Killer, Sandbox, Stdio};

/// What to execute, and with what.
pub struct Stage<'a> {
    /// The command.
    pub command: StageCommand,
    /// Its limits.
    pub limits: StageLimits,
    /// All of its stdin.
    pub stdin: &'a str,
    /// More stdin as it comes; none closes stdin behind the text.
    pub input: Option<mpsc::Receiver<String>>,
    /// Bytes that each of stdout and stderr may have.
    pub output_bytes: usize,
    /// Ends it.
    pub cancel: &'a CancellationToken,
    /// Who is told what it prints.
    pub live: Option<&'a LiveOutput>,
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
        let Stdio { stdin, stdout, stderr } = sandbox.load(self.command, self.limits).await?;
        let killer = sandbox.killer();
        sandbox.start().await?;
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

/// Writes stdin; a program that does not read it is no error.
async fn feed(mut stdin: pipe::Sender, text: &str, input: Option<mpsc::Receiver<String>>) {
    if stdin.write_all(text.as_bytes()).await.is_err() {
        return;
    }
    let Some(mut input) = input else { return };
    while let Some(more) = input.recv().await {
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
