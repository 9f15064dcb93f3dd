//! From a manifest's text to a [`Runtime`], with all of its mistakes at once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crankcase_sandbox::spec::is_safe_name;

use crate::error::ManifestError;
use crate::gates::Gates;
use crate::hello::Hello;
use crate::manifest::{RawDirect, RawKeep, RawManifest, RawSource, RawStage, RawToolchain, RawWarm, Scan};
use crate::paths;
use crate::runtime::{Direct, Keep, Runtime, Source, Stage, Toolchain};
use crate::template::{RESERVED, Template};
use crate::tree::Tree;
use crate::warm::{Warm, WarmStage};

/// Reads one manifest and looks its tools up in the tree.
///
/// # Errors
/// Everything that is wrong with it; a text that is no TOML of the right shape gives one error.
pub(crate) fn manifest(tree: &Tree, file: &Path, text: &str, gates: &Gates) -> Result<Runtime, Vec<ManifestError>> {
    let raw: RawManifest = toml::from_str(text).map_err(|error| vec![shape_error(file, text, &error)])?;
    let mut check = Check { tree, file, gates, errors: Vec::new() };
    let runtime = check.runtime(raw);
    match check.errors.is_empty() {
        true => Ok(runtime),
        false => Err(check.errors),
    }
}

/// TOML's own complaint, with the line and the key that stands there.
fn shape_error(file: &Path, text: &str, error: &toml::de::Error) -> ManifestError {
    let at = error.span().map(|span| span.start.min(text.len()));
    let line = at.map(|at| text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count());
    let key = line.and_then(|line| {
        let (key, _) = text.lines().nth(line)?.split_once('=')?;
        Some(key.trim().to_owned())
    });
    let place = line.map(|line| format!("line {}: ", line + 1)).unwrap_or_default();
    ManifestError { file: file.to_owned(), key, message: format!("{place}{}", error.message()) }
}

/// Whether a text can name a language.
pub(crate) fn is_language_name(name: &str) -> bool {
    (1..=32).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+#._-".contains(&b))
}

struct Check<'a> {
    tree: &'a Tree,
    file: &'a Path,
    gates: &'a Gates,
    errors: Vec<ManifestError>,
}

