//! Images: a directory with the languages of a Debian release in it, which stands in the host's place in sandboxes, and the
//! one file in which it travels to a machine without a network.
//!
//! ```text
//! bundle.toml        what is in it, with the SHA-256 of the two others
//! crankcase.deb      the package, for the machine that has none yet
//! image.tar.zst      the image
//! ```
//!
//! The file's own SHA-256 is what an administrator carries from one machine to the other by another way.
//!
//! **Invariant.** Nothing of a file is enabled before all of it was read and found as it must be.

mod bundle;
mod digest;
mod install;
mod pack;
mod profile;

pub use bundle::{Bundle, Contents, FORMAT};
pub use digest::{Digest, Digesting};
pub use install::{Installed, Received, enable_in_config, receive};
pub use pack::{pack, unpack};
pub use profile::{PROFILES, Profile};

use std::path::PathBuf;

use thiserror::Error;

/// An image or its file is not as it must be.
#[derive(Debug, Error)]
pub enum ImageError {
    /// A file operation.
    #[error("{action} {path}: {error}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The answer.
        error: std::io::Error,
    },
    /// The file was read, and is none of ours or not whole.
    #[error("{0}")]
    Wrong(String),
}

impl ImageError {
    fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |error| Self::Io { action, path, error }
    }

    fn wrong(message: impl Into<String>) -> Self {
        Self::Wrong(message.into())
    }
}
