//! How much of the budget is in force: less memory while the host is short of it, more CPU while it idles.
//!
//! *Memory.* What is reserved is a promise that may be called in at any moment, so it is held below what
//! the host can still give (`MemAvailable`, or what a cgroup around the daemon has left, plus what the
//! sandboxes use already) less the reserve. And while tasks stall for memory (PSI) nobody is admitted but
//! one at a time. A program that only thrashes at its *own* limit raises the same figure, so it counts
//! only when memory is in fact scarce: otherwise any one program could hold up everybody.
//!
//! *CPU.* A run reserves a share without knowing whether it will compute or sleep. While runs wait and the
//! cores idle nevertheless, the limit grows by half the idle time a sample; once the cores are busy, what
//! was added halves a sample. So sleepers and programs that wait for input do not lock out the rest, and under full
//! load the number of runs falls back to what suits the cores.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use super::Admission;
use super::budget::Resources;
use super::config::AdmissionConfig;

/// How often places are published; every second time the host is looked at.
const TICK: Duration = Duration::from_millis(125);

/// PSI counts when less than this part of the memory is available.
const SCARCE: u64 = 4;

/// The cores idle when more than this part of their time is idle, and are busy below half of it.
const IDLE: f64 = 0.2;

/// The line `some` of a PSI file (Documentation/accounting/psi.rst).
#[derive(Debug, Clone, Copy, PartialEq)]
struct Psi {
    /// Percent of the last ten seconds.
    avg10: f64,
    /// Microseconds since boot.
    total: u64,
}

impl Psi {
    fn parse(text: &str) -> Option<Self> {
        let line = text.lines().find_map(|line| line.strip_prefix("some "))?;
        let field = |name| line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        Some(Self { avg10: field("avg10")?.parse().ok()?, total: field("total")?.parse().ok()? })
    }
}

/// The line `cpu` of `/proc/stat`, in ticks of all cores together since boot.
#[derive(Debug, Clone, Copy, PartialEq)]
struct CpuTicks {
    idle: u64,
    total: u64,
}

impl CpuTicks {
    fn parse(text: &str) -> Option<Self> {
        let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
        // user nice system idle iowait irq softirq steal; guest time is in user already.
        let ticks: Vec<u64> = line.split_whitespace().take(8).map_while(|word| word.parse().ok()).collect();
        Some(Self { idle: ticks.get(3)? + ticks.get(4).unwrap_or(&0), total: ticks.iter().sum() })
    }
}

/// What was seen of the host at one moment.
#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Instant,
    available: Option<u64>,
    sandboxes_use: u64,
    psi: Option<Psi>,
    cpu: Option<CpuTicks>,
}

/// What is known of the admission at that moment.
#[derive(Debug, Clone, Copy)]
struct Load {
    total: Resources,
    reserved: Resources,
    idle_bytes: u64,
    somebody_waits: bool,
}

/// Turns samples into limits. No I/O.
#[derive(Debug, Default)]
struct Gauge {
    last: Option<Sample>,
    extra_cpu: u64,
}

impl Gauge {
    fn limit(&mut self, config: &AdmissionConfig, memory_bytes: u64, load: Load, sample: Sample) -> Resources {
        let limit = Resources {
            cpu_millis: self.cpu(config, load, sample),
            memory_bytes: self.memory(config, memory_bytes, load, sample),
        };
        self.last = Some(sample);
        limit
    }

    fn memory(&self, config: &AdmissionConfig, memory_bytes: u64, load: Load, sample: Sample) -> u64 {
        let Some(available) = sample.available else { return load.total.memory_bytes };
        if available < memory_bytes / SCARCE && self.stalls(config.pressure_percent, sample) {
            return 0;
        }
        let in_use = sample.sandboxes_use.min(load.reserved.memory_bytes.saturating_add(load.idle_bytes));
        available.saturating_add(in_use).saturating_sub(config.memory_reserve_bytes)
    }

