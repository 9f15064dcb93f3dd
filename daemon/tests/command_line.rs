//! The commands as an administrator runs them: what they print, and their exit codes.

use std::path::Path;
use std::process::{Command, Output};

fn crankcase(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_crankcase"));
    for name in ["PORT", "REDIS_URL", "ALLOWED_ORIGINS", "CRANKCASE_CONFIG", "CRANKCASE_DATA_DIR", "RUST_LOG"] {
        command.env_remove(name);
    }
    command.args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn check_config_takes_the_example_file() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd/crankcase.toml");
    let output = crankcase(&["check-config", example.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).ends_with("crankcase.toml: ok\n"));
}

#[test]
fn check_config_prints_every_error_and_fails() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("wrong.toml");
    std::fs::write(&file, "[server]\nlisen = 1\n[limits.python]\nmemory = \"2TiB\"\n").unwrap();
    let output = crankcase(&["check-config", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let errors = text(&output.stderr);
    for expected in [
        "2 errors",
        "wrong.toml",
        "server.lisen: no such key, did you mean server.listen?",
        "limits.python.memory: is \"2TiB\"",
    ] {
        assert!(errors.contains(expected), "{expected} in {errors}");
    }
    assert_eq!(output.stdout, b"");
}

#[test]
fn check_config_knows_the_languages() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("wrong.toml");
    std::fs::write(&file, "[limits.pyton]\nmemory = \"1GiB\"\n").unwrap();
    let output = crankcase(&["check-config", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("did you mean python?"));
}

#[test]
fn doctor_says_in_its_exit_code_whether_anything_failed() {
    let output = crankcase(&["doctor", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = json["checks"].as_array().unwrap();
    let failed = checks.iter().any(|check| check["status"] == "FAIL");
    assert_eq!(json["ok"], !failed);
    assert_eq!(output.status.code(), Some(i32::from(failed)));
    for check in checks {
        assert_eq!(check["status"] == "OK", check["fix"].is_null(), "{check}");
    }
    for name in ["kernel", "seccomp", "namespaces", "swap accounting", "language python"] {
        assert!(checks.iter().any(|check| check["name"] == name), "{name}");
    }
}

#[test]
fn serve_refuses_where_a_requirement_is_not_met() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.toml");
    let socket = dir.path().join("missing.sock");
    std::fs::write(&file, format!("sandbox.spawner-socket = {:?}\n", socket.to_str().unwrap())).unwrap();
    let output = crankcase(&["serve", "--config", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let errors = text(&output.stderr);
    assert!(errors.contains("not met") && errors.contains("missing.sock"), "{errors}");
}

#[test]
fn wrong_usage_is_exit_code_2() {
    assert_eq!(crankcase(&["serve", "--port", "5"]).status.code(), Some(2));
    assert_eq!(crankcase(&["no-such-command"]).status.code(), Some(2));
}
