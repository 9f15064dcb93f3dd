//! A language that is known: what its manifest says, and what of it was found on this machine.

use std::path::PathBuf;
use std::sync::OnceLock;

use crankcase_sandbox::spec::Example;

use crate::direct::Steps;
use crate::error::PlanError;
use crate::hello::Hello;
use crate::identity;
use crate::java_agent;
use crate::limits::ManifestLimits;
use crate::manifest::Scan;
use crate::plan::{self, Plan, Request};
use crate::template::Template;
use crate::tree::Tree;
use crate::version;
use crate::warm::{self, Warm, WarmStart};

/// One language.
#[derive(Debug)]
pub struct Runtime {
    /// The name in requests and answers: lower case letters, digits, `+`, `#`, `.`, `_`, `-`.
    pub name: String,
    /// Other names that requests may use.
    pub aliases: Vec<String>,
    /// The name for people.
    pub display_name: String,
    /// The Debian packages that provide it.
    pub packages: Vec<String>,
    /// What it needs other than the service's default limits.
    pub limits: ManifestLimits,
    pub(crate) install_hint: Option<String>,
    pub(crate) read_only: Vec<PathBuf>,
    pub(crate) source: Source,
    pub(crate) environment: Vec<(String, Template)>,
    pub(crate) hello: Hello,
    /// The toolchain that was found complete.
    pub(crate) toolchain: Option<Toolchain>,
    /// The tools that keep the first toolchain from being complete.
    pub(crate) missing_tools: Vec<String>,
    pub(crate) version: OnceLock<String>,
    /// The manifest's file.
    pub(crate) file: PathBuf,
    /// Where its tools are.
    pub(crate) tree: Tree,
}

/// How the main file is named and which files the compiler gets.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) file: Template,
    pub(crate) module_file: Option<Template>,
    pub(crate) scan: Scan,
    pub(crate) extensions: Vec<String>,
    pub(crate) nested: bool,
}

/// Tools that were found, and the commands made of them.
#[derive(Debug)]
pub(crate) struct Toolchain {
    pub(crate) tools: Vec<(String, PathBuf)>,
    pub(crate) version_command: Vec<Template>,
    pub(crate) version_prefix: String,
    pub(crate) compile: Option<Stage>,
    pub(crate) run: Stage,
    pub(crate) artefact: Option<String>,
    pub(crate) keep: Option<Keep>,
    pub(crate) direct: Option<Direct>,
    pub(crate) files: Vec<(String, String)>,
    pub(crate) warm: Option<Warm>,
}

/// How the compile command, which is one of a GCC driver, is done without the driver.
#[derive(Debug)]
pub(crate) struct Direct {
    pub(crate) shell: String,
    pub(crate) remove: String,
    pub(crate) assembler: String,
    pub(crate) linker: String,
    /// Sets of the compiler's headers that are compiled ahead of need; the first that suits a program serves it.
    pub(crate) headers: Vec<Vec<String>>,
    /// Asked of the driver together with the version; until then, and where it cannot be read, the driver is used.
    pub(crate) steps: OnceLock<Steps>,
}

/// What of the compile stage's work can be kept, and for which sources it cannot.
#[derive(Debug)]
pub(crate) struct Keep {
    /// All that the run stage needs of it.
    pub(crate) files: Vec<String>,
    /// With one of these words in a source, compiling it again may make something else.
    pub(crate) unless: Vec<String>,
    /// Only of programs that are one file: further ones make further files.
    pub(crate) single_file: bool,
}

/// One command.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) command: Vec<Template>,
    pub(crate) environment: Vec<(String, Template)>,
    pub(crate) heap_percent: u64,
}

impl Runtime {
    /// Whether all tools of one of its toolchains were there when the registry was loaded.
    #[must_use]
    pub const fn installed(&self) -> bool {
        self.toolchain.is_some()
    }

