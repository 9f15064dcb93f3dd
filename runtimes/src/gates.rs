//! The files that interpreters which are started ahead of need bring up and block in.
//!
//! A gate is a directory of plain files. The built-in ones are part of the binary; an admin's lie in `gates/NAME/` beside
//! the manifests, and one of a built-in gate's name replaces it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crankcase_sandbox::spec::is_safe_name;

use crate::error::ManifestError;

/// Bytes that all files of all gates may have together: they are copied into the root of every sandbox.
pub(crate) const BYTES_MAX: u64 = 2 << 20;

/// Gate, file, content.
const BUILT_IN: &[(&str, &str, &[u8])] = &[
    ("java", "Gate.java", include_bytes!("../gates/java/Gate.java")),
    ("native", "gate.so", include_bytes!(concat!(env!("OUT_DIR"), "/gate.so"))),
    ("node", "gate.js", include_bytes!("../gates/node/gate.js")),
    ("python", "sitecustomize.py", include_bytes!("../gates/python/sitecustomize.py")),
    ("ruby", "did_you_mean.rb", include_bytes!("../gates/ruby/did_you_mean.rb")),
    ("ruby", "main.rb", include_bytes!("../gates/ruby/main.rb")),
    ("typescript", "gate.js", include_bytes!("../gates/typescript/gate.js")),
    ("typescript", "node.d.ts", include_bytes!("../gates/typescript/node.d.ts")),
    ("typescript", "other.ts", include_bytes!("../gates/typescript/other.ts")),
    ("typescript", "warm.ts", include_bytes!("../gates/typescript/warm.ts")),
    ("typescript", "wrong.ts", include_bytes!("../gates/typescript/wrong.ts")),
];

/// Every gate's files by its name.
#[derive(Debug, Clone)]
pub(crate) struct Gates(BTreeMap<String, Vec<(String, Vec<u8>)>>);

impl Gates {
    /// Those of the binary.
    pub(crate) fn built_in() -> Self {
        let mut gates = BTreeMap::<String, Vec<(String, Vec<u8>)>>::new();
        for (gate, file, content) in BUILT_IN {
            gates.entry((*gate).to_owned()).or_default().push(((*file).to_owned(), content.to_vec()));
        }
        Self(gates)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Adds those of `dir`, a manifest directory, where there is a `gates` in it.
    pub(crate) fn add_directory(&mut self, dir: &Path, errors: &mut Vec<ManifestError>) {
        for gate in entries(&dir.join("gates"), errors) {
            let files = entries(&gate, errors);
            let name = gate.file_name().and_then(|name| name.to_str()).filter(|name| is_safe_name(name));
            let Some(name) = name else {
                errors.push(error(&gate, "is no name for a gate".into()));
                continue;
            };
            let mut contents = Vec::new();
            for file in files {
                match read(&file) {
                    Ok(content) => contents.push(content),
                    Err(message) => errors.push(error(&file, message)),
                }
            }
            self.0.insert(name.to_owned(), contents);
        }
        let bytes: usize = self.0.values().flatten().map(|(_, content)| content.len()).sum();
        if bytes as u64 > BYTES_MAX {
            let message = format!("all gates together have {bytes} bytes, at most {BYTES_MAX} are possible");
            errors.push(error(&dir.join("gates"), message));
        }
    }

    /// Path below the gates' directory, and content, of each file.
    pub(crate) fn files(&self) -> impl Iterator<Item = (PathBuf, Vec<u8>)> {
        self.0.iter().flat_map(|(gate, files)| {
            files.iter().map(move |(file, content)| (Path::new(gate).join(file), content.clone()))
        })
    }
}

fn error(file: &Path, message: String) -> ManifestError {
    ManifestError { file: file.to_owned(), key: None, message }
}

/// What lies in a directory, by name; one that is not there is an empty one.
fn entries(dir: &Path, errors: &mut Vec<ManifestError>) -> Vec<PathBuf> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        Err(failure) => {
            errors.push(error(dir, failure.to_string()));
            return Vec::new();
        }
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// Name and content of a gate's file.
fn read(file: &Path) -> Result<(String, Vec<u8>), String> {
    let name = file.file_name().and_then(|name| name.to_str()).filter(|name| is_safe_name(name));
    let name = name.ok_or("is no name for a file of a gate")?;
    let metadata = std::fs::symlink_metadata(file).map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("is no plain file".into());
    }
    if metadata.len() > BYTES_MAX {
        return Err(format!("has {} bytes, at most {BYTES_MAX} are possible", metadata.len()));
    }
    Ok((name.to_owned(), std::fs::read(file).map_err(|error| error.to_string())?))
}
