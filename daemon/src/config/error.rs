//! Everything that is wrong with a configuration, all at once.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{key}: {message}")]
pub struct ConfigError {
    /// The full name of the key, such as `limits.python.memory`, or of the variable.
    pub key: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl ConfigError {
    /// Puts the two together.
    #[must_use]
    pub fn new(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { key: key.into(), message: message.into() }
    }
}

/// Everything that is wrong; never empty.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct ConfigErrors {
    /// The file, if there is one.
    pub file: Option<PathBuf>,
    /// In the order of the file's sections.
    pub errors: Vec<ConfigError>,
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.errors.len();
        write!(f, "{count} error{} in the configuration", if count == 1 { "" } else { "s" })?;
        if let Some(file) = &self.file {
            write!(f, " ({})", file.display())?;
        }
        self.errors.iter().try_for_each(|error| write!(f, "\n  {error}"))
    }
}
