//! Tolerant readers of source text, for what a file's name or a command depends on.
//!
//! **Invariant.** They never fail and never take more than linear time: text that is no valid program gets
//! the fallback, and the compiler reports the mistakes.

mod include;
mod java;
mod javascript;
mod pattern;
mod words;

pub(crate) use include::leading_includes;
pub(crate) use java::java_names;
pub(crate) use javascript::is_module;
pub(crate) use pattern::holds;
