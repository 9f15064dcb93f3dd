//! Gains: kernel memory, by way of millions of empty files.

use crate::attempt::{expect_unharmed, shared};

#[test]
fn empty_files_are_bounded_in_every_writable_place() {
    for directory in ["/box", "/tmp", "/dev/shm"] {
        let code = format!(
            "
import os
n = 0
try:
    while n < 1_000_000:
        os.close(os.open(f'{directory}/{{n}}', os.O_CREAT | os.O_WRONLY))
        n += 1
    print('UNBOUNDED')
except OSError as error:
    print('bounded', n, error.errno)
"
        );
        let answer = shared().run("python", &code);
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert!(!answer.stdout().contains("UNBOUNDED"), "{directory}: {}", answer.text);
        let named = ["disk", "memory"].contains(&answer.str("/limit"));
        assert!(answer.stdout().starts_with("bounded") || named, "{directory}: {}", answer.text);
    }
    expect_unharmed();
}
