//! `[warm]`: what stands ready before anybody asks for it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::convert::FromChecked;
use super::kind::Checked;
use super::reader::Reader;

const SECTION: &str = "warm";

/// `[warm]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warm {
    /// Sandboxes that stand ready, of each size of work directory, and with a compiler loaded.
    pub prepared: Stock,
    /// Bytes that everything that stands ready may hold; none: by the machine.
    pub memory: Option<u64>,
    /// After this without use a stock shrinks.
    pub idle_after: Duration,
    /// After this what stands ready is replaced.
    pub max_age: Duration,
    /// Runs after which a template is replaced.
    pub template_runs: u32,
    /// Of every language without a setting of its own.
    pub general: WarmLanguage,
    /// Of single ones, by name (never an alias).
    pub languages: BTreeMap<String, WarmOverride>,
}

/// How many stand ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stock {
    /// None.
    Off,
    /// As many as recent demand asks for.
    Auto,
    /// So many, always.
    Fixed(u32),
}

/// The warm processes of one language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WarmLanguage {
    /// How many stand ready.
    pub size: Stock,
    /// Whether forks of a template may fill the stock.
    pub fork: bool,
    /// The most that [`Stock::Auto`] grows to; none: by the language.
    pub max: Option<u32>,
}

/// What `warm.<language>` says differently.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WarmOverride {
    size: Option<Stock>,
    fork: Option<bool>,
    max: Option<Option<u32>>,
}

impl Warm {
    pub(super) fn read(reader: &mut Reader) -> Self {
        Self {
            prepared: reader.get("warm.prepared"),
            memory: reader.get("warm.memory"),
            idle_after: reader.get("warm.idle-after"),
            max_age: reader.get("warm.max-age"),
            template_runs: reader.get("warm.template-runs"),
            general: WarmLanguage {
                size: reader.get("warm.size"),
                fork: reader.get("warm.fork"),
                max: reader.get("warm.max"),
            },
            languages: reader
                .languages(SECTION)
                .into_iter()
                .map(|(language, mut table)| {
                    let mut get = |leaf| reader.language_value(SECTION, &language, &mut table, leaf);
                    let own = WarmOverride { size: take(get("size")), fork: take(get("fork")), max: take(get("max")) };
                    reader.language_rest(SECTION, &language, table);
                    (language, own)
                })
                .collect(),
        }
    }

    /// What holds for a language.
    #[must_use]
    pub fn of(&self, language: &str) -> WarmLanguage {
        let own = self.languages.get(language).copied().unwrap_or_default();
        WarmLanguage {
            size: own.size.unwrap_or(self.general.size),
            fork: own.fork.unwrap_or(self.general.fork),
            max: own.max.unwrap_or(self.general.max),
        }
    }
}

fn take<T: FromChecked>(checked: Option<Checked>) -> Option<T> {
    checked.and_then(T::from_checked)
}

impl FromChecked for Stock {
    fn from_checked(checked: Checked) -> Option<Self> {
        match checked {
            Checked::Text(text) if text == "auto" => Some(Self::Auto),
            Checked::Text(text) if text == "off" => Some(Self::Off),
            Checked::Integer(number) => u32::try_from(number).ok().map(Self::Fixed),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Environment};
    use super::*;

    fn warm(text: &str) -> Warm {
        Config::parse(text, &Environment::default()).unwrap().reloadable.warm
    }

    #[test]
    fn a_language_is_set_by_one_value_or_by_a_table() {
        let warm =
            warm("[warm]\npython = 4\nruby.fork = false\njava = \"off\"\n[warm.php]\nsize = \"auto\"\nmax = 3\n");
        let general = warm.of("perl");
        assert_eq!(general, WarmLanguage { size: Stock::Auto, fork: true, max: None });
        assert_eq!(warm.of("python"), WarmLanguage { size: Stock::Fixed(4), ..general });
        assert_eq!(warm.of("ruby"), WarmLanguage { fork: false, ..general });
        assert_eq!(warm.of("java"), WarmLanguage { size: Stock::Off, ..general });
        assert_eq!(warm.of("php"), WarmLanguage { max: Some(3), ..general });
    }

    #[test]
    fn a_language_outweighs_the_section() {
        let warm = warm("[warm]\nsize = \"off\"\nmax = 9\npython = { size = 2, max = \"auto\" }\n");
        assert_eq!(warm.of("ruby"), WarmLanguage { size: Stock::Off, fork: true, max: Some(9) });
        assert_eq!(warm.of("python"), WarmLanguage { size: Stock::Fixed(2), fork: true, max: None });
    }

    #[test]
    fn mistakes_name_the_key() {
        let errors = |text: &str| {
            let found = Config::parse(text, &Environment::default()).unwrap_err();
            found.errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(errors("warm.memroy = \"1GiB\""), ["warm.memroy: no such key, did you mean warm.memory?"]);
        assert_eq!(
            errors("warm.python = \"many\""),
            ["warm.python.size: is \"many\", it must be one of \"auto\", \"off\" or a whole number from 1 to 256"]
        );
        assert_eq!(errors("warm.python.fork = 1"), ["warm.python.fork: is 1, it must be true or false"]);
        assert_eq!(errors("warm.python.frok = true"), ["warm.python.frok: no such key, did you mean fork?"]);
        assert_eq!(
            errors("warm.python.memory = \"1MiB\""),
            ["warm.python.memory: holds for all languages, set warm.memory"]
        );
        assert!(errors("warm.Python = 1")[0].starts_with("warm.Python: the language must be"));
    }
}
