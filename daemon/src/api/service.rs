//! What the service says of itself, and what it says to paths that it does not have.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::Shared;
use super::error::ApiError;
use crate::clock::unix_ms;
use crate::jobs::response::iso8601;

/// `GET /`
pub async fn index() -> Json<Value> {
    Json(json!({
        "service": "crankcase",
        "name": "JustCoding execution service",
        "version": env!("CARGO_PKG_VERSION"),
        "status": "running",
        "features": [
            "code-execution", "room-locks", "idempotent-requests", "ordered-rooms", "execution-history",
            "live-output", "interactive-input", "replay", "batch", "piston-v2",
        ],
        "endpoints": {
            "compile": "POST /compile",
            "health": "GET /health",
            "metrics": "GET /metrics",
            "execution": "/api/execution",
            "room": "/api/room",
            "diagnostics": "/api/diagnostics",
            "piston": "/api/v2",
            "socket": "/socket.io",
        },
    }))
}

/// `GET /health`: 503 when no program can be run.
pub async fn health(State(state): State<Shared>) -> Response {
    let problems = state.health.problems();
    let fatal = problems.iter().find(|problem| problem.fatal);
    let mut body = json!({
        "status": if fatal.is_some() { "UNAVAILABLE" } else { "OK" },
        "timestamp": iso8601(unix_ms()),
        "uptime": state.started_at.elapsed().as_millis() as f64 / 1000.0,
    });
    body["degraded"] = json!(problems);
    if let Some(fields) = body.as_object_mut() {
        fields.extend(state.health.figures());
    }
    match fatal {
        None => (StatusCode::OK, Json(body)).into_response(),
        Some(problem) => {
            body["success"] = json!(false);
            body["error"] = json!(problem.message);
            body["code"] = json!("UNAVAILABLE");
            (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
        }
    }
}

/// `GET /test`
pub async fn test(State(state): State<Shared>) -> Json<Value> {
    Json(json!({ "message": "Server is working!", "port": state.settings().port }))
}

/// `GET /metrics`
pub async fn metrics(State(state): State<Shared>) -> Response {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, OPEN_METRICS)], (state.metrics)()).into_response()
}

/// Everything that has no route, and every method that a route does not have.
pub async fn not_found(request: Request) -> ApiError {
    ApiError::no_route(request.method().as_str(), request.uri().path())
}
