//! Gains: the daemon's memory, or its disk by way of the history.

use crate::attempt::{eventually, expect_unharmed, host, shared};

#[test]
fn a_flood_of_output_ends_by_the_output_limit_with_the_daemons_memory_flat() {
    let daemon = shared();
    let before = host::resident(daemon.pid());
    for language_and_code in [
        ("bash", "yes"),
        ("python", "import sys\nwhile True: sys.stderr.write('e' * 65536)"),
        ("c", "#include <stdio.h>\nint main(void) { for (;;) { puts(\"o\"); fputs(\"e\", stderr); } }"),
    ] {
        let answer = daemon.run(language_and_code.0, language_and_code.1).expect_limit("output");
        let truncated = &answer.body["truncated"];
        assert!(truncated["stdout"] == true || truncated["stderr"] == true, "{}", answer.body["truncated"]);
        assert!(answer.stdout().len() + answer.stderr().len() > 1000, "what was printed is kept");
        assert!(answer.str("/output").chars().count() <= 5000);
    }
    eventually(std::time::Duration::from_secs(20), || {
        let grown = host::resident(daemon.pid()).saturating_sub(before);
        if grown < 48 << 20 { Ok(()) } else { Err(format!("the daemon grew by {} MiB", grown >> 20)) }
    });
    expect_unharmed();
}
