//! Gains: a file of the attacker's making anywhere the spawner can write, by the name of a submitted file.

use std::path::Path;

use crate::attempt::{shared, unique};

#[test]
fn names_that_leave_the_work_directory_are_refused() {
    let mark = unique("crankcase-test-");
    for name in [
        format!("../{mark}"),
        format!("../../../../tmp/{mark}"),
        format!("/tmp/{mark}"),
        format!("/etc/{mark}"),
        format!("a/../../{mark}"),
        format!("./{mark}/../../x"),
        format!("a//{mark}"),
        format!("{mark}\0.py"),
        ".".to_owned(),
        "..".to_owned(),
        String::new(),
        "x".repeat(600),
    ] {
        let answer = shared().program("python", "print('ran')").file(&name, "evil").run();
        assert_eq!(answer.status, 400, "{name:?} was taken: {}", answer.text);
        assert_eq!(answer.body["success"], false);
        assert!(answer.str("/error").contains("files"), "names the field: {}", answer.text);
    }
    for directory in ["/tmp", "/etc", "/", "/box", "/usr"] {
        assert!(!Path::new(directory).join(&mark).exists(), "{directory}");
    }
}

#[test]
fn odd_but_harmless_names_stay_inside() {
    let answer = shared()
        .program("python", "import os\nprint(sorted(os.listdir('/box')), open('/box/sub/dir/x').read())")
        .file("..x", "1")
        .file("-rf", "2")
        .file("sub/dir/x", "deep")
        .run();
    let stdout = answer.expect_stdout();
    for name in ["'..x'", "'-rf'", "'sub'", "deep"] {
        assert!(stdout.contains(name), "{stdout}");
    }
}
