//! `crankcase history backup`: a copy of the history while the service runs.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;

use super::ConfigOption;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Copy the history into a new file, whole and consistent, while the service runs.
    Backup(BackupOptions),
}

#[derive(Debug, clap::Args)]
pub struct BackupOptions {
    #[command(flatten)]
    config: ConfigOption,
    /// The file to make; must not exist yet.
    file: PathBuf,
}

pub fn run(command: &Command) -> anyhow::Result<ExitCode> {
    let Command::Backup(options) = command;
    let path = options.config.load()?.history.path;
    let bytes = crankcase::history::backup(&path, &options.file)
        .with_context(|| format!("copying {} to {}", path.display(), options.file.display()))?;
    println!("{}: {} KiB", options.file.display(), bytes.div_ceil(1024));
    Ok(ExitCode::SUCCESS)
}
