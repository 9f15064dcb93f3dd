//! The one thread that writes.
//!
//! It takes whatever waits, commits it as one transaction, and only then answers each caller: an answer means that
//! the record is committed. A group in which one write fails is rolled back and its writes are repeated one by one,
//! so that a bad one harms nobody else.
//!
//! **Invariant.** Writes are applied in the order in which they were queued, but for those that come last: they wait
//! until nothing else is to be written, and each is a transaction of its own.

use std::collections::VecDeque;
use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::checkpoint::Checkpointer;
use super::error::HistoryError;
use super::timestamp::Timestamp;

/// Writes of one transaction at most.
const GROUP: usize = 256;
/// Groups that may overtake a write that comes last.
const OVERTAKING: usize = 64;
/// How long writes stay uncommitted that may be committed with others.
const PATIENCE: Duration = Duration::from_millis(10);
/// How often a faulty storage is tried while nobody writes.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// A group that takes longer is worth a line in the log.
const SLOW: Duration = Duration::from_millis(100);

/// Why the history cannot be written at present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// When the first write failed.
    pub since: Timestamp,
    /// What the last one said.
    pub error: HistoryError,
}

/// What the writer has done, for metrics.
#[derive(Debug, Default)]
pub struct Activity {
    /// Writes that were committed.
    pub writes: AtomicU64,
    /// Transactions that they took.
    pub commits: AtomicU64,
    /// Writes that failed.
    pub failures: AtomicU64,
}

/// The storage's condition, shared with whoever asks.
#[derive(Debug, Clone, Default)]
pub(super) struct Health(Arc<Mutex<Option<Fault>>>);

impl Health {
    pub(super) fn get(&self) -> Option<Fault> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, outcome: &Result<(), HistoryError>) {
        let mut fault = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match (outcome, fault.as_mut()) {
            (Ok(()), None) => {}
            (Ok(()), Some(was)) => {
                tracing::info!(since = %was.since, "the history can be written again");
                *fault = None;
            }
            (Err(error), _) if !error.is_storage_fault() => {}
            (Err(error), None) => {
                tracing::error!(%error, "the history cannot be written");
                *fault = Some(Fault { since: Timestamp::now(), error: error.clone() });
            }
            (Err(error), Some(was)) => was.error = error.clone(),
        }
    }
}

/// When a write is to be committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    /// As soon as the one before it is.
    Now,
    /// With others, within 10 ms: a page that several records change is written once, so that a machine with more to do than
    /// it can gets more done.
    Together,
    /// When nothing else is to be written, by itself.
    Last,
}

/// A write: what to do, possibly twice, and whom to tell.
pub(super) trait Write: Send {
    /// Applies it within the current transaction. Called again when that was rolled back.
    fn apply(&mut self, connection: &Connection) -> rusqlite::Result<()>;
    /// When it is to be committed.
    fn due(&self) -> Commit;
    /// Tells the caller, after the commit or the failure.
    fn answer(self: Box<Self>, outcome: Result<(), HistoryError>);
}

/// A write whose caller waits for a value.
pub(super) struct Awaited<T, F> {
    pub(super) apply: F,
    pub(super) due: Commit,
    pub(super) value: Option<T>,
    pub(super) reply: oneshot::Sender<Result<T, HistoryError>>,
}

impl<T: Send, F: FnMut(&Connection) -> rusqlite::Result<T> + Send> Write for Awaited<T, F> {
    fn apply(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.value = Some((self.apply)(connection)?);
        Ok(())
    }

    fn due(&self) -> Commit {
        self.due
    }

    fn answer(self: Box<Self>, outcome: Result<(), HistoryError>) {
        let Self { value, reply, .. } = *self;
        // A caller that went away has lost interest in the answer, not in the record.
        let _ = reply.send(outcome.and_then(|()| value.ok_or(HistoryError::Closed)));
    }
}

/// A write nobody waits for; its failure is logged.
pub(super) struct Detached<F> {
    pub(super) what: &'static str,
    pub(super) apply: F,
}

impl<F: FnMut(&Connection) -> rusqlite::Result<()> + Send> Write for Detached<F> {
    fn apply(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        (self.apply)(connection)
    }

    fn due(&self) -> Commit {
        Commit::Together
    }

    fn answer(self: Box<Self>, outcome: Result<(), HistoryError>) {
        if let Err(error) = outcome {
            tracing::warn!(what = self.what, %error, "lost a record");
        }
    }
}

/// What the thread is asked.
pub(super) enum Request {
    /// Write this; the permit is given back after the answer.
    Write(Box<dyn Write>, OwnedSemaphorePermit),
    /// Write what was queued before, then end.
    Stop,
}

/// The thread's own things, in the order in which they are to be dropped.
pub(super) struct Writer {
    pub(super) checkpointer: Checkpointer,
    pub(super) connection: Connection,
    pub(super) health: Health,
    pub(super) activity: Arc<Activity>,
    pub(super) requests: Receiver<Request>,
    /// Keeps a second daemon out until the connection is closed.
    pub(super) lock: File,
}

type Group = Vec<(Box<dyn Write>, OwnedSemaphorePermit)>;

