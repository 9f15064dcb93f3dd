//! `/api/room`.

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::Shared;
use super::error::ApiError;
use crate::ids::RoomId;

/// With a million rooms made, this many misses in a row come once in 10^39 times.
const ATTEMPTS: usize = 32;

pub fn routes() -> Router<Shared> {
    Router::new().route("/create-room", post(create))
}

/// Makes a room of an unused name: 6 hex characters. It is in the store when this answers.
async fn create(State(state): State<Shared>) -> Result<Json<Value>, ApiError> {
    for _ in 0..ATTEMPTS {
        let name = format!("{:06x}", rand::random::<u32>() >> 8);
        let room = RoomId::new(&name)?;
        if state.history.create_room(&room).await? {
            return Ok(Json(json!({ "roomId": room })));
        }
    }
    Err(ApiError::internal())
}
