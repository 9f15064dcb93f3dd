//! Gains: a second numbering of the system calls that a careless filter does not know.

use crate::attempt::c;

#[test]
fn calls_of_the_x32_abi_are_refused() {
    let answer = c(r#"
int main(void) {
    errno = 0;
    long r = syscall(0x40000000 + 39 /* getpid */);
    printf("%s\n", r > 0 ? "CALLED" : "refused");
    r = syscall(0x40000000 + 272 /* unshare */, CLONE_NEWUSER);
    printf("%s\n", r == 0 ? "CALLED" : "refused");
    return 0;
}"#);
    assert!(!answer.stdout().contains("CALLED"), "{}", answer.text);
    let refused = answer.stdout() == "refused\nrefused\n";
    assert!(refused || answer.str("/signal") == "SIGSYS", "{}", answer.text);
}
