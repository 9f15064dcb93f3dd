//! A runner without a sandbox, and requests without a port.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderMap, StatusCode};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http_body_util::BodyExt;
use serde_json::Value;
use tempfile::TempDir;
use tower::ServiceExt;

use super::health::Health;
use super::languages::Language;
use super::settings::Settings;
use super::{ApiState, Parts, router};
use crate::config::{Config, Environment, Limits};
use crate::history::{History, Options};
use crate::ids::{CorrelationId, ExecutionId, RoomId, UserId};
use crate::jobs::batch::{BatchFinished, BatchRunner, BatchSubmission, CaseResult, CaseVerdict};
use crate::jobs::execution::{Finished, Head, RunResult, Status, StoredFile, Truncated};
use crate::jobs::{InputError, QueueSnapshot, Refusal, Runner, Submission, Ticket};
use crate::rooms::Rooms;
use crate::rooms::limits::RoomLimits;

/// What the fake does with a submission.
#[derive(Clone)]
pub enum Script {
    /// It ends like this.
    Finish(RunResult),
    /// As a repeat that was not run again.
    Replay(RunResult),
    /// Not taken on.
    Refuse(Refusal),
    /// Taken on, then not started.
    RefuseLater(Refusal),
    /// Never ends.
    Hang,
    /// A bug.
    Panic,
}

/// Plays a script for each submission and keeps what it was given.
pub struct FakeRunner {
    pub script: Mutex<Script>,
    pub seen: Mutex<Vec<Submission>>,
    pub cancelled: Mutex<Vec<String>>,
    pub queue: Mutex<QueueSnapshot>,
    pub batches: Mutex<Vec<BatchSubmission>>,
    /// Tickets that are alive.
    pub waiting: Arc<AtomicUsize>,
}

struct Guard(Arc<AtomicUsize>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl FakeRunner {
    pub fn new(script: Script) -> Arc<Self> {
        Arc::new(Self {
            script: Mutex::new(script),
            seen: Mutex::default(),
            cancelled: Mutex::default(),
            queue: Mutex::default(),
            batches: Mutex::default(),
            waiting: Arc::default(),
        })
    }
}

/// The id of every fake execution.
pub const ID: &str = "exec-5-00";

/// A program that printed `hi` and left with 0.
pub fn hi() -> RunResult {
    RunResult {
        success: true,
        status: Status::Completed,
        output: "hi\n".to_owned(),
        error: None,
        execution_time: 12,
        stdout: "hi\n".to_owned(),
        stderr: String::new(),
        exit_code: Some(0),
        signal: None,
        compile: None,
        truncated: Truncated::default(),
        limit: None,
        cpu_time: 3,
        wall_time: 4,
        memory: 5000,
        queue_time: 1,
    }
}

/// The submission's end, at a fixed time.
pub fn finished(submission: &Submission, result: RunResult) -> Arc<Finished> {
    let id = ExecutionId::new(ID).unwrap();
    let files = submission.files.iter().map(StoredFile::from);
    Arc::new(Finished {
        head: Head {
            correlation_id: submission.correlation_id.clone().unwrap_or_else(|| CorrelationId::from(&id)),
            id,
            room: submission.room.clone(),
            user: submission.user.clone(),
            username: submission.username.clone(),
            language: submission.language.clone(),
            code: submission.code.clone(),
            stdin: submission.stdin.clone(),
            args: submission.args.clone(),
            files: files.collect(),
            priority: submission.priority,
            queued_at: 1_769_644_800_000,
        },
        started_at: Some(1_769_644_800_001),
        completed_at: 1_769_644_800_007,
        result,
    })
}

impl Runner for FakeRunner {
    fn submit(&self, submission: Submission) -> BoxFuture<'_, Result<Ticket, Refusal>> {
        self.seen.lock().unwrap().push(submission.clone());
        let script = self.script.lock().unwrap().clone();
        let replayed = matches!(script, Script::Replay(_));
        let result = match script {
            Script::Refuse(refusal) => return async { Err(refusal) }.boxed(),
            Script::Panic => panic!("a bug in the runner"),
            Script::Finish(result) | Script::Replay(result) => Some(Ok(finished(&submission, result))),
            Script::RefuseLater(refusal) => Some(Err(refusal)),
            Script::Hang => None,
        };
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let guard = Guard(Arc::clone(&self.waiting));
        let id = ExecutionId::new(ID).unwrap();
        let ticket = Ticket {
            correlation_id: submission.correlation_id.unwrap_or_else(|| CorrelationId::from(&id)),
            id,
            replayed,
            result: async move {
                let _guard = guard;
                match result {
                    Some(result) => result,
                    None => std::future::pending().await,
                }
            }
            .boxed(),
        };
        async { Ok(ticket) }.boxed()
    }

    fn cancel(&self, id: &ExecutionId) -> bool {
        self.cancelled.lock().unwrap().push(id.to_string());
        id.as_str() == ID
    }

    fn find(&self, _: &RoomId, _: &UserId, _: &CorrelationId) -> Option<ExecutionId> {
        None
    }

    fn input(&self, _: &ExecutionId, _: &str) -> Result<(), InputError> {
        Err(InputError::NotRunning)
    }

    fn queue(&self) -> QueueSnapshot {
        self.queue.lock().unwrap().clone()
    }
}

