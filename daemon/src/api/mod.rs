//! The HTTP interface: turns requests into submissions and what comes of them into the contract's answers.
//!
//! **Invariants.** Nothing below knows HTTP. Whatever goes wrong, the answer is JSON with CORS headers,
//! in the contract's error shape (Piston's below `/api/v2`). A handler holds its [`crate::jobs::Ticket`]
//! in its own future, so a client that goes away gives its place in the queue back.

mod address;
mod admin;
mod batch;
mod body;
mod compile;
mod connection;
mod cors;
mod diagnostics;
mod error;
mod execution;
mod fields;
pub mod health;
pub mod languages;
mod params;
mod piston;
mod rate_limit;
mod request;
mod room;
pub mod server;
mod service;
pub mod settings;
mod socket_head;
mod state;

#[cfg(test)]
mod compile_tests;
#[cfg(test)]
mod execution_tests;
#[cfg(test)]
mod piston_tests;
#[cfg(test)]
mod room_tests;
#[cfg(test)]
mod server_tests;
#[cfg(test)]
mod testing;

use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state, map_request};
use axum::routing::{get, post};
use tower_http::catch_panic::CatchPanicLayer;

pub use address::ClientAddress;
pub use diagnostics::{AdvanceError, LiveRooms};
pub use state::{ApiState, Parts, RenderMetrics};

type Shared = Arc<ApiState>;

/// All routes with their layers, ready to be served.
pub fn router(state: Shared) -> Router {
    router_with(state, |router| router)
}

/// All routes, with what `attach` puts around them (the Socket.IO layer) within the layers of this module.
///
/// The layers from the outside in: CORS, so that every answer carries its headers; the client's address;
/// the shape of Piston's errors; panics to a 500; what a socket's first request is cut down to. The rate limit wraps only
/// the routes that cost something.
pub fn router_with(state: Shared, attach: impl FnOnce(Router) -> Router) -> Router {
    let settings = state.settings();
    let mut limited = Router::new()
        .route("/compile", post(compile::compile))
        .nest("/api/execution", execution::routes())
        .nest("/api/room", room::routes())
        .nest("/api/diagnostics", diagnostics::routes());
    if settings.piston {
        limited = limited.merge(piston::routes());
    }
    let limited = limited.route_layer(from_fn_with_state(Arc::clone(&state), rate_limit::enforce));
    let free = Router::new()
        .route("/", get(service::index))
        .route("/health", get(service::health))
        .route("/test", get(service::test))
        .route("/metrics", get(service::metrics));
    let routes = Router::new()
        .merge(limited)
        .merge(free)
        .fallback(service::not_found)
        .method_not_allowed_fallback(service::not_found)
        .with_state(Arc::clone(&state));
    attach(routes)
        .layer(map_request(socket_head::cut))
        .layer(CatchPanicLayer::custom(error::panicked))
        .layer(from_fn(piston::shape))
        .layer(from_fn_with_state(state, address::identify))
        .layer(cors::layer(&settings.allowed_origins))
}
