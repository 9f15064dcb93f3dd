//! The HTTP interface: turns requests into submissions and what comes of them into the contract's answers.
//!
//! **Invariants.** Nothing below knows HTTP. Whatever goes wrong, the answer is JSON with CORS headers,
//! in the contract's error shape (Piston's below `/api/v2`). A handler holds its [`crate::jobs::Ticket`]
//! in its own future, so a client that goes away gives its place in the queue back.

mod address;
mod body;
mod compile;
#[cfg(test)]
mod compile_tests;
mod cors;
mod error;
mod fields;
pub mod health;
mod rate_limit;
mod request;
pub mod runner;
mod service;
pub mod settings;
#[cfg(test)]
mod testing;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use tower_http::catch_panic::CatchPanicLayer;

use health::Health;
use rate_limit::RateLimiter;
use runner::Runner;
use settings::Settings;

pub use address::ClientAddress;

/// Renders the metrics in the OpenMetrics text format.
pub type RenderMetrics = Arc<dyn Fn() -> String + Send + Sync>;

/// What the handlers work with.
pub struct ApiState {
    /// Checked configuration of this layer.
    pub settings: Settings,
    /// Who runs programs.
    pub runner: Arc<dyn Runner>,
    /// What is degraded.
    pub health: Health,
    /// What `GET /metrics` answers.
    pub metrics: RenderMetrics,
    /// When the daemon started; `uptime` counts from here.
    pub started_at: Instant,
}

type Shared = Arc<ApiState>;

/// All routes with their layers, ready to be served or to be merged with the Socket.IO layer.
///
/// The layers from the outside in: CORS, so that every answer carries its headers; panics to a 500;
/// the client's address. The rate limit wraps only the routes that cost something.
pub fn router(state: Shared) -> Router {
    let limiter = Arc::new(RateLimiter::new(&state.settings.rate_limit));
    let limited = Router::new()
        .route("/compile", post(compile::compile))
        .route_layer(from_fn_with_state(limiter, rate_limit::enforce));
    let free = Router::new()
        .route("/", get(service::index))
        .route("/health", get(service::health))
        .route("/test", get(service::test))
        .route("/metrics", get(service::metrics));
    Router::new()
        .merge(limited)
        .merge(free)
        .fallback(service::not_found)
        .method_not_allowed_fallback(service::not_found)
        .layer(from_fn_with_state(Arc::clone(&state), address::identify))
        .layer(CatchPanicLayer::custom(error::panicked))
        .layer(cors::layer(&state.settings.allowed_origins))
        .with_state(state)
}
