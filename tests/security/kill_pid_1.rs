//! Gains: a sandbox without its guard, or a guard that lies about how the program ended.

use crate::attempt::{c, expect_unharmed};

#[test]
fn init_survives_every_signal() {
    let stdout = c(r#"
int main(void) {
    for (int s = 1; s <= 64; s++) kill(1, s);
    printf("%s\n", kill(1, 0) == 0 || errno == EPERM ? "init lives" : "INIT DIED");
    return 7;
}"#);
    let answer = stdout.expect_success();
    assert_eq!((answer.stdout(), answer.number("/exitCode")), ("init lives\n", 7));
    expect_unharmed();
}
