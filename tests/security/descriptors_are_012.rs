//! Gains: a descriptor of the spawner, of another sandbox's pipe or of a directory outside the root.

use crate::attempt::{Background, c, host};

#[test]
fn a_program_starts_with_three_descriptors() {
    let answer = c(r#"
int main(void) {
    for (int fd = 0; fd < 1 << 16; fd++)
        if (fcntl(fd, F_GETFD) != -1) {
            struct stat s;
            fstat(fd, &s);
            printf("%d %s\n", fd, S_ISFIFO(s.st_mode) ? "pipe" : S_ISCHR(s.st_mode) ? "device" : "OTHER");
        }
    return 0;
}"#);
    let stdout = answer.expect_stdout();
    let numbers: Vec<&str> = stdout.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(numbers, ["0", "1", "2"], "{stdout}");
    assert!(!stdout.contains("OTHER"), "{stdout}");
}

#[test]
fn the_host_sees_three_descriptors_too() {
    let program = Background::start("python", crate::attempt::PYTHON_READY);
    assert_eq!(host::descriptors(program.pid()), 3);
}
