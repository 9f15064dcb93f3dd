//! Who may know whom, and where unsafe code may stand.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the workspace")
}

/// The normal dependencies of a crate, by name.
fn dependencies(package: &str) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .current_dir(root())
        .args(["tree", "--offline", "-p", package, "-e", "normal", "--prefix", "none", "--format", "{p}"])
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

/// Rust files below a directory of the workspace.
fn sources(directory: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![root().join(directory)];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory).expect("a directory of the workspace").flatten() {
            let path = entry.path();
            if path.is_dir() && !path.ends_with("node_modules") && !path.ends_with("target") {
                waiting.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    assert!(!found.is_empty(), "{directory} holds sources");
    found
}

/// Whether a file holds unit tests and nothing else; those may know whatever they test with.
fn is_unit_test(path: &Path) -> bool {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    name == "tests"
        || name.ends_with("_tests")
        || name == "testing"
        || path.components().any(|part| part.as_os_str() == "tests")
}

/// A file without its comments and without what follows `#[cfg(test)]`.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("readable");
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_sandbox_knows_no_runtime_and_no_json() {
    let all = dependencies("crankcase-sandbox");
    assert!(all.contains(&"libc".to_owned()), "the tree is really read: {all:?}");
    for banned in ["tokio", "serde_json", "axum", "hyper", "crankcase", "crankcase-runtimes", "rusqlite", "mio"] {
        assert!(!all.iter().any(|name| name == banned), "crankcase-sandbox depends on {banned}");
    }
}

#[test]
fn the_runtimes_know_neither_http_nor_the_daemon() {
    let all = dependencies("crankcase-runtimes");
    for banned in ["tokio", "axum", "hyper", "crankcase", "rusqlite"] {
        assert!(!all.iter().any(|name| name == banned), "crankcase-runtimes depends on {banned}");
    }
}

#[test]
fn unsafe_code_stands_in_its_places() {
    for directory in ["daemon", "runtimes", "sandbox", "tests"] {
        for path in sources(directory) {
            let code = code(&path);
            // The native gate is a library without std, and runs only in processes that have nothing to lose.
            let places = ["sandbox/src/sys", "runtimes/gates/native"];
            let allowed = places.iter().any(|place| path.starts_with(root().join(place)));
            let has = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"].iter().any(|text| code.contains(text));
            // The needles of this very test are no unsafe code.
            let own = path.ends_with("layering.rs");
            assert!(allowed || own || !has, "unsafe code in {}", path.display());
        }
    }
    for (path, line) in [
        ("daemon/src/lib.rs", "#![forbid(unsafe_code)]"),
        ("runtimes/src/lib.rs", "#![forbid(unsafe_code)]"),
        ("Cargo.toml", "unsafe_code = \"deny\""),
        ("Cargo.toml", "undocumented_unsafe_blocks = \"deny\""),
    ] {
        let text = fs::read_to_string(root().join(path)).expect("readable");
        assert!(text.contains(line), "{path} must say {line}");
    }
}

#[test]
fn arrows_point_one_way() {
    for (directory, banned) in [
        ("daemon/src/jobs", &["crate::api", "crate::rooms", "axum", "socketioxide"][..]),
        ("daemon/src/history", &["crate::api", "crate::rooms", "axum", "socketioxide"]),
        ("daemon/src/rooms", &["crate::api", "axum::"]),
        ("sandbox/src", &["serde", "tokio", "json"]),
    ] {
        for path in
            sources(directory).into_iter().filter(|path| !is_unit_test(path.strip_prefix(root()).unwrap_or(path)))
        {
            let code = code(&path);
            for name in banned {
                let used = code.lines().any(|line| line.contains(name) && !line.contains("feature"));
                assert!(!used, "{} knows {name}", path.display());
            }
        }
    }
}

#[test]
fn every_module_states_its_job_and_none_is_too_long() {
    for directory in ["daemon/src", "runtimes/src", "sandbox/src", "tests"] {
        for path in sources(directory) {
            let text = fs::read_to_string(&path).expect("readable");
            let own = path.strip_prefix(root()).unwrap_or(&path);
            let job = text.starts_with("//!") || (is_unit_test(own) && !own.starts_with("tests"));
            assert!(job, "{} does not begin with its job", path.display());
            let lines = text.lines().count();
            assert!(lines <= 600, "{} has {lines} lines: split it", path.display());
        }
    }
}
