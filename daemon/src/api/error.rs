//! The contract's error shape, and how refusals become statuses.

use std::any::Any;
use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::history::HistoryError;
use crate::ids::{BadId, ExecutionId};
use crate::jobs::Refusal;

/// An answer that is no result: `{success: false, error, code, ...}` with its status.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiError {
    status: StatusCode,
    retry_after: Option<Duration>,
    body: Box<Body>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    success: bool,
    error: String,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    execution_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    supported_languages: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'static str>,
}

impl ApiError {
    /// Any error: `message` is for the client, whole and safe to read.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            retry_after: None,
            body: Box::new(Body {
                success: false,
                error: message.into(),
                code,
                message: None,
                correlation_id: None,
                execution_id: None,
                supported_languages: None,
                hint: None,
                field: None,
            }),
        }
    }

    /// A field that is missing, of the wrong type or out of bounds; the message names field and bound.
    pub fn field(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "INVALID_REQUEST", message)
    }

    /// There is no such thing: `what` as in "Execution not found".
    pub fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", format!("{what} not found"))
    }

    /// No route of that method and path, in Express's words.
    pub fn no_route(method: &str, path: &str) -> Self {
        let mut error = Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", "Not Found");
        error.body.message = Some(format!("Cannot {method} {path}"));
        error
    }

    /// Our own failure; the cause belongs into the log, not into the answer.
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR", "Internal server error")
    }

    /// The execution is over and cannot be cancelled any more.
    pub fn ended(id: &ExecutionId) -> Self {
        Self::new(StatusCode::CONFLICT, "NOT_RUNNING", "The execution has ended already").about(id)
    }

    /// Somebody who must prove more.
    pub fn unauthorized(message: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message)
    }

    /// A submission that was not run.
    pub fn refused(refusal: Refusal) -> Self {
        let status = match &refusal {
            Refusal::UnsupportedLanguage { .. } | Refusal::NotInstalled { .. } | Refusal::BadField { .. } => {
                StatusCode::BAD_REQUEST
            }
            Refusal::RateLimited { .. } => StatusCode::TOO_MANY_REQUESTS,
            Refusal::Cancelled => StatusCode::CONFLICT,
            Refusal::RoomBusy { .. }
            | Refusal::Overloaded { .. }
            | Refusal::ShuttingDown
            | Refusal::HistoryUnavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        let message = match &refusal {
            // The sentence must name the field; those of the limits call it by its meaning.
            Refusal::BadField { field, message } if !message.contains(field) => format!("{field}: {message}"),
            refusal => refusal.to_string(),
        };
        let mut error = Self::new(status, refusal.code(), message);
        error.retry_after = refusal.retry_after();
        match refusal {
            Refusal::UnsupportedLanguage { supported } => error.body.supported_languages = Some(supported),
            Refusal::NotInstalled { supported, hint, .. } => {
                error.body.supported_languages = Some(supported);
                error.body.hint = Some(hint);
            }
            Refusal::BadField { field, .. } => error.body.field = Some(field),
            _ => {}
        }
        error
    }

    /// With the caller's name for the request.
    pub fn correlated(mut self, correlation_id: Option<&str>) -> Self {
        if self.body.correlation_id.is_none() {
            self.body.correlation_id = correlation_id.map(str::to_owned);
        }
        self
    }

    /// With the execution that it is about.
    pub fn about(mut self, id: &ExecutionId) -> Self {
        self.body.execution_id = Some(id.to_string());
        self
    }

    /// The sentence, for shapes other than the contract's.
    pub fn message(&self) -> &str {
        &self.body.error
    }
}

impl From<BadId> for ApiError {
    fn from(error: BadId) -> Self {
        Self::field(error.to_string())
    }
}

/// The cause names files and belongs into the log.
impl From<HistoryError> for ApiError {
    fn from(error: HistoryError) -> Self {
        tracing::error!(%error, "the history could not answer");
        let message = "The execution history is not available";
        let mut answer = Self::new(StatusCode::SERVICE_UNAVAILABLE, "HISTORY_UNAVAILABLE", message);
        answer.retry_after = Some(Duration::from_secs(5));
        answer
    }
}

/// The error stays with its answer as an extension, for layers that give it another shape.
impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(&*self.body)).into_response();
        if let Some(wait) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, retry_after(wait));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// The header's value: whole seconds, rounded up, at least one.
pub fn retry_after(wait: Duration) -> HeaderValue {
    HeaderValue::from(wait.as_millis().div_ceil(1000).clamp(1, 86_400) as u64)
}

/// The answer in place of one whose handler panicked.
pub fn panicked(cause: Box<dyn Any + Send>) -> Response {
    let cause = cause
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| cause.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("of unknown cause");
    tracing::error!(cause, "a request's handler panicked");
    ApiError::internal().into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::admission::AdmissionError;

    #[test]
    fn bad_fields_are_named() {
        let refused =
            |message: &str| ApiError::refused(Refusal::BadField { field: "timeLimitMs", message: message.into() });
        assert_eq!(refused("the time limit must be 5").message(), "timeLimitMs: the time limit must be 5");
        assert_eq!(refused("timeLimitMs must be 5").message(), "timeLimitMs must be 5");
    }

    #[test]
    fn waits_are_rounded_up_to_whole_seconds() {
        for (ms, header) in [(0, "1"), (1, "1"), (1000, "1"), (1001, "2"), (u64::MAX, "86400")] {
            assert_eq!(retry_after(Duration::from_millis(ms)), header);
        }
    }

    #[test]
    fn every_refusal_has_its_status_and_code() {
        let wait = Duration::from_secs(2);
        for (refusal, status, code) in [
            (Refusal::UnsupportedLanguage { supported: Vec::new() }, 400, "UNSUPPORTED_LANGUAGE"),
            (Refusal::BadField { field: "args", message: String::new() }, 400, "INVALID_REQUEST"),
            (Refusal::RoomBusy { retry_after: wait }, 503, "ROOM_BUSY"),
            (Refusal::Overloaded { cause: AdmissionError::QueueFull, retry_after: wait }, 503, "OVERLOADED"),
            (
                Refusal::RateLimited { quota: "address", message: String::new(), retry_after: wait },
                429,
                "RATE_LIMIT_EXCEEDED",
            ),
            (Refusal::Cancelled, 409, "CANCELLED"),
            (Refusal::ShuttingDown, 503, "SHUTTING_DOWN"),
            (Refusal::HistoryUnavailable(String::new()), 503, "HISTORY_UNAVAILABLE"),
        ] {
            let waits = refusal.retry_after().is_some();
            let error = ApiError::refused(refusal);
            assert_eq!((error.status.as_u16(), error.body.code), (status, code));
            assert_eq!(error.into_response().headers().contains_key("retry-after"), waits, "{code}");
        }
    }
}
