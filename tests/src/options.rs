//! The configuration of a daemon under test: sections and keys as in the TOML file.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::slowness;

/// The admin token of every daemon under test.
pub const ADMIN_TOKEN: &str = "the-token-of-the-tests";

/// What a daemon is started with.
#[derive(Debug, Clone)]
pub struct Options {
    sections: BTreeMap<String, BTreeMap<String, String>>,
    /// Variables on top of the inherited environment.
    pub environment: Vec<(String, String)>,
}

impl Default for Options {
    fn default() -> Self {
        Self::as_shipped()
            // Hundreds of requests come from one address, on a machine that may be busy with other things.
            .text("rate-limit", "requests-per-second", "off")
            .clock("admission", "queue-wait", 120.0)
            // Each of hundreds of daemons would look whether it is there.
            .set("runtimes", "precompiled-headers", false)
            // Each of hundreds of daemons would start every language's interpreter; who wants some asks for it.
            .without_pools()
    }
}

impl Options {
    /// The service's own defaults, but for what daemons need to live side by side.
    #[must_use]
    pub fn as_shipped() -> Self {
        let empty = Self { sections: BTreeMap::new(), environment: Vec::new() };
        empty
            .widened_limits()
            .text("server", "listen", "127.0.0.1:0")
            .text("server", "admin-token", ADMIN_TOKEN)
            .text("sandbox", "cgroup-parent", &format!("/{}", crate::unique("crankcase-test-")))
            // They share no ids either.
            .set("sandbox", "uid-base", next_uid_base())
    }

    /// Nothing stands ready: what grows and shrinks with demand would hide what a run leaves behind.
    #[must_use]
    pub fn without_pools(self) -> Self {
        self.text("warm", "size", "off").text("warm", "prepared", "off")
    }

    /// The defaults, on a free port.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// On a slow machine the same programs take longer, and must not run into the clocks before what they test.
    fn widened_limits(self) -> Self {
        let factor = clock_factor();
        let seconds = [("wall-time", 10.0), ("cpu-time", 5.0), ("compile-wall-time", 20.0), ("compile-cpu-time", 15.0)];
        let widen = |options: Self, (key, default): (&str, f64)| options.clock("limits", key, default);
        if factor <= 1.0 {
            return self;
        }
        // Compiled languages' manifests have clocks of their own, which win over the general ones.
        let compile = format!("{}ms", (30_000.0 * factor).round());
        ["limits.c", "limits.cpp", "limits.java"].into_iter().fold(
            seconds.into_iter().fold(self, widen),
            |options, section| {
                options.text(section, "compile-wall-time", &compile).text(section, "compile-cpu-time", &compile)
            },
        )
    }

    /// Sets a key to a TOML value as it stands.
    #[must_use]
    pub fn set(mut self, section: &str, key: &str, toml: impl ToString) -> Self {
        self.sections.entry(section.to_owned()).or_default().insert(key.to_owned(), toml.to_string());
        self
    }

    /// Sets a key to a string.
    #[must_use]
    pub fn text(self, section: &str, key: &str, value: &str) -> Self {
        self.set(section, key, format!("{value:?}"))
    }

    /// Sets a program's clock, in seconds on the machines that time-outs are made for: longer on a slow one.
    #[must_use]
    pub fn clock(self, section: &str, key: &str, seconds: f64) -> Self {
        self.text(section, key, &format!("{}ms", (seconds * clock_factor() * 1000.0).round()))
    }

    /// Adds a variable to the daemon's environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The cgroup below which this daemon's sandboxes live, without the slash.
    #[must_use]
    pub fn cgroup(&self) -> &str {
        let value = self.sections.get("sandbox").and_then(|keys| keys.get("cgroup-parent"));
        value.map_or("", |value| value.trim_matches(['"', '/']))
    }

    /// The file's text.
    #[must_use]
    pub fn toml(&self) -> String {
        let mut text = String::new();
        for (section, keys) in &self.sections {
            let _ = writeln!(text, "[{section}]");
            for (key, value) in keys {
                let _ = writeln!(text, "{key} = {value}");
            }
            text.push('\n');
        }
        text
    }
}

fn next_uid_base() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let slot = (std::process::id() * 16 + NEXT.fetch_add(1, Ordering::Relaxed)) % 400_000;
    1_879_048_192 + slot * 512
}

/// How many times longer programs may run on this machine: enough for what hits a clock on purpose to be over in
/// reasonable time.
fn clock_factor() -> f64 {
    slowness().min(6.0)
}
