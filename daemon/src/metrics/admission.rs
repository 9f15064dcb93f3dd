//! What the admission says of itself when it is asked.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::jobs::admission::{Resources, Snapshot};

/// A gauge that holds a fraction.
type Fraction = Gauge<f64, AtomicU64>;

/// Set from a snapshot before each rendering.
#[derive(Debug, Default)]
pub(super) struct OfAdmission {
    queued: Gauge,
    oldest: Fraction,
    rooms_waiting: Gauge,
    running: Gauge,
    cpu: [Fraction; 3],
    memory: [Gauge; 3],
    idle: Gauge,
}

impl OfAdmission {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("queue_length", "Executions that wait for capacity", self.queued.clone());
        registry.register_with_unit(
            "queue_oldest",
            "How long the oldest of them has waited",
            Unit::Seconds,
            self.oldest.clone(),
        );
        registry.register(
            "queue_rooms",
            "Rooms, and users outside of rooms, that wait for capacity",
            self.rooms_waiting.clone(),
        );
        registry.register("admitted", "Executions that hold a reservation", self.running.clone());
        registry.register_with_unit(
            "memory_idle",
            "Memory set aside for sandboxes that stand ready",
            Unit::Bytes,
            self.idle.clone(),
        );
        let what = [
            ("budget", "that executions may reserve in all"),
            ("limit", "that executions may reserve at the moment"),
            ("reserved", "that is reserved"),
        ];
        for ((name, help), (cpu, memory)) in what.into_iter().zip(self.cpu.iter().zip(&self.memory)) {
            registry.register(format!("cpu_{name}_cores"), format!("CPU {help}, in cores"), cpu.clone());
            registry.register_with_unit(
                format!("memory_{name}"),
                format!("Memory {help}"),
                Unit::Bytes,
                memory.clone(),
            );
        }
    }

    pub(super) fn set(&self, snapshot: &Snapshot) {
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.queued.set(count(snapshot.queued));
        self.running.set(count(snapshot.running));
        self.rooms_waiting.set(count(snapshot.rooms.len()));
        let oldest = snapshot.rooms.values().map(|room| room.oldest_age).max().unwrap_or_default();
        self.oldest.set(oldest.as_secs_f64());
        self.idle.set(i64::try_from(snapshot.idle_bytes).unwrap_or(i64::MAX));
        let values = [snapshot.budget, snapshot.limit, snapshot.reserved];
        for (Resources { cpu_millis, memory_bytes }, (cpu, memory)) in
            values.into_iter().zip(self.cpu.iter().zip(&self.memory))
        {
            cpu.set(cpu_millis as f64 / 1000.0);
            memory.set(i64::try_from(memory_bytes).unwrap_or(i64::MAX));
        }
    }
}
