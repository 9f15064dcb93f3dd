//! A spawner for one command: no server, no history, no rooms.

use std::time::Duration;

use anyhow::Context as _;
use crankcase::config::Config;
use crankcase::config::limits::resolve;
use crankcase::jobs::LimitOverrides;
use crankcase::jobs::program::Program;
use crankcase::jobs::stage::{Stage, StageReport};
use crankcase::service::spawner;
use crankcase::spawner_client::embedded::{Embedded, SpawnerArguments};
use crankcase::spawner_client::{Sandbox, SpawnerClient};
use crankcase_runtimes::{Registry, Runtime};
use crankcase_sandbox::outcome::{SandboxError, Verdict};
use crankcase_sandbox::spec::StageCommand;
use tokio_util::sync::CancellationToken;

use super::doctor;

/// The spawner, and the connection to it.
pub struct Local {
    client: SpawnerClient,
    _embedded: Option<Embedded>,
}

impl Local {
    /// Starts one, or connects to the service's where the configuration names it.
    pub async fn start(config: &Config, registry: &Registry) -> anyhow::Result<Self> {
        if let Some(refusal) = doctor::refusal(&doctor::required(config)) {
            anyhow::bail!("{refusal}");
        }
        let (embedded, socket) = match &config.sandbox.spawner_socket {
            Some(socket) => (None, socket.clone()),
            None => {
                let arguments = spawner::arguments(config, registry);
                let embedded = Embedded::start(&SpawnerArguments { client: (0, 0), arguments, gates: Vec::new() })?;
                let socket = embedded.socket.clone();
                (Some(embedded), socket)
            }
        };
        let client = SpawnerClient::start(socket, CancellationToken::new());
        client.ready(Duration::from_secs(20)).await.context("the spawner does not start")?;
        Ok(Self { client, _embedded: embedded })
    }

    /// Runs one command of a language's toolchain, with its compiler's limits and nothing on stdin.
    pub async fn ask(&self, config: &Config, runtime: &Runtime, argv: Vec<String>) -> anyhow::Result<StageReport> {
        let limits = resolve(&config.reloadable.limits, runtime, &LimitOverrides::default())?;
        let env = [("PATH", "/usr/local/bin:/usr/bin:/bin"), ("HOME", "/tmp"), ("LANG", "C.UTF-8")];
        let stage = Stage {
            loaded: None,
            command: StageCommand { argv, env: env.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec() },
            limits: limits.compile,
            stdin: "",
            input: None,
            output_bytes: limits.output_bytes,
            cancel: &CancellationToken::new(),
            live: None,
        };
        let mut sandbox = self.client.create(limits.sandbox).await?;
        Ok(stage.run(&mut sandbox).await?)
    }

    /// A sandbox with the program in it, compiled; or how compiling ended.
    pub async fn prepare(&self, program: &Program) -> Result<Result<Sandbox, StageReport>, SandboxError> {
        let mut sandbox = self.client.create(program.limits.sandbox).await?;
        sandbox.write(&program.plan.files).await?;
        if let Some(command) = program.plan.compile.clone() {
            let stage = Stage {
                command,
                limits: program.limits.compile,
                stdin: "",
                input: None,
                output_bytes: program.limits.output_bytes,
                cancel: &CancellationToken::new(),
                live: None,
                loaded: None,
            };
            let report = stage.run(&mut sandbox).await?;
            if report.outcome.verdict() != Verdict::Ok {
                return Ok(Err(report));
            }
        }
        Ok(Ok(sandbox))
    }
}
