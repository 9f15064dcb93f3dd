//! Where the facts are read: the files of /proc and /sys, or a directory in their place in a test.

use std::path::{Path, PathBuf};

pub struct Host {
    root: PathBuf,
}

impl Host {
    /// The one we are on.
    pub fn this() -> Self {
        Self { root: "/".into() }
    }

    /// The trimmed text of a file; none when it cannot be read.
    pub fn read(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.path(path)).ok().map(|text| text.trim().to_owned())
    }

    /// A file that holds one number.
    pub fn number(&self, path: &str) -> Option<u64> {
        self.read(path)?.parse().ok()
    }

    pub fn exists(&self, path: &str) -> bool {
        // A link to nowhere, such as /proc/self/ns/user, exists too.
        std::fs::symlink_metadata(self.path(path)).is_ok()
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(Path::new(path).strip_prefix("/").unwrap_or(Path::new(path)))
    }

    /// A line `key: value` of a file such as /proc/self/status.
    pub fn field(&self, path: &str, key: &str) -> Option<String> {
        let text = self.read(path)?;
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        Some(line.trim().to_owned())
    }
}

#[cfg(test)]
pub mod fake {
    //! A host made of files.

    use super::Host;

    pub struct Fake {
        dir: tempfile::TempDir,
        pub host: Host,
    }

    pub fn host(files: &[(&str, &str)]) -> Fake {
        let dir = tempfile::tempdir().unwrap();
        let fake = Fake { host: Host { root: dir.path().to_owned() }, dir };
        for (path, text) in files {
            let path = fake.dir.path().join(path.trim_start_matches('/'));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        fake
    }
}
