//! The two files that are written from the table of keys: the commented example and the reference in the docs.
//! The tests compare; `CRANKCASE_BLESS=1 cargo test -p crankcase --lib config::reference` writes them anew.

use std::fmt::Write;
use std::path::Path;

use super::schema::{Default, KEYS, Key, SECTIONS, Section, VARIABLES};

const EXAMPLE: &str = "../systemd/crankcase.toml";
const REFERENCE: &str = "../docs/configuration.md";

fn keys(section: &Section) -> impl Iterator<Item = &'static Key> {
    KEYS.iter().filter(|key| key.section() == section.name)
}

/// Lines of at most 100 characters, each with `prefix` before it.
fn wrapped(text: &str, prefix: &str) -> String {
    let mut lines = String::new();
    let mut line = String::from(prefix);
    for word in text.split(' ') {
        if line.len() > prefix.len() && line.len() + 1 + word.len() > 100 {
            writeln!(lines, "{line}").unwrap();
            line = String::from(prefix);
        }
        if line.len() > prefix.len() {
            line.push(' ');
        }
        line.push_str(word);
    }
    writeln!(lines, "{line}").unwrap();
    lines
}

fn example() -> String {
    let mut text = wrapped(
        "Crankcase. Every key, at its default; a key that is left out has the same value. A line that begins with \
         # and a key shows one that has no default. Check a change with: crankcase check-config FILE",
        "# ",
    );
    for section in SECTIONS {
        if !section.name.is_empty() {
            write!(text, "\n{}[{}]\n", wrapped(section.meaning, "# "), section.name).unwrap();
        }
        for key in keys(section) {
            let bounds = format!("It is {}.", key.kind.words());
            write!(text, "\n{}{}", wrapped(key.meaning, "# "), wrapped(&bounds, "# ")).unwrap();
            match key.default {
                Default::Is(value) => writeln!(text, "{} = {value}", key.leaf()).unwrap(),
                Default::Unset(value) => writeln!(text, "# {} = {value}", key.leaf()).unwrap(),
            }
        }
        if section.name == "limits" {
            text.push_str("\n# [limits.java]\n# memory = \"512MiB\"\n# wall-time = \"15s\"\n");
        }
        if section.name == "warm" {
            text.push_str("\n# [warm.python]\n# size = 8\n# fork = false\n");
        }
    }
    text
}

fn reference() -> String {
    let mut text = String::from(
        "# Configuration\n\n\
         One TOML file, given by `--config` or by the variable `CRANKCASE_CONFIG`. Without one the defaults hold. \
         Unknown keys are errors, and `crankcase check-config FILE` shows all errors at once. Sizes and durations \
         are written with their unit: `\"256MiB\"`, `\"5s\"`.\n\n\
         This page and `systemd/crankcase.toml` are written from the table in `daemon/src/config/schema.rs`; a test \
         holds them to it.\n\n\
         SIGHUP reads the file again and takes over the sections marked so below, without touching a run that has \
         begun. Other changes take a restart.\n\n\
         ## Environment\n\nThese variables win over the file.\n\n| variable | key | |\n|---|---|---|\n\
         | `CRANKCASE_CONFIG` | | The file, where `--config` does not name one. |\n",
    );
    for (variable, key, note) in VARIABLES {
        writeln!(text, "| `{variable}` | `{key}` | {note} |").unwrap();
    }
    for section in SECTIONS {
        let title = if section.name.is_empty() { "Top of the file".into() } else { format!("`[{}]`", section.name) };
        let reload = if section.reloadable { " Reloaded by SIGHUP." } else { "" };
        let meaning = section.meaning.replace('<', "\\<");
        write!(text, "\n## {title}\n\n{meaning}{reload}\n\n").unwrap();
        text.push_str("| key | default | it is | meaning |\n|---|---|---|---|\n");
        for key in keys(section) {
            let default = match key.default {
                Default::Is(value) => format!("`{value}`"),
                Default::Unset(_) => "not set".to_owned(),
            };
            let leaf = key.leaf();
            writeln!(text, "| `{leaf}` | {default} | {} | {} |", key.kind.words(), key.meaning).unwrap();
        }
    }
    text
}

fn compare(path: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let mut found = std::fs::read_to_string(&path).unwrap_or_default();
    // Only what differs: the other tests read the file at the same time.
    if found != expected && std::env::var_os("CRANKCASE_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, expected).unwrap();
        expected.clone_into(&mut found);
    }
    assert!(
        found == expected,
        "{} differs from the table of keys; write it anew with CRANKCASE_BLESS=1",
        path.display()
    );
}

#[test]
fn the_example_file_has_every_key_at_its_default() {
    compare(EXAMPLE, &example());
}

#[test]
fn the_reference_has_every_key() {
    compare(REFERENCE, &reference());
}

#[test]
fn the_example_file_equals_the_defaults() {
    use super::{Config, Environment};
    let file = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(EXAMPLE)).unwrap();
    let environment = Environment::default();
    assert_eq!(Config::parse(&file, &environment), Config::parse("", &environment));
    for key in KEYS {
        let line = |line: &str| line.trim_start_matches("# ").starts_with(&format!("{} = ", key.leaf()));
        assert!(file.lines().any(line), "{}", key.name);
    }
}

#[test]
fn the_example_file_is_good_with_every_example_switched_on() {
    use super::{Config, Environment};
    let file = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(EXAMPLE)).unwrap();
    let on: String = file
        .lines()
        .filter(|line| !line.starts_with("# admin-token-file"))
        .map(|line| if line.contains(" = ") || line.starts_with("# [") { line.trim_start_matches("# ") } else { line })
        .fold(String::new(), |text, line| text + line + "\n");
    let config = Config::parse(&on, &Environment::default()).unwrap();
    assert!(config.redis.is_some() && config.server.admin_token.is_some());
    assert!(config.reloadable.limits.languages.contains_key("java"));
}
