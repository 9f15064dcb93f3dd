//! All languages: the built-in ones and an admin's.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::builtin::MANIFESTS;
use crate::check;
use crate::error::ManifestError;
use crate::gates::Gates;
use crate::headers;
use crate::java_agent;
use crate::runtime::Runtime;
use crate::tree::Tree;
use crate::version;

/// The largest manifest that is read, bytes.
const FILE_BYTES_MAX: u64 = 256 * 1024;
/// What every sandbox root needs beside `/usr`, whatever the language.
const READ_ONLY: [&str; 2] = ["/etc/alternatives", "/etc/ld.so.cache"];

/// Every manifest, checked. Immutable but for the versions, which appear once they are known.
#[derive(Debug)]
pub struct Registry {
    runtimes: Vec<Runtime>,
    /// Name or alias to position.
    index: HashMap<String, usize>,
    /// Where the tools are.
    tree: Tree,
    gates: Gates,
}

impl Registry {
    /// Reads the built-in manifests and every `*.toml` of the directories, in the order given and by file
    /// name in each; a later manifest replaces an earlier one of the same `name`. A directory that does not
    /// exist is an empty one. Tools are looked up now and not again.
    ///
    /// # Errors
    /// Everything that is wrong with any manifest, each with its file and key; nothing is loaded then.
    pub fn load(dirs: &[PathBuf]) -> Result<Self, Vec<ManifestError>> {
        Self::load_for(Tree::host(), dirs)
    }

    /// Likewise, with the tools of a tree. Manifests and gates are the host's in any case.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_for(tree: Tree, dirs: &[PathBuf]) -> Result<Self, Vec<ManifestError>> {
        let mut loader = Loader { tree, runtimes: Vec::new(), errors: Vec::new(), gates: Gates::built_in() };
        for dir in dirs {
            loader.gates.add_directory(dir, &mut loader.errors);
        }
        for (name, text) in MANIFESTS {
            loader.add(&Path::new("<built-in>").join(name), text, None);
        }
        for dir in dirs {
            loader.directory(dir);
        }
        loader.finish()
    }

    /// The language of a name or alias, exactly as written.
    #[must_use]
    pub fn find(&self, name_or_alias: &str) -> Option<&Runtime> {
        self.index.get(name_or_alias).and_then(|position| self.runtimes.get(*position))
    }

    /// All of them, installed or not: the built-in ones in their fixed order, then an admin's.
    pub fn iter(&self) -> impl Iterator<Item = &Runtime> + Send {
        self.runtimes.iter()
    }

    /// The names of what is installed, then their aliases.
    #[must_use]
    pub fn supported(&self) -> Vec<String> {
        let installed = || self.iter().filter(|runtime| runtime.installed());
        let names = installed().map(|runtime| &runtime.name);
        names.chain(installed().flat_map(|runtime| &runtime.aliases)).cloned().collect()
    }

    /// The existing paths that the sandbox's root needs beside `/usr` and its links, sorted, without
    /// repeats and without those that lie below another of them.
    #[must_use]
    pub fn read_only_paths(&self) -> Vec<PathBuf> {
        let common = READ_ONLY.iter().map(PathBuf::from).filter(|path| self.tree.resolve(path).is_some());
        let installed = self.iter().filter(|runtime| runtime.installed());
        let mut paths: Vec<PathBuf> = common.chain(installed.flat_map(|r| r.read_only.iter().cloned())).collect();
        paths.sort();
        paths.dedup_by(|later, earlier| later.starts_with(earlier));
        paths
    }

    /// Path below the gates' directory, and content, of every gate's files: what lies at `/opt/crankcase` in a sandbox.
    /// Java's gate is compiled for that, where Java is installed, which may take seconds the first time on a machine; one
    /// that cannot be compiled is left out.
    #[must_use]
    pub fn gate_files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        // An image's compiler cannot be asked from outside.
        let java = self.iter().filter(|_| !self.tree.is_image());
        let java = java.filter(|runtime| runtime.warm_gate() == Some(java_agent::GATE));
        let java = java.flat_map(Runtime::tools).find(|(name, _)| *name == "java").map(|(_, path)| path);
        let mut files = Vec::new();
        for (path, content) in self.gates.files() {
            if path == Path::new(java_agent::GATE).join(java_agent::SOURCE) {
                let agent = java.and_then(|java| java_agent::make(java, &content));
                files.extend(agent.map(|agent| (path.with_file_name(java_agent::AGENT), agent)));
            } else {
                files.push((path, content));
            }
        }
        files
    }

    /// Compiles the headers that installed languages have compiled ahead of need, as far as they are missing in
    /// [`crate::HEADERS`], and removes old ones. Blocks, for seconds to minutes; one process does it at a time. Nothing
    /// is made of an image's toolchains, which cannot be started from outside. `false` when something could not be
    /// made; what it is goes to stderr.
    #[must_use]
    pub fn make_headers(&self) -> bool {
        let of_ours = self.iter().filter(|runtime| !runtime.in_image() && runtime.has_headers());
        headers::make(of_ours.collect::<Vec<_>>().into_iter())
    }

    /// Asks every installed language's tool for its version and returns when all have answered or 5 s were
    /// up for each. Blocks, and starts processes: to be called on a thread of its own. What was asked before
    /// in this process, of a file of the same path, size and modification time, is not asked again. An image's tools
    /// cannot be asked from outside: what they said when it was made is written in it.
    pub fn detect_versions(&self) {
        if !self.tree.is_image() {
            return version::detect(self.iter(), &version::ask);
        }
        let facts = self.tree.facts().unwrap_or_default();
        for runtime in self.iter().filter(|runtime| runtime.installed()) {
            if let Some(version) = facts.languages.get(&runtime.name) {
                let _ = runtime.version.set(version.clone());
            }
        }
    }
}

