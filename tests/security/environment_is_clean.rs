//! Gains: tokens and addresses out of the environment that the daemon was started with.

use crate::attempt::{c, python};

const ALLOWED: [&str; 16] = [
    "PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "USER", "LOGNAME", "TMPDIR", "PWD", "SHLVL", "_", "SHELL", "TERM",
    "TZ", "OLDPWD", "LANGUAGE",
];

#[test]
fn only_listed_variables_are_set() {
    let stdout = python("import os\nfor name in sorted(os.environ): print(name)").expect_stdout();
    assert!(stdout.contains("PATH\n") && stdout.contains("HOME\n"), "{stdout}");
    for name in stdout.lines() {
        assert!(ALLOWED.contains(&name) || name.starts_with("PYTHON"), "{name} is set");
    }
    let stdout = c("extern char **environ;\nint main(void) { for (char **e = environ; *e; e++) puts(*e); return 0; }")
        .expect_stdout();
    assert!(
        !stdout.contains("of-the-daemon") && !stdout.contains("RUST_LOG") && !stdout.contains("CRANKCASE"),
        "{stdout}"
    );
    for line in stdout.lines() {
        let name = line.split('=').next().unwrap_or_default();
        assert!(ALLOWED.contains(&name), "{line} is set");
    }
}
