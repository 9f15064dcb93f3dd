//! What somebody wants run, already checked by whoever received it.

use std::time::Instant;

use crankcase_sandbox::spec::SourceFile;

use crate::ids::{CorrelationId, RoomId, UserId};

/// One request to run a program.
#[derive(Debug, Clone)]
pub struct Submission {
    /// Where; `standalone` is no room.
    pub room: RoomId,
    /// Who.
    pub user: UserId,
    /// The name shown to the others.
    pub username: String,
    /// The language's name or alias as the client wrote it.
    pub language: String,
    /// The main file.
    pub code: String,
    /// All of stdin; the pipe is closed behind it unless `interactive`.
    pub stdin: String,
    /// The program's arguments.
    pub args: Vec<String>,
    /// Further files of the work directory.
    pub files: Vec<SourceFile>,
    /// Larger runs sooner, within what the configuration grants.
    pub priority: i32,
    /// Asks for less (never more) than the configured limits.
    pub overrides: LimitOverrides,
    /// The caller's own name for this request; makes it idempotent.
    pub correlation_id: Option<CorrelationId>,
    /// Keep stdin open for [`super::Jobs::input`].
    pub interactive: bool,
    /// The peer's address, for quotas; none for internal runs.
    pub address: Option<std::net::IpAddr>,
    /// When the request arrived; `executionTime` counts from here.
    pub received: Instant,
}

/// Limits that a request may lower.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LimitOverrides {
    /// Wall time of the run stage.
    pub run_wall_ms: Option<u64>,
    /// CPU time of the run stage.
    pub run_cpu_ms: Option<u64>,
    /// Memory of the run stage.
    pub run_memory_bytes: Option<u64>,
    /// Wall time of the compile stage.
    pub compile_wall_ms: Option<u64>,
    /// CPU time of the compile stage.
    pub compile_cpu_ms: Option<u64>,
    /// Memory of the compile stage.
    pub compile_memory_bytes: Option<u64>,
}
