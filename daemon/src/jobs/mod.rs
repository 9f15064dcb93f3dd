//! Executions: from a checked submission to a recorded result.
//!
//! A submission finds or makes its execution (by correlation id), waits for the room's lock and for
//! capacity, runs in a sandbox, is recorded, and is announced. Lock and capacity are released
//! whatever happens on the way.
//!
//! **Invariant.** Nothing here knows HTTP or sockets; rooms are told through [`RoomObserver`].

pub mod admission;
pub mod artefacts;
pub mod batch;
mod batch_run;
mod building;
pub mod capture;
pub mod claims;
pub mod execution;
pub mod idempotency;
mod lifecycle;
pub mod live_output;
pub mod lock;
pub mod observer;
pub mod program;
pub mod quotas;
pub mod refusal;
pub mod response;
mod runner;
pub mod stage;
pub mod submission;
pub mod verdict;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use crankcase_runtimes::Registry;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::unix_ms;
use crate::config::{Config, Reloadable};
use crate::history::History;
use crate::ids::{CorrelationId, ExecutionId, RoomId, UserId};
use crate::metrics::Metrics;
use crate::warm::Pools;
use admission::{Admission, Request, RoomKey};
use artefacts::Artefacts;
use claims::{Claim, Claimed, Claims, Elsewhere};
use execution::{Finished, Head, StoredFile};
use idempotency::{Begun, Key, Live, Owner, Share};
use lifecycle::Job;
use lock::RoomLocks;
pub use observer::{RoomObserver, Stream};
use program::Program;
use quotas::Quotas;
pub use refusal::Refusal;
pub use response::CompileResponse;
pub use runner::{Runner, Ticket};
pub use submission::{LimitOverrides, Submission};

/// What an execution ends with for whoever waits.
type Ended = Result<Arc<Finished>, Refusal>;

/// Pieces of stdin that may wait for an interactive program.
const INPUT_WAITING: usize = 64;

/// What jobs stand on.
pub struct Parts {
    /// The configuration.
    pub config: Arc<Config>,
    /// The languages.
    pub registry: Arc<Registry>,
    /// The sandboxes.
    pub pools: Pools,
    /// The records.
    pub history: History,
    /// One execution a room.
    pub locks: RoomLocks,
    /// Who carries a request out.
    pub claims: Claims,
    /// What fits the machine.
    pub admission: Admission,
    /// What compilers made before.
    pub artefacts: Artefacts,
    /// What happens, in numbers.
    pub metrics: Metrics,
}

/// The handle that everybody shares.
#[derive(Clone)]
pub struct Jobs {
    inner: Arc<Inner>,
}

struct Inner {
    parts: Parts,
    reloadable: RwLock<Arc<Reloadable>>,
    quotas: Quotas,
    live: Live<Ended>,
    batches: Live<Arc<batch::BatchFinished>>,
    controls: Mutex<HashMap<ExecutionId, Control>>,
    observer: OnceLock<Arc<dyn RoomObserver>>,
    tasks: TaskTracker,
    closing: CancellationToken,
}

/// How to reach an execution that waits or runs.
struct Control {
    cancel: CancellationToken,
    input: Option<mpsc::Sender<String>>,
}

/// The first request of its key, and all that is needed to carry it out.
struct First {
    submission: Submission,
    program: Program,
    key: Key,
    id: ExecutionId,
    owner: Owner<Ended>,
    claim: Option<Claim>,
}

/// The queue of one room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RoomQueue {
    /// Executions that wait, without the one that runs.
    pub length: usize,
    /// How long the oldest of them has waited.
    pub oldest_age: Duration,
}

/// What waits and runs at one moment.
#[derive(Debug, Clone, Default)]
pub struct QueueSnapshot {
    /// Rooms in which something waits.
    pub rooms: HashMap<RoomId, RoomQueue>,
    /// Executions that run.
    pub running: usize,
    /// Executions that wait, in all rooms.
    pub queued: usize,
}

