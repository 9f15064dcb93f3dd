//! What one execution may use: from the configuration, the language's manifest and the request.
//!
//! The order, last word first: the request (which may only lower), `limits.<language>`, the manifest, `limits`.
//! A manifest outweighs the general section because it says what the language cannot do without (a JVM does not
//! start in the memory that suits python); an administrator outweighs it by naming the language.
//!
//! **Invariant.** A [`Resolved`] never exceeds what the configuration and the manifest allow.

use std::collections::BTreeMap;

use crankcase_runtimes::{Runtime, WarmStage, WarmStart};
use crankcase_sandbox::spec::{CpuTime, MemoryMax, SandboxSpec, StageLimits, WallTime};
use thiserror::Error;

pub use super::limit_set::{LimitSet, StageSet};
use super::reader::Reader;
use super::units::size_text;
use crate::jobs::LimitOverrides;

const SECTION: &str = "limits";

/// `[limits]` and all `[limits.<language>]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Unicode characters of a program.
    pub code_chars: usize,
    /// Unicode characters of stdin.
    pub stdin_chars: usize,
    /// For every language.
    pub general: Resolved,
    /// For single ones, by name (never an alias).
    pub languages: BTreeMap<String, LimitSet>,
    /// What all executions together may have on this host: on a small one, less than some limits say. None until it is
    /// known.
    memory_ceiling: Option<MemoryMax>,
}

/// Everything that holds for one execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resolved {
    /// Of the whole sandbox.
    pub sandbox: SandboxSpec,
    /// Of the compiler, where there is one.
    pub compile: StageLimits,
    /// Of the program.
    pub run: StageLimits,
    /// Bytes of stdout, and as many of stderr, of each stage.
    pub output_bytes: usize,
    /// Unicode characters of the response's `output`.
    pub output_chars: usize,
}

impl Resolved {
    /// What a process started ahead of need may use: as the stage that it begins with, or stands for.
    #[must_use]
    pub const fn of_warm(&self, warm: &WarmStart) -> StageLimits {
        match warm.stage {
            WarmStage::Compile => self.compile,
            WarmStage::Run | WarmStage::Both => self.run,
        }
    }
}

/// A limit that a request may lower.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lowered {
    /// Wall time of the run.
    RunWall,
    /// CPU time of the run.
    RunCpu,
    /// Memory of the run.
    RunMemory,
    /// Wall time of the compiler.
    CompileWall,
    /// CPU time of the compiler.
    CompileCpu,
    /// Memory of the compiler.
    CompileMemory,
}

/// A request asks for more than the configured limit, or for less than any program can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the {} must be {} to {} here, {} was asked for", limit.text(), limit.show(*min), limit.show(*max), limit.show(*asked))]
pub struct LimitError {
    /// Which limit.
    pub limit: Lowered,
    /// What was asked for, in milliseconds or bytes.
    pub asked: u64,
    /// The least, likewise.
    pub min: u64,
    /// The configured limit, likewise.
    pub max: u64,
}

impl Lowered {
    const fn text(self) -> &'static str {
        match self {
            Self::RunWall => "time limit",
            Self::RunCpu => "CPU time limit",
            Self::RunMemory => "memory limit",
            Self::CompileWall => "compile time limit",
            Self::CompileCpu => "compile CPU time limit",
            Self::CompileMemory => "compile memory limit",
        }
    }

    fn show(self, value: u64) -> String {
        match self {
            Self::RunMemory | Self::CompileMemory => size_text(value),
            _ => format!("{value} ms"),
        }
    }

    /// The field of `POST /compile`, or of Piston's interface where the former has none.
    #[must_use]
    pub const fn field(self) -> &'static str {
        match self {
            Self::RunWall => "timeLimitMs",
            Self::RunMemory => "memoryLimitMb",
            other => other.piston_field(),
        }
    }

    /// The field of Piston's interface.
    #[must_use]
    pub const fn piston_field(self) -> &'static str {
        match self {
            Self::RunWall => "run_timeout",
            Self::RunCpu => "run_cpu_time",
            Self::RunMemory => "run_memory_limit",
            Self::CompileWall => "compile_timeout",
            Self::CompileCpu => "compile_cpu_time",
            Self::CompileMemory => "compile_memory_limit",
        }
    }
}

