//! `/api/room`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::Shared;
use super::error::ApiError;

pub fn routes() -> Router<Shared> {
    Router::new().route("/create-room", post(create))
}

/// Makes a room of an unused name. It is in the store when this answers.
async fn create(State(state): State<Shared>) -> Result<Json<Value>, ApiError> {
    match state.rooms.create().await {
        Ok(room) => Ok(Json(json!({ "roomId": room }))),
        Err(error) => {
            tracing::error!(%error, "no room was made");
            Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "ROOM_UNAVAILABLE", error.to_string()))
        }
    }
}
