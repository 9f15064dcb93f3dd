//! What the operator says about admission, and the classes that only the operator grants.

use std::time::Duration;

use crate::ids::RoomId;

/// How urgent a run is. Granted by the configuration, never by a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Served first.
    Contest,
    /// People at their editors: the default.
    Interactive,
    /// Replays and batches, which nobody watches.
    Batch,
}

impl Class {
    /// All of them, most urgent first.
    pub const ALL: [Self; 3] = [Self::Contest, Self::Interactive, Self::Batch];

    /// The name in the configuration and in the metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Contest => "contest",
            Self::Interactive => "interactive",
            Self::Batch => "batch",
        }
    }

    pub(super) const fn rank(self) -> usize {
        self as usize
    }
}

/// The `admission` section, checked. Everything in it may change while runs are under way.
#[derive(Debug, Clone, PartialEq)]
pub struct AdmissionConfig {
    /// `cpu`: the CPU budget in thousandths of a core; none stands for all cores.
    pub cpu_millis: Option<u64>,
    /// `memory`: the memory budget in bytes; none stands for `memory_percent`.
    pub memory_bytes: Option<u64>,
    /// `memory-percent`: the budget in hundredths of what the machine or the daemon's own cgroup has,
    /// whichever is less; 1 to 100.
    pub memory_percent: u64,
    /// `sandbox.memory-reserve`: bytes that must stay available to the host whatever the sandboxes do.
    pub memory_reserve_bytes: u64,
    /// `cpu-per-run`: what one run reserves, thousandths of a core. Half a core by default: a run spends
    /// part of its time on starting, pipes and the record, so two to a core keep the core busy.
    pub cpu_per_run_millis: u64,
    /// `cpu-overcommit`: while the cores stand idle although the CPU budget is reserved (programs that
    /// sleep or wait for input), the budget grows step by step up to so many times its size; 1 turns it off.
    pub cpu_overcommit: u64,
    /// `queue-length`: runs that may wait; one more is refused at once.
    pub queue_length: usize,
    /// `queue-wait`: how long one may wait.
    pub queue_wait: Duration,
    /// `overtakes`: how many smaller runs may pass a large one that does not fit.
    pub overtakes: u32,
    /// `pressure`: percent of time in which some task stalled for memory (`some avg10` of PSI) from which
    /// on admission is held back; 0 turns it off.
    pub pressure_percent: f64,
    /// `contest-rooms`: names of rooms, or prefixes that end in `*`.
    pub contest_rooms: Vec<String>,
    /// `batch-rooms`: likewise.
    pub batch_rooms: Vec<String>,
}

impl Default for AdmissionConfig {
    fn default() -> Self {
        Self {
            cpu_millis: None,
            memory_bytes: None,
            memory_percent: 75,
            memory_reserve_bytes: 256 * 1024 * 1024,
            cpu_per_run_millis: 500,
            cpu_overcommit: 8,
            queue_length: 500,
            queue_wait: Duration::from_secs(30),
            overtakes: 16,
            pressure_percent: 20.0,
            contest_rooms: Vec::new(),
            batch_rooms: Vec::new(),
        }
    }
}

impl AdmissionConfig {
    /// The class of a run: what the configuration says of its room, else batch for what nobody watches
    /// (`background`), else interactive.
    #[must_use]
    pub fn class(&self, room: &RoomId, background: bool) -> Class {
        let named = |patterns: &[String]| room.is_room() && patterns.iter().any(|p| matches(p, room.as_str()));
        if named(&self.batch_rooms) || background {
            Class::Batch
        } else if named(&self.contest_rooms) {
            Class::Contest
        } else {
            Class::Interactive
        }
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_configuration_grants_a_class() {
        let config = AdmissionConfig {
            contest_rooms: vec!["exam-*".into(), "final".into()],
            batch_rooms: vec!["nightly".into()],
            ..AdmissionConfig::default()
        };
        let class = |name: &str, background| config.class(&RoomId::new(name).unwrap(), background);
        assert_eq!(class("exam-7", false), Class::Contest);
        assert_eq!(class("final", false), Class::Contest);
        assert_eq!(class("finals", false), Class::Interactive);
        assert_eq!(class("nightly", false), Class::Batch);
        assert_eq!(class("exam-7", true), Class::Batch);
        assert_eq!(class("standalone", false), Class::Interactive);
    }
}
