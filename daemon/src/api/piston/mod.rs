//! Piston's interface, version 2, for clients written for it: `/api/v2` and, as on Piston's public server,
//! `/api/v2/piston`.
//!
//! Fields, answers and messages are Piston's (`api/src/api/v2.js` of engineer-man/piston). What differs on
//! purpose: packages cannot be installed through it, its websocket is not served, a body that is too large
//! is a 413, and a refusal for lack of capacity is a 503 (Piston lets everybody wait).

mod request;
mod response;
mod version;

use std::time::Instant;

use axum::extract::{Extension, Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::Shared;
use super::address::ClientAddress;
use super::body::{BodyError, read_object};
use super::error::ApiError;
use super::fields::Fields;
use crate::jobs::execution::Status;

pub fn routes() -> Router<Shared> {
    ["/api/v2", "/api/v2/piston"].into_iter().fold(Router::new(), |router, prefix| {
        router
            .route(&format!("{prefix}/runtimes"), get(runtimes))
            .route(&format!("{prefix}/execute"), post(execute))
            .route(&format!("{prefix}/packages"), get(packages).post(fixed_packages).delete(fixed_packages))
    })
}

/// Gives errors below `/api/v2` Piston's shape, whichever layer they come from.
pub async fn shape(request: Request, next: Next) -> Response {
    let ours =
        request.uri().path().strip_prefix("/api/v2").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let response = next.run(request).await;
    match response.extensions().get::<ApiError>() {
        Some(error) if ours => {
            let (mut parts, body) = Json(json!({ "message": error.message() })).into_response().into_parts();
            parts.status = response.status();
            for (name, value) in response.headers() {
                if !parts.headers.contains_key(name) && name != "content-length" {
                    parts.headers.insert(name, value.clone());
                }
            }
            Response::from_parts(parts, body)
        }
        _ => response,
    }
}

async fn runtimes(State(state): State<Shared>) -> Json<Value> {
    let runtime = |language: &super::languages::Language| {
        json!({
            "language": language.name,
            "version": version::normal(language.version.as_deref()),
            "aliases": language.aliases,
        })
    };
    Json((state.languages)(&state.settings().limits).iter().map(runtime).collect())
}

async fn packages(State(state): State<Shared>) -> Json<Value> {
    let package = |language: &super::languages::Language| {
        let version = version::normal(language.version.as_deref());
        json!({ "language": language.name, "language_version": version, "installed": true })
    };
    Json((state.languages)(&state.settings().limits).iter().map(package).collect())
}

async fn fixed_packages() -> ApiError {
    let message = "Languages are installed by the administrator of this service, not through this interface";
    ApiError::new(StatusCode::FORBIDDEN, "PACKAGES_ARE_FIXED", message)
}

async fn execute(
    State(state): State<Shared>,
    address: Option<Extension<ClientAddress>>,
    request: Request,
) -> Result<Response, ApiError> {
    let received = Instant::now();
    let settings = state.settings();
    let body = match read_object(request, settings.large_body_bytes, settings.body_timeout).await {
        Ok(object) => object,
        // A body that is no object has no fields.
        Err(BodyError::NotObject) => serde_json::Map::new(),
        Err(BodyError::WrongType) => {
            let message = "requests must be of type application/json";
            return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", message));
        }
        Err(error) => return Err(error.into()),
    };
    let address = address.map(|Extension(ClientAddress(address))| address);
    let languages = (state.languages)(&settings.limits);
    let asked = request::read(Fields::new(body), &languages, address, received)?;
    let version = version::normal(asked.language.version.as_deref());
    let accepted = state.runner.submit(asked.submission).await.map_err(ApiError::refused)?;
    let finished = accepted.result.await.map_err(ApiError::refused)?;
    match finished.result.status {
        // Ours to answer for, so there is no stage to tell of.
        Status::Failed if !response::has_outcome(&finished.result) => {
            let message = finished.result.error.as_deref().unwrap_or("The execution failed");
            Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "EXECUTION_FAILED", message))
        }
        _ => Ok(Json(response::Answer::new(&asked.language.name, version, &finished.result)).into_response()),
    }
}
