//! Rooms over Socket.IO with the official JavaScript client, over websocket and over polling.
//!
//! Each file of `tests/clients/rooms` is one test here. They share a daemon; each uses rooms of its own.
#![forbid(unsafe_code)]

mod redis;
mod restart;

use crankcase_tests::{node, shared};

macro_rules! files {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            node::test(concat!("rooms/", stringify!($name), ".test.js"), &[shared()]);
        })*

        /// A file that nobody runs would pass for ever.
        #[test]
        fn every_file_is_run() {
            let listed = [$(stringify!($name),)* "redis"];
            let entries = std::fs::read_dir(node::directory().join("rooms")).expect("the directory").flatten();
            for entry in entries {
                let name = entry.file_name().to_string_lossy().into_owned();
                let name = name.trim_end_matches(".test.js");
                assert!(listed.contains(&name), "{name} is not run");
            }
        }
    };
}

files! { chat dialects editing joining ordering reconnecting recording running scenarios }
