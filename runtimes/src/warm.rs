//! What is started ahead of need for a language, and for which of its programs that does not show.

use crankcase_sandbox::spec::{SourceFile, StageCommand};
use serde::Deserialize;

use crate::plan::{self, Request};
use crate::runtime::Runtime;
use crate::scan;
use crate::template::Template;

/// The stages that a process started ahead of need stands for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WarmStage {
    /// It is the interpreter that runs the program.
    #[default]
    Run,
    /// It is the compiler, and ends when it has compiled; the run stage follows as after any compiler.
    Compile,
    /// It compiles the program, and then is it.
    Both,
}

impl WarmStage {
    /// Whether the program itself runs in the process.
    #[must_use]
    pub const fn runs(self) -> bool {
        matches!(self, Self::Run | Self::Both)
    }
}

/// An interpreter that may be started before its program is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarmStart {
    /// The directory of gate files, below `/opt/crankcase`.
    pub gate: String,
    /// What is started; it depends on the memory limits that it was asked for.
    pub command: StageCommand,
    /// Whether one that is started may be forked, instead of starting each anew.
    pub fork: bool,
    /// Which stages it stands for.
    pub stage: WarmStage,
    /// Bytes that one which waits, started by itself, adds to the memory in use.
    pub idle_memory: u64,
}

/// The checked section of a manifest.
#[derive(Debug)]
pub(crate) struct Warm {
    pub(crate) gate: String,
    /// None: as the stage's own.
    pub(crate) command: Option<Vec<Template>>,
    pub(crate) environment: Vec<(String, Template)>,
    pub(crate) fork: bool,
    pub(crate) stage: WarmStage,
    pub(crate) idle_memory: u64,
    pub(crate) plain_if: Vec<String>,
    pub(crate) plain_if_files: Vec<String>,
    pub(crate) plain_shebang: bool,
    pub(crate) order: Option<(String, Vec<Template>)>,
}

pub(crate) fn start(runtime: &Runtime, run_memory_bytes: u64, compile_memory_bytes: u64) -> Option<WarmStart> {
    let warm = runtime.toolchain.as_ref()?.warm.as_ref()?;
    let request = Request { code: "", files: &[], args: &[], run_memory_bytes, compile_memory_bytes };
    Some(WarmStart {
        gate: warm.gate.clone(),
        command: plan::warm_command(runtime, &request)?,
        fork: warm.fork,
        stage: warm.stage,
        idle_memory: warm.idle_memory,
    })
}

impl Warm {
    /// Whether nothing in the program would show that its interpreter was started before.
    pub(crate) fn suits(&self, request: &Request<'_>) -> bool {
        let args = self.stage.runs() && !request.args.is_empty();
        if args || (self.plain_shebang && request.code.starts_with("#!")) {
            return false;
        }
        let further = |file: &SourceFile| {
            !self.plain_if_files.contains(&file.name) && !self.shows(&String::from_utf8_lossy(&file.content))
        };
        !self.shows(request.code) && request.files.iter().all(further)
    }

    fn shows(&self, text: &str) -> bool {
        self.plain_if.iter().any(|pattern| scan::holds(text, pattern))
    }
}
