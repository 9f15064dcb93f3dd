//! What the spawner is told, from the configuration and the languages.

use crankcase_runtimes::Registry;

use crate::config::{Config, MemoryBudget};
use crate::jobs::admission::AdmissionConfig;
use crate::jobs::admission::memory::Machine;

/// The spawner's command line.
#[must_use]
pub fn arguments(config: &Config, registry: &Registry) -> Vec<String> {
    let sandbox = &config.sandbox;
    let budget = Machine::detect().budget(&admission(config));
    let mut arguments = Vec::new();
    let mut add = |name: &str, value: String| arguments.extend([format!("--{name}"), value]);
    add("uid-base", sandbox.uid_base.to_string());
    add("sandboxes-max", sandbox.max_sandboxes.to_string());
    add("memory-max", budget.memory_bytes.to_string());
    add("cpu-weight", sandbox.cpu_weight.to_string());
    add("hostname", sandbox.hostname.clone());
    add("instance", std::process::id().to_string());
    if let Some(root) = &sandbox.root {
        add("root", root.display().to_string());
    }
    if let Some(parent) = &sandbox.cgroup_parent {
        add("cgroup-base", parent.display().to_string());
    }
    if let (true, None, Some(directory)) =
        (config.runtimes.precompiled_headers, &sandbox.root, crankcase_runtimes::headers_directory())
    {
        add("headers", directory.display().to_string());
    }
    for path in registry.read_only_paths().iter().chain(&sandbox.read_only_paths) {
        add("read-only", path.display().to_string());
    }
    arguments
}

/// The configuration's part that admission goes by.
#[must_use]
pub fn admission(config: &Config) -> AdmissionConfig {
    let admission = &config.reloadable.admission;
    let (memory_percent, memory_bytes) = match admission.memory {
        MemoryBudget::Percent(percent) => (percent, None),
        MemoryBudget::Bytes(bytes) => (100, Some(bytes)),
    };
    AdmissionConfig {
        cpu_millis: admission.cores.map(crankcase_sandbox::spec::CpuQuota::get),
        memory_bytes,
        memory_percent,
        memory_reserve_bytes: config.sandbox.memory_reserve,
        cpu_per_run_millis: admission.cpu_per_run.get(),
        cpu_overcommit: admission.cpu_overcommit.into(),
        queue_length: admission.queue_length,
        queue_wait: admission.queue_wait,
        overtakes: admission.overtakes,
        pressure_percent: admission.pressure.map_or(0.0, |percent| percent.0 as f64),
        contest_rooms: admission.contest_rooms.clone(),
        batch_rooms: admission.batch_rooms.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;

    #[test]
    fn the_defaults_are_admissions_own() {
        let config = Config::parse("", &Environment::default()).unwrap();
        let own = AdmissionConfig::default();
        assert_eq!(admission(&config), AdmissionConfig { memory_reserve_bytes: config.sandbox.memory_reserve, ..own });
    }

    #[test]
    fn paths_are_passed_one_by_one() {
        let config =
            Config::parse("sandbox.read-only-paths = [\"/opt/x\", \"/opt/y\"]", &Environment::default()).unwrap();
        let arguments = arguments(&config, &Registry::load(&[]).unwrap());
        assert!(arguments.windows(2).any(|pair| pair == ["--read-only", "/opt/y"]));
        assert!(arguments.windows(2).any(|pair| pair[0] == "--memory-max" && pair[1].parse::<u64>().is_ok()));
    }
}
