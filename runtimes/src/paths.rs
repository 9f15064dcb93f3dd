//! Which paths of the host a manifest may ask for, and which of them are there.

use std::path::{Component, Path, PathBuf};

use crate::tree::Tree;

/// What every sandbox root holds anyway.
const BASE: [&str; 8] = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/libo32"];
/// What the sandbox makes itself, or must never show, with everything below.
const FORBIDDEN: [&str; 14] = [
    "/box",
    "/boot",
    "/dev",
    "/home",
    "/media",
    "/mnt",
    "/proc",
    "/root",
    "/run",
    "/sys",
    "/tmp",
    "/var",
    "/etc/ssh",
    "/etc/crankcase",
];
/// Single files of `/etc` of the same kind.
const FORBIDDEN_FILES: [&str; 13] = [
    "passwd",
    "passwd-",
    "group",
    "group-",
    "shadow",
    "shadow-",
    "gshadow",
    "gshadow-",
    "sudoers",
    "hosts",
    "hostname",
    "nsswitch.conf",
    "machine-id",
];

/// Whether a path is absolute and has no `.` or `..` component.
pub(crate) fn is_plain_absolute(path: &str) -> bool {
    path.starts_with('/')
        && !path.contains('\0')
        && Path::new(path).components().all(|c| matches!(c, Component::RootDir | Component::Normal(_)))
}

/// Why a path cannot be shown to programs, if it cannot.
pub(crate) fn refusal(path: &str) -> Option<String> {
    if !is_plain_absolute(path) {
        return Some(format!("{path:?} is no absolute path without . and .. components"));
    }
    let asked = Path::new(path);
    let forbidden = |dir: &Path| asked.starts_with(dir) || dir.starts_with(asked);
    let file = |name: &&str| asked == Path::new("/etc").join(name);
    if FORBIDDEN.iter().any(|dir| forbidden(Path::new(dir))) || FORBIDDEN_FILES.iter().any(file) {
        return Some(format!("{path:?} must not be visible to programs"));
    }
    match path.split('/').rev().skip(1).any(|part| part.contains('*')) {
        true => Some(format!("{path:?} has a * elsewhere than in its last component")),
        false => None,
    }
}

/// The existing paths of a tree that a path with at most one `*` in its last component stands for, sorted.
pub(crate) fn existing(tree: &Tree, pattern: &str) -> Vec<PathBuf> {
    let path = Path::new(pattern);
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Some((prefix, suffix)) = name.split_once('*') else {
        return if tree.resolve(path).is_some() { vec![path.to_owned()] } else { Vec::new() };
    };
    let directory = path.parent().unwrap_or(path);
    let Some(entries) = tree.resolve(directory).and_then(|target| std::fs::read_dir(tree.on_host(&target)).ok()) else {
        return Vec::new();
    };
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| {
            entry
                .file_name()
                .to_str()
                .is_some_and(|n| n.len() >= prefix.len() + suffix.len() && n.starts_with(prefix) && n.ends_with(suffix))
        })
        .map(|entry| directory.join(entry.file_name()))
        .collect();
    found.sort();
    found
}

/// The first candidate that is there in the tree and that programs can reach: the file it leads to lies below `/usr`, a
/// directory beside it of the same kind, or one of `shown`.
pub(crate) fn first_visible(tree: &Tree, candidates: &[String], shown: &[PathBuf]) -> Option<PathBuf> {
    candidates.iter().map(PathBuf::from).find(|candidate| {
        let Some(target) = tree.resolve(candidate) else { return false };
        let visible = |path: &Path| {
            BASE.iter().map(Path::new).chain(shown.iter().map(PathBuf::as_path)).any(|dir| path.starts_with(dir))
        };
        visible(candidate) && visible(&target)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_the_sandbox_own_paths_are_refused() {
        for bad in [
            "/",
            "/etc",
            "/etc/passwd",
            "/etc/shadow",
            "/etc/ssh",
            "/etc/ssh/x",
            "/root",
            "/root/.cargo",
            "/proc/1",
            "/tmp",
            "/var/lib",
            "etc/php",
            "/etc/../root",
            "/etc/*/x",
            "/box/x",
            "/home/u",
            "/etc/crankcase/runtimes",
        ] {
            assert!(refusal(bad).is_some(), "{bad}");
        }
        for good in ["/etc/alternatives", "/etc/java-*-openjdk", "/opt/swift", "/etc/php", "/srv/toolchains"] {
            assert_eq!(refusal(good), None);
        }
    }

    #[test]
    fn a_star_matches_in_the_last_component() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["java-17-openjdk", "java-21-openjdk", "java-", "other"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let base = dir.path().display();
        let names = |pattern: &str| -> Vec<String> {
            let paths = existing(&Tree::host(), &format!("{base}/{pattern}"));
            paths.iter().map(|p| p.file_name().unwrap().to_string_lossy().into_owned()).collect()
        };
        assert_eq!(names("java-*-openjdk"), ["java-17-openjdk", "java-21-openjdk"]);
        assert_eq!(names("other"), ["other"]);
        assert!(names("missing").is_empty() && names("missing*").is_empty());
    }

    #[test]
    fn a_tool_outside_of_the_root_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let tool = dir.path().join("tool");
        std::fs::write(&tool, "").unwrap();
        let candidates = [tool.display().to_string(), "/usr/bin/env".to_owned()];
        assert_eq!(first_visible(&Tree::host(), &candidates, &[]), Some("/usr/bin/env".into()));
        let shown = dir.path().canonicalize().unwrap();
        assert_eq!(first_visible(&Tree::host(), &candidates, &[shown]), Some(tool));
        assert_eq!(first_visible(&Tree::host(), &["/usr/bin/no-such-tool".to_owned()], &[]), None);
    }
}
