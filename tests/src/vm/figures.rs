//! Measured figures, which `make test-vm` prints at its end.

use std::fs::OpenOptions;
use std::io::Write as _;

/// Notes a figure: on standard error, and in the file that `CRANKCASE_VM_FIGURES` names.
///
/// # Panics
/// When the file cannot be written.
pub fn note(name: &str, value: impl std::fmt::Display) {
    let line = format!("{name}: {value}");
    eprintln!("{line}");
    if let Some(path) = std::env::var_os("CRANKCASE_VM_FIGURES") {
        let mut file = OpenOptions::new().create(true).append(true).open(path).expect("the file of the figures");
        writeln!(file, "{line}").expect("writing a figure");
    }
}
