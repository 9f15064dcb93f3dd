//! The life of one execution after it was taken on: its turn, its stages, its record, its announcement.
//!
//! **Invariants.** Lock and capacity are guards held by the future that runs: they are released whatever happens on the
//! way. What was announced as started is announced as finished. The result is recorded before anybody is told of it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crankcase_sandbox::outcome::{SandboxError, Step};
use futures_util::FutureExt as _;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, debug, error, info, warn};

use super::admission::{AdmissionError, Permit, Waiting};
use super::building::{Building, Built};
use super::claims::Claim;
use super::execution::{Finished, Head, Status};
use super::idempotency::Owner;
use super::live_output::LiveOutput;
use super::lock::RoomGuard;
use super::program::Program;
use super::quotas::{Kind, QuotaExceeded, QuotaPlace};
use super::stage::{LiveInput, Stage, told_apart};
use super::verdict::{Ran, failed};
use super::{Ended, Inner, Refusal, RoomObserver};
use crate::clock::unix_ms;
use crate::history::Commit;
use crate::ids::RoomId;
use crate::metrics::Phases;

/// Everything an execution needs once it is taken on.
pub struct Job {
    pub inner: Arc<Inner>,
    pub head: Arc<Head>,
    pub program: Program,
    pub owner: Owner<Ended>,
    /// This daemon's right to carry it out, where the client named the request.
    pub claim: Option<Claim>,
    pub quota: QuotaPlace,
    /// A place in the queue, where it was taken before the room's lock: outside of rooms.
    pub waiting: Option<Waiting>,
    pub cancel: CancellationToken,
    pub input: Option<mpsc::Receiver<String>>,
    pub received: Instant,
    pub address: Option<std::net::IpAddr>,
}

/// The right to run.
struct Turn {
    permit: Permit,
    /// Last, so that it is released last.
    _room: Option<RoomGuard>,
}

impl Job {
    /// Carries it out to its end.
    pub async fn carry_out(self) {
        let span = tracing::info_span!("execution", id = %self.head.id, correlation_id = %self.head.correlation_id, room = %self.head.room);
        async move {
            let (inner, head) = (Arc::clone(&self.inner), Arc::clone(&self.head));
            if AssertUnwindSafe(self.run()).catch_unwind().await.is_err() {
                // The owner is gone, so whoever waits is told; what is left is the record.
                error!("an execution panicked");
                let lost = finished(&head, None, failed(Status::Failed, "The service failed.".to_owned()));
                let _ = record(&inner, &lost).await;
            }
            inner.forget(&head.id);
        }
        .instrument(span)
        .await;
    }

    async fn run(mut self) {
        let turn = tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(Refusal::Cancelled),
            () = self.owner.abandoned().clone().cancelled_owned() => Err(Refusal::Cancelled),
            turn = wait_for_turn(&self.inner, &self.head, &self.program, self.waiting.take(), self.address) => turn,
        };
        match turn {
            Ok(turn) if self.owner.start() => self.run_started(turn).await,
            Ok(_) => self.refuse(Refusal::Cancelled).await,
            Err(refusal) => self.refuse(refusal).await,
        }
    }

    /// It never ran; that is recorded too.
    async fn refuse(self, refusal: Refusal) {
        self.inner.parts.metrics.refused(&refusal);
        debug!(code = refusal.code(), "refused");
        let status = if refusal == Refusal::Cancelled { Status::Cancelled } else { Status::Failed };
        let mut result = failed(status, refusal.to_string());
        result.execution_time = millis_since(self.received);
        result.queue_time = result.execution_time;
        let _ = record(&self.inner, &finished(&self.head, None, result)).await;
        self.owner.finish(Err(refusal));
    }

    async fn run_started(self, turn: Turn) {
        let Self { inner, head, program, owner, claim, quota, cancel, input, received, address, .. } = self;
        let started = Instant::now();
        let account = quota.started();
        let started_at = unix_ms();
        // Committed with or before the end: who asks meanwhile may still read `queued`.
        if let Err(error) = inner.parts.history.record_started(&head.id, started_at).await {
            warn!(%error, "the start is not recorded");
        }
        let observer = inner.observer(&head.room);
        if let Some(observer) = &observer {
            observer.started(&head).await;
        }
        let mut permit = turn.permit;
        let warm = program.warm.as_ref();
        let building =
            Building { inner: &inner, head: &head, program: &program, warm, ready: true, address, cancel: &cancel };
        let (ran, starting) = run_program(&building, &head, observer.clone(), input, &mut permit).await;
        let running = started.elapsed().saturating_sub(starting);
        account.charge(ran.cpu_time());
        let queue_time = u64::try_from((started - received).as_millis()).unwrap_or(u64::MAX);
        let result = ran.result(&program.limits, millis_since(received), queue_time);
        let phases = Phases { waiting: started - received, starting, running };
        inner.parts.metrics.run_ended(&program.runtime, &result, phases);
        // Capacity is free from here; the room waits until everybody has been told.
        drop(permit);
        let finished = Arc::new(finished(&head, Some(started_at), result));
        let ended = match record(&inner, &finished).await {
            Ok(()) => Ok(Arc::clone(&finished)),
            Err(refusal) => Err(refusal),
        };
        if let Some(observer) = &observer {
            observer.finished(&finished).await;
        }
        if let (Some(claim), Ok(finished)) = (claim, &ended) {
            claim.finish(finished).await;
        }
        owner.finish(ended);
        // Nobody waits for the line.
        let result = &finished.result;
        info!(
            language = program.runtime,
            status = result.status.name(),
            limit = result.limit,
            ms = result.execution_time,
            queued_ms = result.queue_time,
            "execution ended"
        );
    }
}

