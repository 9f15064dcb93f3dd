//! Gains: secrets in the environment or memory of the sandbox's init, descriptors it still holds, a way out by its root.

use crate::attempt::python;

#[test]
fn init_shows_nothing_of_itself() {
    let stdout = python(
        "
import os
for name in ('environ', 'mem', 'maps', 'auxv', 'stack', 'syscall', 'pagemap', 'io'):
    try:
        data = open('/proc/1/' + name, 'rb').read(4096)
        if data:
            print('READ', name, data[:200])
    except OSError:
        pass
for name in ('root', 'cwd', 'exe', 'fd', 'map_files', 'ns/net', 'ns/mnt'):
    try:
        print('FOLLOWED', name, os.listdir('/proc/1/' + name) if name in ('fd', 'root', 'cwd', 'map_files') else os.readlink('/proc/1/' + name))
    except OSError:
        pass
try:
    print('WROTE', os.open('/proc/1/mem', os.O_RDWR))
except OSError:
    pass
print('done')
",
    )
    .expect_stdout();
    assert_eq!(stdout, "done\n");
}
