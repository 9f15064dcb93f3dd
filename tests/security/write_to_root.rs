//! Gains: a change that the next program, or the host, would trip over.

use crate::attempt::python;

#[test]
fn nothing_but_box_tmp_and_shm_can_be_written() {
    let stdout = python(
        "
import os
writable, looked = set(), 0
for directory, below, _ in os.walk('/'):
    if directory == '/':
        below[:] = [name for name in below if name != 'proc']
    if directory.count('/') >= 3:
        below[:] = []
    looked += 1
    path = os.path.join(directory, 'crankcase-test')
    try:
        os.mkdir(path)
        os.rmdir(path)
        writable.add(directory)
    except OSError:
        pass
print(looked > 100, sorted(writable))
",
    )
    .expect_stdout();
    assert_eq!(stdout, "True ['/box', '/dev/shm', '/tmp']\n");
}

#[test]
fn the_toolchains_cannot_be_changed_and_the_host_has_the_same_ones() {
    let before = std::fs::metadata("/usr/bin/env").expect("the host has it");
    let stdout = python(
        "
import os
for path in ('/usr/bin/env', '/usr/bin/python3', '/usr/lib/x86_64-linux-gnu/libc.so.6', '/bin/sh', '/usr/lib/os-release'):
    for attempt in (lambda: os.open(path, os.O_WRONLY), lambda: os.unlink(path), lambda: os.rename(path, '/tmp/x'),
                    lambda: os.chmod(path, 0o777), lambda: os.utime(path), lambda: os.truncate(path, 0), lambda: os.link(path, '/box/x')):
        try:
            attempt()
            print('CHANGED', path)
        except OSError:
            pass
print('done')
",
    )
    .expect_stdout();
    assert_eq!(stdout, "done\n");
    let after = std::fs::metadata("/usr/bin/env").expect("the host still has it");
    assert_eq!((before.len(), before.modified().ok()), (after.len(), after.modified().ok()));
}
