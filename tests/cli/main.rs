//! The command line: what an operator types.
#![forbid(unsafe_code)]

use std::process::{Command, Output};

use crankcase_tests::daemon::binary;

fn crankcase(arguments: &[&str]) -> Output {
    Command::new(binary("crankcase")).args(arguments).output().expect("it starts")
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn config(content: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), content).expect("written");
    file
}

#[test]
fn check_config_names_every_error_with_its_key() {
    let file = config(
        "[server]\nlisten = \"nowhere\"\nno-such-key = 1\n[limits]\nmemory = \"256MiBs\"\nprocesses = -1\n[limits.python]\nwall-time = 5\n[nonsense]\nx = 1\n",
    );
    let output = crankcase(&["check-config", &file.path().to_string_lossy()]);
    assert!(!output.status.success());
    let text = text(&output);
    for key in ["listen", "no-such-key", "memory", "processes", "wall-time", "nonsense"] {
        assert!(text.contains(key), "{key} is missing: {text}");
    }
    let good = config("[server]\nlisten = \"127.0.0.1:4000\"\n[limits]\nmemory = \"128MiB\"\n");
    let output = crankcase(&["check-config", &good.path().to_string_lossy()]);
    assert!(output.status.success(), "{}", self::text(&output));
}

#[test]
fn serve_refuses_a_bad_config_before_it_listens() {
    let file = config("[server]\nlisten = \"127.0.0.1:0\"\n[limits]\nmemory = \"lots\"\n");
    let output = crankcase(&["serve", "--config", &file.path().to_string_lossy()]);
    assert!(!output.status.success());
    let text = text(&output);
    assert!(text.contains("limits.memory") && !text.contains("listening on"), "{text}");
}

#[test]
fn run_prints_what_the_program_prints_and_gives_its_exit_code() {
    let file = tempfile::Builder::new().suffix(".py").tempfile().expect("a file");
    std::fs::write(file.path(), "import sys\nprint('out')\nprint('err', file=sys.stderr)\nsys.exit(7)")
        .expect("written");
    let output = crankcase(&["run", "python", &file.path().to_string_lossy()]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "out\n", "{}", text(&output));
    assert!(String::from_utf8_lossy(&output.stderr).contains("err\n"));
    assert_eq!(output.status.code(), Some(7));
}

#[test]
fn doctor_lists_requirements_and_finds_this_host_fit() {
    let output = crankcase(&["doctor"]);
    let text = text(&output).to_lowercase();
    for item in ["cgroup", "namespace", "seccomp", "landlock", "kernel"] {
        assert!(text.contains(item), "{item}: {text}");
    }
    assert!(output.status.success(), "the tests run here: {text}");
}

#[test]
fn runtimes_are_listed_and_every_installed_ones_hello_passes() {
    let output = crankcase(&["runtimes", "list"]);
    let listed = text(&output);
    assert!(output.status.success(), "{listed}");
    for language in ["python", "javascript", "java", "cpp", "swift", "bash"] {
        assert!(listed.contains(language), "{listed}");
    }
    let output = crankcase(&["runtimes", "test"]);
    assert!(output.status.success(), "{}", text(&output));
}
