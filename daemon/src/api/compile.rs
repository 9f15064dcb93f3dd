//! `POST /compile`.

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::HeaderValue;
use axum::response::{IntoResponse, Response};

use super::Shared;
use super::address::ClientAddress;
use super::body::JsonBody;
use super::error::ApiError;
use super::request;
use crate::jobs::response::CompileResponse;
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
/// # Errors
/// The refusal, with the execution's id where there is one.
pub async fn run(state: &Shared, submission: Submission) -> Result<(CompileResponse, bool), ApiError> {
    let accepted = state.runner.submit(submission).await.map_err(ApiError::refused)?;
    let (id, correlation_id, replayed) = (accepted.id, accepted.correlation_id, accepted.replayed);
    let about = |refusal: Refusal| ApiError::refused(refusal).about(&id).correlated(Some(correlation_id.as_str()));
    let finished = accepted.result.await.map_err(about)?;
    Ok((CompileResponse::from(&*finished), replayed))
}

/// The answer with the header of a result that was not run again.
pub fn answer(body: impl serde::Serialize, replayed: bool) -> Response {
    let mut response = Json(body).into_response();
    if replayed {
        response.headers_mut().insert("idempotent-replay", HeaderValue::from_static("true"));
    }
    response
}
