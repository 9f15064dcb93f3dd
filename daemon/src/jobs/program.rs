//! A submission turned into what the sandbox gets: the language's plan and the limits that hold.

use crankcase_runtimes::{Plan, PlanError, Registry, Request, WarmStart};

use super::{Refusal, Submission};
use crate::config::{Config, LimitError, Reloadable, Resolved, resolve};
use crate::warm::Want;

/// Everything that is decided before a program waits for its turn.
#[derive(Debug, Clone)]
pub struct Program {
    /// The runtime's name, not the alias that was asked for.
    pub runtime: String,
    /// Files and commands.
    pub plan: Plan,
    /// What it may use.
    pub limits: Resolved,
    /// The process started ahead of need that would run it, if one may.
    pub warm: Option<WarmStart>,
}

impl Program {
    /// Finds the language, the limits and the plan.
    ///
    /// # Errors
    /// [`Refusal`] that names what is wrong.
    pub fn prepare(
        config: &Config,
        reloadable: &Reloadable,
        registry: &Registry,
        submission: &Submission,
    ) -> Result<Self, Refusal> {
        let supported = || supported(config, registry);
        let runtime = registry
            .find(&submission.language)
            .filter(|runtime| config.runtimes.offers(&runtime.name))
            .ok_or_else(|| Refusal::UnsupportedLanguage { supported: supported() })?;
        let above = |error: LimitError| Refusal::BadField { field: error.limit.field(), message: error.to_string() };
        let mut limits = resolve(&reloadable.limits, runtime, &submission.overrides).map_err(above)?;
        for quota in reloadable.quotas.of_execution(&submission.room) {
            quota.cap(&mut limits.run, &submission.overrides).map_err(above)?;
        }
        let request = Request {
            code: &submission.code,
            files: &submission.files,
            args: &submission.args,
            run_memory_bytes: limits.run.memory.get(),
            compile_memory_bytes: limits.compile.memory.get(),
        };
        let plan = runtime.plan(&request).map_err(|error| match error {
            PlanError::NotInstalled { language, hint } => {
                Refusal::NotInstalled { language, hint, supported: supported() }
            }
            PlanError::NulInArgument(_) | PlanError::CommandTooLong(_) => {
                Refusal::BadField { field: "args", message: error.to_string() }
            }
            _ => Refusal::BadField { field: "files", message: error.to_string() },
        })?;
        let warm = plan.warm.then(|| runtime.warm(request.run_memory_bytes, request.compile_memory_bytes)).flatten();
        Ok(Self { runtime: runtime.name.clone(), plan, limits, warm })
    }

    /// What it begins with.
    #[must_use]
    pub fn want(&self) -> Want<'_> {
        let (command, limits) = match &self.plan.compile {
            Some(compile) => (compile, self.limits.compile),
            None => (&self.plan.run, self.limits.run),
        };
        Want {
            language: &self.runtime,
            spec: self.limits.sandbox,
            files: &self.plan.files,
            command,
            limits,
            warm: self.warm.as_ref(),
            warm_limits: self.warm.as_ref().map_or(self.limits.run, |warm| self.limits.of_warm(warm)),
            warm_files: &self.plan.warm_files,
            ready: true,
        }
    }

    /// Bytes to reserve: its stages run one after the other.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        let compile = self.plan.compile.as_ref().map_or(0, |_| self.limits.compile.memory.get());
        compile.max(self.limits.run.memory.get())
    }
}

/// The names that a request may use here.
fn supported(config: &Config, registry: &Registry) -> Vec<String> {
    let offered = |name: &String| registry.find(name).is_some_and(|runtime| config.runtimes.offers(&runtime.name));
    registry.supported().into_iter().filter(offered).collect()
}
