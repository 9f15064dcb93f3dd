//! Gains: the admin token and everybody's programs from the history.

use crate::attempt::shared;

#[test]
fn the_daemons_files_are_not_there() {
    let daemon = shared();
    let paths: Vec<String> = [daemon.config(), daemon.data(), crankcase_tests::daemon::binary("crankcase")]
        .iter()
        .flat_map(|path| path.ancestors().map(|above| above.to_string_lossy().into_owned()).collect::<Vec<_>>())
        .filter(|path| !["/", "/tmp", "/usr", "/usr/bin", "/usr/lib"].contains(&path.as_str()))
        .collect();
    assert!(daemon.config().exists() && daemon.data().exists());
    let code = "
import os, sys
for path in sys.argv[1:] + ['/etc/crankcase', '/var/lib/crankcase', '/run/crankcase', '/sys/fs/cgroup']:
    if os.path.lexists(path):
        print('THERE', path)
print('done')
";
    let arguments: Vec<&str> = paths.iter().map(String::as_str).collect();
    assert_eq!(daemon.program("python", code).args(&arguments).run().expect_stdout(), "done\n");
}
