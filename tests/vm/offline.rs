//! A classroom without the internet: one file made on a connected machine, imported where there is no network device.

use std::path::PathBuf;
use std::time::Duration;

use crankcase_tests::vm::Guest;

use crate::installed::{Installed, share};

/// Unpacking and checking an image of several hundred MiB under emulation.
const IMPORT: Duration = Duration::from_secs(1800);

/// The file that `crankcase runtimes export` made.
fn bundle() -> PathBuf {
    let path = std::env::var_os("CRANKCASE_BUNDLE").expect("CRANKCASE_BUNDLE names an export: run this with make");
    PathBuf::from(path)
}

#[test]
#[ignore = "full form: make test-vm"]
fn an_export_is_imported_without_a_network() {
    let share = share();
    std::fs::copy(bundle(), share.path().join("classroom.bundle")).expect("copying the export");
    let mut host = Installed::on(Guest::resume(Some(share.path())));
    // What the host has and the image must not show.
    host.guest.ok("echo of-the-host >/usr/local/share/of-the-host");
    let seen = "import os\nprint(os.path.exists('/usr/local/share/of-the-host'))";
    assert_eq!(host.stdout("python", seen), "True\n", "without an image the host's /usr is the root");

    // A file that was damaged on its way, or that is another one, is refused and changes nothing.
    host.guest.ok("cp /share/classroom.bundle /var/tmp/damaged
         printf X | dd of=/var/tmp/damaged bs=1 seek=$(($(stat -c %s /var/tmp/damaged) / 2)) conv=notrunc status=none");
    let digest = std::fs::read_to_string(bundle().with_extension("digest")).expect("the digest that export printed");
    let import = format!("crankcase runtimes import --config /etc/crankcase/crankcase.toml --digest {}", digest.trim());
    let refused = host.guest.run_within(IMPORT, &format!("{import} /var/tmp/damaged"));
    assert!(refused.status != 0 && !refused.stderr.is_empty(), "a damaged file is refused: {refused:?}");
    let other = import.replace(digest.trim(), &"0".repeat(digest.trim().len()));
    let refused = host.guest.run_within(IMPORT, &format!("{other} /share/classroom.bundle"));
    assert!(refused.status != 0 && !refused.stderr.is_empty(), "another file is refused: {refused:?}");
    host.guest.ok("rm /var/tmp/damaged");
    assert_eq!(host.stdout("python", seen), "True\n");

    host.guest.ok_within(IMPORT, &format!("{import} /share/classroom.bundle"));
    host.expect_up();
    assert_eq!(host.stdout("python", seen), "False\n", "with an image nothing of the host is to be seen");
    assert_eq!(host.stdout("c", "#include <stdio.h>\nint main(void) { puts(\"offline\"); }"), "offline\n");
    // The host's own upgrades change nothing: here they take the interpreter away.
    host.guest.ok("mv /usr/bin/python3.11 /usr/bin/python3.11.gone");
    host.restart();
    host.expect_up();
    assert_eq!(host.stdout("python", "print('still here')"), "still here\n");
}
