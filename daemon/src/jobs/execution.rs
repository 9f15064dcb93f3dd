//! One execution: its identity, its states and its result in the contract's own words.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use crankcase_sandbox::spec::SourceFile;
use serde::{Deserialize, Serialize};

use crate::ids::{CorrelationId, ExecutionId, RoomId, UserId};

/// Where an execution stands. `queued` and `running` before the end, one of the others after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Recorded; waits for the room's lock and for capacity.
    Queued,
    /// Holds lock and capacity.
    Running,
    /// The program ran to its own end, or its compile error was reported.
    Completed,
    /// There is no outcome to report.
    Failed,
    /// Wall or CPU time was up.
    Timeout,
    /// Somebody ended it.
    Cancelled,
}

impl Status {
    /// The name on the wire and in the database.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing follows.
    #[must_use]
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}

/// What is known of an execution from its first moment; never changes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Head {
    /// Unique.
    pub id: ExecutionId,
    /// The caller's, or the execution id when it gave none.
    pub correlation_id: CorrelationId,
    /// Where.
    pub room: RoomId,
    /// Who.
    pub user: UserId,
    /// The name shown to the others.
    pub username: String,
    /// As the client wrote it.
    pub language: String,
    /// The main file.
    pub code: String,
    /// All of stdin.
    pub stdin: String,
    /// The program's arguments.
    pub args: Vec<String>,
    /// Further files.
    pub files: Vec<StoredFile>,
    /// As asked for.
    pub priority: i32,
    /// Unix milliseconds of its recording.
    pub queued_at: i64,
}

/// A further file of a multi-file submission. As JSON its content is text, or base64 where it is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "FileJson", try_from = "FileJson")]
pub struct StoredFile {
    /// Relative to the work directory.
    pub name: String,
    /// Its bytes.
    pub content: Vec<u8>,
}

/// The shape of Piston's files.
#[derive(Serialize, Deserialize)]
struct FileJson {
    name: String,
    content: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    encoding: Option<FileEncoding>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum FileEncoding {
    Base64,
}

impl From<StoredFile> for FileJson {
    fn from(file: StoredFile) -> Self {
        let StoredFile { name, content } = file;
        match String::from_utf8(content) {
            Ok(content) => Self { name, content, encoding: None },
            Err(binary) => {
                Self { name, content: BASE64.encode(binary.as_bytes()), encoding: Some(FileEncoding::Base64) }
            }
        }
    }
}

impl TryFrom<FileJson> for StoredFile {
    type Error = base64::DecodeError;

    fn try_from(file: FileJson) -> Result<Self, Self::Error> {
        let content = match file.encoding {
            None => file.content.into_bytes(),
            Some(FileEncoding::Base64) => BASE64.decode(file.content)?,
        };
        Ok(Self { name: file.name, content })
    }
}

impl From<&SourceFile> for StoredFile {
    fn from(file: &SourceFile) -> Self {
        Self { name: file.name.clone(), content: file.content.clone() }
    }
}

impl From<StoredFile> for SourceFile {
    fn from(file: StoredFile) -> Self {
        Self { name: file.name, content: file.content, executable: false }
    }
}

/// A finished execution.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Finished {
    /// Who, where, what.
    pub head: Head,
    /// Unix milliseconds of its start; none when it never started.
    pub started_at: Option<i64>,
    /// Unix milliseconds of its end.
    pub completed_at: i64,
    /// How it ended.
    pub result: RunResult,
}

/// The result's fields of the `/compile` response, as the contract names them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunResult {
    /// The service did its job.
    pub success: bool,
    /// Completed exactly when `success`.
    pub status: Status,
    /// stdout if not empty, else stderr, else "No output"; a compile error's diagnostics; cut.
    pub output: String,
    /// One clear sentence, only when not `success`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Whole milliseconds from the request's arrival to its result.
    pub execution_time: u64,
    /// The run stage's stdout, up to its limit.
    pub stdout: String,
    /// The run stage's stderr, up to its limit.
    pub stderr: String,
    /// The exit code, when it exited.
    pub exit_code: Option<i32>,
    /// The signal's name (`SIGSEGV`), when one ended it.
    pub signal: Option<String>,
    /// The compile stage, where there was one.
    pub compile: Option<CompileResult>,
    /// What was cut.
    pub truncated: Truncated,
    /// The limit that ended it: `time` `cpu` `memory` `output` `processes` `disk`.
    pub limit: Option<String>,
    /// CPU milliseconds of the run stage.
    pub cpu_time: u64,
    /// Wall milliseconds of the run stage.
    pub wall_time: u64,
    /// Peak bytes of the run stage.
    pub memory: u64,
    /// Milliseconds spent waiting for lock and admission.
    pub queue_time: u64,
}

/// The compile stage's own outcome.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CompileResult {
    /// Its stdout, up to its limit.
    pub stdout: String,
    /// Its stderr, up to its limit.
    pub stderr: String,
    /// Its exit code, when it exited.
    pub exit_code: Option<i32>,
    /// The signal's name, when one ended it.
    pub signal: Option<String>,
    /// The limit that ended it.
    pub limit: Option<String>,
    /// CPU milliseconds.
    pub cpu_time: u64,
    /// Wall milliseconds.
    pub wall_time: u64,
    /// Peak bytes.
    pub memory: u64,
}

/// Which texts were cut at their bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Truncated {
    /// `output`, at the configured number of characters.
    pub output: bool,
    /// `stdout`, at the configured number of bytes.
    pub stdout: bool,
    /// `stderr`, at the configured number of bytes.
    pub stderr: bool,
}
