//! Gains: the classic escape by a second chroot.

use crate::attempt::expect_refused;

#[test]
fn chroot_is_refused() {
    expect_refused(&["chroot(\"/tmp\")", "chroot(\".\")"]);
}