/// What is to be written.
#[derive(Default)]
struct Queued {
    group: Group,
    last: VecDeque<(Box<dyn Write>, OwnedSemaphorePermit)>,
    /// One of the group is to be committed now.
    urgent: bool,
    stop: bool,
}

impl Queued {
    fn take(&mut self, request: Request) {
        match request {
            Request::Write(write, permit) if write.due() == Commit::Last => self.last.push_back((write, permit)),
            Request::Write(write, permit) => {
                self.urgent |= write.due() == Commit::Now;
                self.group.push((write, permit));
            }
            Request::Stop => self.stop = true,
        }
    }
}

impl Writer {
    /// The next request that goes with what is queued, which may wait for one until `patience` is over.
    fn company(&self, queued: &Queued, patience: Instant) -> Option<Request> {
        let is_urgent = queued.urgent || queued.group.is_empty() || !queued.last.is_empty();
        let wait = if is_urgent { Duration::ZERO } else { patience.saturating_duration_since(Instant::now()) };
        self.requests.recv_timeout(wait).ok()
    }

    /// The thread's body: until told to stop or until every handle is gone.
    pub(super) fn run(mut self) {
        let mut queued = Queued::default();
        let mut overtaken = 0;
        while !queued.stop {
            let first = match self.health.get() {
                _ if !queued.last.is_empty() => self.requests.recv_timeout(Duration::ZERO),
                None => self.requests.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(_) => self.requests.recv_timeout(PROBE_INTERVAL),
            };
            match first {
                Ok(request) => queued.take(request),
                Err(RecvTimeoutError::Disconnected) => queued.stop = true,
                Err(RecvTimeoutError::Timeout) if queued.last.is_empty() => {
                    let outcome = self.probe();
                    self.health.note(&outcome);
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            let patience = Instant::now() + PATIENCE;
            while !queued.stop && queued.group.len() < GROUP {
                let Some(request) = self.company(&queued, patience) else { break };
                queued.take(request);
            }
            let idle = queued.group.is_empty();
            if !idle {
                overtaken += 1;
                queued.urgent = false;
                self.commit_timed(&mut queued.group);
            }
            while !queued.last.is_empty() && (idle || overtaken > OVERTAKING || queued.stop) {
                overtaken = 0;
                queued.group.extend(queued.last.pop_front());
                self.commit_timed(&mut queued.group);
                if !queued.stop {
                    break;
                }
            }
        }
        self.close();
    }

    fn commit_timed(&mut self, group: &mut Group) {
        let (writes, begun) = (group.len(), Instant::now());
        self.commit(group);
        let commit = begun.elapsed();
        self.checkpointer.committed(&self.connection);
        let all = begun.elapsed();
        if all > SLOW {
            let (commit, log) = (commit.as_millis(), (all - commit).as_millis());
            tracing::warn!(writes, commit_ms = commit, log_ms = log, "the history's disk is slow");
        }
    }

    /// Commits all or, after a failure, each by itself; answers every one.
    fn commit(&mut self, group: &mut Group) {
        let together =
            self.transaction(|connection| group.iter_mut().try_for_each(|(write, _)| write.apply(connection)));
        match &together {
            // Nobody gets in while the lock is elsewhere: one wait for the whole group.
            Ok(()) | Err(HistoryError::Locked(_)) => {
                self.note(group.len(), &together);
                for (write, _permit) in group.drain(..) {
                    write.answer(together.clone());
                }
            }
            Err(_) => {
                for (mut write, _permit) in group.drain(..) {
                    let outcome = self.transaction(|connection| write.apply(connection));
                    self.note(1, &outcome);
                    write.answer(outcome);
                }
            }
        }
    }

    fn note(&self, writes: usize, outcome: &Result<(), HistoryError>) {
        let Activity { writes: written, commits, failures } = &*self.activity;
        match outcome {
            Ok(()) => {
                written.fetch_add(writes as u64, Ordering::Relaxed);
                commits.fetch_add(1, Ordering::Relaxed);
            }
            Err(_) => {
                failures.fetch_add(writes as u64, Ordering::Relaxed);
            }
        }
        self.health.note(outcome);
    }

    fn transaction(&mut self, body: impl FnOnce(&Connection) -> rusqlite::Result<()>) -> Result<(), HistoryError> {
        // Dropped without a commit it rolls back, also when SQLite has done so already (a full disk).
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        body(&transaction)?;
        Ok(transaction.commit()?)
    }

    /// Writes and removes more than a record's size, to learn whether a record would fit again.
    fn probe(&mut self) -> Result<(), HistoryError> {
        self.transaction(|connection| {
            connection.execute("INSERT OR REPLACE INTO probe (id, bytes) VALUES (1, zeroblob(65536))", []).map(drop)
        })?;
        self.transaction(|connection| connection.execute("DELETE FROM probe", []).map(drop))
    }

    fn close(self) {
        let Self { checkpointer, connection, requests, lock, .. } = self;
        // Whoever queued after the stop gets `Closed` from its dropped reply.
        drop(requests);
        checkpointer.stop();
        // The last connection moves the rest of the log into the main file and removes the log.
        if let Err((_, error)) = connection.close() {
            tracing::warn!(%error, "closing the history");
        }
        drop(lock);
    }
}
