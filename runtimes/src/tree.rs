//! Whose files the paths of manifests mean: the host's, or those of an image, a directory that stands in its place.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::Metadata;
use std::path::{Component, Path, PathBuf};

/// Links that one look-up follows, as the kernel's own bound.
const LINKS_MAX: usize = 40;
/// What an image says of itself, at its top; programs do not see it.
pub const IMAGE_FILE: &str = "crankcase-image.toml";

/// A tree of files with toolchains in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    root: PathBuf,
}

/// What is written beside an image's files.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ImageFacts {
    /// The release that it was made from.
    pub suite: String,
    /// The architecture, as Debian names it.
    pub architecture: String,
    /// Versions by language, as its own tools told them.
    pub languages: BTreeMap<String, String>,
}

impl Tree {
    /// The host's own files.
    #[must_use]
    pub fn host() -> Self {
        Self { root: "/".into() }
    }

    /// The files below a directory.
    #[must_use]
    pub fn image(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Whether it is not the host's own.
    #[must_use]
    pub fn is_image(&self) -> bool {
        self.root != Path::new("/")
    }

    /// What an image says of itself; none where there is nothing readable.
    #[must_use]
    pub fn facts(&self) -> Option<ImageFacts> {
        let text = std::fs::read_to_string(self.root.join(IMAGE_FILE)).ok()?;
        self.is_image().then(|| toml::from_str(&text).ok()).flatten()
    }

    /// Where a path of the tree lies on the host.
    #[must_use]
    pub fn on_host(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Of the file that an absolute path leads to; none where nothing is.
    #[must_use]
    pub fn metadata(&self, path: &Path) -> Option<Metadata> {
        // In the host's own tree the kernel follows the links, in one call.
        let found = if self.is_image() { self.on_host(&self.resolve(path)?) } else { path.to_owned() };
        std::fs::metadata(found).ok()
    }

    /// The file that an absolute path leads to, as a program sees its path: every link is followed within the tree. None
    /// where nothing is.
    #[must_use]
    pub fn resolve(&self, path: &Path) -> Option<PathBuf> {
        let mut found = PathBuf::from("/");
        let mut links = 0;
        let mut pending: Vec<OsString> = reversed(path);
        while let Some(part) = pending.pop() {
            if part == ".." {
                found.pop();
                continue;
            }
            let next = found.join(&part);
            let metadata = std::fs::symlink_metadata(self.on_host(&next)).ok()?;
            if !metadata.is_symlink() {
                found = next;
                continue;
            }
            links += 1;
            if links > LINKS_MAX {
                return None;
            }
            let target = std::fs::read_link(self.on_host(&next)).ok()?;
            if target.is_absolute() {
                found = PathBuf::from("/");
            }
            pending.extend(reversed(&target));
        }
        Some(found)
    }
}

/// A path's parts, last first, without `/` and `.`.
fn reversed(path: &Path) -> Vec<OsString> {
    let parts = path.components().rev().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    parts.map(|part| part.as_os_str().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_stay_within_the_tree() {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::image(dir.path());
        std::fs::create_dir_all(dir.path().join("usr/bin")).unwrap();
        std::fs::create_dir_all(dir.path().join("etc/alternatives")).unwrap();
        std::fs::write(dir.path().join("usr/bin/java-17"), "").unwrap();
        symlink("usr/bin", dir.path().join("bin")).unwrap();
        symlink("/etc/alternatives/java", dir.path().join("usr/bin/java")).unwrap();
        symlink("/usr/bin/java-17", dir.path().join("etc/alternatives/java")).unwrap();
        symlink("../../../../../../etc/passwd", dir.path().join("usr/bin/out")).unwrap();
        symlink("/etc/shadow", dir.path().join("usr/bin/secret")).unwrap();
        symlink("loop", dir.path().join("usr/bin/loop")).unwrap();
        assert_eq!(tree.resolve(Path::new("/bin/java")), Some("/usr/bin/java-17".into()));
        for outside in ["/usr/bin/out", "/usr/bin/secret", "/usr/bin/loop", "/usr/bin/none"] {
            assert_eq!(tree.resolve(Path::new(outside)), None, "{outside}");
        }
        assert_eq!(tree.on_host(Path::new("/usr")), dir.path().join("usr"));
    }

    #[test]
    fn the_host_is_resolved_as_the_kernel_does() {
        let tree = Tree::host();
        assert!(!tree.is_image() && tree.facts().is_none());
        for path in ["/bin/sh", "/usr/bin/env", "/proc/self/../version"] {
            let expected = Path::new(path).canonicalize().unwrap();
            if !path.contains("self") {
                assert_eq!(tree.resolve(Path::new(path)), Some(expected));
            }
        }
    }
}
