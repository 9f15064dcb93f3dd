//! Whether programs still run here, asked by running one: through the spawner, in a sandbox, with every layer of it, and
//! past the admission queue, so that a busy service is no dead one.
//!
//! Asked once before the service says that it is ready, and from then on for systemd's watchdog: no sign of life without
//! a probe that worked since the last one.

use std::time::Duration;

use crankcase_sandbox::outcome::{SandboxError, Step, Verdict};
use crankcase_sandbox::spec::{
    CpuQuota, CpuTime, MemoryMax, OutOfBounds, PidsMax, SandboxSpec, SourceFile, StageCommand, StageLimits,
    TmpfsInodes, TmpfsSize, WallTime,
};
use sd_notify::NotifyState;
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::jobs::stage::Stage;
use crate::spawner_client::SpawnerClient;

/// What a probe may take at start, on a host that is starting much else.
const AT_START: Duration = Duration::from_secs(20);
/// Between two attempts of one probe.
const PAUSE: Duration = Duration::from_millis(500);
const MIB: u64 = 1 << 20;
/// Repeats what it reads.
const SCRIPT: &str = "read -r word && echo \"$word\"\n";

/// No program runs here.
#[derive(Debug, Error)]
pub enum ProbeError {
    /// The sandbox could not be made.
    #[error("no sandbox can be made: {0}")]
    Sandbox(#[from] SandboxError),
    /// It was made, and the program in it did not do what it is for.
    #[error(
        "a program in the sandbox should have printed {expected:?} and ended with 0; it printed {found:?}: {verdict:?}"
    )]
    Answer {
        /// What was asked for.
        expected: String,
        /// What came.
        found: String,
        /// How it ended.
        verdict: Verdict,
    },
    /// Neither worked nor failed.
    #[error("a program in the sandbox did not end within {0:?}")]
    Late(Duration),
}

/// Runs a small program that repeats what it reads.
///
/// # Errors
/// [`ProbeError`]; after `within` at the latest.
pub async fn probe(spawner: &SpawnerClient, within: Duration) -> Result<(), ProbeError> {
    tokio::time::timeout(within, attempt(spawner)).await.map_err(|_| ProbeError::Late(within))?
}

async fn attempt(spawner: &SpawnerClient) -> Result<(), ProbeError> {
    let expected = uuid::Uuid::new_v4().simple().to_string();
    let (spec, limits) = sizes().unwrap_or_else(|error| unreachable!("the probe's sizes are constant: {error}"));
    let mut sandbox = spawner.create(spec).await?;
    let script = SourceFile { name: "probe.sh".to_owned(), content: SCRIPT.into(), executable: false };
    sandbox.write(&[script]).await?;
    let command = ["/bin/sh", "probe.sh"].map(str::to_owned).to_vec();
    let stage = Stage {
        loaded: None,
        command: StageCommand { argv: command, env: Vec::new() },
        limits,
        stdin: &format!("{expected}\n"),
        input: None,
        output_bytes: 1024,
        cancel: &CancellationToken::new(),
        live: None,
    };
    let report = stage.run(&mut sandbox).await?;
    let (found, verdict) = (report.stdout.text(), report.outcome.verdict());
    if verdict == Verdict::Ok && found.trim_end() == expected {
        Ok(())
    } else {
        Err(ProbeError::Answer { expected, found, verdict })
    }
}

/// Generous for `sh`, nothing beside a student's program.
fn sizes() -> Result<(SandboxSpec, StageLimits), OutOfBounds> {
    let spec = SandboxSpec {
        box_size: TmpfsSize::new(MIB)?,
        box_inodes: TmpfsInodes::new(64)?,
        tmp_size: TmpfsSize::new(MIB)?,
    };
    let limits = StageLimits {
        memory: MemoryMax::new(32 * MIB)?,
        pids: PidsMax::new(8)?,
        cpu_quota: CpuQuota::new(1000)?,
        wall: WallTime::new(30_000)?,
        cpu: CpuTime::new(10_000)?,
        open_files: 64,
        file_size: MIB,
        stack: 8 * MIB,
    };
    Ok((spec, limits))
}

/// At start: a service that cannot run a program says why and does not start.
///
/// # Errors
/// [`ProbeError`] of the last attempt.
pub async fn at_start(spawner: &SpawnerClient) -> Result<(), ProbeError> {
    persistently(spawner, AT_START).await
}

/// Attempts until one works or `within` is over: a spawner that is just starting again, or all sandboxes in use for the
/// moment, is no fault yet.
async fn persistently(spawner: &SpawnerClient, within: Duration) -> Result<(), ProbeError> {
    let end = tokio::time::Instant::now() + within;
    loop {
        let left = end.saturating_duration_since(tokio::time::Instant::now());
        match probe(spawner, left).await {
            Err(ProbeError::Sandbox(SandboxError { step: Step::Spawner | Step::Capacity, .. })) if left > PAUSE => {
                tokio::time::sleep(PAUSE).await;
            }
            other => return other,
        }
    }
}

/// Answers systemd's watchdog, where it watches, until `stop`.
pub async fn watch(spawner: SpawnerClient, stop: CancellationToken) {
    let Some(patience) = sd_notify::watchdog_enabled() else { return };
    let interval = patience / 3;
    info!(seconds = patience.as_secs(), "systemd waits for a sign of life, which a probe in a sandbox gives");
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut failing = false;
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let Some(result) = stop.run_until_cancelled(persistently(&spawner, interval)).await else { return };
        match result {
            Ok(()) => {
                let _ = sd_notify::notify(&[NotifyState::Watchdog]);
                if std::mem::take(&mut failing) {
                    info!("programs run again");
                }
            }
            Err(error) if failing => {
                error!(%error, "no program runs in a sandbox; systemd will start the service again")
            }
            Err(error) => {
                failing = true;
                warn!(%error, "no program runs in a sandbox");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sizes_are_within_their_bounds() {
        assert!(sizes().is_ok());
    }

    #[tokio::test]
    async fn without_a_spawner_a_probe_fails_in_time() {
        let nowhere = std::path::PathBuf::from("/nonexistent/spawner.sock");
        let spawner = SpawnerClient::start(nowhere, CancellationToken::new());
        let error = probe(&spawner, Duration::from_millis(50)).await.unwrap_err();
        assert!(matches!(error, ProbeError::Late(_)), "{error}");
        let error = persistently(&spawner, Duration::from_millis(100)).await.unwrap_err();
        assert!(matches!(error, ProbeError::Late(_)), "{error}");
    }
}
