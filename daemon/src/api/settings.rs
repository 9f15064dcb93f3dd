//! What the HTTP layer needs of the configuration: checked values, no parsing left.

use std::time::Duration;

use ipnet::IpNet;

/// Configuration of the HTTP layer.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The port the daemon listens on, as `GET /test` tells it.
    pub port: u16,
    /// Origins that browsers may call from; `*` means any.
    pub allowed_origins: Vec<String>,
    /// Proves an administrator; none switches the administrator's routes off.
    pub admin_token: Option<String>,
    /// Bytes of a JSON body.
    pub body_bytes: usize,
    /// Bytes of a JSON body where many inputs or files are sent at once: batch and Piston's execute.
    pub large_body_bytes: usize,
    /// How long a client may take to send a body.
    pub body_timeout: Duration,
    /// Unicode characters of a program.
    pub code_chars: usize,
    /// Unicode characters of stdin.
    pub stdin_chars: usize,
    /// Requests per address.
    pub rate_limit: RateLimit,
    /// Peers whose `X-Forwarded-For` is believed. Empty: the peer's own address counts, always.
    pub trusted_proxies: Vec<IpNet>,
}

/// Requests that one address (one /64 of IPv6) may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests at once after a pause; 0 switches the limit off.
    pub burst: u32,
    /// How long it takes until one of them is given back.
    pub replenish: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            port: 4334,
            allowed_origins: ["http://localhost:3000", "http://localhost:5173"]
                .into_iter()
                .chain(["http://127.0.0.1:3000", "http://127.0.0.1:5173"])
                .map(str::to_owned)
                .collect(),
            admin_token: None,
            body_bytes: 50 * 1024,
            large_body_bytes: 1024 * 1024,
            body_timeout: Duration::from_secs(10),
            code_chars: 10_000,
            stdin_chars: 1_000,
            rate_limit: RateLimit::default(),
            trusted_proxies: Vec::new(),
        }
    }
}

impl Default for RateLimit {
    /// Thirty students behind one address, each with 100 requests at once, are no attack.
    fn default() -> Self {
        Self { burst: 3000, replenish: Duration::from_millis(10) }
    }
}
