//! What compilers made, kept: a program that was compiled before goes straight to its run.
//!
//! An entry is found by a hash of everything that the compile stage sees ([`key`]), is a file of its own in the data
//! directory ([`file`]), and the least recently used go first once the bound is reached ([`index`]). Only what a
//! compile stage that succeeded left is kept, copied out before the program could touch it.
//!
//! **Invariant.** Nothing waits for this cache and nothing fails by it: whatever goes wrong is a miss.

mod file;
mod index;
mod key;

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crankcase_sandbox::spec::SourceFile;
use tracing::warn;

use super::capture::Captured;
use crate::metrics::Metrics;
use index::Index;
pub use key::{Inputs, Key, Scope};

/// An entry larger than this part of the whole is not kept: it would drive out too many others.
const SHARE: u64 = 8;
/// Bytes that no entry exceeds, whatever the bound of all.
const ENTRY_BYTES_MAX: u64 = 32 << 20;

/// What a compile stage that succeeded left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artefact {
    /// What it printed.
    pub stdout: Captured,
    /// Its warnings.
    pub stderr: Captured,
    /// What the run stage needs besides the sources.
    pub files: Vec<SourceFile>,
}

/// The handle that everybody shares.
#[derive(Clone)]
pub struct Artefacts {
    /// None when nothing is kept.
    inner: Option<Arc<Inner>>,
}

struct Inner {
    directory: PathBuf,
    scope: Scope,
    bytes_max: u64,
    metrics: Metrics,
    index: Mutex<Index>,
}

impl Artefacts {
    /// One that keeps nothing.
    #[must_use]
    pub const fn off() -> Self {
        Self { inner: None }
    }

    /// Keeps at most `bytes_max` bytes in a directory, which is made if need be; what lies there from before counts,
    /// and what is no entry is removed. A directory that cannot be used turns the cache off, with a warning.
    #[must_use]
    pub fn open(directory: &Path, bytes_max: u64, scope: Scope, metrics: Metrics) -> Self {
        match Index::load(directory, bytes_max) {
            Ok(index) => {
                let inner = Inner { directory: directory.to_owned(), scope, bytes_max, metrics, index: index.into() };
                inner.show();
                Self { inner: Some(Arc::new(inner)) }
            }
            Err(error) => {
                warn!(directory = %directory.display(), %error, "compiled programs cannot be kept");
                Self::off()
            }
        }
    }

    /// The key of a compile stage, by what it sees; none when nothing is kept.
    #[must_use]
    pub fn key(&self, inputs: &Inputs<'_>) -> Option<Key> {
        self.inner.as_ref().map(|inner| inputs.key(inner.scope))
    }

    /// The most that an entry's files may have together, bytes.
    #[must_use]
    pub fn entry_bytes_max(&self) -> u64 {
        self.inner.as_ref().map_or(0, |inner| ENTRY_BYTES_MAX.min(inner.bytes_max / SHARE))
    }

    /// What is kept under a key; counted as a hit or a miss of the language.
    pub async fn find(&self, language: &str, key: &Key) -> Option<Artefact> {
        let inner = Arc::clone(self.inner.as_ref()?);
        let known = inner.index().touch(key);
        let found = match known {
            false => None,
            true => {
                let (inner, key) = (Arc::clone(&inner), *key);
                tokio::task::spawn_blocking(move || inner.read(&key)).await.ok().flatten()
            }
        };
        inner.metrics.artefact_asked_for(language, found.is_some());
        found
    }

    /// Keeps it, behind the caller's back: the file is written on a thread of its own.
    pub fn keep(&self, key: Key, artefact: Artefact) {
        if let Some(inner) = self.inner.clone() {
            tokio::task::spawn_blocking(move || inner.write(&key, &artefact));
        }
    }
}

impl Inner {
    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.directory.join(key.name())
    }

    fn read(&self, key: &Key) -> Option<Artefact> {
        let path = self.path(key);
        // Another reader may have just driven it out: then it is a miss like any other.
        let bytes = fs::read(&path).ok();
        let artefact = bytes.as_deref().and_then(file::decode);
        if artefact.is_none() {
            if bytes.is_some() {
                warn!(file = %path.display(), "a kept program is damaged and is removed");
            }
            self.index().remove(key);
            let _ = fs::remove_file(&path);
            self.show();
        }
        artefact
    }

    fn write(&self, key: &Key, artefact: &Artefact) {
        let Some(bytes) = file::encode(artefact) else { return };
        // Under its own name only when whole. A power cut may still tear it: its hash tells.
        let written = tempfile::NamedTempFile::new_in(&self.directory).and_then(|mut temporary| {
            std::io::Write::write_all(&mut temporary, &bytes)?;
            temporary.persist(self.path(key)).map_err(|error| error.error)
        });
        if let Err(error) = written {
            warn!(%error, "a compiled program is not kept");
            return;
        }
        let driven_out = self.index().insert(*key, bytes.len() as u64);
        for old in driven_out {
            let _ = fs::remove_file(self.path(&old));
        }
        self.show();
    }

    fn show(&self) {
        let (entries, bytes) = {
            let index = self.index();
            (index.len(), index.bytes())
        };
        self.metrics.artefacts_kept(entries, bytes);
    }
}

/// Only the daemon's own account looks in.
fn private_directory(path: &Path) -> std::io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(test)]
mod tests;
