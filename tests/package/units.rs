//! The units as systemd reads them, and how much they leave to a service.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crankcase_tests::{daemon, shared, skip};

/// What `systemd-analyze security` may say at most, in tenths: from 0, nothing left to take away, to 100.
const EXPOSURE: [(&str, u32); 3] =
    [("crankcase.service", 15), ("crankcase-spawner.service", 35), ("crankcase-precompile.service", 15)];

fn unit(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd").join(name)
}

fn analyze(arguments: &[&str]) -> Option<(bool, String)> {
    let output = Command::new("systemd-analyze").args(arguments).env("SYSTEMD_COLORS", "0").output().ok()?;
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    Some((output.status.success(), text))
}

#[test]
fn the_exposure_is_within_its_bound() {
    for (name, bound) in EXPOSURE {
        let path = unit(name);
        let Some((_, text)) = analyze(&["security", "--offline=true", "--no-pager", path.to_str().expect("UTF-8")])
        else {
            return skip("there is no systemd-analyze");
        };
        let line = text.lines().find(|line| line.contains("Overall exposure level")).expect("a figure");
        let figure = line.split(": ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a figure");
        let tenths: u32 = figure.replace('.', "").parse().expect("a figure with one decimal");
        assert!(tenths <= bound, "{line}: at most {bound} tenths");
    }
}

#[test]
fn systemd_finds_no_fault() {
    let directory = tempfile::tempdir().expect("a directory");
    let names = [
        "crankcase.service",
        "crankcase-spawner.service",
        "crankcase-spawner.socket",
        "crankcase-precompile.service",
        "crankcase-precompile.path",
    ];
    for name in names {
        let text = fs::read_to_string(unit(name)).expect("the unit");
        // Not installed here, and systemd looks whether what it is to start is there.
        let text = text.replace("/usr/bin/crankcase ", &format!("{} ", daemon::binary("crankcase").display()));
        fs::write(directory.path().join(name), text).expect("writing it");
    }
    let mut arguments = vec!["verify".to_owned(), "--man=no".to_owned(), "--recursive-errors=no".to_owned()];
    arguments.extend(names.map(|name| directory.path().join(name).display().to_string()));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let Some((good, text)) = analyze(&arguments) else { return skip("there is no systemd-analyze") };
    // On a machine without systemd it also complains of other people's units.
    let ours: Vec<&str> = text.lines().filter(|line| line.contains("crankcase")).collect();
    assert!(ours.is_empty(), "{ours:#?}");
    assert!(good || !text.contains("crankcase"), "{text}");
}

/// From linux/capability.h.
const CAPABILITIES: [(u32, &str); 10] = [
    (0, "CAP_CHOWN"),
    (1, "CAP_DAC_OVERRIDE"),
    (5, "CAP_KILL"),
    (6, "CAP_SETGID"),
    (7, "CAP_SETUID"),
    (8, "CAP_SETPCAP"),
    (18, "CAP_SYS_CHROOT"),
    (19, "CAP_SYS_PTRACE"),
    (21, "CAP_SYS_ADMIN"),
    (27, "CAP_MKNOD"),
];

#[test]
fn the_unit_grants_the_capabilities_that_the_spawner_keeps() {
    let status = fs::read_to_string(format!("/proc/{}/status", shared().spawner())).expect("a living spawner");
    let mask = status.lines().find_map(|line| line.strip_prefix("CapPrm:")).expect("its capabilities");
    let mask = u64::from_str_radix(mask.trim(), 16).expect("a number");
    let known: BTreeSet<&str> =
        CAPABILITIES.iter().filter(|(number, _)| mask >> number & 1 == 1).map(|(_, name)| *name).collect();
    assert_eq!(known.len(), mask.count_ones() as usize, "one that this test does not know: {mask:x}");
    let text = fs::read_to_string(unit("crankcase-spawner.service")).expect("the unit");
    let granted = text.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).expect("a bounding set");
    assert_eq!(known, granted.split(' ').collect());
}

#[test]
fn what_files_in_a_sandbox_take_is_not_filtered_away() {
    // Its filter answers openat2(2) with ENOSYS, in the sandboxes too.
    let text = fs::read_to_string(unit("crankcase-spawner.service")).expect("the unit");
    assert!(!text.lines().any(|line| line.starts_with("RestrictSUIDSGID=yes")));
}
