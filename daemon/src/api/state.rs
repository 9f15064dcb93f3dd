//! What the handlers work with.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use super::diagnostics::LiveRooms;
use super::health::Health;
use super::languages::ListLanguages;
use super::rate_limit::RateLimiter;
use super::settings::Settings;
use crate::config::Reloadable;
use crate::history::History;
use crate::jobs::batch::BatchRunner;
use crate::jobs::{Refusal, Runner};

/// Renders the metrics in the OpenMetrics text format.
pub type RenderMetrics = Arc<dyn Fn() -> String + Send + Sync>;

/// Counts a request that is refused before any runner sees it.
pub type CountRefusal = Arc<dyn Fn(&Refusal) + Send + Sync>;

/// The parts that the HTTP layer stands on.
pub struct Parts {
    /// Checked configuration of this layer.
    pub settings: Settings,
    /// Who runs programs.
    pub runner: Arc<dyn Runner>,
    /// Who runs batches.
    pub batches: Arc<dyn BatchRunner>,
    /// What was recorded.
    pub history: History,
    /// Which languages there are.
    pub languages: ListLanguages,
    /// The rooms in memory.
    pub rooms: Arc<dyn LiveRooms>,
    /// What is degraded.
    pub health: Health,
    /// What `GET /metrics` answers.
    pub metrics: RenderMetrics,
    /// Counts refusals of the rate limit.
    pub refused: CountRefusal,
    /// When the daemon started; `uptime` counts from here.
    pub started_at: Instant,
}

/// The parts, and the settings that hold now.
pub struct ApiState {
    settings: RwLock<Arc<Settings>>,
    pub(super) limiter: RateLimiter,
    pub(super) runner: Arc<dyn Runner>,
    pub(super) batches: Arc<dyn BatchRunner>,
    pub(super) history: History,
    pub(super) languages: ListLanguages,
    pub(super) rooms: Arc<dyn LiveRooms>,
    pub(super) health: Health,
    pub(super) metrics: RenderMetrics,
    pub(super) refused: CountRefusal,
    pub(super) started_at: Instant,
}

impl ApiState {
    /// Ready for [`super::router`].
    #[must_use]
    pub fn new(parts: Parts) -> Arc<Self> {
        Arc::new(Self {
            limiter: RateLimiter::new(parts.settings.rate_limit),
            settings: RwLock::new(Arc::new(parts.settings)),
            runner: parts.runner,
            batches: parts.batches,
            history: parts.history,
            languages: parts.languages,
            rooms: parts.rooms,
            health: parts.health,
            metrics: parts.metrics,
            refused: parts.refused,
            started_at: parts.started_at,
        })
    }

    /// Whether `/health` has anything to tell.
    #[must_use]
    pub fn is_degraded(&self) -> bool {
        !self.health.problems().is_empty()
    }

    /// The settings that hold now; a request that has begun keeps its own.
    #[must_use]
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes over what SIGHUP may change. A rate limit that changed begins with full buckets.
    pub fn reload(&self, reloadable: &Reloadable) {
        let mut settings = self.settings.write().unwrap_or_else(PoisonError::into_inner);
        *settings = Arc::new(Settings::clone(&settings).reloaded(reloadable));
        self.limiter.reload(settings.rate_limit);
    }
}
