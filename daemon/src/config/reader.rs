//! Takes checked values out of a parsed file and the environment, and gathers what is wrong on the way.
//!
//! serde would stop at the first error; an administrator wants them all. A value that is wrong is
//! reported, and its default stands in until the end, when the errors are returned and no `Config` is made.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use toml::{Table, Value};

use super::convert::FromChecked;
use super::environment::Environment;
use super::error::ConfigError;
use super::kind::{Checked, Kind};
use super::schema::{Default, KEYS, Key, SECTIONS, VARIABLES, find};
use super::suggest::suggest;

/// What was read and not yet taken.
pub struct Reader {
    values: BTreeMap<String, Value>,
    /// The variable that a value is from, by key.
    variables: BTreeMap<&'static str, &'static str>,
    /// Tables of single languages, by section and language.
    languages: BTreeMap<&'static str, BTreeMap<String, Table>>,
    errors: Vec<ConfigError>,
}

impl Reader {
    /// Sorts a file's values by key, reports the unknown ones, and lays the environment over them.
    #[must_use]
    pub fn new(file: Table, environment: &Environment) -> Self {
        let mut reader = Self {
            values: BTreeMap::new(),
            variables: BTreeMap::new(),
            languages: BTreeMap::new(),
            errors: Vec::new(),
        };
        reader.sort(file);
        reader.overlay(environment);
        reader
    }

    fn sort(&mut self, file: Table) {
        for (name, value) in file {
            if find(&name).is_some() {
                self.values.insert(name, value);
            } else if !SECTIONS.iter().any(|section| section.name == name) || name.is_empty() {
                match value {
                    Value::Table(_) => self.unknown_section(name),
                    _ => self.unknown(&name, &name),
                }
            } else if let Value::Table(section) = value {
                self.sort_section(&name, section);
            } else {
                self.error(name, "is a section and must be a table");
            }
        }
    }

    fn sort_section(&mut self, section: &str, values: Table) {
        for (leaf, value) in values {
            let name = format!("{section}.{leaf}");
            match (find(&name), value) {
                (Some(_), value) => drop(self.values.insert(name, value)),
                (None, Value::Table(table)) if section == "limits" => self.sort_language("limits", leaf, table),
                (None, Value::Table(table)) if section == "warm" => self.sort_language("warm", leaf, table),
                // A language's one value in place of a table, unless it looks like a key of the section.
                (None, value) if section == "warm" && suggest(&name, of_section("warm")).is_none() => {
                    self.sort_language("warm", leaf, Table::from_iter([("size".to_owned(), value)]));
                }
                (None, _) => self.unknown(&name, &name),
            }
        }
    }

    fn sort_language(&mut self, section: &'static str, language: String, table: Table) {
        if Kind::Name.check(&Value::String(language.clone())).is_none() {
            self.error(format!("{section}.{language}"), format!("the language must be {}", Kind::Name.words()));
            return;
        }
        self.languages.entry(section).or_default().insert(language, table);
    }

    fn overlay(&mut self, environment: &Environment) {
        for (variable, name, _) in VARIABLES {
            let Some(text) = environment.get(variable) else { continue };
            let value = match *variable {
                "PORT" => {
                    let Ok(port) = text.trim().parse::<u16>() else {
                        self.error(*variable, format!("is {text:?}, it must be a port from 0 to 65535"));
                        continue;
                    };
                    let Some(address) = self.address(name) else { continue };
                    Value::String(SocketAddr::new(address.ip(), port).to_string())
                }
                "ALLOWED_ORIGINS" => Value::Array(
                    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(Value::from).collect(),
                ),
                _ => Value::from(text),
            };
            self.values.insert((*name).to_owned(), value);
            self.variables.insert(name, variable);
        }
    }

    /// The address of the file or the default; none when the file's is wrong, which is reported later.
    fn address(&self, name: &str) -> Option<SocketAddr> {
        let key = find(name)?;
        let value = self.values.get(name).cloned().or_else(|| default_value(key))?;
        match key.kind.check(&value)? {
            Checked::Address(address) => Some(address),
            _ => None,
        }
    }

