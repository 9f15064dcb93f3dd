//! Gains: whatever the capability allows, from the network to the kernel's modules.

use crate::attempt::{Background, PYTHON_READY, c, host};

const SETS: [&str; 5] = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];

#[test]
fn a_program_has_no_capability_in_any_set_as_the_host_sees_it() {
    let program = Background::start("python", PYTHON_READY);
    for set in SETS {
        assert_eq!(host::status(program.pid(), set).as_deref(), Some("0000000000000000"), "{set}");
    }
    assert_eq!(host::status(program.pid(), "NoNewPrivs").as_deref(), Some("1"));
    assert_eq!(host::status(program.pid(), "Seccomp").as_deref(), Some("2"), "a filter is installed");
    let uids = host::status(program.pid(), "Uid").unwrap_or_default();
    let gids = host::status(program.pid(), "Gid").unwrap_or_default();
    for id in uids.split_whitespace().chain(gids.split_whitespace()) {
        assert!(id.parse::<u32>().is_ok_and(|id| id >= 10_000), "ids of the sandboxes' own range: {uids}, {gids}");
    }
    assert_eq!(host::status(program.pid(), "Groups").as_deref(), Some(""), "no supplementary groups");
}

/// The assembler reads its own status into the program: what a compiler may do, told by the compiler.
#[test]
fn a_compiler_has_none_either() {
    let stdout = c(r#"
__asm__(".section .rodata\n.globl from\nfrom: .incbin \"/proc/self/status\"\n.byte 0\n.text\n");
extern const char from[];
int main(void) { fputs(from, stdout); return 0; }
"#)
    .expect_stdout();
    for set in SETS {
        assert!(stdout.contains(&format!("{set}:\t0000000000000000")), "{set} of the compiler: {stdout}");
    }
    assert!(stdout.contains("NoNewPrivs:\t1") && stdout.contains("Seccomp:\t2"), "{stdout}");
    assert!(stdout.contains("Name:\tas"), "it was the assembler who read: {stdout}");
}
