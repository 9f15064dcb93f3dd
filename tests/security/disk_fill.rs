//! Gains: the host's disk, or more memory by way of a tmpfs than the memory limit allows.

use crate::attempt::{expect_unharmed, shared};

#[test]
fn a_full_work_directory_is_named_and_what_was_printed_is_kept() {
    let answer = shared().run(
        "python",
        "
print('before', flush=True)
with open('/box/big', 'wb') as file:
    while True:
        file.write(b'x' * (1 << 20))
        file.flush()
",
    );
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.str("/limit"), "disk", "{}", answer.text);
    assert_eq!(answer.stdout(), "before\n");
    expect_unharmed();
}

#[test]
fn tmp_and_shm_are_bounded_too() {
    for directory in ["/tmp", "/dev/shm"] {
        let code = format!(
            "
import os
total = 0
try:
    with open('{directory}/big', 'wb', buffering=0) as file:
        while total < 4 << 30:
            total += file.write(b'x' * (1 << 20))
except OSError as error:
    print(error.errno)
os.unlink('{directory}/big')
print(total < 4 << 30)
"
        );
        let answer = shared().run("python", &code);
        let bounded = answer.stdout().ends_with("True\n") || ["disk", "memory"].contains(&answer.str("/limit"));
        assert!(answer.status == 200 && bounded, "{directory}: {}", answer.text);
    }
    expect_unharmed();
}