async fn wait_for_turn(
    inner: &Inner,
    head: &Arc<Head>,
    program: &Program,
    waiting: Option<Waiting>,
    address: Option<std::net::IpAddr>,
) -> Result<Turn, Refusal> {
    let observer = inner.observer(&head.room);
    let room = if head.room.is_room() {
        let wait = inner.parts.config.rooms.lock_wait;
        let lock = inner.parts.locks.enqueue(&head.room);
        let place = lock.must_wait().then(|| lock.place());
        let acquired =
            announce_while(observer.as_ref(), head, place, |p| (p.position, p.queue_length), lock.acquire(wait));
        Some(acquired.await.map_err(|_| inner.room_busy(&head.room))?)
    } else {
        None
    };
    let admission = &inner.parts.admission;
    let waiting = match waiting {
        Some(waiting) => waiting,
        None => admission.enqueue(inner.request(head, program, address, false)).map_err(|e| inner.refusal(e))?,
    };
    let place = waiting.place();
    let permit =
        announce_while(observer.as_ref(), head, Some(place), |p| (p.position, p.queue_length), waiting.admitted())
            .await;
    Ok(Turn { permit: permit.map_err(|error| inner.refusal(error))?, _room: room })
}

/// Tells the room of the place in a queue, now if it has to wait and again when it changes, while something is awaited.
async fn announce_while<T, P: Clone>(
    observer: Option<&Arc<dyn RoomObserver>>,
    head: &Arc<Head>,
    place: Option<watch::Receiver<P>>,
    numbers: impl Fn(&P) -> (usize, usize),
    awaited: impl Future<Output = T>,
) -> T {
    let announce = async {
        if let (Some(observer), Some(mut place)) = (observer, place) {
            // Whoever gets its turn at once has no place worth telling.
            tokio::task::yield_now().await;
            loop {
                let (position, queue_length) = numbers(&place.borrow_and_update());
                observer.queued(head, position, queue_length).await;
                if place.changed().await.is_err() {
                    break;
                }
            }
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        biased;
        value = awaited => value,
        () = announce => unreachable!("it waits for ever"),
    }
}

/// How often a run passes on from a process that was killed, from outside, before it was let go.
const PASS_ON_MAX: u32 = 3;
/// How often from one that was dead before it had the files: all that stood ready may be, but files that are too large for the
/// sandbox's memory look the same each time.
const MISSED_MAX: u32 = 16;

/// From how many a run has passed on.
#[derive(Debug, Default, Clone, Copy)]
pub struct PassedOn {
    lost: u32,
    missed: u32,
}

impl PassedOn {
    /// Whether another that stands ready may be taken; if not, the program is started plainly.
    pub const fn may_go_on(self) -> bool {
        self.lost < PASS_ON_MAX && self.missed < MISSED_MAX
    }

    /// Whether this is an error to pass on from, which then counts.
    pub fn note(&mut self, error: &SandboxError) -> bool {
        self.lost += u32::from(error.step == Step::Lost);
        self.missed += u32::from(error.step == Step::Missed);
        matches!(error.step, Step::Lost | Step::Missed)
    }
}

/// What came of the stages, and how long it took until there was a sandbox.
async fn run_program(
    building: &Building<'_>,
    head: &Arc<Head>,
    observer: Option<Arc<dyn RoomObserver>>,
    input: Option<mpsc::Receiver<String>>,
    permit: &mut Permit,
) -> (Ran, Duration) {
    let mut input = input.map(LiveInput::new);
    let mut starting = Duration::ZERO;
    let mut passed_on = PassedOn::default();
    loop {
        // The last way is one on which nothing stood ready.
        let may_go_on = passed_on.may_go_on();
        let building = Building { ready: may_go_on, ..*building };
        let (ran, took) = try_program(&building, head, observer.clone(), input.as_mut(), permit).await;
        starting += took;
        let lost = ran.run.as_ref().is_err_and(|error| passed_on.note(error));
        // What was compiled is not compiled again: the compiler's share of the memory is given back.
        let used_up = !may_go_on || ran.compile.is_some() || input.as_ref().is_some_and(LiveInput::is_taken);
        if !lost || used_up || building.cancel.is_cancelled() {
            return (ran, starting);
        }
    }
}

/// As [`run_program`], with what stands ready first.
async fn try_program(
    building: &Building<'_>,
    head: &Arc<Head>,
    observer: Option<Arc<dyn RoomObserver>>,
    input: Option<&mut LiveInput>,
    permit: &mut Permit,
) -> (Ran, Duration) {
    let Building { inner, program, cancel, .. } = *building;
    let mut built = Built::default();
    let run = async {
        building.build(&mut built).await?;
        let Some(sandbox) = &mut built.sandbox else { return Ok(None) };
        permit.shrink_memory(program.limits.run.memory.get());
        let interval = inner.parts.config.rooms.live_output_interval;
        let live = observer.map(|observer| LiveOutput { observer, head: Arc::clone(head), interval });
        let run = Stage {
            command: program.plan.run.clone(),
            limits: program.limits.run,
            stdin: &head.stdin,
            input,
            output_bytes: program.limits.output_bytes,
            cancel,
            live: live.as_ref(),
            loaded: built.loaded.take(),
        };
        let report = run.run(sandbox).await?;
        match built.compiles {
            true => Ok(told_apart(report, sandbox.take_compiled(), &mut built.compile)),
            false => Ok(Some(report)),
        }
    }
    .await;
    if let Err(error) = &run {
        warn!(%error, "the sandbox failed");
    }
    (Ran { compile: built.compile, run }, built.starting)
}

/// Commits a finished execution.
pub async fn record(inner: &Inner, finished: &Finished) -> Result<(), Refusal> {
    inner.parts.history.record_finished(finished, inner.commit_due()).await.map_err(|error| {
        error!(%error, "an execution is not recorded");
        Refusal::HistoryUnavailable(error.to_string())
    })
}

/// Puts the pieces together; it ended now.
pub fn finished(head: &Head, started_at: Option<i64>, result: super::execution::RunResult) -> Finished {
    Finished { head: head.clone(), started_at, completed_at: unix_ms(), result }
}

/// Whole milliseconds.
pub fn millis_since(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

impl Inner {
    /// Why admission did not let it in.
    pub(super) fn refusal(&self, cause: AdmissionError) -> Refusal {
        match cause {
            AdmissionError::Closed => Refusal::ShuttingDown,
            cause => Refusal::Overloaded { cause, retry_after: self.parts.admission.retry_after() },
        }
    }

    /// The room stayed busy; its queue moves at the speed at which runs end.
    pub(super) fn room_busy(&self, room: &RoomId) -> Refusal {
        let waiting = self.parts.locks.queue(room).length;
        Refusal::RoomBusy { retry_after: self.parts.admission.retry_after_in_turn(waiting) }
    }

    /// When a record is to be committed: on a machine that has more to do than it can, with others.
    pub(super) fn commit_due(&self) -> Commit {
        if self.parts.admission.runs_wait() { Commit::Together } else { Commit::Now }
    }

    /// A quota is used up. Nobody knows when one of those that wait starts but the queue.
    pub(super) fn over_quota(&self, exceeded: QuotaExceeded) -> Refusal {
        match exceeded.kind {
            Kind::Queued => QuotaExceeded { retry_after: self.parts.admission.retry_after(), ..exceeded }.into(),
            _ => exceeded.into(),
        }
    }
}