/// The limits of one execution of a language.
///
/// # Errors
/// [`LimitError`] for the first override that is above the configured limit or below what the sandbox allows.
pub fn resolve(limits: &Limits, runtime: &Runtime, overrides: &LimitOverrides) -> Result<Resolved, LimitError> {
    limits.resolve(&runtime.name, &LimitSet::from(&runtime.limits), overrides)
}

fn lower(limit: Lowered, asked: Option<u64>, max: u64, min: u64) -> Result<u64, LimitError> {
    match asked {
        None => Ok(max),
        Some(asked) if (min..=max).contains(&asked) => Ok(asked),
        Some(asked) => Err(LimitError { limit, asked, min, max }),
    }
}

/// Values that [`lower`] let pass are within the types' bounds, so none of the limits is left as it was.
fn lowered(stage: &mut StageLimits, wall: u64, cpu: u64, memory: u64) {
    stage.wall = WallTime::new(wall).unwrap_or(stage.wall);
    stage.cpu = CpuTime::new(cpu).unwrap_or(stage.cpu);
    stage.memory = MemoryMax::new(memory).unwrap_or(stage.memory);
}

impl Limits {
    /// The limits of a language, before a request lowers them.
    #[must_use]
    pub fn of_language(&self, language: &str, manifest: &LimitSet) -> Resolved {
        let mut resolved = self.general;
        manifest.apply(&mut resolved);
        if let Some(own) = self.languages.get(language) {
            own.apply(&mut resolved);
        }
        if let Some(ceiling) = self.memory_ceiling {
            for stage in [&mut resolved.run, &mut resolved.compile] {
                stage.memory = stage.memory.min(ceiling);
            }
        }
        resolved
    }

    /// Bounds every memory limit by what all executions together may have, so that one that asks for more can still run
    /// alone where a larger host would give it more; true when that lowers a general limit.
    pub fn cap_memory(&mut self, bytes: u64) -> bool {
        let ceiling = MemoryMax::new(bytes.clamp(MemoryMax::MIN, MemoryMax::MAX)).ok();
        self.memory_ceiling = ceiling;
        ceiling.is_some_and(|ceiling| ceiling < self.general.run.memory.max(self.general.compile.memory))
    }

    /// The limits of an execution: those of the language, lowered as the request asks.
    ///
    /// # Errors
    /// As [`resolve`].
    pub fn resolve(
        &self,
        language: &str,
        manifest: &LimitSet,
        overrides: &LimitOverrides,
    ) -> Result<Resolved, LimitError> {
        let mut resolved = self.of_language(language, manifest);

        let run = &mut resolved.run;
        let wall = lower(Lowered::RunWall, overrides.run_wall_ms, run.wall.get(), WallTime::MIN)?;
        let cpu = lower(Lowered::RunCpu, overrides.run_cpu_ms, run.cpu.get(), CpuTime::MIN)?;
        let memory = lower(Lowered::RunMemory, overrides.run_memory_bytes, run.memory.get(), MemoryMax::MIN)?;
        lowered(run, wall, cpu, memory);

        let compile = &mut resolved.compile;
        let wall = lower(Lowered::CompileWall, overrides.compile_wall_ms, compile.wall.get(), WallTime::MIN)?;
        let cpu = lower(Lowered::CompileCpu, overrides.compile_cpu_ms, compile.cpu.get(), CpuTime::MIN)?;
        let memory =
            lower(Lowered::CompileMemory, overrides.compile_memory_bytes, compile.memory.get(), MemoryMax::MIN)?;
        lowered(compile, wall, cpu, memory);

        Ok(resolved)
    }

    pub(super) fn read(reader: &mut Reader) -> Self {
        let code_chars = reader.get("limits.code-chars");
        let stdin_chars = reader.get("limits.stdin-chars");
        let general = LimitSet::read(&mut |leaf| Some(reader.checked(&format!("limits.{leaf}"))));
        let general = general.complete().unwrap_or_else(|| unreachable!("every general limit has a default"));
        let languages = reader.languages(SECTION).into_iter().map(|(language, mut table)| {
            let set = LimitSet::read(&mut |leaf| reader.language_value(SECTION, &language, &mut table, leaf));
            reader.language_rest(SECTION, &language, table);
            (language, set)
        });
        let languages = languages.collect();
        Self { code_chars, stdin_chars, general, languages, memory_ceiling: None }
    }
}