struct Loader {
    tree: Tree,
    runtimes: Vec<Runtime>,
    errors: Vec<ManifestError>,
    gates: Gates,
}

impl Loader {
    fn error(&mut self, file: &Path, key: Option<&str>, message: String) {
        self.errors.push(ManifestError { file: file.to_owned(), key: key.map(str::to_owned), message });
    }

    /// Adds a manifest; `dir` is where it may not share its name with another.
    fn add(&mut self, file: &Path, text: &str, dir: Option<&Path>) {
        let runtime = match check::manifest(&self.tree, file, text, &self.gates) {
            Ok(runtime) => runtime,
            Err(errors) => return self.errors.extend(errors),
        };
        let Some(position) = self.runtimes.iter().position(|known| known.name == runtime.name) else {
            return self.runtimes.push(runtime);
        };
        let known = self.runtimes[position].file.clone();
        if dir.is_some_and(|dir| known.parent() == Some(dir)) {
            return self.error(file, Some("name"), format!("{:?} is also in {}", runtime.name, known.display()));
        }
        self.runtimes[position] = runtime;
    }

    fn directory(&mut self, dir: &Path) {
        let entries = match std::fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
            Err(error) => return self.error(dir, None, error.to_string()),
        };
        let mut files: Vec<PathBuf> = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
            .collect();
        files.sort();
        for file in files {
            match read(&file) {
                Ok(text) => self.add(&file, &text, Some(dir)),
                Err(message) => self.error(&file, None, message),
            }
        }
    }

    fn finish(mut self) -> Result<Registry, Vec<ManifestError>> {
        let mut index = HashMap::new();
        for (position, runtime) in self.runtimes.iter().enumerate() {
            index.insert(runtime.name.clone(), position);
        }
        let mut clashes = Vec::new();
        for (position, runtime) in self.runtimes.iter().enumerate() {
            for alias in &runtime.aliases {
                match index.get(alias).and_then(|at| self.runtimes.get(*at)) {
                    None => {
                        index.insert(alias.clone(), position);
                    }
                    Some(other) => clashes.push((runtime.file.clone(), alias.clone(), other)),
                }
            }
        }
        let clashes: Vec<(PathBuf, String)> = clashes
            .into_iter()
            .map(|(file, alias, other)| {
                (file, format!("{alias:?} is already a name of {:?} ({})", other.name, other.file.display()))
            })
            .collect();
        for (file, message) in clashes {
            self.error(&file, Some("aliases"), message);
        }
        match self.errors.is_empty() {
            true => Ok(Registry { runtimes: self.runtimes, index, tree: self.tree, gates: self.gates }),
            false => Err(self.errors),
        }
    }
}

/// The text of a file of a manifest's size.
fn read(file: &Path) -> Result<String, String> {
    let metadata = std::fs::metadata(file).map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("is no file".into());
    }
    if metadata.len() > FILE_BYTES_MAX {
        return Err(format!("has {} bytes, at most {FILE_BYTES_MAX} are read", metadata.len()));
    }
    std::fs::read_to_string(file).map_err(|error| error.to_string())
}
