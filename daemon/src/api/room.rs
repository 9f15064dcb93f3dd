//! `/api/room`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::Shared;
use super::error::ApiError;
use crate::ids::RoomId;

/// Names that are tried; with a million rooms made, that many misses in a row come once in 10^39 times.
const ATTEMPTS: usize = 32;

pub fn routes() -> Router<Shared> {
    Router::new().route("/create-room", post(create))
}

/// Makes a room of an unused name: 6 hex characters. It is in the store when this answers.
async fn create(State(state): State<Shared>) -> Result<Json<Value>, ApiError> {
    for _ in 0..ATTEMPTS {
        let room = RoomId::new(&format!("{:06x}", rand::random::<u32>() >> 8))?;
        // One that somebody joined may be in memory alone; the store decides between two that come at once.
        if state.rooms.room(&room).await.is_none() && state.history.create_room(&room).await? {
            return Ok(Json(json!({ "roomId": room })));
        }
    }
    tracing::error!(attempts = ATTEMPTS, "no unused room name was found");
    Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "NO_ROOM_NAME", "No unused room name was found"))
}
