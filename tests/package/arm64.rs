//! The privileged half builds for arm64, with that machine's system-call numbers.

use std::path::Path;
use std::process::Command;

#[test]
fn the_spawner_builds_for_arm64() {
    if cfg!(not(target_arch = "x86_64")) {
        return crankcase_tests::skip("this is no x86-64 machine");
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("cross-arm64");
    let output = Command::new(script).output().expect("the script starts");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    let built =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/arm64/aarch64-unknown-linux-gnu/debug/crankcase-spawner");
    let program = std::fs::read(built).expect("the program is there");
    // ELF's e_machine, at byte 18: 183 is AArch64.
    assert_eq!((&program[..4], program[18]), (&b"\x7fELF"[..], 183));
}
