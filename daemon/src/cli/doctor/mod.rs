//! `crankcase doctor`: every requirement, what was found, and the fix.
//!
//! `serve` makes the same checks at start, by [`required`], and refuses with the same words: a host on which
//! isolation is missing gets no weaker sandbox.

mod cgroup;
mod check;
mod host;
mod kernel;
mod namespaces;
mod place;
mod platform;
mod security;
mod tools;

use std::process::ExitCode;

use crankcase::config::Config;
use serde_json::json;

use super::ConfigOption;
use super::table::Table;
pub use check::{Check, Status};
use host::Host;

#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    config: ConfigOption,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let (config, registry) = options.config.load_with_runtimes()?;
    let mut checks = required(&config);
    let host = Host::this();
    checks.extend(namespaces::notes(&host));
    checks.push(security::landlock(&host));
    checks.push(platform::modules(&host));
    checks.extend(platform::wsl(&host));
    checks.push(platform::cores(&host));
    checks.push(place::pressure(&host));
    checks.push(place::init(&host));
    checks.push(place::memory(&host, &config));
    checks.extend(tools::checks(&registry, &config));
    let good = !checks.iter().any(|check| check.status == Status::Fail);
    if options.json {
        println!("{}", as_json(&checks, good));
    } else {
        print!("{}", as_table(&checks));
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What must be so before anything may run.
pub fn required(config: &Config) -> Vec<Check> {
    let mut checks = for_sandboxes(config);
    checks.push(place::data_dir(config));
    checks
}

/// What sandboxes take. A spawner that is a service of its own answers for its place itself, which may be another than
/// ours: under systemd the daemon has a user namespace and a cgroup of its own.
pub fn for_sandboxes(config: &Config) -> Vec<Check> {
    let host = Host::this();
    let mut checks = vec![kernel::version(&host)];
    checks.extend(namespaces::checks(&host));
    checks.push(security::seccomp(&host));
    checks.push(security::privilege(&host, config));
    if config.sandbox.spawner_socket.is_none() {
        checks.push(place::container(&host));
        checks.extend(cgroup::checks(&host, config));
    }
    checks
}

/// The words with which `serve` refuses to start; none when nothing failed.
pub fn refusal(checks: &[Check]) -> Option<String> {
    let failed: Vec<Check> = checks.iter().filter(|check| check.status == Status::Fail).cloned().collect();
    let count = failed.len();
    let noun = if count == 1 { "requirement is" } else { "requirements are" };
    (count > 0).then(|| format!("{count} {noun} not met (`crankcase doctor` lists all):\n{}", as_table(&failed)))
}

fn as_json(checks: &[Check], good: bool) -> serde_json::Value {
    let checks: Vec<_> = checks
        .iter()
        .map(|check| {
            json!({ "name": check.name, "status": check.status.word(), "found": check.found, "fix": check.fix })
        })
        .collect();
    json!({ "ok": good, "checks": checks })
}

fn as_table(checks: &[Check]) -> String {
    let mut table = Table::new(["", "REQUIREMENT", "FOUND"]);
    for check in checks {
        table.row([check.status.word().to_owned(), check.name.clone(), check.found.clone()]);
        if let Some(fix) = &check.fix {
            table.row([String::new(), String::new(), format!("→ {fix}")]);
        }
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Vec<Check> {
        vec![
            Check::ok("kernel", "6.1.0"),
            Check::warn("pressure", "none", "boot with psi=1"),
            Check::fail("cgroup memory", "not mounted", "mount it"),
        ]
    }

    #[test]
    fn the_refusal_names_what_failed_and_nothing_else() {
        let text = refusal(&some()).unwrap();
        assert!(text.starts_with("1 requirement is not met"), "{text}");
        assert!(text.contains("cgroup memory") && text.contains("→ mount it"), "{text}");
        assert!(!text.contains("pressure") && !text.contains("6.1.0"), "{text}");
        assert_eq!(refusal(&some()[..2]), None);
    }

    #[test]
    fn json_has_every_check() {
        let json = as_json(&some(), false);
        assert_eq!(json["ok"], false);
        assert_eq!(json["checks"][2]["status"], "FAIL");
        assert_eq!(json["checks"][0]["fix"], serde_json::Value::Null);
    }

    #[test]
    fn this_host_is_looked_at_without_a_panic() {
        let names = |text: &str| -> Vec<String> {
            let config = Config::parse(text, &crankcase::config::Environment::default()).unwrap();
            required(&config).into_iter().map(|check| check.name).collect()
        };
        let own = names("");
        for name in ["kernel", "container", "seccomp", "privilege", "data directory"] {
            assert!(own.iter().any(|found| found == name), "{name} in {own:?}");
        }
        let apart = names("sandbox.spawner-socket = \"/run/crankcase/spawner.sock\"");
        assert!(!apart.iter().any(|name| name == "container" || name.contains("cgroup")), "{apart:?}");
        assert!(apart.iter().any(|name| name == "privilege"), "{apart:?}");
    }
}