    /// Over the threshold, and not only in memory of what is over: the last interval shows at least half of it.
    fn stalls(&self, threshold: f64, sample: Sample) -> bool {
        let Some(psi) = sample.psi.filter(|psi| threshold > 0.0 && psi.avg10 >= threshold) else { return false };
        let Some((last, last_psi)) = self.last.and_then(|last| Some((last.at, last.psi?))) else { return true };
        let stalled = Duration::from_micros(psi.total.saturating_sub(last_psi.total));
        let elapsed = sample.at.saturating_duration_since(last);
        stalled.as_secs_f64() * 100.0 >= elapsed.as_secs_f64() * threshold / 2.0
    }

    fn cpu(&mut self, config: &AdmissionConfig, load: Load, sample: Sample) -> u64 {
        let base = load.total.cpu_millis;
        let most = base.saturating_mul(config.cpu_overcommit.saturating_sub(1));
        if !load.somebody_waits {
            // Nobody needs more than there is: a burst that comes later starts from the plain budget.
            self.extra_cpu = self.extra_cpu.min(load.reserved.cpu_millis.saturating_sub(base));
        } else if let Some(idle) = self.idle(sample) {
            if idle > IDLE {
                self.extra_cpu += (base as f64 * idle / 2.0) as u64;
            } else if idle < IDLE / 2.0 {
                self.extra_cpu /= 2;
            }
        }
        self.extra_cpu = self.extra_cpu.min(most);
        base.saturating_add(self.extra_cpu)
    }

    /// The idle part of the cores' time since the last sample.
    fn idle(&self, sample: Sample) -> Option<f64> {
        let (now, last) = (sample.cpu?, self.last?.cpu?);
        let total = now.total.checked_sub(last.total).filter(|total| *total > 0)?;
        Some(now.idle.saturating_sub(last.idle) as f64 / total as f64)
    }
}