/// Plays the script's result for each case; a case whose input is "bad" gets a wrong answer.
impl BatchRunner for FakeRunner {
    fn run_batch(&self, batch: BatchSubmission) -> BoxFuture<'_, Result<BatchFinished, Refusal>> {
        self.batches.lock().unwrap().push(batch.clone());
        let (replayed, result) = match self.script.lock().unwrap().clone() {
            Script::Finish(result) => (false, result),
            Script::Replay(result) => (true, result),
            Script::Refuse(refusal) | Script::RefuseLater(refusal) => return async { Err(refusal) }.boxed(),
            Script::Hang => return std::future::pending().boxed(),
            Script::Panic => panic!("a bug in the runner"),
        };
        let case = |case: &crate::jobs::batch::Case| CaseResult {
            verdict: if case.stdin == "bad" { CaseVerdict::WrongAnswer } else { CaseVerdict::Accepted },
            stdout: result.stdout.clone(),
            stderr: result.stderr.clone(),
            exit_code: result.exit_code,
            signal: result.signal.clone(),
            limit: result.limit.clone(),
            truncated: result.truncated,
            cpu_time: result.cpu_time,
            wall_time: result.wall_time,
            memory: result.memory,
        };
        let results = batch.cases.iter().map(case).collect();
        let whole = finished(&batch.submission, result);
        let batch = BatchFinished {
            head: whole.head.clone(),
            completed_at: whole.completed_at,
            status: whole.result.status,
            error: whole.result.error.clone(),
            execution_time: whole.result.execution_time,
            queue_time: whole.result.queue_time,
            compile: whole.result.compile.clone(),
            results,
            replayed,
        };
        async { Ok(batch) }.boxed()
    }
}

/// The settings that come of a configuration file of this text.
pub fn settings(text: &str) -> Settings {
    Settings::new(&Config::parse(text, &Environment::default()).unwrap(), 4334)
}

/// Two languages with the general limits.
fn languages(limits: &Limits) -> Vec<Language> {
    let limits = limits.general;
    let language = |name: &str, aliases: &[&str], version: &str| Language {
        name: name.to_owned(),
        aliases: aliases.iter().map(|&alias| alias.to_owned()).collect(),
        version: Some(version.to_owned()),
        limits,
    };
    vec![language("python", &["py", "python3"], "3.11.2"), language("cpp", &["c++"], "12.2.0")]
}

/// A router over a fake runner, real rooms and a real history in a directory of its own.
pub struct Bench {
    pub runner: Arc<FakeRunner>,
    pub history: History,
    pub state: Arc<ApiState>,
    pub router: Router,
    _directory: TempDir,
}

/// What came back.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    /// The body, which must be JSON.
    pub fn json(&self) -> Value {
        assert_eq!(self.headers["content-type"], "application/json", "{}", self.text);
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Checks status and the contract's error shape; gives the sentence.
    pub fn error(&self, status: u16, code: &str) -> String {
        let body = self.json();
        assert_eq!(self.status, status, "{body}");
        assert_eq!((&body["success"], &body["code"]), (&Value::Bool(false), &Value::from(code)), "{body}");
        body["error"].as_str().expect("error is a string").to_owned()
    }
}

impl Bench {
    pub fn new(script: Script) -> Self {
        Self::with(script, settings(""), Health::default())
    }

    pub fn with(script: Script, settings: Settings, health: Health) -> Self {
        let runner = FakeRunner::new(script);
        let directory = tempfile::tempdir().unwrap();
        let history = History::open(&directory.path().join("history.db"), Options::default()).unwrap();
        let state = ApiState::new(Parts {
            settings,
            runner: runner.clone(),
            batches: runner.clone(),
            history: history.clone(),
            languages: Arc::new(languages),
            rooms: Rooms::new(RoomLimits::default(), Arc::new(history.clone())).diagnostics,
            health,
            metrics: Arc::new(|| "# EOF\n".to_owned()),
            refused: Arc::new(|_| ()),
            started_at: Instant::now(),
        });
        Self { runner, history, router: router(Arc::clone(&state)), state, _directory: directory }
    }

    pub async fn send(&self, request: Request) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status, headers: parts.headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(request("GET", path).body(Body::empty()).unwrap()).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(json_request("POST", path, body)).await
    }
}

/// A request as it comes from a browser page over a connection from 127.0.0.1.
pub fn request(method: &str, path: &str) -> axum::http::request::Builder {
    Request::builder()
        .method(method)
        .uri(path)
        .header("origin", "http://localhost:3000")
        .extension(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 40_000))))
}

pub fn json_request(method: &str, path: &str, body: &Value) -> Request {
    request(method, path).header("content-type", "application/json").body(Body::from(body.to_string())).unwrap()
}
