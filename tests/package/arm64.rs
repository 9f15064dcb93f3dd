//! Everything that is installed builds for arm64, with that machine's system-call numbers.

use std::path::Path;
use std::process::Command;

const BUILT: &str = "../target/arm64/aarch64-unknown-linux-gnu/debug";

#[test]
fn all_builds_for_arm64() {
    if cfg!(not(target_arch = "x86_64")) {
        return crankcase_tests::skip("this is no x86-64 machine");
    }
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(tests.join("cross-arm64")).output().expect("the script starts");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    for name in ["crankcase", "crankcase-spawner", "libcrankcase_fork.so"] {
        let program = std::fs::read(tests.join(BUILT).join(name)).expect("it is there");
        // ELF's e_machine, at byte 18: 183 is AArch64.
        assert_eq!((&program[..4], program[18]), (&b"\x7fELF"[..], 183), "{name}");
    }
}
