//! The body that tells of a finished execution: the answer of `/compile` and, with a number of the room
//! beside it, the `execution-result` of a socket. One place, so that both say the same.

use std::time::Duration;

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::FormatItem;
use time::macros::format_description;

use super::execution::{Finished, RunResult};

/// The `/compile` response of the contract, field by field.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CompileResponse {
    /// Unique per execution.
    pub execution_id: String,
    /// The caller's, or the execution id when it gave none.
    pub correlation_id: String,
    /// Echoed.
    pub user_id: String,
    /// Echoed.
    pub username: String,
    /// Echoed.
    pub room_id: String,
    /// As the client wrote it.
    pub language: String,
    /// When it was complete: ISO 8601, UTC, with milliseconds.
    pub timestamp: String,
    /// `success`, `output`, `executionTime` and everything else that the run gave.
    #[serde(flatten)]
    pub result: RunResult,
}

impl From<&Finished> for CompileResponse {
    fn from(finished: &Finished) -> Self {
        let head = &finished.head;
        Self {
            execution_id: head.id.to_string(),
            correlation_id: head.correlation_id.to_string(),
            user_id: head.user.to_string(),
            username: head.username.clone(),
            room_id: head.room.to_string(),
            language: head.language.clone(),
            timestamp: iso8601(finished.completed_at),
            result: finished.result.clone(),
        }
    }
}

const ISO_MS: &[FormatItem<'static>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// Unix milliseconds as JavaScript's `toISOString` writes them: UTC with milliseconds. Times outside of
/// the years 0 to 9999, which no clock gives, read as the epoch.
#[must_use]
pub fn iso8601(unix_ms: i64) -> String {
    let milliseconds = Duration::from_millis(unix_ms.unsigned_abs());
    let moment = if unix_ms < 0 {
        OffsetDateTime::UNIX_EPOCH.checked_sub(milliseconds.try_into().unwrap_or(time::Duration::ZERO))
    } else {
        OffsetDateTime::UNIX_EPOCH.checked_add(milliseconds.try_into().unwrap_or(time::Duration::ZERO))
    };
    moment
        .filter(|moment| (0..=9999).contains(&moment.year()))
        .and_then(|moment| moment.format(ISO_MS).ok())
        .unwrap_or_else(|| "1970-01-01T00:00:00.000Z".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ids::{CorrelationId, ExecutionId, RoomId, UserId};
    use crate::jobs::execution::{Head, Status, Truncated};

    #[test]
    fn times_read_as_javascript_writes_them() {
        assert_eq!(iso8601(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(iso8601(1_769_644_800_007), "2026-01-29T00:00:00.007Z");
        assert_eq!(iso8601(-1), "1969-12-31T23:59:59.999Z");
        assert_eq!(iso8601(i64::MAX), "1970-01-01T00:00:00.000Z");
        assert_eq!(iso8601(i64::MIN), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn the_body_has_the_contracts_names() {
        let finished = Finished {
            head: Head {
                id: ExecutionId::generate(5),
                correlation_id: CorrelationId::new("c").unwrap(),
                room: RoomId::new("r").unwrap(),
                user: UserId::new("u").unwrap(),
                username: "U".to_owned(),
                language: "js".to_owned(),
                code: "secret code".to_owned(),
                stdin: "secret stdin".to_owned(),
                args: Vec::new(),
                files: Vec::new(),
                priority: 0,
                queued_at: 0,
            },
            started_at: Some(1),
            completed_at: 2,
            result: RunResult {
                success: true,
                status: Status::Completed,
                output: "o".to_owned(),
                error: None,
                execution_time: 1,
                stdout: "o".to_owned(),
                stderr: String::new(),
                exit_code: Some(0),
                signal: None,
                compile: None,
                truncated: Truncated::default(),
                limit: None,
                cpu_time: 3,
                wall_time: 4,
                memory: 5,
                queue_time: 6,
            },
        };
        let body = serde_json::to_value(CompileResponse::from(&finished)).unwrap();
        assert_eq!(
            body,
            json!({
                "success": true, "executionId": finished.head.id.as_str(), "correlationId": "c", "userId": "u",
                "username": "U", "roomId": "r", "language": "js", "output": "o", "executionTime": 1,
                "timestamp": "1970-01-01T00:00:00.002Z", "status": "completed", "stdout": "o", "stderr": "",
                "exitCode": 0, "signal": null, "compile": null,
                "truncated": {"output": false, "stdout": false, "stderr": false}, "limit": null, "cpuTime": 3,
                "wallTime": 4, "memory": 5, "queueTime": 6
            })
        );
    }
}
