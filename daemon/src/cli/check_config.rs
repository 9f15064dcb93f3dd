//! `crankcase check-config FILE`: everything that is wrong, before a restart finds out.

use std::path::PathBuf;
use std::process::ExitCode;

use crankcase::config::{Config, ConfigErrors, Environment};

#[derive(Debug, clap::Args)]
pub struct Options {
    /// The file. The environment, which wins over it when serving, is left aside.
    file: PathBuf,
}

pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let config = Config::load(Some(&options.file), &Environment::default())?;
    let registry = super::load_registry(&config)?;
    super::check_languages(&config, &registry)
        .map_err(|errors| ConfigErrors { file: Some(options.file.clone()), ..errors })?;
    println!("{}: ok", options.file.display());
    Ok(ExitCode::SUCCESS)
}
