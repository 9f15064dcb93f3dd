//! `POST /api/execution/batch`.

use axum::extract::{Extension, State};
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;

use super::address::ClientAddress;
use super::body::{JsonBody, LargeJsonBody};
use super::error::ApiError;
use super::fields::Fields;
use super::{Shared, compile, request};
use crate::jobs::batch::{BatchFinished, BatchSubmission, Case, CaseResult, CaseVerdict, MAX_CASES};
use crate::jobs::execution::{CompileResult, Status};
use crate::jobs::response::iso8601;

/// Unicode characters of an expected output.
const EXPECTED_CHARS: usize = 100_000;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BatchResponse {
    success: bool,
    execution_id: String,
    correlation_id: String,
    user_id: String,
    username: String,
    room_id: String,
    language: String,
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    compile: Option<CompileResult>,
    results: Vec<CaseResult>,
    passed: usize,
    total: usize,
    execution_time: u64,
    queue_time: u64,
    timestamp: String,
}

/// Runs one program against many inputs.
pub async fn batch(
    State(state): State<Shared>,
    address: Option<Extension<ClientAddress>>,
    LargeJsonBody(body): LargeJsonBody,
) -> Result<Response, ApiError> {
    let JsonBody { mut fields, received } = body;
    let settings = state.settings();
    let address = address.map(|Extension(address)| address);
    let cases = cases(&mut fields, settings.limits.stdin_chars)?;
    let submission = request::submission(&mut fields, &settings, address, received)?;
    let total = cases.len();
    let finished = state.batches.run_batch(BatchSubmission { submission, cases }).await;
    let finished = finished.map_err(|refusal| fields.correlate(ApiError::refused(refusal)))?;
    let replayed = finished.replayed;
    Ok(compile::answer(BatchResponse::new(finished, total), replayed))
}

fn cases(fields: &mut Fields, stdin_chars: usize) -> Result<Vec<Case>, ApiError> {
    let values = fields.array("cases", MAX_CASES)?.unwrap_or_default();
    if values.is_empty() {
        return Err(fields.fail(format!("cases is required and must have 1 to {MAX_CASES} elements")));
    }
    let mut cases = Vec::with_capacity(values.len());
    for (n, value) in values.into_iter().enumerate() {
        let Value::Object(object) = value else {
            return Err(
                fields.fail(format!("cases[{n}] must be an object with stdin and, where wanted, expectedOutput"))
            );
        };
        let mut case = Fields::new(object);
        let mut text = |name: &str, max: usize| {
            case.text(name, max).map_err(|error| fields.fail(format!("cases[{n}].{}", error.message())))
        };
        let stdin = text("stdin", stdin_chars)?.unwrap_or_default();
        cases.push(Case { stdin, expected_output: text("expectedOutput", EXPECTED_CHARS)? });
    }
    Ok(cases)
}

impl BatchResponse {
    fn new(finished: BatchFinished, total: usize) -> Self {
        let head = finished.head;
        Self {
            success: finished.status == Status::Completed,
            execution_id: head.id.to_string(),
            correlation_id: head.correlation_id.to_string(),
            user_id: head.user.to_string(),
            username: head.username,
            room_id: head.room.to_string(),
            language: head.language,
            status: finished.status,
            error: finished.error,
            compile: finished.compile,
            passed: finished.results.iter().filter(|result| result.verdict == CaseVerdict::Accepted).count(),
            results: finished.results,
            total,
            execution_time: finished.execution_time,
            queue_time: finished.queue_time,
            timestamp: iso8601(finished.completed_at),
        }
    }
}