impl First {
    /// An earlier request of its key has a result.
    fn was_done(self, finished: Finished) -> Ticket {
        let finished = Arc::new(finished);
        self.owner.finish(Ok(Arc::clone(&finished)));
        Ticket {
            id: finished.head.id.clone(),
            correlation_id: self.key.correlation_id,
            replayed: true,
            result: Box::pin(std::future::ready(Ok(finished))),
        }
    }
}

/// The ticket of one that waits for a live execution.
fn waits(id: ExecutionId, key: Key, replayed: bool, share: Share<Ended>) -> Ticket {
    let result = async { share.result().await.unwrap_or(Err(Refusal::ShuttingDown)) };
    Ticket { id, correlation_id: key.correlation_id, replayed, result: Box::pin(result) }
}

/// Why input could not be given to a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// No such execution runs.
    #[error("no such execution is running")]
    NotRunning,
    /// It was not started as interactive, or its stdin is closed.
    #[error("the execution takes no input")]
    Closed,
    /// More than the program reads is waiting already.
    #[error("the program does not read its input")]
    Full,
}

impl Jobs {
    /// Ready for submissions. [`Jobs::observe`] comes before the first.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let reloadable = parts.config.reloadable.clone();
        let quotas = Quotas::new(reloadable.quotas);
        Self {
            inner: Arc::new(Inner {
                parts,
                reloadable: RwLock::new(Arc::new(reloadable)),
                quotas,
                live: Live::default(),
                batches: Live::default(),
                controls: Mutex::default(),
                observer: OnceLock::new(),
                tasks: TaskTracker::new(),
                closing: CancellationToken::new(),
            }),
        }
    }

    /// Names who is told of executions in rooms; once.
    pub fn observe(&self, observer: Arc<dyn RoomObserver>) {
        let _ = self.inner.observer.set(observer);
    }

    /// Puts other limits and quotas in force; what runs or waits keeps its own.
    pub fn reload(&self, reloadable: Reloadable) {
        self.inner.quotas.reconfigure(reloadable.quotas);
        self.inner.parts.pools.reload(&reloadable);
        *self.inner.reloadable.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(reloadable);
    }

    /// Takes a submission on: it is recorded as queued when this returns.
    ///
    /// # Errors
    /// [`Refusal`] when it cannot even wait: unknown language, full queue, used-up quota.
    pub async fn submit(&self, submission: Submission) -> Result<Ticket, Refusal> {
        let jobs = self.clone();
        // A task of its own: a client that leaves in the middle must not leave half of it done.
        let taken = tokio::spawn(async move { jobs.take_on(submission).await }).await;
        let result = taken.unwrap_or(Err(Refusal::ShuttingDown));
        if let Err(refusal) = &result {
            self.inner.parts.metrics.refused(refusal);
        }
        result
    }

    async fn take_on(&self, submission: Submission) -> Result<Ticket, Refusal> {
        let inner = &self.inner;
        let program = inner.prepare(&submission)?;
        let id = ExecutionId::generate(unix_ms());
        let correlation_id = submission.correlation_id.clone().unwrap_or_else(|| CorrelationId::from(&id));
        let key = Key { room: submission.room.clone(), user: submission.user.clone(), correlation_id };
        let (owner, share) = match inner.live.begin(&key, &id) {
            Begun::Repeat(share) => return Ok(waits(share.id().clone(), key, true, share)),
            Begun::First(owner, share) => (owner, share),
        };
        let mut first = First { submission, program, key, id, owner, claim: None };
        // Only a name that the client chose can have been used before.
        if first.submission.correlation_id.is_some() {
            if let Some(stored) = inner.stored(&first.key).await? {
                return Ok(first.was_done(stored));
            }
            match inner.parts.claims.claim(&first.key, &first.id).await {
                Claimed::Here(claim) => first.claim = Some(claim),
                Claimed::Done(finished) => return Ok(first.was_done(*finished)),
                Claimed::Elsewhere(elsewhere) => {
                    let ticket = waits(elsewhere.id().clone(), first.key.clone(), true, share);
                    inner.tasks.spawn(self.clone().wait_elsewhere(first, elsewhere));
                    return Ok(ticket);
                }
            }
        }
        let ticket = waits(first.id.clone(), first.key.clone(), false, share);
        self.begin(first).await?;
        Ok(ticket)
    }

    /// Waits for what another daemon makes of a request; when nothing comes of it, carries it out here.
    async fn wait_elsewhere(self, mut first: First, mut elsewhere: Elsewhere) {
        let abandoned = first.owner.abandoned().clone();
        loop {
            let result = tokio::select! {
                biased;
                () = abandoned.cancelled() => return,
                () = self.inner.closing.cancelled() => return,
                result = elsewhere.result() => result,
            };
            if let Some(finished) = result {
                return first.owner.finish(Ok(Arc::new(finished)));
            }
            match self.inner.parts.claims.claim(&first.key, &first.id).await {
                Claimed::Done(finished) => return first.owner.finish(Ok(Arc::new(*finished))),
                Claimed::Elsewhere(other) => elsewhere = other,
                Claimed::Here(claim) => {
                    first.claim = Some(claim);
                    if let Err(refusal) = self.begin(first).await {
                        self.inner.parts.metrics.refused(&refusal);
                    }
                    return;
                }
            }
        }
    }

    /// Has a request carried out: it is recorded as queued when this returns. Whoever waits is told of a refusal.
    async fn begin(&self, first: First) -> Result<(), Refusal> {
        let inner = &self.inner;
        let First { submission, program, key, id, owner, claim } = first;
        let queued = async {
            let quota = inner.quotas.enter(&key.room, &key.user, submission.address);
            let quota = quota.map_err(|exceeded| inner.over_quota(exceeded))?;
            let head = Arc::new(head(&submission, id.clone(), key.correlation_id.clone()));
            // Outside of rooms there is nothing to wait for but capacity: a full queue refuses before anything is
            // written.
            let waiting = match head.room.is_room() {
                true => None,
                false => {
                    let request = inner.request(&head, &program, submission.address, false);
                    Some(inner.parts.admission.enqueue(request).map_err(|error| inner.refusal(error))?)
                }
            };
            let (cancel, input) = inner.control(&id, submission.interactive);
            if let Err(error) = inner.parts.history.record_queued(&head, inner.commit_due()).await {
                inner.forget(&id);
                return Err(Refusal::HistoryUnavailable(error.to_string()));
            }
            Ok((quota, head, waiting, cancel, input))
        };
        let (quota, head, waiting, cancel, input) = match queued.await {
            Ok(queued) => queued,
            Err(refusal) => {
                owner.finish(Err(refusal.clone()));
                return Err(refusal);
            }
        };
        let job = Job {
            inner: Arc::clone(inner),
            head,
            program,
            owner,
            claim,
            quota,
            waiting,
            cancel,
            input,
            received: submission.received,
            address: submission.address,
        };
        inner.tasks.spawn(job.carry_out());
        Ok(())
    }

    /// Cancels an execution that waits or runs; false when there is none of that id.
    pub fn cancel(&self, id: &ExecutionId) -> bool {
        self.inner.controls().get(id).map(|control| control.cancel.cancel()).is_some()
    }

    /// The live (queued or running) execution of a room, user and correlation id.
    pub fn find(&self, room: &RoomId, user: &UserId, correlation_id: &CorrelationId) -> Option<ExecutionId> {
        let key = Key { room: room.clone(), user: user.clone(), correlation_id: correlation_id.clone() };
        self.inner.live.find(&key)
    }

    /// Appends to the stdin of an interactive execution.
    ///
    /// # Errors
    /// [`InputError`] when there is nobody to read it.
    pub fn input(&self, id: &ExecutionId, data: &str) -> Result<(), InputError> {
        let controls = self.inner.controls();
        let input = controls.get(id).ok_or(InputError::NotRunning)?.input.as_ref().ok_or(InputError::Closed)?;
        input.try_send(data.to_owned()).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => InputError::Full,
            mpsc::error::TrySendError::Closed(_) => InputError::Closed,
        })
    }

    /// What waits and runs.
    pub fn queue(&self) -> QueueSnapshot {
        let admission = self.inner.parts.admission.snapshot();
        let mut rooms = self.inner.parts.locks.queues();
        for (key, waiters) in admission.rooms {
            // One that holds its room's lock waits for capacity; the others of its room wait for the lock.
            if let RoomKey::Room(room) = key {
                let queue = rooms.entry(room).or_default();
                queue.length += waiters.length;
                queue.oldest_age = queue.oldest_age.max(waiters.oldest_age);
            }
        }
        let waiting_for_locks: usize = self.inner.parts.locks.queues().values().map(|queue| queue.length).sum();
        QueueSnapshot { rooms, running: admission.running, queued: admission.queued + waiting_for_locks }
    }

    /// Takes nothing on any more, lets what runs end within the deadline, and cancels the rest.
    pub async fn drain(&self, deadline: Duration) {
        self.inner.closing.cancel();
        self.inner.parts.admission.close();
        self.inner.tasks.close();
        if tokio::time::timeout(deadline, self.inner.tasks.wait()).await.is_err() {
            self.inner.controls().values().for_each(|control| control.cancel.cancel());
            // A killed sandbox is gone within moments; a spawner that hangs must not hold the daemon for ever.
            let _ = tokio::time::timeout(Duration::from_secs(3), self.inner.tasks.wait()).await;
        }
        self.inner.parts.locks.released().await;
    }
}

