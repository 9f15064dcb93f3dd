//! Gains: the host's private keys, and with them other machines.

use crate::attempt::python;

#[test]
fn no_directory_that_holds_keys_is_there() {
    let stdout = python(
        "
import os
for path in ('/root', '/root/.ssh', '/home', '/etc/ssh', '/etc/ssl/private', '/etc/letsencrypt', '/root/.aws',
             '/var/lib', '/var/run/secrets', '/etc/kubernetes', '/root/.docker', '/root/.cargo'):
    try:
        entries = os.listdir(path)
        if entries:
            print('LISTED', path, entries)
    except OSError:
        pass
print('done')
",
    )
    .expect_stdout();
    assert_eq!(stdout, "done\n");
}
