//! What the HTTP layer needs of the configuration.

use std::num::NonZeroU32;
use std::time::Duration;

use ipnet::IpNet;

use crate::config::{Config, RateLimit, Reloadable, Secret};

/// Bytes of a body that brings many inputs or files at once, when the ordinary bound is below.
const LARGE_BODY_BYTES: usize = 1024 * 1024;

/// Configuration of the HTTP layer.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The port the daemon listens on, as `GET /test` tells it.
    pub port: u16,
    /// Origins that browsers may call from; `*` means any.
    pub allowed_origins: Vec<String>,
    /// Proves an administrator; none closes the administrator's routes.
    pub admin_token: Option<Secret>,
    /// Bytes of a JSON body.
    pub body_bytes: usize,
    /// Bytes of a JSON body where many inputs or files come at once: batch and Piston's execute.
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
    /// Whether Piston's interface is served.
    pub piston: bool,
}

impl Settings {
    /// From the configuration, with the port that was really bound.
    #[must_use]
    pub fn new(config: &Config, port: u16) -> Self {
        let server = &config.server;
        Self {
            port,
            allowed_origins: server.allowed_origins.clone(),
            admin_token: server.admin_token.clone(),
            body_bytes: server.body_limit,
            large_body_bytes: server.body_limit.max(LARGE_BODY_BYTES),
            body_timeout: server.body_timeout,
            trusted_proxies: server.trusted_proxies.clone(),
            piston: server.piston_api,
            ..Self::default()
        }
        .reloaded(&config.reloadable)
    }

    /// With what SIGHUP may change.
    #[must_use]
    pub fn reloaded(self, reloadable: &Reloadable) -> Self {
        Self {
            code_chars: reloadable.limits.code_chars,
            stdin_chars: reloadable.limits.stdin_chars,
            rate_limit: reloadable.rate_limit,
            ..self
        }
    }
}

impl Default for Settings {
    /// As the configuration's own defaults.
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
            large_body_bytes: LARGE_BODY_BYTES,
            body_timeout: Duration::from_secs(10),
            code_chars: 10_000,
            stdin_chars: 1_000,
            rate_limit: RateLimit {
                requests_per_second: NonZeroU32::new(100),
                burst: NonZeroU32::new(1000).unwrap_or(NonZeroU32::MAX),
            },
            trusted_proxies: Vec::new(),
            piston: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;

    #[test]
    fn the_defaults_are_the_configurations() {
        let config = Config::parse("", &Environment::default()).unwrap();
        let (own, configured) = (Settings::default(), Settings::new(&config, 4334));
        assert_eq!(format!("{own:?}"), format!("{configured:?}"));
    }

    #[test]
    fn the_token_is_not_shown() {
        let settings = Settings { admin_token: Some(Secret::new("hunter2-hunter2-")), ..Settings::default() };
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
}
