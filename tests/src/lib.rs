//! What the tests that drive the built daemon share.
