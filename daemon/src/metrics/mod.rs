//! What `/metrics` shows, in the OpenMetrics text format.
//!
//! **Invariant.** The number of series is bounded: no label ever holds what a client wrote. A language
//! counts by its name when it is one of those known at start, else as `other`.

mod admission;
mod pools;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use self::admission::OfAdmission;
pub use self::pools::PoolMetrics;
use crate::jobs::Refusal;
use crate::jobs::admission::Admission;
use crate::jobs::execution::{RunResult, Status};

/// The label of a language that nobody knows.
const OTHER: &str = "other";

/// Bounds of the histograms in seconds: from a warm start to the longest wait.
const SECONDS: [f64; 16] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RunLabels {
    language: Arc<str>,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LanguageLabel {
    language: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CacheLabels {
    language: Arc<str>,
    result: &'static str,
}

type Histograms = Family<LanguageLabel, Histogram, fn() -> Histogram>;

/// How long the phases of one execution took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Phases {
    /// For the room's lock and for admission.
    pub waiting: Duration,
    /// From admission to the start of the first stage.
    pub starting: Duration,
    /// All stages.
    pub running: Duration,
}

/// The handle that everybody shares.
#[derive(Clone)]
pub struct Metrics {
    inner: Arc<Inner>,
}

struct Inner {
    registry: Registry,
    languages: HashSet<Arc<str>>,
    other: Arc<str>,
    admission: Admission,
    of_admission: OfAdmission,
    runs: Family<RunLabels, Counter>,
    refusals: Family<ReasonLabel, Counter>,
    waiting: Histogram,
    starting: Histograms,
    running: Histograms,
    cpu_seconds: Family<LanguageLabel, Counter<f64, AtomicU64>>,
    pools: PoolMetrics,
    artefacts: Family<CacheLabels, Counter>,
    artefact_entries: Gauge,
    artefact_bytes: Gauge,
    levels: Levels,
}

/// What others keep up to date.
#[derive(Debug, Clone, Default)]
pub struct Levels {
    /// Sandboxes that live, prepared ones included.
    pub sandboxes: Gauge,
    /// Records that wait for the history's writer.
    pub history_queue: Gauge,
    /// Sockets that are connected.
    pub sockets: Gauge,
    /// Rooms that are in memory.
    pub rooms: Gauge,
    /// 1 while the service is degraded (`/health` says by what), else 0.
    pub degraded: Gauge,
}

impl Metrics {
    /// With a label for each of these languages.
    #[must_use]
    pub fn new<'a>(languages: impl IntoIterator<Item = &'a str>, admission: Admission) -> Self {
        let seconds = || Histogram::new(SECONDS);
        let mut inner = Inner {
            registry: Registry::with_prefix("crankcase"),
            languages: languages.into_iter().map(Arc::from).collect(),
            other: OTHER.into(),
            admission,
            of_admission: OfAdmission::default(),
            runs: Family::default(),
            refusals: Family::default(),
            waiting: seconds(),
            starting: Family::new_with_constructor(seconds),
            running: Family::new_with_constructor(seconds),
            cpu_seconds: Family::default(),
            pools: PoolMetrics::default(),
            artefacts: Family::default(),
            artefact_entries: Gauge::default(),
            artefact_bytes: Gauge::default(),
            levels: Levels::default(),
        };
        inner.register();
        Self { inner: Arc::new(inner) }
    }

    /// An execution ended that was admitted; `language` is the runtime's name, not the alias that was asked for.
    pub fn run_ended(&self, language: &str, result: &RunResult, phases: Phases) {
        let inner = &self.inner;
        let language = LanguageLabel { language: inner.language(language) };
        let cpu_ms = result.cpu_time + result.compile.as_ref().map_or(0, |compile| compile.cpu_time);
        inner.waiting.observe(phases.waiting.as_secs_f64());
        inner.starting.get_or_create(&language).observe(phases.starting.as_secs_f64());
        inner.running.get_or_create(&language).observe(phases.running.as_secs_f64());
        inner.cpu_seconds.get_or_create(&language).inc_by(cpu_ms as f64 / 1000.0);
        inner.runs.get_or_create(&RunLabels { language: language.language, outcome: outcome(result) }).inc();
    }

    /// A submission was refused.
    pub fn refused(&self, refusal: &Refusal) {
        self.inner.refusals.get_or_create(&ReasonLabel { reason: refusal.reason() }).inc();
    }

    /// What stands ready, for whoever keeps it.
    #[must_use]
    pub fn pools(&self) -> PoolMetrics {
        self.inner.pools.clone()
    }

    /// A program was looked for among those compiled before.
    pub fn artefact_asked_for(&self, language: &str, found: bool) {
        let result = if found { "hit" } else { "miss" };
        let labels = CacheLabels { language: self.inner.language(language), result };
        self.inner.artefacts.get_or_create(&labels).inc();
    }

    /// So many of them are kept, in so many bytes of disk.
    pub fn artefacts_kept(&self, entries: usize, bytes: u64) {
        self.inner.artefact_entries.set(i64::try_from(entries).unwrap_or(i64::MAX));
        self.inner.artefact_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// The levels that others keep up to date.
    #[must_use]
    pub fn levels(&self) -> &Levels {
        &self.inner.levels
    }

    /// The text of `/metrics`; its content type is [`CONTENT_TYPE`].
    #[must_use]
    pub fn render(&self) -> String {
        self.inner.of_admission.set(&self.inner.admission.snapshot());
        let mut out = String::with_capacity(16 * 1024);
        match text::encode(&mut out, &self.inner.registry) {
            Ok(()) => out,
            // Writing to a string does not fail; half of a text is worse than none.
            Err(_) => String::new(),
        }
    }
}

/// What [`Metrics::render`] gives.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Inner {
    fn language(&self, name: &str) -> Arc<str> {
        self.languages.get(name).unwrap_or(&self.other).clone()
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("runs", "Executions that ended, by language and outcome", self.runs.clone());
        registry.register("refusals", "Submissions that were refused, by reason", self.refusals.clone());
        registry.register_with_unit(
            "waiting",
            "Time spent waiting for the room and for capacity",
            Unit::Seconds,
            self.waiting.clone(),
        );
        registry.register_with_unit(
            "starting",
            "Time from admission to the start of the program",
            Unit::Seconds,
            self.starting.clone(),
        );
        registry.register_with_unit("running", "Wall time of all stages", Unit::Seconds, self.running.clone());
        registry.register_with_unit("cpu", "CPU time of all stages", Unit::Seconds, self.cpu_seconds.clone());
        self.pools.register(registry);
        registry.register(
            "artefact_lookups",
            "Programs looked for among those compiled before, by language and result",
            self.artefacts.clone(),
        );
        registry.register("artefact_entries", "Compiled programs that are kept", self.artefact_entries.clone());
        registry.register_with_unit(
            "artefact_cache",
            "Disk space that they take",
            Unit::Bytes,
            self.artefact_bytes.clone(),
        );

        let levels = &self.levels;
        registry.register("sandboxes", "Sandboxes that live, prepared ones included", levels.sandboxes.clone());
        registry.register(
            "history_queue_length",
            "Records that wait for the history's writer",
            levels.history_queue.clone(),
        );
        registry.register("sockets", "Sockets that are connected", levels.sockets.clone());
        registry.register("rooms", "Rooms that are in memory", levels.rooms.clone());
        registry.register("degraded", "1 while the service is degraded, see /health", levels.degraded.clone());

        self.of_admission.register(registry);
    }
}

/// One word of a fixed list for how it ended.
fn outcome(result: &RunResult) -> &'static str {
    let compile_failed = result.compile.as_ref().is_some_and(|compile| compile.exit_code != Some(0));
    match (result.status, result.limit.as_deref()) {
        (Status::Cancelled, _) => "cancelled",
        (_, Some("time")) => "time_limit",
        (_, Some("cpu")) => "cpu_limit",
        (_, Some("memory")) => "memory_limit",
        (_, Some("output")) => "output_limit",
        (_, Some("processes")) => "process_limit",
        (_, Some("disk")) => "disk_limit",
        (Status::Timeout, _) => "time_limit",
        (Status::Completed, _) if compile_failed => "compile_error",
        (Status::Completed, _) if result.signal.is_some() => "signalled",
        (Status::Completed, _) if result.exit_code == Some(0) => "ok",
        (Status::Completed, _) => "nonzero_exit",
        (Status::Failed | Status::Queued | Status::Running, _) => "internal_error",
    }
}

#[cfg(test)]
mod tests;
