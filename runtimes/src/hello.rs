//! The program that proves a runtime.

/// A small program of the language with what it reads and what it must print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The source.
    pub code: String,
    /// All of stdin.
    pub stdin: String,
    /// All of stdout.
    pub expected_stdout: String,
}