impl Inner {
    fn prepare(&self, submission: &Submission) -> Result<Program, Refusal> {
        if self.closing.is_cancelled() {
            return Err(Refusal::ShuttingDown);
        }
        let reloadable = Arc::clone(&self.reloadable.read().unwrap_or_else(PoisonError::into_inner));
        Program::prepare(&self.parts.config, &reloadable, &self.parts.registry, submission)
    }

    /// The recorded result of an earlier request; one that never ran is none.
    async fn stored(&self, key: &Key) -> Result<Option<Finished>, Refusal> {
        let found = self.parts.history.find_by_correlation(&key.room, &key.user, &key.correlation_id).await;
        let found = found.map_err(|error| Refusal::HistoryUnavailable(error.to_string()))?;
        Ok(found.filter(|finished| finished.started_at.is_some()))
    }

    fn request(&self, head: &Head, program: &Program, address: Option<std::net::IpAddr>, background: bool) -> Request {
        Request {
            room: RoomKey::new(&head.room, &head.user, address),
            user: head.user.clone(),
            class: self.parts.admission.config().class(&head.room, background),
            priority: head.priority,
            cpu_millis: None,
            // On a small host a limit may exceed all there is: such a run takes it all, and its cgroup's parent holds it.
            memory_bytes: program.memory_bytes().min(self.parts.admission.budget().memory_bytes),
            wait: None,
        }
    }

