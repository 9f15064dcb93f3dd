//! The languages that are installed and offered, with the limits that hold now.

use std::sync::Arc;

use crankcase_runtimes::Registry;

use crate::config::{Config, Limits, Resolved};

/// A language, as far as this layer tells of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Language {
    /// Its own name.
    pub name: String,
    /// Its other names.
    pub aliases: Vec<String>,
    /// The toolchain's version, where it is known.
    pub version: Option<String>,
    /// What its programs get when they ask for nothing.
    pub limits: Resolved,
}

/// Lists them under the given limits, which SIGHUP may have changed.
pub type ListLanguages = Arc<dyn Fn(&Limits) -> Vec<Language> + Send + Sync>;

/// The list of a registry, as far as the configuration offers its languages.
#[must_use]
pub fn list(config: Arc<Config>, registry: Arc<Registry>) -> ListLanguages {
    Arc::new(move |limits| {
        registry
            .iter()
            .filter(|runtime| runtime.installed() && config.runtimes.offers(&runtime.name))
            .map(|runtime| Language {
                name: runtime.name.clone(),
                aliases: runtime.aliases.clone(),
                version: runtime.version().map(str::to_owned),
                limits: limits.of_language(&runtime.name, &(&runtime.limits).into()),
            })
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;

    #[test]
    fn only_what_is_installed_and_offered_is_listed_with_its_limits() {
        let text = "[runtimes]\nenabled = [\"bash\"]\n[limits.bash]\nwall-time = \"7s\"";
        let config = Config::parse(text, &Environment::default()).unwrap();
        let registry = Arc::new(Registry::load(&[]).unwrap());
        let languages = list(Arc::new(config.clone()), Arc::clone(&registry))(&config.reloadable.limits);
        let names: Vec<&str> = languages.iter().map(|language| language.name.as_str()).collect();
        // Every machine that can run these tests has a bash.
        assert_eq!(names, ["bash"]);
        assert_eq!(languages[0].limits.run.wall.get(), 7000);
        let all = Config::parse("", &Environment::default()).unwrap();
        let listed = list(Arc::new(all.clone()), Arc::clone(&registry))(&all.reloadable.limits);
        assert_eq!(listed.len(), registry.iter().filter(|runtime| runtime.installed()).count());
    }
}
