//! Carrying a batch out: one turn, one record, a sandbox that is kept as long as it is good.
//!
//! A compiled program runs for every case in the sandbox that it was compiled in; a case that hit a limit has used that
//! sandbox up, and the next is compiled anew. An interpreted program gets a fresh sandbox for every case.

use std::sync::Arc;
use std::time::Instant;

use crankcase_runtimes::WarmStage;
use crankcase_sandbox::outcome::SandboxError;
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::batch::{BatchFinished, BatchRunner, BatchSubmission, Case, CaseResult, CaseVerdict};
use super::building::{Building, Built};
use super::execution::{CompileResult, Finished, Head, RunResult, Status, Truncated};
use super::idempotency::{Begun, Key, Owner, Share};
use super::lifecycle::{PassedOn, finished, millis_since, record};
use super::lock::RoomGuard;
use super::program::Program;
use super::quotas::QuotaPlace;
use super::stage::{Stage, StageReport};
use super::verdict::{Ran, exit, failed, millis};
use super::{Inner, Jobs, Refusal, head};
use crate::clock::unix_ms;
use crate::ids::{CorrelationId, ExecutionId};
use crate::spawner_client::Sandbox;

impl BatchRunner for Jobs {
    fn run_batch(&self, batch: BatchSubmission) -> BoxFuture<'_, Result<BatchFinished, Refusal>> {
        Box::pin(async move {
            let jobs = self.clone();
            // A task of its own, as for a single run; what it waits for is abandoned when this future is dropped.
            let share = tokio::spawn(async move { jobs.take_on_batch(batch).await }).await;
            let result = match share.unwrap_or(Err(Refusal::ShuttingDown)) {
                Ok(taken) => taken.finished().await,
                Err(refusal) => Err(refusal),
            };
            if let Err(refusal) = &result {
                self.inner.parts.metrics.refused(refusal);
            }
            result
        })
    }
}

/// A batch that has been taken on.
struct Batch {
    inner: Arc<Inner>,
    head: Head,
    program: Program,
    cases: Vec<Case>,
    address: Option<std::net::IpAddr>,
    received: Instant,
    cancel: CancellationToken,
}

/// What came of its stages.
#[derive(Default)]
struct Progress {
    compile: Option<CompileResult>,
    results: Vec<CaseResult>,
    cpu: std::time::Duration,
    compile_error: Option<RunResult>,
}

impl Jobs {
    async fn take_on_batch(&self, batch: BatchSubmission) -> Result<Taken, Refusal> {
        let inner = &self.inner;
        let submission = batch.submission;
        let program = inner.prepare(&submission)?;
        let id = ExecutionId::generate(unix_ms());
        let correlation_id = submission.correlation_id.clone().unwrap_or_else(|| CorrelationId::from(&id));
        let key = Key { room: submission.room.clone(), user: submission.user.clone(), correlation_id };
        let (owner, share) = match inner.batches.begin(&key, &id) {
            Begun::Repeat(share) => return Ok(Taken::Repeat(share)),
            Begun::First(owner, share) => (owner, share),
        };
        if submission.correlation_id.is_some()
            && let Some(stored) = inner.stored(&key).await?
            && let Some(stored) = from_record(&stored)
        {
            let stored = Arc::new(stored);
            owner.finish(Arc::clone(&stored));
            return Ok(Taken::Stored(stored));
        }
        let quota = inner.quotas.enter(&key.room, &key.user, submission.address);
        let quota = quota.map_err(|exceeded| inner.over_quota(exceeded))?;
        let head = head(&submission, id.clone(), key.correlation_id);
        let (cancel, _) = inner.control(&id, false);
        let history = &inner.parts.history;
        if let Err(error) = history.record_queued(&head, inner.commit_due()).await {
            inner.forget(&id);
            return Err(Refusal::HistoryUnavailable(error.to_string()));
        }
        let batch = Batch {
            inner: Arc::clone(inner),
            head,
            program,
            cases: batch.cases,
            address: submission.address,
            received: submission.received,
            cancel,
        };
        // A task of its own: what has begun ends and is recorded, whether somebody waits or not.
        let (sender, refused) = tokio::sync::oneshot::channel();
        inner.tasks.spawn(async move {
            let (inner, id) = (Arc::clone(&batch.inner), batch.head.id.clone());
            if let Err(refusal) = batch.carry_out(owner, quota).await {
                let _ = sender.send(refusal);
            }
            inner.forget(&id);
        });
        Ok(Taken::First(share, refused))
    }
}

/// A batch that was taken on, for whoever waits.
enum Taken {
    First(Share<Arc<BatchFinished>>, tokio::sync::oneshot::Receiver<Refusal>),
    Repeat(Share<Arc<BatchFinished>>),
    Stored(Arc<BatchFinished>),
}

