//! `crankcase serve`: HTTP and Socket.IO, once the host is found fit.

use std::process::ExitCode;

use super::{ConfigOption, doctor};

#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    pub config: ConfigOption,
}

pub fn run(options: Options) -> anyhow::Result<ExitCode> {
    let config = options.config.load()?;
    if let Some(refusal) = doctor::refusal(&doctor::required(&config)) {
        anyhow::bail!("{refusal}");
    }
    anyhow::bail!("`crankcase serve` is not available in this build")
}
