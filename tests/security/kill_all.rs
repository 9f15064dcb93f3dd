//! Gains: the end of everybody else's programs, and of the host's services.

use crate::attempt::{Background, PYTHON_READY, c, expect_unharmed, two_at_once};

#[test]
fn kill_minus_one_ends_nobody_else() {
    let _turn = two_at_once();
    let neighbour = Background::start("python", PYTHON_READY);
    let stdout = c(r#"
int main(void) {
    signal(SIGTERM, SIG_IGN);
    kill(-1, SIGTERM);
    kill(-1, SIGSTOP);
    for (int p = 2; p < 100000; p++) if (p != getpid()) kill(p, SIGKILL);
    kill(-1, SIGKILL);
    puts("sent");
    return 0;
}"#);
    // Whether it may kill itself on the way is its own affair.
    assert_eq!(stdout.status, 200, "{}", stdout.text);
    assert!(neighbour.is_alive(), "a neighbour was ended");
    drop(neighbour);
    expect_unharmed();
}
