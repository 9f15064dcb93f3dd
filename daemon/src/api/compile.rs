//! `POST /compile`.

use std::time::Instant;

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::HeaderValue;
use axum::response::{IntoResponse, Response};

use super::Shared;
use super::address::ClientAddress;
use super::body::JsonBody;
use super::error::ApiError;
use super::request;
use crate::clock::unix_ms;
use crate::ids::{CorrelationId, ExecutionId, RoomId, UserId};
use crate::jobs::execution::{RunResult, Status};
use crate::jobs::response::{CompileResponse, iso8601};
use crate::jobs::verdict::failed;
use crate::jobs::{Refusal, Submission};

/// Runs one program and answers with its result.
pub async fn compile(
    State(state): State<Shared>,
    address: Option<Extension<ClientAddress>>,
    body: JsonBody,
) -> Result<Response, ApiError> {
    let JsonBody { mut fields, received } = body;
    let address = address.map(|Extension(address)| address);
    let submission = request::submission(&mut fields, &state.settings(), address, received)?;
    let (response, replayed) = run(&state, submission).await.map_err(|error| fields.correlate(error))?;
    Ok(answer(response, replayed))
}

/// Submits and waits. The ticket lives in this future: whoever drops it gives the place in the queue back.
///
/// One that somebody cancelled while it waited is answered like one that was cancelled while it ran.
///
/// # Errors
/// The refusal, with the execution's id where there is one.
pub async fn run(state: &Shared, submission: Submission) -> Result<(CompileResponse, bool), ApiError> {
    let echo = Echo::of(&submission);
    let accepted = state.runner.submit(submission).await.map_err(ApiError::refused)?;
    let (id, correlation_id, replayed) = (accepted.id, accepted.correlation_id, accepted.replayed);
    match accepted.result.await {
        Ok(finished) => Ok((CompileResponse::from(&*finished), replayed)),
        Err(refusal @ Refusal::Cancelled) => Ok((echo.cancelled(&id, &correlation_id, &refusal), replayed)),
        Err(refusal) => Err(ApiError::refused(refusal).about(&id).correlated(Some(correlation_id.as_str()))),
    }
}

/// What the answer repeats of the request.
struct Echo {
    room: RoomId,
    user: UserId,
    username: String,
    language: String,
    received: Instant,
}

impl Echo {
    fn of(submission: &Submission) -> Self {
        Self {
            room: submission.room.clone(),
            user: submission.user.clone(),
            username: submission.username.clone(),
            language: submission.language.clone(),
            received: submission.received,
        }
    }

    fn cancelled(self, id: &ExecutionId, correlation_id: &CorrelationId, refusal: &Refusal) -> CompileResponse {
        let waited = u64::try_from(self.received.elapsed().as_millis()).unwrap_or(u64::MAX);
        CompileResponse {
            execution_id: id.to_string(),
            correlation_id: correlation_id.to_string(),
            user_id: self.user.to_string(),
            username: self.username,
            room_id: self.room.to_string(),
            language: self.language,
            timestamp: iso8601(unix_ms()),
            result: RunResult {
                execution_time: waited,
                queue_time: waited,
                ..failed(Status::Cancelled, refusal.to_string())
            },
        }
    }
}

/// The answer with the header of a result that was not run again.
pub fn answer(body: impl serde::Serialize, replayed: bool) -> Response {
    let mut response = Json(body).into_response();
    if replayed {
        response.headers_mut().insert("idempotent-replay", HeaderValue::from_static("true"));
    }
    response
}
