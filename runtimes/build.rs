//! Compiles the preloaded gate to a library of its own, which the crate embeds beside the gates that are scripts.

use std::path::Path;
use std::process::Command;

const SOURCE: &str = "gates/native/gate.rs";

fn main() {
    println!("cargo::rerun-if-changed={SOURCE}");
    println!("cargo::rerun-if-changed=build.rs");
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"));
    let output = Path::new(&variable("OUT_DIR")).join("gate.so");
    // As cargo itself links for this target: one that is not the host's has a linker of its own, with its own flags.
    let flags = variable("CARGO_ENCODED_RUSTFLAGS");
    let linker = std::env::var("RUSTC_LINKER").map(|linker| format!("-Clinker={linker}"));
    let status = Command::new(variable("RUSTC"))
        .args(flags.split('\x1f').filter(|flag| !flag.is_empty()))
        .args(linker)
        .args(["--edition=2024", "--crate-type=cdylib", "--crate-name=gate"])
        .args(["-Copt-level=s", "-Cpanic=abort", "-Cstrip=symbols", "-Clink-arg=-nostartfiles", "-Dwarnings"])
        .args(["--target", &variable("TARGET"), "-o"])
        .arg(&output)
        .arg(SOURCE)
        .status();
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => panic!("rustc could not compile {SOURCE}: {status}"),
        Err(error) => panic!("rustc could not be started: {error}"),
    }
}
