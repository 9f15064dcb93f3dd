//! Languages as data: one TOML manifest each, built in or dropped into a directory by an admin.
//!
//! A [`Registry`] holds every manifest, checked as a whole, with the tools that each needs already looked
//! up by absolute path (never by `PATH`). A [`Runtime`] turns a program's text into a [`Plan`]: the files of
//! the work directory and the commands of the compile and run stages.
//!
//! **Invariant.** Nothing here runs a program of a user. What starts a process at all starts a tool of the host's own, and
//! with nothing of a user's: its version command, Java's to make its gate, a compiler's to prepare a header.
//!
//! **Invariant.** A plan names no path outside of what [`Registry::read_only_paths`], `/usr` and its links
//! (`/bin`, `/lib`, ...) hold, and `argv[0]` is absolute or starts with `./`.
#![forbid(unsafe_code)]

mod builtin;
mod cache;
mod check;
mod direct;
mod error;
mod gates;
mod headers;
mod hello;
mod identity;
mod java_agent;
mod limits;
mod manifest;
mod paths;
mod plan;
mod registry;
mod runtime;
mod scan;
mod template;
mod tree;
mod version;
mod warm;

pub use error::{ManifestError, PlanError};
pub use headers::{HEADERS, directory as headers_directory};
pub use hello::Hello;
pub use limits::{ManifestLimits, StageOverrides};
pub use plan::{Kept, Plan, Request};
pub use registry::Registry;
pub use runtime::Runtime;
pub use tree::{IMAGE_FILE, ImageFacts, Tree};
pub use warm::{WarmStage, WarmStart};
