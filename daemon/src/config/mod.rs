//! The configuration: a TOML file and a few variables of the environment, checked as a whole.
//!
//! [`schema`] lists every key with its default and bounds; [`reader`] checks a file against it; the sections
//! here are plain types. Without a file the defaults hold, and everything runs.
//!
//! **Invariant.** A [`Config`] that exists is sound: all errors are reported at once, each with the key's full
//! name, before anything is opened or bound.

mod convert;
pub mod environment;
pub mod error;
pub mod kind;
mod limit_set;
pub mod limits;
mod reader;
#[cfg(test)]
mod reference;
pub mod reloadable;
pub mod schema;
pub mod secret;
pub mod sections;
mod suggest;
#[cfg(test)]
mod tests;
pub mod units;
mod warm;

use std::path::{Path, PathBuf};

pub use environment::Environment;
pub use error::{ConfigError, ConfigErrors};
pub use limits::{LimitError, LimitSet, Limits, Resolved, StageSet, resolve};
pub use reloadable::{Quota, Quotas, RateLimit, Reloadable};
pub use secret::Secret;
pub use sections::{
    Admission, History, Log, LogFormat, MemoryBudget, Percent, Redis, Rooms, Runtimes, Sandbox, Server,
};
pub use warm::{Stock, Warm, WarmLanguage, WarmOverride};

use reader::Reader;

/// A checked configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where the history lives; absolute.
    pub data_dir: PathBuf,
    /// `[server]`
    pub server: Server,
    /// `[limits]`, `[warm]`, `[quotas]`, `[rate-limit]`
    pub reloadable: Reloadable,
    /// `[rooms]`
    pub rooms: Rooms,
    /// `[history]`
    pub history: History,
    /// `[redis]`; none without a url.
    pub redis: Option<Redis>,
    /// `[runtimes]`
    pub runtimes: Runtimes,
    /// `[sandbox]`
    pub sandbox: Sandbox,
    /// `[log]`
    pub log: Log,
}

impl Config {
    /// Reads the file that is given, else the one that `CRANKCASE_CONFIG` names, else the installed one, else takes the
    /// defaults, and lays the environment over it.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn load(file: Option<&Path>, environment: &Environment) -> Result<Self, ConfigErrors> {
        let Some(file) = file.map(Path::to_owned).or_else(|| environment.config_file()) else {
            return Self::parse("", environment);
        };
        let failed = |errors| ConfigErrors { file: Some(file.clone()), errors };
        let text = std::fs::read_to_string(&file)
            .map_err(|error| failed(vec![ConfigError::new("the file", format!("cannot be read: {error}"))]))?;
        Self::parse(&text, environment).map_err(|ConfigErrors { errors, .. }| failed(errors))
    }

    /// Checks the text of a file, with the environment laid over it.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn parse(text: &str, environment: &Environment) -> Result<Self, ConfigErrors> {
        let table = text.parse().map_err(|error| ConfigErrors { file: None, errors: vec![syntax(text, &error)] })?;
        let mut reader = Reader::new(table, environment);
        let data_dir = data_dir(&mut reader, environment);
        let config = Self {
            server: Server::read(&mut reader),
            reloadable: Reloadable::read(&mut reader),
            rooms: Rooms::read(&mut reader),
            history: History::read(&mut reader, &data_dir),
            redis: Redis::read(&mut reader),
            runtimes: Runtimes::read(&mut reader),
            sandbox: Sandbox::read(&mut reader),
            log: Log::read(&mut reader),
            data_dir,
        };
        match reader.into_errors() {
            errors if errors.is_empty() => Ok(config),
            errors => Err(ConfigErrors { file: None, errors }),
        }
    }

    /// Checks the names in `limits.<language>`, `warm.<language>` and `runtimes.enabled` against the languages that there are.
    ///
    /// # Errors
    /// Every name that is none of them.
    pub fn check_languages(&self, known: &[&str]) -> Result<(), ConfigErrors> {
        let of_limits =
            self.reloadable.limits.languages.keys().map(|language| (format!("limits.{language}"), language));
        let of_warm = self.reloadable.warm.languages.keys().map(|language| (format!("warm.{language}"), language));
        let enabled = self.runtimes.enabled.iter().flatten().map(|language| ("runtimes.enabled".to_owned(), language));
        let errors: Vec<ConfigError> = of_limits
            .chain(of_warm)
            .chain(enabled)
            .filter(|(_, language)| !known.contains(&language.as_str()))
            .map(|(key, language)| {
                let hint = suggest::suggest(language, known.iter().copied())
                    .map_or_else(String::new, |name| format!(", did you mean {name}?"));
                ConfigError::new(key, format!("there is no language {language:?}{hint}"))
            })
            .collect();
        if errors.is_empty() { Ok(()) } else { Err(ConfigErrors { file: None, errors }) }
    }

    /// The sections in which a newly read configuration differs and which only a restart can change.
    #[must_use]
    pub fn needs_restart(&self, new: &Self) -> Vec<&'static str> {
        let sections = [
            ("data-dir", self.data_dir == new.data_dir),
            ("server", self.server == new.server),
            ("rooms", self.rooms == new.rooms),
            ("history", self.history == new.history),
            ("redis", self.redis == new.redis),
            ("runtimes", self.runtimes == new.runtimes),
            ("sandbox", self.sandbox == new.sandbox),
            ("log", self.log == new.log),
        ];
        sections.into_iter().filter(|(_, same)| !same).map(|(name, _)| name).collect()
    }
}

/// Without the offending line, which toml's own message shows: it may hold a secret.
fn syntax(text: &str, error: &toml::de::Error) -> ConfigError {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or("");
    let line = before.matches('\n').count() + 1;
    ConfigError::new(format!("line {line}"), format!("is no TOML: {}", error.message().trim()))
}

fn data_dir(reader: &mut Reader, environment: &Environment) -> PathBuf {
    if let Some(path) = reader.get("data-dir") {
        return path;
    }
    match environment.get("STATE_DIRECTORY") {
        // systemd puts a colon between several.
        Some(directories) => PathBuf::from(directories.split(':').next().unwrap_or(directories)),
        None if environment.root => PathBuf::from("/var/lib/crankcase"),
        None => std::path::absolute("crankcase-data").unwrap_or_else(|_| PathBuf::from("/var/lib/crankcase")),
    }
}
