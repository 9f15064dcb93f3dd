//! `/api/execution`: history, sums, queue, running again, cancelling.

use std::time::Duration;

use axum::extract::{Extension, State};
use axum::response::Response;
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde::Serialize;
use serde_json::{Value, json};

use super::address::ClientAddress;
use super::body::OptionalJsonBody;
use super::error::ApiError;
use super::params::{Execution, Name, Params};
use super::{Shared, batch, compile, request};
use crate::history::{Cursor, MAX_PAGE, Page};
use crate::ids::{RoomId, UserId};
use crate::jobs::response::CompileResponse;
use crate::jobs::{LimitOverrides, RoomQueue, Submission};
use crankcase_sandbox::spec::SourceFile;

/// A hundred years, in milliseconds.
const LONGEST_RANGE_MS: u64 = 3_155_760_000_000;

pub fn routes() -> Router<Shared> {
    Router::new()
        .route("/history/room/{room}", get(room_history))
        .route("/history/user/{user}", get(user_history))
        .route("/history/execution/{execution}", get(execution))
        .route("/stats/room/{room}", get(stats))
        .route("/queue/status", get(queue))
        .route("/queue/status/{room}", get(room_queue))
        .route("/replay/{execution}", post(replay))
        .route("/batch", post(batch::batch))
        .route("/{execution}", delete(cancel))
}

async fn room_history(
    State(state): State<Shared>,
    Name(room): Name<RoomId>,
    params: Params,
) -> Result<Json<Value>, ApiError> {
    let (limit, before) = page_asked(&params)?;
    let page = state.history.by_room(&room, limit, before).await?;
    Ok(page_answer("roomId", room.as_str(), &page))
}

async fn user_history(
    State(state): State<Shared>,
    Name(user): Name<UserId>,
    params: Params,
) -> Result<Json<Value>, ApiError> {
    let (limit, before) = page_asked(&params)?;
    let page = state.history.by_user(&user, limit, before).await?;
    Ok(page_answer("userId", user.as_str(), &page))
}

fn page_asked(params: &Params) -> Result<(usize, Option<Cursor>), ApiError> {
    let limit = params.integer("limit", 1, MAX_PAGE as u64, 50)?;
    Ok((usize::try_from(limit).unwrap_or(MAX_PAGE), params.parse("before")?))
}

fn page_answer(field: &str, value: &str, page: &Page) -> Json<Value> {
    let mut answer = json!({
        "success": true, "history": page.entries, "count": page.entries.len(), "nextCursor": page.next,
    });
    answer[field] = json!(value);
    Json(answer)
}

async fn execution(State(state): State<Shared>, Execution(id): Execution) -> Result<Json<Value>, ApiError> {
    match state.history.execution(&id).await? {
        Some(record) => Ok(Json(json!({ "success": true, "execution": record }))),
        None => Err(ApiError::not_found("Execution")),
    }
}

async fn stats(State(state): State<Shared>, Name(room): Name<RoomId>, params: Params) -> Result<Json<Value>, ApiError> {
    let range = params.integer("timeRange", 1, LONGEST_RANGE_MS, 3_600_000)?;
    let stats = state.history.room_stats(&room, Duration::from_millis(range)).await?;
    Ok(Json(json!({ "success": true, "roomId": room, "timeRange": range, "stats": stats })))
}

async fn queue(State(state): State<Shared>, params: Params) -> Result<Json<Value>, ApiError> {
    let snapshot = state.runner.queue();
    let queue_stats = match params.text("roomId") {
        Some(room) => pair(snapshot.rooms.get(&RoomId::new(room)?).copied().unwrap_or_default()),
        None => snapshot.rooms.iter().map(|(room, queue)| (room.to_string(), pair(*queue))).collect(),
    };
    let oldest = snapshot.rooms.values().map(|queue| queue.oldest_age).max().unwrap_or_default();
    Ok(Json(json!({
        "success": true,
        "queueStats": queue_stats,
        "global": {
            "running": snapshot.running,
            "queued": snapshot.queued,
            "rooms": snapshot.rooms.len(),
            "oldestAge": oldest.as_millis() as u64,
        },
    })))
}

fn pair(queue: RoomQueue) -> Value {
    json!({ "length": queue.length, "oldestAge": queue.oldest_age.as_millis() as u64 })
}

async fn room_queue(State(state): State<Shared>, Name(room): Name<RoomId>) -> Json<Value> {
    let queue = state.runner.queue().rooms.get(&room).copied().unwrap_or_default();
    let age = queue.oldest_age.as_millis() as u64;
    Json(json!({ "success": true, "roomId": room, "queueLength": queue.length, "oldestAge": age }))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Replayed {
    #[serde(flatten)]
    response: CompileResponse,
    replay_of: String,
}

/// Runs a recorded program again, as a new execution in the same room, with the limits of today.
async fn replay(
    State(state): State<Shared>,
    address: Option<Extension<ClientAddress>>,
    Execution(id): Execution,
    OptionalJsonBody(body): OptionalJsonBody,
) -> Result<Response, ApiError> {
    let mut fields = body.fields;
    let correlation_id = fields.id("correlationId")?;
    let user: Option<UserId> = fields.id("userId")?;
    let username = request::username(&mut fields)?;
    let record = state.history.execution(&id).await.map_err(|error| fields.correlate(error.into()))?;
    let Some((record, code)) = record.and_then(|mut record| record.code.take().map(|code| (record, code))) else {
        return Err(fields.correlate(ApiError::not_found("Execution")));
    };
    let bulk = record.metadata.bulk;
    let (args, files) = bulk.map(|bulk| (bulk.args, bulk.files)).unwrap_or_default();
    let submission = Submission {
        room: RoomId::new(&record.room_id)?,
        user: user.map_or_else(|| UserId::new(&record.user_id), Ok)?,
        username: username.unwrap_or(record.username),
        language: record.language,
        code,
        stdin: record.stdin.unwrap_or_default(),
        args,
        files: files.into_iter().map(SourceFile::from).collect(),
        priority: record.priority,
        overrides: LimitOverrides::default(),
        correlation_id,
        interactive: false,
        address: address.map(|Extension(ClientAddress(address))| address),
        received: body.received,
    };
    let (response, replayed) = compile::run(&state, submission).await.map_err(|error| fields.correlate(error))?;
    Ok(compile::answer(Replayed { response, replay_of: id.to_string() }, replayed))
}

/// Ends an execution that is queued or running; its own request is answered with `cancelled`.
async fn cancel(State(state): State<Shared>, Execution(id): Execution) -> Result<Json<Value>, ApiError> {
    if state.runner.cancel(&id) {
        return Ok(Json(json!({ "success": true, "executionId": id, "message": "The execution is being cancelled" })));
    }
    match state.history.execution(&id).await? {
        Some(_) => Err(ApiError::ended(&id)),
        None => Err(ApiError::not_found("Execution")),
    }
}
