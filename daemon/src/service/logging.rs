//! One line an event: for eyes on a terminal, as JSON to a file, with its fields to journald.

use std::io::IsTerminal as _;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

use crate::config::{Log, LogFormat};

type Boxed = Box<dyn Layer<Registry> + Send + Sync>;

/// Sets the process's logging up; once.
pub fn init(log: &Log) {
    let filter = EnvFilter::try_new(&log.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::registry().with(layer(log.format).with_filter(filter)).init();
}

fn layer(format: LogFormat) -> Boxed {
    match format {
        LogFormat::Auto if std::env::var_os("JOURNAL_STREAM").is_some() => layer(LogFormat::Journald),
        LogFormat::Auto if std::io::stderr().is_terminal() => layer(LogFormat::Text),
        LogFormat::Auto | LogFormat::Json => fmt::layer().json().with_writer(std::io::stderr).boxed(),
        LogFormat::Text => fmt::layer().with_target(false).with_writer(std::io::stderr).boxed(),
        LogFormat::Journald => match tracing_journald::layer() {
            // An event's own fields: journalctl CRANKCASE_CORRELATION_ID=...
            Ok(journald) => journald.with_field_prefix(Some("CRANKCASE".to_owned())).boxed(),
            Err(_) => layer(LogFormat::Json),
        },
    }
}
