//! The package's life: an edited configuration survives an upgrade, a removal keeps the data, a purge leaves nothing.

use std::fs;
use std::path::Path;
use std::process::Command;

use crankcase_tests::vm::Guest;

use crate::installed::{Installed, package, share};

/// The same package under a later version.
fn next_version(to: &Path) {
    let work = tempfile::tempdir().expect("a directory");
    let tree = work.path().join("tree");
    let ok = |command: &mut Command| assert!(command.status().expect("dpkg-deb starts").success(), "{command:?}");
    ok(Command::new("dpkg-deb").arg("-R").arg(package()).arg(&tree));
    let control = tree.join("DEBIAN/control");
    let text = fs::read_to_string(&control).expect("a control file");
    let edited: Vec<String> = text
        .lines()
        .map(|line| if line.starts_with("Version: ") { format!("{line}+upgraded") } else { line.to_owned() })
        .collect();
    assert_ne!(text.trim_end(), edited.join("\n"), "a control file has a version");
    fs::write(&control, edited.join("\n") + "\n").expect("writing the control file");
    ok(Command::new("dpkg-deb").args(["--root-owner-group", "-Zgzip", "-z1", "-b"]).arg(&tree).arg(to));
}

#[test]
#[ignore = "full form: make test-vm"]
fn upgrade_removal_and_purge() {
    let share = share();
    next_version(&share.path().join("next.deb"));
    let mut guest = Guest::resume(Some(share.path()));
    let everything =
        "find / -xdev \\( -path /proc -o -path /tmp -o -path /share \\) -prune -o -iname '*crankcase*' -print";
    assert_eq!(guest.ok(everything), "", "a stock system knows nothing of us");
    let mut host = Installed::on(guest);
    host.run_in("kept", "python", "print('kept')");

    host.guest.ok("printf '\\n# edited by hand\\n' >>/etc/crankcase/crankcase.toml");
    host.guest.ok("DEBIAN_FRONTEND=noninteractive dpkg -i /share/next.deb");
    host.expect_up();
    assert!(host.guest.ok("dpkg-query -W -f '${Version}' crankcase").ends_with("+upgraded"));
    host.guest.ok("grep -q '# edited by hand' /etc/crankcase/crankcase.toml");
    assert_eq!(host.history("kept").len(), 1, "an upgrade keeps the history");
    assert_eq!(host.stdout("python", "print('upgraded')"), "upgraded\n");

    host.guest.ok("dpkg --remove crankcase");
    host.guest.ok("! pgrep -x 'crankcase.*' && test -e /etc/crankcase/crankcase.toml && test -d /var/lib/crankcase");
    host.guest.ok("DEBIAN_FRONTEND=noninteractive dpkg -i /share/next.deb");
    host.expect_up();
    assert_eq!(host.history("kept").len(), 1, "a removal keeps the history");

    host.guest.ok("dpkg --purge crankcase");
    // What dpkg itself and the journal remember is not ours to remove.
    let left = host.guest.ok(&format!("{everything} | grep -v '^/var/log/\\|^/var/lib/dpkg/' || true"));
    assert_eq!(left, "", "a purge leaves nothing");
    host.guest.ok("! getent passwd crankcase && ! getent group crankcase");
    host.guest.ok("! pgrep -x 'crankcase.*' && ! systemctl list-units --all 'crankcase*' --no-legend | grep .");
    host.guest.ok("! ls -d /sys/fs/cgroup/crankcase* /sys/fs/cgroup/system.slice/crankcase* 2>/dev/null");
}
