//! `crankcase runtimes`: which languages there are here, and whether they work.

mod image;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use crankcase::config::Config;
use crankcase::jobs::stage::Stage;
use crankcase_runtimes::{Registry, Runtime};
use crankcase_sandbox::outcome::Verdict;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::ConfigOption;
use super::local::Local;
use super::table::Table;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List the languages, their versions, and how to install the missing ones.
    List(ListOptions),
    /// Run the hello program of each installed language in the sandbox.
    Test(TestOptions),
    /// Make an image: a directory with the languages of a Debian release, which stands in the host's place in sandboxes.
    Build(image::BuildOptions),
    /// Make one file of an image and the Debian package, for a machine without a network.
    Export(image::ExportOptions),
    /// Check such a file, try what is in it, and use it.
    Import(image::ImportOptions),
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
        Command::Test(options) => {
            let (config, registry) = options.config.load_with_runtimes()?;
            Ok(code(tested(&config, &registry, &options.languages)?))
        }
        Command::Build(options) => image::build(&options),
        Command::Export(options) => image::export(&options),
        Command::Import(options) => image::import(&options),
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

const fn code(good: bool) -> ExitCode {
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs the hellos of what a configuration's root has; false when one does not print what it must.
fn hellos(config: &Config, languages: &[String]) -> anyhow::Result<bool> {
    tested(config, &super::load_registry(config)?, languages)
}

/// Asks the tools of a configuration's root for their versions, in the sandbox; by language.
fn ask_versions(config: &Config) -> anyhow::Result<BTreeMap<String, String>> {
    let registry = super::load_registry(config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let local = Local::start(config, &registry).await?;
        let mut versions = BTreeMap::new();
        for runtime in registry.iter() {
            let Some(command) = runtime.version_command() else { continue };
            let report = local.ask(config, runtime, command).await?;
            let answer = format!("{}\n{}", report.stdout.text(), report.stderr.text());
            let version = runtime.version_in(&answer);
            let version = version.with_context(|| format!("{} does not tell its version: {answer:?}", runtime.name))?;
            versions.insert(runtime.name.clone(), version);
        }
        Ok(versions)
    })
}

/// Runs every hello in the sandbox and prints what came of it; false when one does not print what it must.
fn tested(config: &Config, registry: &Registry, languages: &[String]) -> anyhow::Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut table = Table::new(["LANGUAGE", "RESULT", "COMPILE", "RUN", ""]);
    let mut good = true;
    runtime.block_on(async {
        let local = Local::start(config, registry).await?;
        for language in languages {
            anyhow::ensure!(registry.find(language).is_some(), "there is no language {language:?}");
        }
        let wanted = |runtime: &&Runtime| match languages {
            [] => runtime.installed() && config.runtimes.offers(&runtime.name),
            names => names.iter().any(|name| registry.find(name).is_some_and(|found| found.name == runtime.name)),
        };
        for runtime in registry.iter().filter(wanted) {
            let tested = hello(config, registry, &local, runtime).await;
            good &= tested.is_ok();
            let [result, compile, run, note] = match tested {
                Ok((compile, run)) => ["ok".to_owned(), compile, run, String::new()],
                Err(error) => ["FAILED".to_owned(), String::new(), String::new(), format!("{error:#}")],
            };
            table.row([runtime.name.clone(), result, compile, run, note]);
        }
        anyhow::Ok(())
    })?;
    print!("{table}");
    Ok(good)
}

/// Compile and run time of a hello that printed what it must.
async fn hello(
    config: &Config,
    registry: &Registry,
    local: &Local,
    runtime: &Runtime,
) -> anyhow::Result<(String, String)> {
    let hello = runtime.hello();
    let program = super::run::program(config, registry, &runtime.name, hello.code.clone(), Vec::new())?;
    let before = Instant::now();
    let mut sandbox = match local.prepare(&program).await? {
        Ok(sandbox) => sandbox,
        Err(report) => anyhow::bail!("does not compile: {}{}", report.stdout.text(), report.stderr.text()),
    };
    let compile = before.elapsed();
    let stage = Stage {
        command: program.plan.run,
        limits: program.limits.run,
        stdin: &hello.stdin,
        input: None,
        output_bytes: program.limits.output_bytes,
        cancel: &CancellationToken::new(),
        live: None,
        loaded: None,
    };
    let report = stage.run(&mut sandbox).await?;
    let (printed, outcome) = (report.stdout.text(), report.outcome);
    anyhow::ensure!(
        outcome.verdict() == Verdict::Ok && printed == hello.expected_stdout,
        "{:?}, printed {printed:?} and {:?}, not {:?}",
        outcome.verdict(),
        report.stderr.text(),
        hello.expected_stdout
    );
    let ms = |duration: Duration| format!("{} ms", duration.as_millis());
    let compile = if runtime.compiled() { ms(compile) } else { String::new() };
    Ok((compile, ms(outcome.wall_time)))
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
