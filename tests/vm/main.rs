//! What must be true on a real host: the package in a stock Debian 12 with systemd and pure cgroup v2.
//!
//! `short` is part of `make test`; the rest is the full form, `make test-vm` (`tests/vm/full`), which prints its figures
//! at the end.
#![forbid(unsafe_code)]

mod installed;
mod languages;
mod offline;
mod package;
mod recovery;
mod short;
mod small_host;
mod suites;