    fn control(&self, id: &ExecutionId, interactive: bool) -> (CancellationToken, Option<mpsc::Receiver<String>>) {
        let cancel = CancellationToken::new();
        let (input, receiver) = mpsc::channel(INPUT_WAITING);
        let control = Control { cancel: cancel.clone(), input: interactive.then_some(input) };
        self.controls().insert(id.clone(), control);
        (cancel, interactive.then_some(receiver))
    }

    fn forget(&self, id: &ExecutionId) {
        self.controls().remove(id);
    }

    fn controls(&self) -> MutexGuard<'_, HashMap<ExecutionId, Control>> {
        self.controls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn observer(&self, room: &RoomId) -> Option<Arc<dyn RoomObserver>> {
        self.observer.get().filter(|_| room.is_room()).cloned()
    }
}

fn head(submission: &Submission, id: ExecutionId, correlation_id: CorrelationId) -> Head {
    Head {
        id,
        correlation_id,
        room: submission.room.clone(),
        user: submission.user.clone(),
        username: submission.username.clone(),
        language: submission.language.clone(),
        code: submission.code.clone(),
        stdin: submission.stdin.clone(),
        args: submission.args.clone(),
        files: submission.files.iter().map(StoredFile::from).collect(),
        priority: submission.priority,
        queued_at: unix_ms(),
    }
}
