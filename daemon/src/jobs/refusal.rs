//! Why a submission was not run. The HTTP and socket layers turn these into the contract's shapes.

use std::time::Duration;

use thiserror::Error;

use super::admission::AdmissionError;

/// The submission was not run.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// No language of that name.
    #[error("Unsupported language")]
    UnsupportedLanguage {
        /// Every name that would do.
        supported: Vec<String>,
    },
    /// The language is known, its tools are not installed here.
    #[error("Unsupported language: {language} is not installed here; {hint}")]
    NotInstalled {
        /// The language.
        language: String,
        /// How to install it.
        hint: String,
        /// Every name that would do.
        supported: Vec<String>,
    },
    /// A field is out of bounds.
    #[error("{message}")]
    BadField {
        /// The field's name on the wire.
        field: &'static str,
        /// The whole sentence: it names the field and the bound.
        message: String,
    },
    /// The room's lock was not free within the wait.
    #[error("Could not acquire execution lock. Room is busy with another execution.")]
    RoomBusy {
        /// When to try again.
        retry_after: Duration,
    },
    /// No capacity within the wait, or the queue is full.
    #[error("{}", overloaded(*cause))]
    Overloaded {
        /// Which of them.
        cause: AdmissionError,
        /// When to try again.
        retry_after: Duration,
    },
    /// A quota of the user, room or address is used up.
    #[error("{message}")]
    RateLimited {
        /// Which, in one word, for the metrics.
        quota: &'static str,
        /// Names the quota and the bound.
        message: String,
        /// When to try again.
        retry_after: Duration,
    },
    /// Its client went away or somebody cancelled it before it started.
    #[error("The execution was cancelled before it started.")]
    Cancelled,
    /// The daemon is stopping.
    #[error("The service is shutting down.")]
    ShuttingDown,
    /// The history cannot be written, so nothing may run unrecorded.
    #[error("The execution history cannot be written: {0}")]
    HistoryUnavailable(String),
}

/// In words for whoever asked.
fn overloaded(cause: AdmissionError) -> String {
    match cause {
        AdmissionError::WaitOver => "The service is overloaded: no capacity came free in time.".to_owned(),
        AdmissionError::TooLarge { .. } => format!("The service cannot run this: {cause}."),
        AdmissionError::QueueFull | AdmissionError::Closed => {
            "The service is overloaded: too many executions are waiting.".to_owned()
        }
    }
}

impl Refusal {
    /// The label in the metrics: finer than the code, from a fixed list.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::UnsupportedLanguage { .. } => "unsupported_language",
            Self::NotInstalled { .. } => "language_not_installed",
            Self::BadField { .. } => "invalid_request",
            Self::RoomBusy { .. } => "room_busy",
            Self::Overloaded { cause: AdmissionError::QueueFull, .. } => "queue_full",
            Self::Overloaded { cause: AdmissionError::WaitOver, .. } => "queue_wait_over",
            Self::Overloaded { cause: AdmissionError::TooLarge { .. }, .. } => "too_large",
            Self::Overloaded { cause: AdmissionError::Closed, .. } | Self::ShuttingDown => "shutting_down",
            Self::RateLimited { quota, .. } => quota,
            Self::Cancelled => "cancelled",
            Self::HistoryUnavailable(_) => "history_unavailable",
        }
    }

    /// The contract's `code`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnsupportedLanguage { .. } => "UNSUPPORTED_LANGUAGE",
            Self::NotInstalled { .. } => "LANGUAGE_NOT_INSTALLED",
            Self::BadField { .. } => "INVALID_REQUEST",
            Self::RoomBusy { .. } => "ROOM_BUSY",
            Self::Overloaded { .. } => "OVERLOADED",
            Self::RateLimited { .. } => "RATE_LIMIT_EXCEEDED",
            Self::Cancelled => "CANCELLED",
            Self::ShuttingDown => "SHUTTING_DOWN",
            Self::HistoryUnavailable(_) => "HISTORY_UNAVAILABLE",
        }
    }

    /// When to try again, where that helps.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RoomBusy { retry_after }
            | Self::Overloaded { retry_after, .. }
            | Self::RateLimited { retry_after, .. } => Some(*retry_after),
            Self::ShuttingDown | Self::HistoryUnavailable(_) => Some(Duration::from_secs(5)),
            _ => None,
        }
    }
}