impl Taken {
    async fn finished(self) -> Result<BatchFinished, Refusal> {
        match self {
            Self::Stored(stored) => Ok(Arc::unwrap_or_clone(stored)),
            Self::Repeat(share) => {
                let finished = share.result().await.ok_or(Refusal::ShuttingDown)?;
                Ok(BatchFinished { replayed: true, ..Arc::unwrap_or_clone(finished) })
            }
            Self::First(share, refused) => match share.result().await {
                Some(finished) => Ok(Arc::unwrap_or_clone(finished)),
                None => Err(refused.await.unwrap_or(Refusal::ShuttingDown)),
            },
        }
    }
}

impl Batch {
    async fn carry_out(self, owner: Owner<Arc<BatchFinished>>, quota: QuotaPlace) -> Result<(), Refusal> {
        let turn = tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(Refusal::Cancelled),
            () = owner.abandoned().clone().cancelled_owned() => Err(Refusal::Cancelled),
            turn = self.wait_for_turn() => turn,
        };
        let (mut permit, room) = match turn {
            Ok(turn) if owner.start() => turn,
            other => {
                let refusal = other.err().unwrap_or(Refusal::Cancelled);
                let status = if refusal == Refusal::Cancelled { Status::Cancelled } else { Status::Failed };
                let _ = record(&self.inner, &finished(&self.head, None, failed(status, refusal.to_string()))).await;
                return Err(refusal);
            }
        };
        let account = quota.started();
        let (started_at, queue_time) = (unix_ms(), millis_since(self.received));
        let observer = self.inner.observer(&self.head.room);
        let head = Arc::new(self.head.clone());
        if let Some(observer) = &observer {
            observer.started(&head).await;
        }
        let _ = self.inner.parts.history.record_started(&self.head.id, started_at).await;
        let mut progress = Progress::default();
        let error = self.run_cases(&mut progress, &mut permit).await.err();
        drop(permit);
        account.charge(progress.cpu);
        let result = self.result(&progress, error, queue_time);
        let done = Arc::new(finished(&self.head, Some(started_at), result));
        let recorded = record(&self.inner, &done).await;
        if let Some(observer) = &observer {
            observer.finished(&done).await;
        }
        drop(room);
        recorded?;
        let compile_error = progress.compile_error.is_some();
        owner.finish(Arc::new(BatchFinished {
            head: self.head,
            completed_at: done.completed_at,
            status: done.result.status,
            error: done.result.error.clone(),
            execution_time: done.result.execution_time,
            queue_time,
            compile: progress.compile,
            results: if compile_error { Vec::new() } else { progress.results },
            replayed: false,
        }));
        Ok(())
    }

    async fn wait_for_turn(&self) -> Result<(super::admission::Permit, Option<RoomGuard>), Refusal> {
        let parts = &self.inner.parts;
        let room = match self.head.room.is_room() {
            false => None,
            true => {
                let wait = parts.config.rooms.lock_wait;
                let busy = |_| self.inner.room_busy(&self.head.room);
                Some(parts.locks.acquire(&self.head.room, wait).await.map_err(busy)?)
            }
        };
        let request = self.inner.request(&self.head, &self.program, self.address, true);
        let permit = parts.admission.admit(request).await.map_err(|error| self.inner.refusal(error))?;
        Ok((permit, room))
    }

    async fn run_cases(
        &self,
        progress: &mut Progress,
        permit: &mut super::admission::Permit,
    ) -> Result<(), SandboxError> {
        let mut kept = None;
        for case in &self.cases {
            if self.cancel.is_cancelled() {
                break;
            }
            let mut passed_on = PassedOn::default();
            let ran = loop {
                // The last way is one on which nothing stood ready.
                let ready = passed_on.may_go_on();
                match self.run_case(progress, permit, case, kept.take(), ready).await {
                    Err(error) if passed_on.note(&error) && ready => {}
                    other => break other?,
                }
            };
            let Some((report, sandbox)) = ran else { return Ok(()) };
            progress.cpu += report.outcome.cpu_time;
            let spent = report.outcome.limit.is_some() || report.outcome.cancelled;
            progress.results.push(case_result(&report, case));
            kept = (self.program.plan.compile.is_some() && !spent).then_some(sandbox);
        }
        Ok(())
    }

    /// One case, in the sandbox of the one before or another, which may be one that stands ready; none after a compile error.
    async fn run_case(
        &self,
        progress: &mut Progress,
        permit: &mut super::admission::Permit,
        case: &Case,
        kept: Option<Sandbox>,
        ready: bool,
    ) -> Result<Option<(StageReport, Sandbox)>, SandboxError> {
        let (mut sandbox, loaded) = match kept {
            Some(sandbox) => (sandbox, None),
            None => match self.compiled(progress, ready).await? {
                Built { sandbox: Some(sandbox), loaded, .. } => (sandbox, loaded),
                Built { sandbox: None, .. } => return Ok(None),
            },
        };
        if self.program.plan.compile.is_some() {
            permit.shrink_memory(self.program.limits.run.memory.get());
        }
        let stage = Stage { loaded, ..self.stage(self.program.plan.run.clone(), &case.stdin) };
        let report = stage.run(&mut sandbox).await?;
        Ok(Some((report, sandbox)))
    }

    /// A sandbox with the program in it; none after a compile error.
    async fn compiled(&self, progress: &mut Progress, ready: bool) -> Result<Built, SandboxError> {
        let (inner, head, program) = (&*self.inner, &self.head, &self.program);
        // What is compiled is compiled once, not for each case.
        let warm = program.warm.as_ref().filter(|warm| warm.stage != WarmStage::Both);
        let building = Building { inner, head, program, warm, ready, address: self.address, cancel: &self.cancel };
        let mut built = Built::default();
        building.build(&mut built).await?;
        if let Some(report) = built.compile.take() {
            progress.cpu += report.outcome.cpu_time;
            let result = Ran { compile: Some(report), run: Ok(None) }.result(&self.program.limits, 0, 0);
            // The first compile is the batch's; one that is repeated for a fresh sandbox prints nothing else.
            progress.compile = progress.compile.take().or_else(|| result.compile.clone());
            if built.sandbox.is_none() {
                progress.compile_error = Some(result);
            }
        }
        Ok(built)
    }

    fn stage<'a>(&'a self, command: crankcase_sandbox::spec::StageCommand, stdin: &'a str) -> Stage<'a> {
        Stage {
            command,
            limits: self.program.limits.run,
            stdin,
            input: None,
            output_bytes: self.program.limits.output_bytes,
            cancel: &self.cancel,
            live: None,
            loaded: None,
        }
    }

    /// What is recorded: a sentence as output, the cases as JSON on stdout.
    fn result(&self, progress: &Progress, error: Option<SandboxError>, queue_time: u64) -> RunResult {
        let execution_time = millis_since(self.received);
        let limits = &self.program.limits;
        let mut result = match (error, &progress.compile_error) {
            (Some(error), _) => Ran { compile: None, run: Err(error) }.result(limits, execution_time, queue_time),
            (None, Some(compile_error)) => compile_error.clone(),
            (None, None) if self.cancel.is_cancelled() => {
                failed(Status::Cancelled, "The execution was cancelled.".to_owned())
            }
            (None, None) => {
                let passed = progress.results.iter().filter(|r| r.verdict == CaseVerdict::Accepted).count();
                let output = format!("{passed} of {} cases passed", progress.results.len());
                let ok = failed(Status::Completed, String::new());
                RunResult { success: true, error: None, output, ..ok }
            }
        };
        result.compile.clone_from(&progress.compile);
        result.stdout = serde_json::to_string(&progress.results).unwrap_or_default();
        result.cpu_time = millis(progress.cpu);
        result.memory = progress.results.iter().map(|result| result.memory).max().unwrap_or(0);
        (result.execution_time, result.queue_time) = (execution_time, queue_time);
        result
    }
}

fn case_result(report: &StageReport, case: &Case) -> CaseResult {
    let stdout = report.stdout.text();
    let (exit_code, signal) = exit(&report.outcome);
    CaseResult {
        verdict: CaseVerdict::judge(report.outcome.verdict(), &stdout, case.expected_output.as_deref()),
        stdout,
        stderr: report.stderr.text(),
        exit_code,
        signal,
        limit: report.outcome.limit.map(|limit| limit.name().to_owned()),
        truncated: Truncated { output: false, stdout: report.stdout.truncated, stderr: report.stderr.truncated },
        cpu_time: millis(report.outcome.cpu_time),
        wall_time: millis(report.outcome.wall_time),
        memory: report.outcome.peak_memory,
    }
}

/// A recorded batch; none when the record is a single execution's.
fn from_record(stored: &Finished) -> Option<BatchFinished> {
    let results = serde_json::from_str(&stored.result.stdout).ok()?;
    Some(BatchFinished {
        head: stored.head.clone(),
        completed_at: stored.completed_at,
        status: stored.result.status,
        error: stored.result.error.clone(),
        execution_time: stored.result.execution_time,
        queue_time: stored.result.queue_time,
        compile: stored.result.compile.clone(),
        results,
        replayed: true,
    })
}
