//! What is installed: the units' hardening, the Debian package, and an image in the host's place.

mod arm64;
mod deb;
mod image;
mod units;