impl Admission {
    /// Looks at the host and publishes places until it is dropped.
    pub async fn watch(&self) {
        let mut gauge = Gauge::default();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.look(&mut gauge);
            self.publish_places();
            ticks.tick().await;
            self.publish_places();
        }
    }

    fn look(&self, gauge: &mut Gauge) {
        let machine = &self.shared.machine;
        let sample = Sample {
            at: Instant::now(),
            available: machine.available_bytes(),
            sandboxes_use: machine.sandboxes_bytes(),
            psi: machine.memory_pressure().as_deref().and_then(Psi::parse),
            cpu: machine.stat().as_deref().and_then(CpuTicks::parse),
        };
        self.shared.change(|state| {
            let budget = state.core.budget();
            let load = Load {
                total: budget.total(),
                reserved: budget.reserved(),
                idle_bytes: budget.idle_bytes(),
                somebody_waits: !state.core.queue().is_empty(),
            };
            let limit = gauge.limit(&state.config, machine.memory_bytes, load, sample);
            state.core.set_limit(limit);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;
    const MACHINE: u64 = 4096 * MIB;

    fn load(reserved_cpu: u64, reserved_mib: u64, somebody_waits: bool) -> Load {
        Load {
            total: Resources { cpu_millis: 2000, memory_bytes: 3072 * MIB },
            reserved: Resources { cpu_millis: reserved_cpu, memory_bytes: reserved_mib * MIB },
            idle_bytes: 0,
            somebody_waits,
        }
    }

    struct Host {
        gauge: Gauge,
        config: AdmissionConfig,
        sample: Sample,
    }

    impl Host {
        fn new() -> Self {
            let cpu = Some(CpuTicks { idle: 0, total: 0 });
            let psi = Some(Psi { avg10: 0.0, total: 0 });
            let sample = Sample { at: Instant::now(), available: Some(3900 * MIB), sandboxes_use: 0, psi, cpu };
            Self { gauge: Gauge::default(), config: AdmissionConfig::default(), sample }
        }

        /// The limit after 250 ms in which so many of the 100 ticks were idle and so many ms were stalled.
        fn after(&mut self, load: Load, idle: u64, stalled_ms: u64) -> Resources {
            self.sample.at += Duration::from_millis(250);
            self.sample.cpu = self.sample.cpu.map(|c| CpuTicks { idle: c.idle + idle, total: c.total + 100 });
            self.sample.psi = self.sample.psi.map(|p| Psi { total: p.total + stalled_ms * 1000, ..p });
            self.gauge.limit(&self.config, MACHINE, load, self.sample)
        }

        fn memory(&mut self, load: Load, stalled_ms: u64) -> u64 {
            self.after(load, 50, stalled_ms).memory_bytes / MIB
        }
    }

    #[test]
    fn the_kernels_lines_are_read() {
        let psi = Psi::parse("some avg10=1.50 avg60=0.10 avg300=0.00 total=12345\nfull avg10=9.00 total=1\n");
        assert_eq!(psi, Some(Psi { avg10: 1.5, total: 12345 }));
        assert_eq!(Psi::parse("full avg10=9.00 total=1"), None);
        let cpu = CpuTicks::parse("cpu  10 1 5 100 20 2 3 4 50 0\ncpu0 1 1 1 1\n");
        assert_eq!(cpu, Some(CpuTicks { idle: 120, total: 145 }));
        assert_eq!(CpuTicks::parse("cpu  1 2"), None);
    }

    #[test]
    fn reservations_stay_below_what_the_host_can_give() {
        let mut host = Host::new();
        assert_eq!(host.memory(load(0, 0, true), 0), 3900 - 256);
        host.sample.available = Some(1000 * MIB);
        host.sample.sandboxes_use = 500 * MIB;
        assert_eq!(host.memory(load(500, 400, true), 0), 1000 + 400 - 256, "no more than is reserved is the runs'");
        let idle = Load { idle_bytes: 50 * MIB, ..load(500, 400, true) };
        assert_eq!(host.memory(idle, 0), 1000 + 450 - 256, "nor than is reserved and stands idle");
        host.sample.available = Some(100 * MIB);
        assert_eq!(host.memory(load(500, 0, true), 0), 0);
        host.sample.available = None;
        assert_eq!(host.memory(load(500, 0, true), 0), 3072, "an unknown host limits nothing");
    }

    #[test]
    fn pressure_holds_back_only_while_it_lasts_and_memory_is_scarce() {
        let mut host = Host::new();
        host.sample.psi = Some(Psi { avg10: 35.0, total: 0 });
        assert!(host.memory(load(500, 64, true), 100) > 0, "a program thrashing at its own limit");
        host.sample.available = Some(1000 * MIB);
        assert_eq!(host.memory(load(500, 64, true), 100), 0);
        assert!(host.memory(load(500, 64, true), 5) > 0, "avg10 still remembers, but it is over");
        assert_eq!(host.memory(load(500, 64, true), 100), 0);
        host.config.pressure_percent = 0.0;
        assert!(host.memory(load(500, 64, true), 100) > 0, "turned off");
    }

    #[test]
    fn idle_cores_let_more_runs_in_and_busy_ones_fewer() {
        let mut host = Host::new();
        let waiting = load(2000, 64, true);
        assert_eq!(host.after(waiting, 0, 0).cpu_millis, 2000);
        assert_eq!(host.after(waiting, 100, 0).cpu_millis, 3000);
        assert_eq!(host.after(waiting, 15, 0).cpu_millis, 3000, "neither idle nor busy");
        for _ in 0..50 {
            host.after(waiting, 100, 0);
        }
        assert_eq!(host.after(waiting, 100, 0).cpu_millis, 16_000, "bounded");
        assert_eq!(host.after(waiting, 0, 0).cpu_millis, 2000 + 7000);
        assert_eq!(host.after(load(500, 64, false), 100, 0).cpu_millis, 2000, "nobody waits");
        host.config.cpu_overcommit = 1;
        assert_eq!(host.after(waiting, 100, 0).cpu_millis, 2000);
    }
}
