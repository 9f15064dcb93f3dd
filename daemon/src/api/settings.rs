//! What the HTTP layer needs of the configuration.

use std::time::Duration;

use ipnet::IpNet;

use crate::config::{Config, Limits, RateLimit, Reloadable, Secret};

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
    /// What programs may use and be.
    pub limits: Limits,
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
            limits: config.reloadable.limits.clone(),
            rate_limit: config.reloadable.rate_limit,
        }
    }

    /// With what SIGHUP may change.
    #[must_use]
    pub fn reloaded(self, reloadable: &Reloadable) -> Self {
        Self { limits: reloadable.limits.clone(), rate_limit: reloadable.rate_limit, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::settings;
    use super::*;

    #[test]
    fn the_token_is_not_shown() {
        let settings = Settings { admin_token: Some(Secret::new("hunter2-hunter2-")), ..settings("") };
        assert!(!format!("{settings:?}").contains("hunter2"));
    }

    #[test]
    fn large_bodies_are_never_smaller_than_ordinary_ones() {
        assert_eq!(settings("").large_body_bytes, LARGE_BODY_BYTES);
        assert_eq!(settings("[server]\nbody-limit = \"2MiB\"").large_body_bytes, 2 << 20);
    }
}
