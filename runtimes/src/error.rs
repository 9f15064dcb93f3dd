//! What can be wrong with a manifest, and with a request for a plan.

use std::path::PathBuf;

use thiserror::Error;

/// One mistake in one manifest.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}: {}{message}", file.display(), key.as_ref().map(|key| format!("{key}: ")).unwrap_or_default())]
pub struct ManifestError {
    /// The file; `<built-in>/NAME.toml` for a manifest of the binary.
    pub file: PathBuf,
    /// The key, dotted (`toolchain.1.run.command`), where the mistake has one.
    pub key: Option<String>,
    /// What is wrong, in words.
    pub message: String,
}

/// Why a request cannot become a plan. All of them are the client's to mend, except `NotInstalled`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PlanError {
    /// None of the manifest's toolchains is complete on this machine.
    #[error("{language} is not installed here; {hint}")]
    NotInstalled {
        /// The language's display name.
        language: String,
        /// How to install it.
        hint: String,
    },
    /// A file would leave the work directory or has an impossible name.
    #[error("the file name {0:?} is not a path below the work directory")]
    UnsafeName(String),
    /// Two files have one name, or one is the directory of the other.
    #[error("the file name {0:?} is taken twice or by the runtime itself")]
    NameTaken(String),
    /// More than [`crankcase_sandbox::spec::FILES_MAX`] files.
    #[error("{0} files are too many, at most {max} are possible", max = crankcase_sandbox::spec::FILES_MAX)]
    TooManyFiles(usize),
    /// An argument holds a NUL character, which no argument can.
    #[error("argument {0} holds a NUL character")]
    NulInArgument(usize),
    /// More than [`crankcase_sandbox::spec::COMMAND_BYTES_MAX`] bytes of arguments and environment.
    #[error("the command would have {0} bytes, at most {max} are possible", max = crankcase_sandbox::spec::COMMAND_BYTES_MAX)]
    CommandTooLong(usize),
}
