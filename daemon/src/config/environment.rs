//! The variables of the process that win over the file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::schema::VARIABLES;

/// A snapshot of the variables that matter; an empty one counts as unset. Without `Debug`: `REDIS_URL` may hold a
/// password.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    /// Whether the process is root, which decides where data goes by default.
    pub root: bool,
    /// The file that a package put there.
    installed_config: Option<PathBuf>,
}

/// Where the package puts the configuration.
const INSTALLED_CONFIG: &str = "/etc/crankcase/crankcase.toml";

impl Environment {
    /// What the process has.
    #[must_use]
    pub fn of_process() -> Self {
        let names = VARIABLES.iter().map(|(name, _, _)| *name).chain(["CRANKCASE_CONFIG", "STATE_DIRECTORY"]);
        let variables = names
            .filter_map(|name| Some((name.to_owned(), std::env::var_os(name)?.to_string_lossy().into_owned())))
            .collect();
        let installed_config = Some(PathBuf::from(INSTALLED_CONFIG)).filter(|path| path.exists());
        Self { variables, root: nix::unistd::geteuid().is_root(), installed_config }
    }

    /// These variables alone, of a process that is not root.
    #[must_use]
    pub fn of(variables: &[(&str, &str)]) -> Self {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { variables, root: false, installed_config: None }
    }

    /// The value of a variable, unless empty.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The file that `CRANKCASE_CONFIG` names, else the host's where there is one.
    #[must_use]
    pub fn config_file(&self) -> Option<PathBuf> {
        self.get("CRANKCASE_CONFIG").map(PathBuf::from).or_else(|| self.installed_config.clone())
    }
}
