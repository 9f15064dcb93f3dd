//! One program, many inputs: compiled once, run for each.

use crankcase_tests::{shared, unique};
use serde_json::json;
