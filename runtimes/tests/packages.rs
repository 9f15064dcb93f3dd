//! `install-packages` reads the manifests with a few lines of shell: it must read what the loader reads.

use std::path::Path;
use std::process::Command;

use crankcase_runtimes::Registry;

fn script(args: &[&str]) -> std::process::Output {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("install-packages");
    Command::new(path).args(args).output().unwrap()
}

#[test]
fn the_script_reads_the_packages_that_the_loader_reads() {
    let registry = Registry::load(&[]).unwrap();
    let mut expected: Vec<String> = registry
        .iter()
        .map(|r| std::iter::once(&r.name).chain(&r.packages).cloned().collect::<Vec<_>>().join(" "))
        .collect();
    expected.sort();
    let output = script(&["--list"]);
    let mut read: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    read.sort();
    assert_eq!(read, expected);
}

#[test]
fn what_the_script_does_not_know_is_an_error() {
    for args in [&["--install"][..], &["no-such-language"], &["python", "cobol"]] {
        assert_eq!(script(args).status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn checking_agrees_with_dpkg() {
    let Ok(dpkg) = Command::new("dpkg-query").args(["-W", "-f", "${db:Status-Status}", "bash"]).output() else {
        return eprintln!("SKIP: no dpkg here");
    };
    let installed = dpkg.stdout == b"installed";
    assert_eq!(script(&["--check", "bash"]).status.success(), installed);
}
