//! The languages' tools. One language is enough to serve.

use crankcase::config::Config;
use crankcase_runtimes::{Registry, Runtime};

use super::check::Check;

pub fn checks(registry: &Registry, config: &Config) -> Vec<Check> {
    registry.detect_versions();
    let runtimes: Vec<&Runtime> = registry.iter().filter(|runtime| config.runtimes.offers(&runtime.name)).collect();
    let mut checks: Vec<Check> = runtimes.iter().map(|runtime| of_runtime(runtime)).collect();
    if !runtimes.iter().any(|runtime| runtime.installed()) {
        checks.push(Check::fail("languages", "not one of them is installed", "install at least one of those above"));
    }
    checks
}

fn of_runtime(runtime: &Runtime) -> Check {
    let name = format!("language {}", runtime.name);
    if runtime.installed() {
        Check::ok(&name, runtime.version().unwrap_or("installed, of unknown version"))
    } else {
        Check::warn(&name, "not installed", runtime.missing_hint())
    }
}
