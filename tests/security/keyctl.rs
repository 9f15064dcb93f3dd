//! Gains: keys of the host's keyrings, which are not in any namespace.

use crate::attempt::expect_refused;

#[test]
fn the_keyrings_are_out_of_reach() {
    expect_refused(&[
        "syscall(SYS_keyctl, 0 /* GET_KEYRING_ID */, -4, 0, 0, 0)",
        "syscall(SYS_keyctl, 1 /* JOIN_SESSION_KEYRING */, 0, 0, 0, 0)",
        "syscall(SYS_add_key, \"user\", \"name\", \"value\", 5, -4)",
        "syscall(SYS_request_key, \"user\", \"name\", 0, 0)",
    ]);
}
