//! `crankcase precompile`: what compilers read again and again, compiled ahead of need. Root runs it, beside the service.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use super::ConfigOption;

#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    pub config: ConfigOption,
}

pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let (config, registry) = options.config.load_with_runtimes()?;
    let good = !config.runtimes.precompiled_headers || registry.make_headers();
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Starts it in the background, at the lowest priority; nobody waits for it and nothing depends on it. A shell in between
/// leaves it to the host's init.
pub fn start(config_file: Option<&Path>) {
    let Ok(program) = std::env::current_exe() else { return };
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "nice -n 19 \"$0\" precompile \"$@\" &"]).arg(program);
    if let Some(file) = config_file {
        command.arg("--config").arg(file);
    }
    let _ = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
}
