//! Gains: the password hashes of the host, the names of its users.

use crate::attempt::python;

#[test]
fn there_is_no_shadow_and_passwd_names_no_user_of_the_host() {
    let stdout = python(
        "
for path in ('/etc/shadow', '/etc/shadow-', '/etc/gshadow', '/etc/sudoers', '/etc/security/opasswd', '/proc/1/root/etc/shadow'):
    try:
        print('OPENED', path, open(path).read())
    except OSError:
        pass
import pwd
print(' '.join(entry.pw_name for entry in pwd.getpwall()))
",
    )
    .expect_stdout();
    let names: Vec<&str> = stdout.trim().split(' ').collect();
    assert!(!stdout.contains("OPENED"), "{stdout}");
    let host = std::fs::read_to_string("/etc/passwd").expect("the host's users");
    let of_the_host = host.lines().count();
    assert!(names.contains(&"nobody") && names.len() <= 4 && names.len() < of_the_host, "{names:?}");
    for service in ["daemon", "sshd", "messagebus", "systemd-network", "_apt", "crankcase", "redis"] {
        assert!(!names.contains(&service), "{names:?}");
    }
}
