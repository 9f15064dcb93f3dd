//! Gains: the 32-bit system calls, whose numbers mean something else to a filter that does not look at the ABI.

use crate::attempt::c;

#[test]
fn calls_by_int_0x80_are_refused() {
    let answer = c(r#"
int main(void) {
    long r;
    __asm__ volatile("int $0x80" : "=a"(r) : "a"(20L /* getpid */) : "memory", "r8", "r9", "r10", "r11");
    printf("%s\n", (int)r > 0 ? "CALLED" : "refused");
    return 0;
}"#);
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(!answer.stdout().contains("CALLED"), "{}", answer.text);
    let killed = ["SIGSYS", "SIGSEGV"].contains(&answer.str("/signal"));
    assert!(killed || answer.stdout() == "refused\n", "{}", answer.text);
}
