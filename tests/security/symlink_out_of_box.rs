//! Gains: the spawner's hand: whoever follows a program's symlink with privilege reads or writes a host file.

use crate::attempt::{c, expect_unharmed, python};

#[test]
fn links_in_the_work_directory_lead_nowhere() {
    let stdout = python(
        "
import os
secrets = ('/etc/shadow', '/proc/1/root/etc/shadow', '/proc/self/root/etc/shadow', '/proc/self/cwd/../etc/shadow', '../../../../etc/shadow')
for number, target in enumerate(secrets):
    link = f'/box/link{number}'
    os.symlink(target, link)
    try:
        print('READ', target, open(link).read()[:100])
    except OSError:
        pass
    try:
        os.open(link, os.O_WRONLY | os.O_CREAT)
        print('WROTE', target)
    except OSError:
        pass
print('done')
",
    )
    .expect_stdout();
    assert_eq!(stdout, "done\n");
    expect_unharmed();
}

#[test]
fn a_program_that_replaces_its_own_directory_harms_nobody() {
    let answer = python(
        "
import os, shutil
for name in os.listdir('/box'):
    os.unlink('/box/' + name)
for name in ('main.py', 'main', 'main.c', 'stdin', 'stdout'):
    os.symlink('/etc/passwd', '/box/' + name)
print('replaced')
",
    );
    assert_eq!(answer.expect_stdout(), "replaced\n");
    // The same for a compiled program, whose artefact may be fetched from the directory afterwards.
    let answer = c(r#"int main(void) { unlink("/proc/self/exe"); unlink("main"); unlink("a.out"); puts("replaced");
        return symlink("/etc/shadow", "main") && symlink("/etc/shadow", "a.out"); }"#);
    assert!(answer.expect_success().stdout().contains("replaced"));
    expect_unharmed();
}
