//! Crankcase: a self-hosted daemon that runs untrusted code fast and safely.
//!
//! Arrows point one way: `api → rooms → jobs → warm → spawner_client → crankcase_sandbox`; `history` is called by
//! `jobs` and `api`; `crankcase_runtimes` by `jobs` and `warm`. Of `jobs`, `warm` knows the admission alone. Nothing
//! below `api` knows HTTP.
#![forbid(unsafe_code)]

pub mod api;
pub mod clock;
pub mod config;
pub mod history;
pub mod ids;
pub mod image;
pub mod jobs;
pub mod metrics;
pub mod privilege;
pub mod redis_link;
pub mod rooms;
pub mod service;
pub mod spawner_client;
pub mod warm;
