//! `crankcase runtimes`: which languages there are here, and whether they work.

use std::process::ExitCode;

use crankcase_runtimes::{Registry, Runtime};
use serde_json::json;

use super::ConfigOption;
use super::table::Table;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List the languages, their versions, and how to install the missing ones.
    List(ListOptions),
    /// Run the hello program of each installed language in the sandbox.
    Test(TestOptions),
}

#[derive(Debug, clap::Args)]
pub struct ListOptions {
    #[command(flatten)]
    config: ConfigOption,
    /// One JSON array.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub struct TestOptions {
    #[command(flatten)]
    pub config: ConfigOption,
    /// Only these languages.
    pub languages: Vec<String>,
}

pub fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::List(options) => list(&options),
        Command::Test(options) => test(options),
    }
}

fn list(options: &ListOptions) -> anyhow::Result<ExitCode> {
    let (config, registry) = options.config.load_with_runtimes()?;
    registry.detect_versions();
    let enabled = |runtime: &Runtime| config.runtimes.offers(&runtime.name);
    if options.json {
        println!("{}", as_json(&registry, enabled));
    } else {
        print!("{}", as_table(&registry, enabled));
    }
    Ok(ExitCode::SUCCESS)
}

fn as_json(registry: &Registry, enabled: impl Fn(&Runtime) -> bool) -> serde_json::Value {
    registry
        .iter()
        .map(|runtime| {
            json!({
                "name": runtime.name,
                "aliases": runtime.aliases,
                "displayName": runtime.display_name,
                "installed": runtime.installed(),
                "enabled": enabled(runtime),
                "version": runtime.version(),
                "packages": runtime.packages,
                "manifest": runtime.manifest_file(),
            })
        })
        .collect()
}

fn as_table(registry: &Registry, enabled: impl Fn(&Runtime) -> bool) -> String {
    let mut table = Table::new(["LANGUAGE", "VERSION", "ALIASES", ""]);
    for runtime in registry.iter() {
        let (version, note) = match (runtime.installed(), enabled(runtime)) {
            (false, _) => ("-", format!("not installed; {}", runtime.missing_hint())),
            (true, false) => (runtime.version().unwrap_or("?"), "not enabled (runtimes.enabled)".to_owned()),
            (true, true) => (runtime.version().unwrap_or("?"), String::new()),
        };
        table.row([runtime.name.clone(), version.to_owned(), runtime.aliases.join(" "), note]);
    }
    table.to_string()
}

fn test(options: TestOptions) -> anyhow::Result<ExitCode> {
    let _ = (options.config, options.languages);
    anyhow::bail!("`crankcase runtimes test` is not available in this build")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_is_listed_with_its_state() {
        let registry = Registry::load(&[]).unwrap();
        let text = as_table(&registry, |runtime| runtime.name != "python");
        for runtime in registry.iter() {
            let line = text.lines().find(|line| line.split(' ').next() == Some(&runtime.name)).unwrap();
            assert_eq!(line.contains("not installed"), !runtime.installed(), "{line}");
        }
        let json = as_json(&registry, |_| true);
        assert_eq!(json.as_array().unwrap().len(), registry.iter().count());
        assert!(json.as_array().unwrap().iter().any(|entry| entry["name"] == "python" && entry["enabled"] == true));
    }
}
