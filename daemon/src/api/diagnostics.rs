//! `/api/diagnostics`: the order of rooms and what their log says of it.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::Shared;
use super::admin::Admin;
use super::body::JsonBody;
use super::error::ApiError;
use super::params::{Name, Params};
use crate::clock::unix_ms;
use crate::history::MAX_MESSAGES;
use crate::ids::RoomId;
use crate::jobs::response::iso8601;
use crate::rooms::create::CreateError;
pub use crate::rooms::diagnostics::AdvanceError;
use crate::rooms::diagnostics::Diagnostics;

/// Numbers that JavaScript holds exactly.
const MAX_NUMBER: u64 = (1 << 53) - 1;

/// The live rooms, as far as this layer looks into them.
pub trait LiveRooms: Send + Sync + 'static {
    /// Figures over all rooms in memory: an object, whose fields are passed on as they are.
    fn overview(&self) -> BoxFuture<'_, Value>;
    /// The state of one room, in memory or stored; none when there is no such room.
    fn room<'a>(&'a self, room: &'a RoomId) -> BoxFuture<'a, Option<Value>>;
    /// Moves a room's counter, and what its members wait for, on to `to`.
    ///
    /// # Errors
    /// When there is no such room, or it is there already.
    fn force_advance<'a>(&'a self, room: &'a RoomId, to: u64) -> BoxFuture<'a, Result<Value, AdvanceError>>;
    /// Makes a room of an unused name; it is kept when this returns.
    ///
    /// # Errors
    /// When it is not kept.
    fn create(&self) -> BoxFuture<'_, Result<RoomId, CreateError>>;
    /// Lets rooms that nobody uses leave memory now; gives how many did.
    fn cleanup(&self) -> BoxFuture<'_, usize>;
}

impl LiveRooms for Diagnostics {
    fn overview(&self) -> BoxFuture<'_, Value> {
        Box::pin(std::future::ready(Self::overview(self)))
    }

    fn room<'a>(&'a self, room: &'a RoomId) -> BoxFuture<'a, Option<Value>> {
        Box::pin(Self::room(self, room))
    }

    fn force_advance<'a>(&'a self, room: &'a RoomId, to: u64) -> BoxFuture<'a, Result<Value, AdvanceError>> {
        Box::pin(Self::force_advance(self, room, to))
    }

    fn create(&self) -> BoxFuture<'_, Result<RoomId, CreateError>> {
        Box::pin(Self::create(self))
    }

    fn cleanup(&self) -> BoxFuture<'_, usize> {
        Box::pin(Self::cleanup(self))
    }
}

pub fn routes() -> Router<Shared> {
    Router::new()
        .route("/ordering", get(ordering))
        .route("/health", get(health))
        .route("/room/{room}", get(room))
        .route("/room/{room}/history", get(messages))
        .route("/room/{room}/gaps", get(gaps))
        .route("/room/{room}/replay", get(replay))
        .route("/room/{room}/force-advance", post(force_advance))
        .route("/cleanup", post(cleanup))
}

async fn ordering(State(state): State<Shared>) -> Json<Value> {
    let overview = state.rooms.overview().await;
    Json(json!({ "success": true, "ordering": overview, "timestamp": iso8601(unix_ms()) }))
}

async fn health(State(state): State<Shared>) -> Json<Value> {
    let problems = state.health.problems();
    let queue = state.runner.queue();
    let status = match (problems.iter().any(|problem| problem.fatal), problems.is_empty()) {
        (true, _) => "unavailable",
        (false, false) => "degraded",
        (false, true) => "healthy",
    };
    Json(json!({
        "success": true,
        "status": status,
        "degraded": problems,
        "queue": { "running": queue.running, "queued": queue.queued },
        "history": { "pendingWrites": state.history.pending_writes() },
        "uptime": state.started_at.elapsed().as_millis() as f64 / 1000.0,
        "timestamp": iso8601(unix_ms()),
    }))
}

async fn room(State(state): State<Shared>, Name(room): Name<RoomId>) -> Result<Json<Value>, ApiError> {
    match state.rooms.room(&room).await {
        Some(view) => Ok(Json(json!({ "success": true, "roomId": room, "room": view }))),
        None => Err(ApiError::not_found("Room")),
    }
}

async fn messages(
    State(state): State<Shared>,
    Name(room): Name<RoomId>,
    params: Params,
) -> Result<Json<Value>, ApiError> {
    let limit = params.integer("limit", 1, 1000, 100)?;
    let offset = params.integer("offset", 0, MAX_NUMBER, 0)?;
    let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let history = state.history.messages(&room, size(limit), size(offset)).await?;
    let total = state.history.message_count(&room).await?;
    let count = history.len();
    Ok(Json(json!({
        "success": true, "roomId": room, "history": history, "count": count, "total": total, "limit": limit,
        "offset": offset,
    })))
}

async fn gaps(State(state): State<Shared>, Name(room): Name<RoomId>) -> Result<Json<Value>, ApiError> {
    let gaps = state.history.gaps(&room).await?;
    Ok(Json(json!({ "success": true, "roomId": room, "count": gaps.len(), "hasGaps": !gaps.is_empty(), "gaps": gaps })))
}

async fn replay(
    State(state): State<Shared>,
    Name(room): Name<RoomId>,
    params: Params,
) -> Result<Json<Value>, ApiError> {
    let from = params.integer("fromSequence", 0, MAX_NUMBER, 0)?;
    let to = params.integer("toSequence", 0, MAX_NUMBER, MAX_NUMBER)?;
    if from > to {
        return Err(ApiError::field("fromSequence must not be above toSequence"));
    }
    let messages = state.history.messages_between(&room, from, to).await?;
    let complete = messages.len() < MAX_MESSAGES;
    let last = messages.last().map(|message| message.sequence);
    Ok(Json(json!({
        "success": true, "roomId": room, "fromSequence": from, "toSequence": if to == MAX_NUMBER { last } else { Some(to) },
        "count": messages.len(), "complete": complete, "messages": messages,
    })))
}

async fn force_advance(
    State(state): State<Shared>,
    _: Admin,
    Name(room): Name<RoomId>,
    JsonBody { mut fields, .. }: JsonBody,
) -> Result<Json<Value>, ApiError> {
    let Some(to) = fields.integer("toSequence", 1, MAX_NUMBER as i64)? else {
        return Err(fields.fail(format!("toSequence is required and must be an integer from 1 to {MAX_NUMBER}")));
    };
    tracing::warn!(room = %room, to, "an administrator moves a room's counter on");
    match state.rooms.force_advance(&room, to.unsigned_abs()).await {
        Ok(view) => Ok(Json(json!({ "success": true, "roomId": room, "toSequence": to, "room": view }))),
        Err(AdvanceError::NoRoom) => Err(ApiError::not_found("Room")),
        Err(error @ AdvanceError::NotAhead(_)) => {
            Err(ApiError::new(StatusCode::CONFLICT, "NOT_AHEAD", error.to_string()))
        }
        Err(error @ AdvanceError::Bus(_)) => {
            Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "ROOM_UNAVAILABLE", error.to_string()))
        }
    }
}

async fn cleanup(State(state): State<Shared>, _: Admin) -> Json<Value> {
    let removed = state.rooms.cleanup().await;
    tracing::info!(removed, "an administrator had unused rooms leave memory");
    Json(json!({ "success": true, "removedRooms": removed, "timestamp": iso8601(unix_ms()) }))
}
