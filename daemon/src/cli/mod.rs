//! What stands on the command line; each command has a file of its own.
//!
//! A command returns its exit code, or an error that `main` prints: 0 all is well, 1 it is not, 2 wrong usage.

pub mod check_config;
pub mod doctor;
pub mod generate;
pub mod history;
mod local;
pub mod precompile;
pub mod run;
pub mod runtimes;
pub mod serve;
pub mod spawner;
mod table;

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use crankcase::config::{Config, ConfigErrors, Environment};
use crankcase_runtimes::{Registry, Tree};

/// Runs untrusted code fast and safely.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve HTTP and Socket.IO.
    Serve(serve::Options),
    /// Check a configuration file and print everything that is wrong with it.
    CheckConfig(check_config::Options),
    /// List what the host must have, what was found, and the fix.
    Doctor(doctor::Options),
    /// The languages.
    #[command(subcommand)]
    Runtimes(runtimes::Command),
    /// The record of executions and rooms.
    #[command(subcommand)]
    History(history::Command),
    /// Run one file in the sandbox, without a server; stdin, stdout, stderr and the exit code are the program's.
    Run(run::Options),
    /// Run the privileged spawner on its own, for a daemon that is told its socket.
    Spawner(spawner::Options),
    /// Compile C++ headers ahead of need, as the service does in the background.
    Precompile(precompile::Options),
    /// Write man pages and shell completions.
    #[command(hide = true)]
    Generate(generate::Options),
}

/// `--config`, as most commands have it.
#[derive(Debug, Args)]
pub struct ConfigOption {
    /// The configuration; without it the one that CRANKCASE_CONFIG names, else /etc/crankcase/crankcase.toml, else the
    /// defaults.
    #[arg(long = "config", id = "config", value_name = "FILE")]
    file: Option<PathBuf>,
}

impl ConfigOption {
    /// Reads it, with the environment laid over it.
    pub fn load(&self) -> anyhow::Result<Config> {
        Ok(Config::load(self.file.as_deref(), &Environment::of_process())?)
    }

    /// The file, if there is one.
    pub fn path(&self, environment: &Environment) -> Option<PathBuf> {
        self.file.clone().or_else(|| environment.config_file())
    }

    /// Reads it and the manifests that it names, and checks the one against the other.
    pub fn load_with_runtimes(&self) -> anyhow::Result<(Config, Registry)> {
        let config = self.load()?;
        let registry = load_registry(&config)?;
        check_languages(&config, &registry)?;
        Ok((config, registry))
    }
}

fn load_registry(config: &Config) -> anyhow::Result<Registry> {
    let tree = config.sandbox.root.as_deref().map_or_else(Tree::host, Tree::image);
    Registry::load_for(tree, &config.runtimes.directories)
        .map_err(|errors| anyhow::anyhow!("{}", lines(&errors)))
        .context("wrong language manifests")
}

fn check_languages(config: &Config, registry: &Registry) -> Result<(), ConfigErrors> {
    let names: Vec<&str> = registry.iter().map(|runtime| runtime.name.as_str()).collect();
    config.check_languages(&names)
}

/// One a line.
fn lines<T: ToString>(errors: &[T]) -> String {
    errors.iter().map(|error| format!("\n  {}", error.to_string())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
