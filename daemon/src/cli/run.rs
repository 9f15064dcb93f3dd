//! `crankcase run LANGUAGE FILE`: one program in the sandbox, without a server.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context as _;
use crankcase::config::Config;
use crankcase::ids::{RoomId, UserId};
use crankcase::jobs::program::Program;
use crankcase::jobs::{LimitOverrides, Submission};
use crankcase_runtimes::Registry;
use crankcase_sandbox::outcome::{Exit, StageOutcome};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

use super::ConfigOption;
use super::local::Local;

/// What `timeout(1)` exits with.
const LIMIT_EXCEEDED: u8 = 124;

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
    let (config, registry) = options.config.load_with_runtimes()?;
    let code = std::fs::read_to_string(&options.file).with_context(|| format!("reading {}", options.file.display()))?;
    let program = program(&config, &registry, &options.language, code, options.args)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting")?;
    let code = runtime.block_on(execute(&config, &registry, &program))?;
    // A read of our own stdin may still be under way; nobody waits for it.
    runtime.shutdown_background();
    Ok(code)
}

/// A program from outside of any room.
pub fn program(
    config: &Config,
    registry: &Registry,
    language: &str,
    code: String,
    args: Vec<String>,
) -> anyhow::Result<Program> {
    let submission = Submission {
        room: RoomId::standalone(),
        user: UserId::new("command-line")?,
        username: String::new(),
        language: language.to_owned(),
        code,
        stdin: String::new(),
        args,
        files: Vec::new(),
        priority: 0,
        overrides: LimitOverrides::default(),
        correlation_id: None,
        interactive: false,
        address: None,
        received: Instant::now(),
    };
    Ok(Program::prepare(config, &config.reloadable, registry, &submission)?)
}

async fn execute(config: &Config, registry: &Registry, program: &Program) -> anyhow::Result<ExitCode> {
    let local = Local::start(config, registry).await?;
    let mut sandbox = match local.prepare(program).await? {
        Ok(sandbox) => sandbox,
        Err(report) => {
            eprint!("{}{}", report.stdout.text(), report.stderr.text());
            return Ok(exit_code(&report.outcome));
        }
    };
    let stdio = sandbox.load(program.plan.run.clone(), program.limits.run).await?;
    sandbox.start().await?;
    let feeding = tokio::spawn(copy(tokio::io::stdin(), stdio.stdin));
    let ((), (), ended) =
        tokio::join!(copy(stdio.stdout, tokio::io::stdout()), copy(stdio.stderr, tokio::io::stderr()), sandbox.ended());
    feeding.abort();
    Ok(exit_code(&ended?))
}

/// To the end of either.
async fn copy(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
    let _ = tokio::io::copy(&mut from, &mut to).await;
    let _ = to.flush().await;
}

/// As a shell has it: the program's own, or 128 and the signal.
fn exit_code(outcome: &StageOutcome) -> ExitCode {
    match (outcome.limit, outcome.exit) {
        (Some(limit), _) => {
            eprintln!("crankcase: the {limit} limit was exceeded");
            ExitCode::from(LIMIT_EXCEEDED)
        }
        (None, Exit::Code(code)) => ExitCode::from(code),
        (None, Exit::Signal(signal)) => ExitCode::from(128 + signal),
    }
}
