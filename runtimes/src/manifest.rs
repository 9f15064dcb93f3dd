//! A manifest as it is written. [`crate::check`] makes a [`crate::Runtime`] of it.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::limits::ManifestLimits;
use crate::warm::WarmStage;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct RawManifest {
    pub(crate) name: String,
    pub(crate) display_name: String,
    #[serde(default)]
    pub(crate) aliases: Vec<String>,
    #[serde(default)]
    pub(crate) packages: Vec<String>,
    #[serde(default)]
    pub(crate) install_hint: Option<String>,
    #[serde(default)]
    pub(crate) read_only: Vec<String>,
    pub(crate) source: RawSource,
    #[serde(default)]
    pub(crate) environment: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) limits: ManifestLimits,
    pub(crate) hello: RawHello,
    pub(crate) toolchain: Vec<RawToolchain>,
}

/// The main file and the further ones that the compiler wants named.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct RawSource {
    pub(crate) file: String,
    #[serde(default)]
    pub(crate) module_file: Option<String>,
    #[serde(default)]
    pub(crate) scan: Scan,
    #[serde(default)]
    pub(crate) extensions: Vec<String>,
    #[serde(default = "yes")]
    pub(crate) nested: bool,
}

const fn yes() -> bool {
    true
}

/// What is read out of the main file's text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Scan {
    /// Nothing.
    #[default]
    None,
    /// `{class}` and `{main-class}`.
    Java,
    /// Whether `module-file` is the main file's name instead of `file`.
    JavascriptModule,
}

/// One way to run the language; the first whose tools are all there is taken.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct RawToolchain {
    pub(crate) tools: BTreeMap<String, Vec<String>>,
    pub(crate) version: RawVersion,
    #[serde(default)]
    pub(crate) compile: Option<RawStage>,
    pub(crate) run: RawStage,
    #[serde(default)]
    pub(crate) artefact: Option<String>,
    #[serde(default)]
    pub(crate) keep: Option<RawKeep>,
    #[serde(default)]
    pub(crate) direct: Option<RawDirect>,
    #[serde(default)]
    pub(crate) files: Vec<RawFile>,
    #[serde(default)]
    pub(crate) warm: Option<RawWarm>,
}

/// What of the compile stage's work can be kept for the same sources.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct RawKeep {
    pub(crate) files: Vec<String>,
    #[serde(default)]
    pub(crate) unless: Vec<String>,
    #[serde(default)]
    pub(crate) single_file: bool,
}

/// The tools by which a compiler driver's steps are taken without it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct RawDirect {
    pub(crate) shell: String,
    pub(crate) remove: String,
    pub(crate) assembler: String,
    pub(crate) linker: String,
    #[serde(default)]
    pub(crate) headers: Vec<Vec<String>>,
}

/// How the version is asked for and found in the answer.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct RawVersion {
    pub(crate) command: Vec<String>,
    #[serde(default)]
    pub(crate) prefix: String,
}

/// One command.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct RawStage {
    pub(crate) command: Vec<String>,
    #[serde(default)]
    pub(crate) environment: BTreeMap<String, String>,
    #[serde(default = "three_quarters")]
    pub(crate) heap_percent: u64,
}

const fn three_quarters() -> u64 {
    75
}

/// How the interpreter is started ahead of need.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct RawWarm {
    pub(crate) gate: String,
    #[serde(default)]
    pub(crate) command: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) environment: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) fork: bool,
    #[serde(default)]
    pub(crate) stage: WarmStage,
    pub(crate) idle_memory: String,
    #[serde(default)]
    pub(crate) plain_if: Vec<String>,
    #[serde(default)]
    pub(crate) plain_if_files: Vec<String>,
    #[serde(default)]
    pub(crate) plain_shebang: bool,
    #[serde(default)]
    pub(crate) order: Option<RawOrder>,
}

/// A file that tells a gate which compiles what it cannot know.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct RawOrder {
    pub(crate) name: String,
    pub(crate) lines: Vec<String>,
}

/// A file that the toolchain itself needs in the work directory.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct RawFile {
    pub(crate) name: String,
    pub(crate) content: String,
}

/// The program that proves the runtime.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct RawHello {
    pub(crate) code: String,
    #[serde(default)]
    pub(crate) stdin: String,
    pub(crate) expected_stdout: String,
}
