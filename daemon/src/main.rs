//! The `crankcase` command.
#![forbid(unsafe_code)]

mod cli;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Serve(options) => cli::serve::run(options),
        Command::CheckConfig(options) => cli::check_config::run(&options),
        Command::Doctor(options) => cli::doctor::run(&options),
        Command::Runtimes(command) => cli::runtimes::run(command),
        Command::History(command) => cli::history::run(&command),
        Command::Run(options) => cli::run::run(options),
        Command::Spawner(options) => cli::spawner::run(options),
        Command::Precompile(options) => cli::precompile::run(&options),
        Command::Generate(options) => cli::generate::run(&options),
    };
    result.unwrap_or_else(|error| {
        eprintln!("crankcase: {error:#}");
        ExitCode::FAILURE
    })
}
