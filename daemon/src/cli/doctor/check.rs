//! One requirement and how the host meets it.

/// How it meets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Met.
    Ok,
    /// The service works, with something missing.
    Warn,
    /// The service does not run here.
    Fail,
}

impl Status {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warn => "WARN",
            Self::Fail => "FAIL",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    pub name: String,
    pub status: Status,
    /// What is there, and why it matters where that is not plain.
    pub found: String,
    /// What to do about it; every check that is not met has one.
    pub fix: Option<String>,
}

impl Check {
    pub fn ok(name: &str, found: impl Into<String>) -> Self {
        Self { name: name.into(), status: Status::Ok, found: found.into(), fix: None }
    }

    pub fn warn(name: &str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name: name.into(), status: Status::Warn, found: found.into(), fix: Some(fix.into()) }
    }

    pub fn fail(name: &str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name: name.into(), status: Status::Fail, found: found.into(), fix: Some(fix.into()) }
    }
}