    /// How an operator installs it, as the second half of a sentence.
    #[must_use]
    pub fn missing_hint(&self) -> String {
        match (&self.install_hint, self.packages.as_slice()) {
            (_, packages) if self.tree.is_image() && !packages.is_empty() => {
                format!("the image is without it: make one with {}", packages.join(" "))
            }
            (Some(hint), _) => hint.clone(),
            (None, []) => format!("it needs {}", self.missing_tools.join(", ")),
            (None, packages) => format!("install it with: apt-get install {}", packages.join(" ")),
        }
    }

    /// The version, once [`crate::Registry::detect_versions`] has found it.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.version.get().map(String::as_str)
    }

    /// The command whose output [`Self::version_in`] reads; none when not installed.
    #[must_use]
    pub fn version_command(&self) -> Option<Vec<String>> {
        self.toolchain.as_ref().map(version::command)
    }

    /// The version in an answer of [`Self::version_command`].
    #[must_use]
    pub fn version_in(&self, answer: &str) -> Option<String> {
        version::extract(answer, &self.toolchain.as_ref()?.version_prefix)
    }

    /// The tools that were found: name in the manifest and path. Empty when not installed.
    pub fn tools(&self) -> impl Iterator<Item = (&str, &std::path::Path)> {
        self.toolchain.iter().flat_map(|chain| chain.tools.iter().map(|(name, path)| (name.as_str(), path.as_path())))
    }

    /// What tells the installed toolchain from any other: its version as far as it is known, the identity of each tool's
    /// file, and of what says that something it stands on was installed or removed. Looked up at each call.
    #[must_use]
    pub fn toolchain_identity(&self) -> String {
        identity::of(&self.tree, self.tools().map(|(_, path)| path))
    }

    /// Whether its tools are an image's.
    pub(crate) fn in_image(&self) -> bool {
        self.tree.is_image()
    }

    /// The manifest's file; `<built-in>/NAME.toml` for one of the binary.
    #[must_use]
    pub fn manifest_file(&self) -> &std::path::Path {
        &self.file
    }

    /// Whether programs are compiled before they run.
    #[must_use]
    pub fn compiled(&self) -> bool {
        self.toolchain.as_ref().is_some_and(|chain| chain.compile.is_some())
    }

    /// How its compiler is called without its driver.
    pub(crate) fn direct(&self) -> Option<&Direct> {
        self.toolchain.as_ref()?.direct.as_ref()
    }

    /// Whether headers are compiled for it ahead of need.
    pub(crate) fn has_headers(&self) -> bool {
        self.direct().is_some_and(|direct| !direct.headers.is_empty())
    }

    /// The program that proves it, for a template of its interpreter; none where that is too long for one.
    #[must_use]
    pub fn example(&self) -> Option<Example> {
        let (code, stdin) = (self.hello.code.clone(), self.hello.stdin.clone());
        Some(Example { file: version::main_file(self), code, stdin }).filter(Example::is_valid)
    }

    /// The gate that its programs may be started through.
    pub(crate) fn warm_gate(&self) -> Option<&str> {
        self.toolchain.as_ref()?.warm.as_ref().map(|warm| warm.gate.as_str())
    }

    /// The program that proves it.
    #[must_use]
    pub const fn hello(&self) -> &Hello {
        &self.hello
    }

    /// Turns a program into files and commands.
    ///
    /// # Errors
    /// [`PlanError`]: not installed, or names and arguments that cannot be.
    pub fn plan(&self, request: &Request<'_>) -> Result<Plan, PlanError> {
        plan::make(self, request)
    }

    /// What may be started before a program is known, for stages of these memory limits; none where the language has no
    /// gate or is not installed. Nor for Java in an image: its gate has to be compiled by a JVM that cannot be asked from
    /// outside.
    #[must_use]
    pub fn warm(&self, run_memory_bytes: u64, compile_memory_bytes: u64) -> Option<WarmStart> {
        if self.in_image() && self.warm_gate() == Some(java_agent::GATE) {
            return None;
        }
        warm::start(self, run_memory_bytes, compile_memory_bytes)
    }
}
