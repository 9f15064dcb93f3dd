//! Gains: root, by way of `su`, `mount`, `passwd` and whatever else is set-user-ID on the host.

use crate::attempt::{c, python};

#[test]
fn executing_one_keeps_uid_and_capabilities() {
    let stdout = python(
        r"
import os, stat, subprocess
found = 0
for directory in ('/usr/bin', '/usr/sbin', '/bin', '/usr/lib/openssh', '/usr/lib/dbus-1.0'):
    try:
        names = os.listdir(directory)
    except OSError:
        continue
    for name in names:
        path = os.path.join(directory, name)
        try:
            mode = os.stat(path).st_mode
        except OSError:
            continue
        if stat.S_ISREG(mode) and mode & (stat.S_ISUID | stat.S_ISGID):
            found += 1
            try:
                child = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            except OSError:
                continue
            try:
                status = open(f'/proc/{child.pid}/status').read()
                fields = dict(line.split(':', 1) for line in status.splitlines())
                if len(set(fields['Uid'].split())) != 1 or fields['Uid'].split()[0] != str(os.getuid()):
                    print('UID', path, fields['Uid'])
                if len(set(fields['Gid'].split())) != 1 or int(fields['CapEff'], 16):
                    print('GID or CAPABILITIES', path, fields['Gid'], fields['CapEff'])
            except OSError:
                pass
            child.kill()
            child.wait()
print('done', os.getresuid() == (os.getuid(),) * 3)
",
    )
    .expect_stdout();
    assert_eq!(stdout, "done True\n");
}

#[test]
fn ids_cannot_be_changed() {
    let stdout = c(r#"
#include <grp.h>
int main(void) {
    gid_t g = 0;
    uid_t mine = getuid();
    int r[] = {setuid(mine == 0 ? 1 : 0), setgid(getgid() == 0 ? 1 : 0), setgroups(1, &g), seteuid(mine == 0 ? 1 : 0), setresuid(1, 1, 1)};
    for (int i = 0; i < 5; i++) printf("%d ", r[i]);
    printf("%d\n", getuid() == mine && geteuid() == mine);
    return 0;
}"#)
    .expect_stdout();
    assert_eq!(stdout, "-1 -1 -1 -1 -1 1\n");
}

#[test]
fn a_set_user_id_file_of_ones_own_gains_nothing() {
    let stdout = python(
        "
import os, shutil, subprocess
shutil.copy('/usr/bin/id', '/box/id')
try:
    os.chmod('/box/id', 0o6755)
except OSError:
    pass
print(subprocess.run(['/box/id', '-u'], capture_output=True, text=True).stdout.strip() == str(os.getuid()))
",
    )
    .expect_stdout();
    assert_eq!(stdout, "True\n");
}