impl Check<'_> {
    fn error(&mut self, key: impl Into<String>, message: impl Into<String>) {
        let (key, message) = (Some(key.into()), message.into());
        self.errors.push(ManifestError { file: self.file.to_owned(), key, message });
    }

    fn runtime(&mut self, raw: RawManifest) -> Runtime {
        self.names(&raw);
        for package in &raw.packages {
            let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+.-".contains(&b);
            if package.len() < 2 || !package.bytes().all(good) || package.starts_with(['-', '+', '.']) {
                self.error("packages", format!("{package:?} is no name of a Debian package"));
            }
        }
        for path in &raw.read_only {
            if let Some(refusal) = paths::refusal(path) {
                self.error("read-only", refusal);
            }
        }
        for (key, error) in raw.limits.errors() {
            self.error(format!("limits.{key}"), error.to_string());
        }
        let read_only: Vec<PathBuf> = raw.read_only.iter().flat_map(|path| paths::existing(self.tree, path)).collect();
        let environment = self.environment("environment", &raw.environment, &[]);
        let source = self.source(raw.source);
        if raw.toolchain.is_empty() {
            self.error("toolchain", "at least one is needed");
        }
        let mut missing_tools = Vec::new();
        let mut found = None;
        for (index, chain) in raw.toolchain.into_iter().enumerate() {
            let (chain, missing) = self.toolchain(&format!("toolchain.{}", index + 1), chain, &read_only);
            if index == 0 {
                missing_tools.clone_from(&missing);
            }
            if missing.is_empty() && found.is_none() {
                found = Some(chain);
            }
        }
        if raw.hello.expected_stdout.is_empty() {
            self.error("hello.expected-stdout", "must not be empty, it would prove nothing");
        }
        let hello = Hello { code: raw.hello.code, stdin: raw.hello.stdin, expected_stdout: raw.hello.expected_stdout };
        Runtime {
            name: raw.name,
            aliases: raw.aliases,
            display_name: raw.display_name,
            packages: raw.packages,
            limits: raw.limits,
            install_hint: raw.install_hint,
            read_only,
            source,
            environment,
            hello,
            toolchain: found,
            missing_tools,
            version: OnceLock::new(),
            file: self.file.to_owned(),
            tree: self.tree.clone(),
        }
    }

    fn names(&mut self, raw: &RawManifest) {
        const RULE: &str = "must be 1 to 32 of a-z, 0-9, +, #, ., _ and -";
        if !is_language_name(&raw.name) {
            self.error("name", format!("{:?} {RULE}", raw.name));
        }
        for alias in raw.aliases.iter().filter(|alias| !is_language_name(alias)) {
            self.error("aliases", format!("{alias:?} {RULE}"));
        }
        for (index, alias) in raw.aliases.iter().enumerate() {
            if *alias == raw.name || raw.aliases[..index].contains(alias) {
                self.error("aliases", format!("{alias:?} is named twice"));
            }
        }
        if raw.display_name.trim().is_empty() {
            self.error("display-name", "must not be empty");
        }
    }

    fn source(&mut self, raw: RawSource) -> Source {
        let file = self.source_name("source.file", &raw.file, raw.scan);
        let module_file = raw.module_file.as_ref().map(|name| self.source_name("source.module-file", name, raw.scan));
        if module_file.is_some() != (raw.scan == Scan::JavascriptModule) {
            self.error("source.module-file", "goes with scan = \"javascript-module\", neither without the other");
        }
        Source { file, module_file, scan: raw.scan, extensions: raw.extensions, nested: raw.nested }
    }

    /// A file name that may hold `{class}` where the scan provides it.
    fn source_name(&mut self, key: &str, text: &str, scan: Scan) -> Template {
        let template = self.word(key, text, &[]);
        let plain = text.replace("{class}", if scan == Scan::Java { "Main" } else { "{" });
        if plain.contains(['{', '}']) || !is_safe_name(&plain) || plain.contains('/') {
            self.error(key, format!("{text:?} is no plain file name ({{class}} goes with scan = \"java\")"));
        }
        template
    }

    /// The toolchain and the names of its tools that are not there.
    fn toolchain(&mut self, key: &str, raw: RawToolchain, shown: &[PathBuf]) -> (Toolchain, Vec<String>) {
        let (mut tools, mut missing) = (Vec::new(), Vec::new());
        for (name, candidates) in &raw.tools {
            let key = format!("{key}.tools.{name}");
            if RESERVED.contains(&name.as_str()) {
                self.error(&key, "is the name of a placeholder");
            }
            if candidates.is_empty() {
                self.error(&key, "at least one path is needed");
            }
            for bad in candidates.iter().filter(|path| !paths::is_plain_absolute(path)) {
                self.error(&key, format!("{bad:?} is no absolute path without . and .. components"));
            }
            match paths::first_visible(self.tree, candidates, shown) {
                Some(path) => tools.push((name.clone(), path)),
                None => missing.push(name.clone()),
            }
        }
        if raw.tools.is_empty() {
            self.error(format!("{key}.tools"), "at least one is needed");
        }
        let names: Vec<&str> = raw.tools.keys().map(String::as_str).collect();
        let version_command = self.command(&format!("{key}.version.command"), &raw.version.command, &names);
        let compile = raw.compile.map(|stage| self.stage(&format!("{key}.compile"), stage, &names));
        let run = self.stage(&format!("{key}.run"), raw.run, &names);
        if let Some(artefact) = &raw.artefact {
            if !is_safe_name(artefact) {
                self.error(format!("{key}.artefact"), format!("{artefact:?} is no path below the work directory"));
            }
            if compile.is_none() {
                self.error(format!("{key}.artefact"), "nothing makes it: there is no compile stage");
            }
        }
        let mut files: Vec<(String, String)> = Vec::new();
        for file in raw.files {
            if !is_safe_name(&file.name) || files.iter().any(|(name, _)| *name == file.name) {
                self.error(
                    format!("{key}.files"),
                    format!("{:?} is no name of its own below the work directory", file.name),
                );
            }
            files.push((file.name, file.content));
        }
        let keep = raw.keep.map(|keep| self.keep(&format!("{key}.keep"), keep, raw.artefact.as_deref()));
        let direct = raw.direct.and_then(|direct| self.direct(&format!("{key}.direct"), &direct, &raw.tools, &tools));
        let warm = raw.warm.map(|warm| self.warm(&format!("{key}.warm"), warm, &names, compile.is_some()));
        let version_prefix = raw.version.prefix;
        let artefact = raw.artefact;
        (
            Toolchain { tools, version_command, version_prefix, compile, run, artefact, keep, direct, files, warm },
            missing,
        )
    }

    fn keep(&mut self, key: &str, raw: RawKeep, artefact: Option<&str>) -> Keep {
        if raw.files.is_empty() {
            self.error(format!("{key}.files"), "at least one is needed");
        }
        for (index, name) in raw.files.iter().enumerate() {
            if !is_safe_name(name) || raw.files[..index].contains(name) {
                self.error(format!("{key}.files"), format!("{name:?} is no name of its own below the work directory"));
            }
            // No source can have such a name.
            let part = artefact.is_some_and(|whole| {
                name.strip_prefix(whole).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            });
            if !part {
                self.error(format!("{key}.files"), format!("{name:?} is neither the artefact nor below it"));
            }
        }
        if raw.unless.iter().any(String::is_empty) {
            self.error(format!("{key}.unless"), "the empty word stands in every source");
        }
        Keep { files: raw.files, unless: raw.unless, single_file: raw.single_file }
    }

    fn direct(
        &mut self,
        key: &str,
        raw: &RawDirect,
        named: &BTreeMap<String, Vec<String>>,
        found: &[(String, PathBuf)],
    ) -> Option<Direct> {
        let mut path = |leaf: &str, name: &str| {
            if !named.contains_key(name) {
                self.error(format!("{key}.{leaf}"), format!("there is no tool {name:?}"));
            }
            let (_, path) = found.iter().find(|(tool, _)| tool == name)?;
            Some(path.to_string_lossy().into_owned())
        };
        let (shell, remove) = (path("shell", &raw.shell), path("remove", &raw.remove));
        let (assembler, linker) = (path("assembler", &raw.assembler), path("linker", &raw.linker));
        let is_header = |name: &str| is_safe_name(name) && !name.contains(['<', '>', '"']);
        for (index, set) in raw.headers.iter().enumerate() {
            if set.is_empty() {
                self.error(format!("{key}.headers[{index}]"), "names no header".to_owned());
            }
            for header in set.iter().filter(|header| !is_header(header)) {
                self.error(format!("{key}.headers[{index}]"), format!("{header:?} is no name of a header"));
            }
        }
        Some(Direct {
            shell: shell?,
            remove: remove?,
            assembler: assembler?,
            linker: linker?,
            headers: raw.headers.clone(),
            steps: OnceLock::new(),
        })
    }

    fn warm(&mut self, key: &str, raw: RawWarm, tools: &[&str], has_compile: bool) -> Warm {
        if !self.gates.has(&raw.gate) {
            self.error(format!("{key}.gate"), format!("there is no gate {:?} (a directory gates/{0})", raw.gate));
        }
        let compiles = raw.stage != WarmStage::Run;
        if compiles != has_compile {
            let message = match compiles {
                true => "there is no compile stage",
                false => "must be \"compile\" or \"both\" in a language with a compile stage",
            };
            self.error(format!("{key}.stage"), message);
        }
        if raw.plain_if.iter().any(String::is_empty) {
            self.error(format!("{key}.plain-if"), "every program holds the empty text");
        }
        let idle_memory = raw.idle_memory.parse::<bytesize::ByteSize>().map_or(0, |size| size.as_u64());
        if idle_memory == 0 {
            let message = format!("{:?} is no size such as \"12MiB\"", raw.idle_memory);
            self.error(format!("{key}.idle-memory"), message);
        }
        let order = raw.order.map(|order| {
            if !is_safe_name(&order.name) {
                let message = format!("{:?} is no path below the work directory", order.name);
                self.error(format!("{key}.order.name"), message);
            }
            let lines = order.lines.iter().map(|line| self.word(&format!("{key}.order.lines"), line, tools)).collect();
            (order.name, lines)
        });
        Warm {
            command: raw.command.map(|words| self.command(&format!("{key}.command"), &words, tools)),
            environment: self.environment(&format!("{key}.environment"), &raw.environment, tools),
            gate: raw.gate,
            fork: raw.fork,
            stage: raw.stage,
            idle_memory,
            plain_if: raw.plain_if,
            plain_if_files: raw.plain_if_files,
            plain_shebang: raw.plain_shebang,
            order,
        }
    }

    fn stage(&mut self, key: &str, raw: RawStage, tools: &[&str]) -> Stage {
        if !(1..=100).contains(&raw.heap_percent) {
            self.error(format!("{key}.heap-percent"), format!("is {}, it must be 1 to 100", raw.heap_percent));
        }
        Stage {
            command: self.command(&format!("{key}.command"), &raw.command, tools),
            environment: self.environment(&format!("{key}.environment"), &raw.environment, tools),
            heap_percent: raw.heap_percent,
        }
    }

    fn command(&mut self, key: &str, words: &[String], tools: &[&str]) -> Vec<Template> {
        let command: Vec<Template> = words.iter().map(|word| self.word(key, word, tools)).collect();
        if self.errors.is_empty() && !command.first().is_some_and(Template::starts_program) {
            self.error(key, "must start with a tool ({NAME}), an absolute path or ./");
        }
        command
    }

    fn environment(&mut self, key: &str, raw: &BTreeMap<String, String>, tools: &[&str]) -> Vec<(String, Template)> {
        let mut environment = Vec::new();
        for (name, value) in raw {
            let key = format!("{key}.{name}");
            if name.is_empty() || name.contains(['=', '\0']) {
                self.error(&key, "is no name of an environment variable");
            }
            let value = self.word(&key, value, tools);
            if value.is_sources() {
                self.error(&key, "{sources} is for commands");
            }
            environment.push((name.clone(), value));
        }
        environment
    }

    fn word(&mut self, key: &str, text: &str, tools: &[&str]) -> Template {
        Template::parse(text, tools).unwrap_or_else(|message| {
            self.error(key, message);
            Template::default()
        })
    }
}
