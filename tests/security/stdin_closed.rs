//! Gains: a place held for ever by waiting for input that nobody sends.

use crate::attempt::{c, shared};

#[test]
fn stdin_ends_where_the_given_text_ends() {
    let code = "import sys\nprint(repr(sys.stdin.read()))";
    assert_eq!(shared().run("python", code).expect_stdout(), "''\n");
    assert_eq!(shared().program("python", code).stdin("a\nb").run().expect_stdout(), "'a\\nb'\n");
}

#[test]
fn closing_all_descriptors_ends_nothing_but_the_output() {
    let answer = c("int main(void) { for (int i = 0; i < 1024; i++) close(i); return 5; }");
    assert_eq!(answer.expect_success().number("/exitCode"), 5);
}
