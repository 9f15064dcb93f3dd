//! Gains: a user without a password, a library that everybody loads (`ld.so.preload`), a name server.

use crate::attempt::python;

#[test]
fn etc_cannot_be_written() {
    let stdout = python(
        "
import os
for name in ('passwd', 'group', 'hosts', 'hostname', 'nsswitch.conf', 'ld.so.preload', 'resolv.conf', 'crankcase-test'):
    for attempt in (lambda p: os.open(p, os.O_WRONLY | os.O_CREAT), os.unlink, lambda p: os.rename(p, '/etc/x'), lambda p: os.symlink('/tmp/x', p + 'x')):
        try:
            attempt('/etc/' + name)
            print('WROTE', name)
        except OSError:
            pass
print('done')
",
    )
    .expect_stdout();
    assert_eq!(stdout, "done\n");
    assert!(!std::path::Path::new("/etc/crankcase-test").exists());
}
