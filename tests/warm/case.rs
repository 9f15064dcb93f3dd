//! A program that looks for differences, as the files beside this one have them. Whoever runs them includes this file.

use std::collections::BTreeMap;

use serde::Deserialize;

/// One program.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub name: String,
    pub code: String,
    #[serde(default)]
    pub stdin: String,
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// It would see a difference, and is therefore started plainly.
    #[serde(default)]
    pub plain: bool,
}