    /// Takes the value of a key; the default where it is unset or wrong.
    ///
    /// # Panics
    /// When the table of keys has no such key or another type for it: a mistake in this crate that
    /// loading the defaults shows.
    pub fn get<T: FromChecked>(&mut self, name: &str) -> T {
        let checked = self.checked(name);
        T::from_checked(checked).unwrap_or_else(|| unreachable!("{name} is read as another type"))
    }

    /// Takes the checked value of a key; [`Checked::Word`] where there is none and none is needed.
    pub fn checked(&mut self, name: &str) -> Checked {
        let key = find(name).unwrap_or_else(|| unreachable!("{name} is not in the table of keys"));
        if let Some(value) = self.values.remove(name) {
            if let Some(checked) = key.kind.check(&value) {
                return checked;
            }
            let shown = match self.variables.get(name) {
                Some(variable) => format!("{variable} ({name})"),
                None => name.to_owned(),
            };
            self.wrong(shown, key, &value);
        }
        default_value(key).map_or(Checked::Word, |value| {
            key.kind.check(&value).unwrap_or_else(|| unreachable!("{name} has a wrong default"))
        })
    }

    /// Takes the languages that have a table of their own in a section.
    pub fn languages(&mut self, section: &str) -> BTreeMap<String, Table> {
        self.languages.remove(section).unwrap_or_default()
    }

    /// Takes a value out of a language's table; none where it is unset or wrong.
    pub fn language_value(&mut self, section: &str, language: &str, table: &mut Table, leaf: &str) -> Option<Checked> {
        let key = find(&format!("{section}.{leaf}")).unwrap_or_else(|| unreachable!("{section} has no {leaf}"));
        let value = table.remove(leaf)?;
        let checked = key.kind.check(&value);
        if checked.is_none() {
            self.wrong(format!("{section}.{language}.{leaf}"), key, &value);
        }
        checked
    }

    /// Reports what is left of a language's table.
    pub fn language_rest(&mut self, section: &str, language: &str, rest: Table) {
        for (leaf, _) in rest {
            let name = format!("{section}.{language}.{leaf}");
            if find(&format!("{section}.{leaf}")).is_some() {
                self.error(name, format!("holds for all languages, set {section}.{leaf}"));
            } else {
                self.unknown(&name, &format!("{section}.{leaf}"));
            }
        }
    }

    /// Reports something else.
    pub fn error(&mut self, key: impl Into<String>, message: impl Into<String>) {
        self.errors.push(ConfigError::new(key, message));
    }

    fn wrong(&mut self, shown: String, key: &Key, value: &Value) {
        let bound = key.kind.words();
        let message = if key.kind.is_secret() {
            format!("it must be {bound}")
        } else {
            format!("is {}, it must be {bound}", short(value))
        };
        self.error(shown, message);
    }

    fn unknown(&mut self, shown: &str, looked_for: &str) {
        let message = match suggest(looked_for, KEYS.iter().map(|key| key.name)) {
            Some(name) if shown == looked_for => format!("no such key, did you mean {name}?"),
            Some(name) => format!("no such key, did you mean {}?", find(name).map_or(name, Key::leaf)),
            None => "no such key".to_owned(),
        };
        self.error(shown, message);
    }

    fn unknown_section(&mut self, name: String) {
        let message = match suggest(&name, SECTIONS.iter().map(|section| section.name)) {
            Some(close) => format!("no such section, did you mean {close}?"),
            None => "no such section".to_owned(),
        };
        self.error(name, message);
    }

    /// All that was wrong.
    #[must_use]
    pub fn into_errors(self) -> Vec<ConfigError> {
        self.errors
    }
}

fn of_section(section: &'static str) -> impl Iterator<Item = &'static str> {
    KEYS.iter().filter(move |key| key.section() == section).map(|key| key.name)
}

fn default_value(key: &Key) -> Option<Value> {
    let Default::Is(text) = key.default else { return None };
    let mut table: Table =
        format!("v = {text}").parse().unwrap_or_else(|_| unreachable!("{} has a wrong default", key.name));
    table.remove("v")
}

/// A value as the file has it, cut to a line's worth.
fn short(value: &Value) -> String {
    let text = match value {
        Value::Table(_) => return "a table".into(),
        other => other.to_string(),
    };
    if text.chars().count() <= 60 {
        return text;
    }
    text.chars().take(57).chain("...".chars()).collect()
}
