//! `execute-code` and what belongs to it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Map, Value, json};
use tokio::task::JoinSet;

use super::connection::Connection;
use super::session::Place;
use crate::clock::unix_ms;
use crate::ids::{CorrelationId, ExecutionId, RoomId, UserId};
use crate::jobs::{LimitOverrides, Refusal, Submission};
use crate::rooms::announcer::response;
use crate::rooms::input::{Action, Execute, Problem};
use crate::rooms::text::ANONYMOUS;

/// Runs of a client whose user is remembered, for cancelling and input.
const REMEMBERED: usize = 128;

/// The runs of one client in one room. Dropping it lets go of them.
#[derive(Default)]
pub(super) struct Runs {
    tasks: JoinSet<()>,
    recent: VecDeque<(CorrelationId, UserId)>,
}

impl Runs {
    fn count(&mut self) -> usize {
        while self.tasks.try_join_next().is_some() {}
        self.tasks.len()
    }

    fn remember(&mut self, correlation_id: CorrelationId, user: UserId) {
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back((correlation_id, user));
    }

    fn user_of(&self, correlation_id: &CorrelationId) -> Option<&UserId> {
        self.recent.iter().rev().find(|(id, _)| id == correlation_id).map(|(_, user)| user)
    }
}

impl Place {
    pub(super) async fn execute(
        &mut self,
        connection: &Arc<Connection>,
        number: Option<u64>,
        execute: Execute,
        received: Instant,
    ) {
        let refused = |correlation_id: Option<CorrelationId>, error: &str, code: &str| {
            let body = refusal(Some(&self.room), correlation_id, error, code, number);
            connection.tell("execution-result", &Value::Object(body));
        };
        let ready = execute.code_change_sequence.is_none_or(|change| self.order.processed(change, number));
        if !ready {
            return refused(execute.correlation_id, "Cannot execute: code state not ready", "CODE_NOT_READY");
        }
        let most = connection.shared.limits().runs_per_socket;
        if self.runs.count() >= most {
            let error = format!("this connection has {most} executions that wait or run already");
            return refused(execute.correlation_id, &error, "RATE_LIMIT_EXCEEDED");
        }
        let user = execute.user.unwrap_or_else(|| self.member.user.clone());
        let username = execute.username.unwrap_or_else(|| self.member.username.clone());
        let submission = Submission {
            room: self.room.clone(),
            user: user.clone(),
            username: if username.is_empty() { ANONYMOUS.to_owned() } else { username },
            language: execute.language,
            code: execute.code,
            stdin: execute.stdin,
            args: Vec::new(),
            files: Vec::new(),
            priority: 0,
            overrides: LimitOverrides::default(),
            correlation_id: execute.correlation_id.clone(),
            interactive: execute.interactive,
            address: connection.address,
            received,
        };
        let shared = &connection.shared;
        let submitting = shared.origins.submitting(&self.room, &user);
        let run = match shared.runner.submit(submission).await {
            Ok(run) => run,
            Err(error) => {
                let mut body =
                    refusal(Some(&self.room), execute.correlation_id, &error.to_string(), error.code(), number);
                add_details(&mut body, &error);
                return connection.tell("execution-result", &Value::Object(body));
            }
        };
        let known = submitting.known(&run.id, number);
        self.runs.remember(run.correlation_id.clone(), user.clone());
        // What still runs is announced to the room; an earlier result is told to who asked.
        let announced =
            !run.replayed || shared.runner.find(&self.room, &user, &run.correlation_id).as_ref() == Some(&run.id);
        let (room, connection) = (self.room.clone(), Arc::downgrade(connection));
        self.runs.tasks.spawn(async move {
            let _known = known;
            let body = match run.result.await {
                Ok(finished) if announced && finished.started_at.is_some() => return,
                Ok(finished) => {
                    let mut body = response(&finished);
                    add_number(&mut body, number);
                    body
                }
                Err(error) => {
                    let id = Some(run.correlation_id);
                    let mut body = refusal(Some(&room), id, &error.to_string(), error.code(), number);
                    add_details(&mut body, &error);
                    body
                }
            };
            if let Some(connection) = connection.upgrade() {
                connection.tell("execution-result", &Value::Object(body));
            }
        });
    }

    pub(super) fn bad_execute(
        &self,
        connection: &Arc<Connection>,
        number: Option<u64>,
        problem: &Problem,
        correlation_id: Option<CorrelationId>,
    ) {
        let body = refusal(Some(&self.room), correlation_id, &problem.0, "INVALID_REQUEST", number);
        connection.tell("execution-result", &Value::Object(body));
    }

    pub(super) fn input(&self, connection: &Arc<Connection>, correlation_id: &CorrelationId, data: &str) {
        let given = match self.find(connection, correlation_id) {
            Some(id) => connection.shared.runner.input(&id, data),
            None => Err(crate::jobs::InputError::NotRunning),
        };
        if let Err(error) = given {
            connection.complain(&format!("execution-input: {error}"));
        }
    }

    pub(super) fn cancel(&self, connection: &Arc<Connection>, correlation_id: &CorrelationId) {
        let found = self.find(connection, correlation_id);
        if !found.is_some_and(|id| connection.shared.runner.cancel(&id)) {
            connection.complain("cancel-execution: no such execution of yours is queued or running in this room");
        }
    }

    /// Only what the same user runs in the same room.
    fn find(&self, connection: &Connection, correlation_id: &CorrelationId) -> Option<ExecutionId> {
        let user = self.runs.user_of(correlation_id).unwrap_or(&self.member.user);
        connection.shared.runner.find(&self.room, user, correlation_id)
    }
}

/// Answers an `execute-code` for a room that its sender is not in.
pub(super) fn refuse_outside(
    connection: &Arc<Connection>,
    room: Option<&RoomId>,
    number: Option<u64>,
    action: &Action,
) {
    let correlation_id = match action {
        Action::Execute(execute) => execute.correlation_id.clone(),
        Action::BadExecute(_, correlation_id) => correlation_id.clone(),
        _ => None,
    };
    let error = "roomId must be the room that was joined last: send join-room first";
    let body = refusal(room, correlation_id, error, "INVALID_REQUEST", number);
    connection.tell("execution-result", &Value::Object(body));
}

/// The contract's shape of an execution that cannot start. Without an id of the client's it gets one.
fn refusal(
    room: Option<&RoomId>,
    correlation_id: Option<CorrelationId>,
    error: &str,
    code: &str,
    number: Option<u64>,
) -> Map<String, Value> {
    let correlation_id = correlation_id.unwrap_or_else(|| {
        let id = ExecutionId::generate(unix_ms());
        (&id).into()
    });
    let mut body = Map::new();
    body.insert("success".to_owned(), json!(false));
    body.insert("error".to_owned(), json!(error));
    body.insert("code".to_owned(), json!(code));
    body.insert("correlationId".to_owned(), json!(correlation_id));
    body.insert("roomId".to_owned(), json!(room));
    add_number(&mut body, number);
    body
}

fn add_number(body: &mut Map<String, Value>, number: Option<u64>) {
    if let Some(number) = number {
        body.insert("clientSequence".to_owned(), json!(number));
    }
}

fn add_details(body: &mut Map<String, Value>, refusal: &Refusal) {
    if let Refusal::UnsupportedLanguage { supported } | Refusal::NotInstalled { supported, .. } = refusal {
        body.insert("supportedLanguages".to_owned(), json!(supported));
    }
    if let Some(after) = refusal.retry_after() {
        body.insert("retryAfter".to_owned(), json!(after.as_secs_f64().ceil()));
    }
}
