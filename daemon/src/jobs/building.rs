//! From a program to a sandbox in which it can run: compiled there, or brought along from an earlier time.

use std::time::{Duration, Instant};

use crankcase_runtimes::{Kept, WarmStage, WarmStart};
use crankcase_sandbox::outcome::{Exit, SandboxError, StageOutcome, Verdict};
use tokio_util::sync::CancellationToken;

use super::Inner;
use super::admission::RoomKey;
use super::artefacts::{Artefact, Inputs, Key};
use super::execution::Head;
use super::program::Program;
use super::stage::{Stage, StageReport};
use crate::spawner_client::{Loaded, Sandbox};
use crate::warm::{Ready, Want};

/// A program on its way into a sandbox.
#[derive(Clone, Copy)]
pub struct Building<'a> {
    pub inner: &'a Inner,
    pub head: &'a Head,
    pub program: &'a Program,
    /// The process started ahead of need that may compile or run it.
    pub warm: Option<&'a WarmStart>,
    /// Whether what stands loaded may be taken: after too many that were dead, none is.
    pub ready: bool,
    /// Where it was sent from.
    pub address: Option<std::net::IpAddr>,
    /// Ends the compiler.
    pub cancel: &'a CancellationToken,
}

/// What came of it.
#[derive(Default)]
pub struct Built {
    /// Ready for the run stage; none after a compile error.
    pub sandbox: Option<Sandbox>,
    /// How far the run stage is in it already.
    pub loaded: Option<Loaded>,
    /// Whether the run stage compiles as well, and tells of it when it has ended.
    pub compiles: bool,
    /// The compile stage, in languages that have one. Of an earlier time it tells what was printed, and that it cost
    /// nothing now.
    pub compile: Option<StageReport>,
    /// Until there was a sandbox with the first stage loaded in it.
    pub starting: Duration,
}

impl Building<'_> {
    /// Makes a sandbox and puts the program into it; what became of it is in `built`, also when this fails.
    ///
    /// # Errors
    /// [`SandboxError`]: the sandbox failed, not the program.
    pub async fn build(&self, built: &mut Built) -> Result<(), SandboxError> {
        let begun = Instant::now();
        let plan = &self.program.plan;
        let place = self.place();
        let artefacts = &self.inner.parts.artefacts;
        let earlier = match &place {
            Some(place) => artefacts.find(&self.program.runtime, &place.key).await,
            None => None,
        };
        let mut want = Want { warm: self.warm.filter(|_| self.ready), ready: self.ready, ..self.program.want() };
        let mut brought = Vec::new();
        if let Some(artefact) = &earlier {
            brought.clone_from(&artefact.files);
            brought.extend(plan.files.iter().cloned());
            let (command, limits) = (&plan.run, self.program.limits.run);
            want = Want { files: &brought, command, limits, warm: None, ..want };
        }
        let Ready { mut sandbox, loaded, warm } = self.inner.parts.pools.begin(want).await?;
        built.starting = begun.elapsed();
        built.loaded = Some(loaded);
        built.compiles = warm && self.warm.is_some_and(|warm| warm.stage == WarmStage::Both);
        match earlier {
            Some(artefact) => built.compile = Some(report_again(artefact)),
            None if built.compiles => {}
            None => {
                if let Some(command) = plan.compile.clone() {
                    let stage = Stage {
                        command,
                        limits: self.program.limits.compile,
                        stdin: "",
                        input: None,
                        output_bytes: self.program.limits.output_bytes,
                        cancel: self.cancel,
                        live: None,
                        loaded: built.loaded.take(),
                    };
                    let report = built.compile.insert(stage.run(&mut sandbox).await?);
                    if report.outcome.verdict() != Verdict::Ok {
                        return Ok(());
                    }
                    if let Some(place) = place {
                        self.keep(&mut sandbox, place, report).await?;
                    }
                }
            }
        }
        built.sandbox = Some(sandbox);
        Ok(())
    }

    /// Where the artefact is to be found and kept, if it may be.
    fn place(&self) -> Option<Place<'_>> {
        let (plan, limits) = (&self.program.plan, &self.program.limits);
        let kept = plan.kept.as_ref()?;
        let toolchain = self.toolchain()?;
        let party = RoomKey::new(&self.head.room, &self.head.user, self.address);
        let key = self.inner.parts.artefacts.key(&Inputs {
            party: &party,
            user: &self.head.user,
            language: &self.program.runtime,
            toolchain: &toolchain,
            command: &kept.command,
            files: &plan.files,
            artefacts: &kept.files,
            limits: &limits.compile,
            sandbox: &limits.sandbox,
            output_bytes: limits.output_bytes,
        })?;
        Some(Place { key, toolchain, kept })
    }

    fn toolchain(&self) -> Option<String> {
        Some(self.inner.parts.registry.find(&self.program.runtime)?.toolchain_identity())
    }

    /// Copies out what was made, now that the compiler is gone and before the program could change it.
    async fn keep(&self, sandbox: &mut Sandbox, place: Place<'_>, report: &StageReport) -> Result<(), SandboxError> {
        let artefacts = &self.inner.parts.artefacts;
        let mut room = artefacts.entry_bytes_max();
        let mut files = Vec::with_capacity(place.kept.files.len());
        for name in &place.kept.files {
            let Some(file) = sandbox.read(name, room).await? else { return Ok(()) };
            room -= file.content.len() as u64;
            files.push(file);
        }
        // An upgrade in the middle of it: half of it may be of the one toolchain and half of the other.
        if self.toolchain().as_ref() == Some(&place.toolchain) {
            let (stdout, stderr) = (report.stdout.clone(), report.stderr.clone());
            artefacts.keep(place.key, Artefact { stdout, stderr, files });
        }
        Ok(())
    }
}

struct Place<'a> {
    key: Key,
    toolchain: String,
    kept: &'a Kept,
}

/// The compile stage of an earlier time, as far as it happened now: it printed and succeeded, and used nothing.
fn report_again(artefact: Artefact) -> StageReport {
    let outcome = StageOutcome {
        exit: Exit::Code(0),
        limit: None,
        cancelled: false,
        cpu_time: Duration::ZERO,
        wall_time: Duration::ZERO,
        peak_memory: 0,
    };
    StageReport { outcome, stdout: artefact.stdout, stderr: artefact.stderr }
}
