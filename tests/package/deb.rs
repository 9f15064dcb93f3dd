//! The package as `dpkg` sees it. That it installs, upgrades and goes again is shown where systemd runs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crankcase_tests::daemon;

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_package_holds_what_an_installed_service_needs() {
    let directory = tempfile::tempdir().expect("a directory");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd/build-deb");
    let programs = daemon::binary("crankcase");
    let programs = programs.parent().expect("a directory");
    let package = run(Command::new(script)
        .args(["--version", "9.8.7", "--compression", "none", "--bin-dir"])
        .arg(programs)
        .arg(directory.path()));
    let package = package.trim();
    assert!(package.ends_with(".deb") && package.contains("crankcase_9.8.7_"), "{package}");

    let field = |name: &str| run(Command::new("dpkg-deb").args(["-f", package, name])).trim().to_owned();
    assert_eq!((field("Package"), field("Version")), ("crankcase".to_owned(), "9.8.7".to_owned()));
    assert!(field("Depends").contains("libc6 (>="), "{}", field("Depends"));
    assert!(field("Suggests").contains("default-jdk-headless"), "{}", field("Suggests"));

    let (root, control) = (directory.path().join("root"), directory.path().join("control"));
    run(Command::new("dpkg-deb").args(["-x", package]).arg(&root));
    run(Command::new("dpkg-deb").args(["-e", package]).arg(&control));
    for file in [
        "usr/bin/crankcase",
        "usr/bin/crankcase-spawner",
        "usr/lib/crankcase/libcrankcase_fork.so",
        "lib/systemd/system/crankcase.service",
        "lib/systemd/system/crankcase-spawner.service",
        "lib/systemd/system/crankcase-spawner.socket",
        "lib/systemd/system/crankcase-precompile.service",
        "lib/systemd/system/crankcase-precompile.path",
        "usr/lib/sysusers.d/crankcase.conf",
        "usr/lib/tmpfiles.d/crankcase.conf",
        "usr/share/crankcase/manifests/python.toml",
        "usr/share/man/man1/crankcase.1.gz",
        "usr/share/man/man1/crankcase-runtimes-import.1.gz",
        "usr/share/man/man8/crankcase-spawner.8.gz",
        "usr/share/bash-completion/completions/crankcase",
        "usr/share/doc/crankcase/copyright",
    ] {
        assert!(root.join(file).exists(), "{file}");
    }
    // What it installs starts: the programs find each other through the links.
    let version = run(Command::new(root.join("usr/bin/crankcase")).arg("--version"));
    assert!(version.starts_with("crankcase "), "{version}");
    let config = root.join("etc/crankcase/crankcase.toml");
    run(Command::new(root.join("usr/bin/crankcase")).arg("check-config").arg(&config));
    let text = fs::read_to_string(config).expect("the configuration");
    for line in ["data-dir = \"/var/lib/crankcase/data\"", "spawner-socket = \"/run/crankcase/spawner.sock\""] {
        assert_eq!(text.lines().filter(|found| *found == line).count(), 1, "{line}");
    }
    assert_eq!(fs::read_to_string(control.join("conffiles")).expect("conffiles"), "/etc/crankcase/crankcase.toml\n");
    run(Command::new("md5sum").args(["-c", "--quiet"]).arg(control.join("md5sums")).current_dir(&root));
    for script in ["postinst", "prerm", "postrm"] {
        let path = control.join(script);
        assert_eq!(fs::metadata(&path).expect(script).permissions().mode() & 0o777, 0o755, "{script}");
        run(Command::new("sh").arg("-n").arg(path));
    }
}
