//! What stands ready, for real: sandboxes and templates, with the memory that is set aside for them.

use std::time::Duration;

use crankcase_sandbox::outcome::{SandboxError, Step};
use futures_util::FutureExt as _;
use tokio::sync::RwLock;

use super::shelf::{Key, Load};
use super::template::Blueprint;
use crate::jobs::admission::IdleReservation;
use crate::spawner_client::{Sandbox, SpawnerClient, Stdio, Template};

/// A JVM on a busy machine, at a low weight.
const MAKE_WAIT: Duration = Duration::from_secs(60);

/// A sandbox that stands ready.
pub struct Member {
    sandbox: Sandbox,
    stdio: Option<Stdio>,
    _memory: IdleReservation,
}

/// A template that can be forked.
pub struct Forkable {
    /// Forks share it; who looks whether it lives needs it alone.
    pub template: RwLock<Template>,
    _memory: IdleReservation,
}

impl Member {
    /// Makes one, at a low CPU weight.
    ///
    /// # Errors
    /// The step that failed; [`Step::Template`] when the template is to blame.
    pub async fn make(
        spawner: &SpawnerClient,
        key: Key,
        template: Option<&Forkable>,
        memory: IdleReservation,
    ) -> Result<Self, SandboxError> {
        let made = async {
            let mut sandbox = spawner.create_background(key.spec).await?;
            let stdio = match (key.load, template) {
                (None, _) => {
                    sandbox.created().await?;
                    None
                }
                (Some(Load { limits, .. }), Some(forkable)) => {
                    Some(sandbox.fork_from(&*forkable.template.read().await, limits).await?)
                }
                (Some(Load { command, limits, gate: true }), None) => Some(sandbox.load_gated(command, limits).await?),
                (Some(Load { command, limits, gate: false }), None) => Some(sandbox.load(command, limits).await?),
            };
            Ok(Self { sandbox, stdio, _memory: memory })
        };
        tokio::time::timeout(MAKE_WAIT, made).await.unwrap_or(Err(too_slow(template.is_some())))
    }

    /// Whether it cannot be used any more.
    pub fn is_dead(&mut self) -> bool {
        self.sandbox.lost().now_or_never().is_some()
    }

    /// Hands it to a run, whose own permit covers its memory from here.
    pub fn into_parts(self) -> (Sandbox, Option<Stdio>) {
        (self.sandbox, self.stdio)
    }
}

impl Forkable {
    /// Starts one.
    ///
    /// # Errors
    /// The step that failed.
    pub async fn make(
        spawner: &SpawnerClient,
        blueprint: Blueprint,
        memory: IdleReservation,
    ) -> Result<Self, SandboxError> {
        let made = spawner.create_template(blueprint.spec);
        let template = tokio::time::timeout(MAKE_WAIT, made).await.unwrap_or(Err(too_slow(false)))?;
        Ok(Self { template: RwLock::new(template), _memory: memory })
    }

    /// Whether it cannot be forked any more; one that is being forked still can.
    pub fn is_gone(&self) -> bool {
        self.template.try_write().is_ok_and(|mut template| template.lost().now_or_never().is_some())
    }
}

const fn too_slow(forking: bool) -> SandboxError {
    SandboxError { step: if forking { Step::Template } else { Step::Gate }, errno: nix::libc::ETIMEDOUT }
}
