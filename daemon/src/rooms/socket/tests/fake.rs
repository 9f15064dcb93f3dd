//! Programs that only pretend to run. Their code says what they do: `say X` prints X, `wait` runs until it is
//! fed, cancelled or finished by the test, `reject` and `busy` are refused.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::ids::{CorrelationId, ExecutionId, RoomId, UserId};
use crate::jobs::execution::{Finished, Head, RunResult, Status, Truncated};
use crate::jobs::{
    InputError, LimitOverrides, QueueSnapshot, Refusal, RoomObserver, Runner, Stream, Submission, Ticket,
};
use crate::rooms::announcer::Announcer;

type Key = (RoomId, UserId, CorrelationId);

enum Told {
    Input(String),
    End(Status),
}

pub struct FakeRunner {
    observer: Arc<Announcer>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    live: HashMap<Key, (ExecutionId, mpsc::UnboundedSender<Told>)>,
    over: HashMap<Key, Arc<Finished>>,
    dropped: HashSet<CorrelationId>,
    locks: HashMap<RoomId, Arc<tokio::sync::Mutex<()>>>,
}

impl FakeRunner {
    pub fn new(observer: Arc<Announcer>) -> Arc<Self> {
        Arc::new(Self { observer, state: Arc::default() })
    }

    /// Whether everyone let go of this one while it waited.
    pub fn dropped(&self, correlation_id: &str) -> bool {
        self.state.lock().unwrap().dropped.iter().any(|id| id.as_str() == correlation_id)
    }

    /// Ends one that runs.
    pub fn finish(&self, correlation_id: &str) {
        let state = self.state.lock().unwrap();
        let live = state.live.iter().find(|((_, _, id), _)| id.as_str() == correlation_id);
        live.unwrap().1.1.send(Told::End(Status::Completed)).unwrap();
    }

    pub async fn submit_over_http(
        &self,
        room: &str,
        user: &str,
        code: &str,
    ) -> BoxFuture<'static, Result<Arc<Finished>, Refusal>> {
        let submission = Submission {
            room: RoomId::new(room).unwrap(),
            user: UserId::new(user).unwrap(),
            username: user.to_owned(),
            language: "python".to_owned(),
            code: code.to_owned(),
            stdin: String::new(),
            args: Vec::new(),
            files: Vec::new(),
            priority: 0,
            overrides: LimitOverrides::default(),
            correlation_id: None,
            interactive: false,
            address: None,
            received: Instant::now(),
        };
        self.submit(submission).await.unwrap().result
    }

    fn tell(&self, id: &ExecutionId, told: Told) -> bool {
        let state = self.state.lock().unwrap();
        state.live.values().find(|(live, _)| live == id).is_some_and(|(_, tell)| tell.send(told).is_ok())
    }

    fn start(&self, submission: Submission) -> Result<Ticket, Refusal> {
        if submission.code == "reject" {
            return Err(Refusal::UnsupportedLanguage { supported: vec!["python".to_owned()] });
        }
        let id = ExecutionId::generate(1);
        let correlation_id = submission.correlation_id.unwrap_or_else(|| (&id).into());
        let key = (submission.room.clone(), submission.user.clone(), correlation_id.clone());
        let mut state = self.state.lock().unwrap();
        if let Some(finished) = state.over.get(&key).cloned() {
            let id = finished.head.id.clone();
            return Ok(Ticket { id, correlation_id, replayed: true, result: async { Ok(finished) }.boxed() });
        }
        if submission.code == "busy" {
            let busy = Refusal::RoomBusy { retry_after: std::time::Duration::from_secs(1) };
            return Ok(Ticket { id, correlation_id, replayed: false, result: async { Err(busy) }.boxed() });
        }
        let (tell, told) = mpsc::unbounded_channel();
        state.live.insert(key.clone(), (id.clone(), tell));
        let lock = Arc::clone(state.locks.entry(submission.room.clone()).or_default());
        let head = Arc::new(Head {
            id: id.clone(),
            correlation_id: correlation_id.clone(),
            room: submission.room,
            user: submission.user,
            username: submission.username,
            language: submission.language,
            code: submission.code,
            stdin: submission.stdin,
            args: Vec::new(),
            files: Vec::new(),
            priority: 0,
            queued_at: 1,
        });
        let (done, result) = oneshot::channel();
        let held = CancellationToken::new();
        let guard = held.clone().drop_guard();
        let (observer, state) = (Arc::clone(&self.observer), Arc::clone(&self.state));
        tokio::spawn(async move {
            observer.queued(&head, 0, 1).await;
            let Some(_lock) = held.run_until_cancelled(lock.lock()).await else {
                state.lock().unwrap().dropped.insert(head.correlation_id.clone());
                let _ = done.send(Err(Refusal::Cancelled));
                return;
            };
            let finished = run(&observer, &head, told).await;
            {
                let mut state = state.lock().unwrap();
                state.live.remove(&key);
                state.over.insert(key, Arc::clone(&finished));
            }
            let _ = done.send(Ok(finished));
        });
        let result = async move {
            let _guard = guard;
            result.await.unwrap_or(Err(Refusal::Cancelled))
        };
        Ok(Ticket { id, correlation_id, replayed: false, result: result.boxed() })
    }
}

async fn run(observer: &Announcer, head: &Arc<Head>, mut told: mpsc::UnboundedReceiver<Told>) -> Arc<Finished> {
    observer.started(head).await;
    let mut output = String::new();
    let mut status = Status::Completed;
    if let Some(said) = head.code.strip_prefix("say ") {
        output = said.to_owned();
        observer.output(head, Stream::Stdout, said, 0).await;
    } else {
        while let Some(told) = told.recv().await {
            match told {
                Told::Input(data) => observer.output(head, Stream::Stdout, &data, 0).await,
                Told::End(end) => {
                    status = end;
                    break;
                }
            }
        }
    }
    let result = RunResult {
        success: status == Status::Completed,
        status,
        output,
        error: None,
        execution_time: 1,
        stdout: String::new(),
        stderr: String::new(),
        exit_code: Some(0),
        signal: None,
        compile: None,
        truncated: Truncated::default(),
        limit: None,
        cpu_time: 0,
        wall_time: 0,
        memory: 0,
        queue_time: 0,
    };
    let head = Head::clone(head);
    let finished = Arc::new(Finished { head, started_at: Some(1), completed_at: 2, result });
    observer.finished(&finished).await;
    finished
}

impl Runner for FakeRunner {
    fn submit(&self, submission: Submission) -> BoxFuture<'_, Result<Ticket, Refusal>> {
        std::future::ready(self.start(submission)).boxed()
    }

    fn cancel(&self, id: &ExecutionId) -> bool {
        self.tell(id, Told::End(Status::Cancelled))
    }

    fn find(&self, room: &RoomId, user: &UserId, correlation_id: &CorrelationId) -> Option<ExecutionId> {
        let key = (room.clone(), user.clone(), correlation_id.clone());
        self.state.lock().unwrap().live.get(&key).map(|(id, _)| id.clone())
    }

    fn queue(&self) -> QueueSnapshot {
        QueueSnapshot::default()
    }

    fn input(&self, id: &ExecutionId, data: &str) -> Result<(), InputError> {
        if self.tell(id, Told::Input(data.to_owned())) { Ok(()) } else { Err(InputError::NotRunning) }
    }
}
