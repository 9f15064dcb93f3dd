//! `crankcase spawner`.

use std::process::ExitCode;

use super::ConfigOption;

#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    pub config: ConfigOption,
}

pub fn run(options: Options) -> anyhow::Result<ExitCode> {
    let _ = options.config;
    anyhow::bail!("`crankcase spawner` is not available in this build")
}
