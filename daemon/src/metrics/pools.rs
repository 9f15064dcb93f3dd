//! What stands ready ahead of need, in numbers.
//!
//! **Invariant.** Languages here are those of the configuration and the manifests, never what a client wrote.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::warm::stock::Level;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    language: Arc<str>,
    kind: &'static str,
}

/// The handle of whoever keeps the pools.
#[derive(Debug, Clone, Default)]
pub struct PoolMetrics {
    ready: Family<Labels, Gauge>,
    target: Family<Labels, Gauge>,
    oldest: Family<Labels, Gauge<f64, AtomicU64>>,
    hits: Family<Labels, Counter>,
    misses: Family<Labels, Counter>,
    forks: Family<Labels, Counter>,
    failures: Family<Labels, Counter>,
}

impl PoolMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("pool_ready", "What stands ready, by language and kind", self.ready.clone());
        registry.register("pool_target", "How many of each should stand ready", self.target.clone());
        let help = "The age of the oldest of each";
        registry.register_with_unit("pool_oldest", help, Unit::Seconds, self.oldest.clone());
        registry.register("pool_hits", "Runs that found what they needed, by what they took", self.hits.clone());
        registry.register("pool_misses", "Runs that found none of what they could have taken", self.misses.clone());
        registry.register("pool_forks", "Forks of templates, ahead of need and for runs", self.forks.clone());
        registry.register("pool_failures", "What could not be made, by language and kind", self.failures.clone());
    }

    /// A run took this kind (`warm`, `fork`, `loaded`, `prepared`).
    pub fn hit(&self, language: &str, kind: &'static str) {
        self.hits.get_or_create(&labels(language, kind)).inc();
    }

    /// A run could have taken this kind, and there was none.
    pub fn missed(&self, language: &str, kind: &'static str) {
        self.misses.get_or_create(&labels(language, kind)).inc();
    }

    /// A template was forked.
    pub fn forked(&self, language: &str) {
        self.forks.get_or_create(&labels(language, "template")).inc();
    }

    /// Something could not be made.
    pub fn failed(&self, language: &str, kind: &'static str) {
        self.failures.get_or_create(&labels(language, kind)).inc();
    }

    /// What stands ready now.
    pub fn set(&self, levels: &[Level]) {
        // What is not set up any more has no level.
        self.ready.clear();
        self.target.clear();
        self.oldest.clear();
        for level in levels {
            let labels = Labels { language: Arc::clone(&level.language), kind: level.kind };
            self.ready.get_or_create(&labels).set(level.ready.into());
            self.target.get_or_create(&labels).set(level.target.into());
            self.oldest.get_or_create(&labels).set(level.oldest.as_secs_f64());
        }
    }
}

fn labels(language: &str, kind: &'static str) -> Labels {
    Labels { language: language.into(), kind }
}
