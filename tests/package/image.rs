//! An image in the host's place: programs see its files and nothing of the host's.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crankcase_tests::{Daemon, Options};

/// The smallest image there is: bash, a few tools, and the libraries that they load.
fn image() -> tempfile::TempDir {
    let image = tempfile::Builder::new().prefix("crankcase-image-").tempdir().expect("a directory");
    fs::set_permissions(image.path(), fs::Permissions::from_mode(0o755)).expect("opening it up");
    for name in ["usr/bin", "usr/lib", "usr/lib64", "proc", "dev", "tmp", "etc", "secret"] {
        fs::create_dir_all(image.path().join(name)).expect("a directory");
    }
    for name in ["bin", "lib", "lib64"] {
        symlink(format!("usr/{name}"), image.path().join(name)).expect("a link");
    }
    let mut files = BTreeSet::new();
    for tool in ["/usr/bin/bash", "/usr/bin/ls", "/usr/bin/cat"] {
        files.insert(PathBuf::from(tool));
        let output = Command::new("ldd").arg(tool).output().expect("ldd");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        files.extend(text.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from));
    }
    for file in files {
        let inside = image.path().join(file.strip_prefix("/").expect("absolute"));
        fs::create_dir_all(inside.parent().expect("a parent")).expect("a directory");
        fs::copy(&file, inside).expect("copying");
    }
    symlink("bash", image.path().join("usr/bin/sh")).expect("a link");
    fs::write(image.path().join("secret/of-the-image"), "no").expect("a file");
    // A link that would lead to the host, if it were followed there.
    symlink("/etc/machine-id", image.path().join("usr/bin/leak")).expect("a link");
    image
}

#[test]
fn programs_see_the_image_and_nothing_of_the_host() {
    let image = image();
    let daemon = Daemon::start(Options::new().text("sandbox", "root", image.path().to_str().expect("UTF-8")));
    let languages = daemon.get("/api/v2/runtimes");
    assert!(languages.text.contains("bash") && !languages.text.contains("python"), "{}", languages.text);
    let tools = daemon.run("bash", "ls /usr/bin; echo; ls /");
    let text = tools.stdout();
    let (tools, top) = text.split_once("\n\n").expect("two lists");
    assert_eq!(tools.lines().collect::<Vec<_>>(), ["bash", "cat", "leak", "ls", "sh"], "{text}");
    assert!(!top.contains("secret") && !top.contains("home") && top.contains("box"), "{text}");
    let outside = daemon.run("bash", "cat /usr/bin/leak /usr/lib/os-release /etc/debian_version; echo end");
    assert_eq!(outside.stdout(), "end\n", "{}", outside.text);
    // The host has it, the image does not.
    assert!(Path::new("/usr/bin/python3").exists());
    let python = daemon.run("python", "print(1)");
    assert_ne!(python.body["success"], true, "{}", python.text);
    let written = daemon.run("bash", "echo x >/usr/bin/x; echo $?");
    assert_eq!(written.stdout(), "1\n", "{}", written.text);
    assert!(!image.path().join("usr/bin/x").exists());
}

#[test]
fn an_image_that_others_could_change_is_refused() {
    let image = image();
    fs::set_permissions(image.path(), fs::Permissions::from_mode(0o777)).expect("opening it up");
    let config = tempfile::NamedTempFile::new().expect("a file");
    let text = Options::new().text("sandbox", "root", image.path().to_str().expect("UTF-8")).toml();
    fs::write(config.path(), text).expect("a configuration");
    let output = Command::new(crankcase_tests::daemon::binary("crankcase"))
        .args(["runtimes", "test", "bash", "--config"])
        .arg(config.path())
        .env_remove("CRANKCASE_CONFIG")
        .output()
        .expect("it starts");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("root alone may write"), "{text}");
}
