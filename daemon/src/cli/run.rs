//! `crankcase run LANGUAGE FILE`: one program in the sandbox, without a server.

use std::path::PathBuf;
use std::process::ExitCode;

use super::ConfigOption;

#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    pub config: ConfigOption,
    /// A language's name or alias.
    pub language: String,
    /// The program.
    pub file: PathBuf,
    /// The program's arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub args: Vec<String>,
}

pub fn run(options: Options) -> anyhow::Result<ExitCode> {
    let _ = (options.config, options.language, options.file, options.args);
    anyhow::bail!("`crankcase run` is not available in this build")
}
