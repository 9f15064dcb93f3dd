//! The sections of a checked configuration that hold until the daemon ends.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crankcase_sandbox::spec::CpuQuota;
use ipnet::IpNet;

use super::convert::FromChecked;
use super::kind::Checked;
use super::reader::Reader;
use super::secret::Secret;
use crate::jobs::artefacts::Scope;
use crate::jobs::lock::RoomLocks;

/// `[server]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The account to become when started as root; none: `crankcase`, else `nobody`.
    pub user: Option<String>,
    /// The origins that CORS lets in.
    pub allowed_origins: Vec<String>,
    /// Peers whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The bearer token of the administrator's routes; none: they are closed.
    pub admin_token: Option<Secret>,
    /// Bytes of a request's body.
    pub body_limit: usize,
    /// For a request's head.
    pub header_timeout: Duration,
    /// For a kept connection without a request.
    pub idle_timeout: Duration,
    /// For a request's body.
    pub body_timeout: Duration,
    /// How long a client may leave unread what is sent to it.
    pub write_timeout: Duration,
    /// Connections open at once.
    pub max_connections: usize,
    /// Whether `/api/v2` is served.
    pub piston_api: bool,
    /// For running executions after SIGTERM.
    pub shutdown_deadline: Duration,
}

/// `[admission]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// CPU that all executions share; none: all cores.
    pub cores: Option<CpuQuota>,
    /// Memory that all executions share.
    pub memory: MemoryBudget,
    /// CPU that one execution reserves.
    pub cpu_per_run: CpuQuota,
    /// How many times its size the CPU budget may grow to while cores stand idle.
    pub cpu_overcommit: u32,
    /// Percent of memory pressure from which on nothing is admitted; none: never held back.
    pub pressure: Option<Percent>,
    /// Executions that may wait.
    pub queue_length: usize,
    /// How long they may.
    pub queue_wait: Duration,
    /// How many smaller executions may pass a large one.
    pub overtakes: u32,
    /// Rooms that go first: names, or beginnings of names with a `*` behind.
    pub contest_rooms: Vec<String>,
    /// Rooms, likewise, that go last.
    pub batch_rooms: Vec<String>,
}

/// 1 to 95 hundredths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Percent(pub u64);

/// The memory of all executions together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryBudget {
    /// Percent of what there is.
    Percent(u64),
    /// Bytes.
    Bytes(u64),
}

/// `[rooms]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rooms {
    /// How long an execution waits for its room.
    pub lock_wait: Duration,
    /// Messages of a room kept while an earlier one is missing.
    pub message_buffer: usize,
    /// How long they are kept.
    pub message_buffer_wait: Duration,
    /// Characters of a chat message.
    pub chat_chars: usize,
    /// A changed room is saved at most this long after its last change.
    pub save_interval: Duration,
    /// After this a room without members leaves memory.
    pub idle_after: Duration,
    /// Between two messages of live output.
    pub live_output_interval: Duration,
    /// Bytes of a message from a client.
    pub message_size: usize,
    /// Events a second of one socket, on average.
    pub events_per_second: u32,
    /// Events of one socket at once after a pause.
    pub events_burst: u32,
    /// Messages that may wait for a slow reader.
    pub send_buffer: usize,
    /// Sockets in one room.
    pub max_members: usize,
    /// Rooms in memory at once.
    pub max_rooms: usize,
}

/// `[history]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// The database.
    pub path: PathBuf,
    /// Age at which executions and room messages are deleted; none: never.
    pub retention: Option<Duration>,
    /// Time since its last change after which a room is deleted; none: never.
    pub room_retention: Option<Duration>,
    /// Bytes above which the oldest are deleted; none: no bound.
    pub max_size: Option<u64>,
    /// Whether a committed record survives a power cut, not only the end of any process.
    pub survives_power_loss: bool,
}

/// `[redis]`, where it has a `url`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redis {
    /// The server.
    pub url: Secret,
}

/// `[runtimes]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runtimes {
    /// Directories with further manifests.
    pub directories: Vec<PathBuf>,
    /// The languages to offer; none: all.
    pub enabled: Option<Vec<String>>,
    /// Bytes of what compilers made that are kept; none: nothing is.
    pub artefact_cache: Option<u64>,
    /// Who shares it.
    pub artefact_scope: Scope,
    /// Whether headers are compiled ahead of need.
    pub precompiled_headers: bool,
}

/// `[sandbox]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sandbox {
    /// The socket of a spawner that runs as its own service; none: the daemon starts one.
    pub spawner_socket: Option<PathBuf>,
    /// The directory that stands in the host's place in sandboxes; none: the host itself.
    pub root: Option<PathBuf>,
    /// The cgroup below which sandboxes get theirs, from its hierarchy's root; none: the spawner's own.
    pub cgroup_parent: Option<PathBuf>,
    /// The first host uid and gid of sandboxes.
    pub uid_base: u32,
    /// Sandboxes alive at once.
    pub max_sandboxes: u32,
    /// Bytes that all sandboxes together leave to the host.
    pub memory_reserve: u64,
    /// CPU weight of all sandboxes together; any other cgroup has 100.
    pub cpu_weight: u64,
    /// Further paths of the host that programs may read.
    pub read_only_paths: Vec<PathBuf>,
    /// What programs see as the host's name.
    pub hostname: String,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// A level, or directives of `tracing_subscriber::EnvFilter`.
    pub filter: String,
    /// How events are written.
    pub format: LogFormat,
}

/// How events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// journald under systemd, text on a terminal, else JSON.
    Auto,
    /// For eyes.
    Text,
    /// One object a line.
    Json,
    /// To journald, with its fields.
    Journald,
}

impl Server {
    pub(super) fn read(reader: &mut Reader) -> Self {
        Self {
            listen: reader.get("server.listen"),
            user: reader.get("server.user"),
            allowed_origins: reader.get("server.allowed-origins"),
            trusted_proxies: reader.get("server.trusted-proxies"),
            admin_token: admin_token(reader),
            body_limit: reader.get("server.body-limit"),
            header_timeout: reader.get("server.header-timeout"),
            idle_timeout: reader.get("server.idle-timeout"),
            body_timeout: reader.get("server.body-timeout"),
            write_timeout: reader.get("server.write-timeout"),
            max_connections: reader.get("server.max-connections"),
            piston_api: reader.get("server.piston-api"),
            shutdown_deadline: reader.get("server.shutdown-deadline"),
        }
    }
}

fn admin_token(reader: &mut Reader) -> Option<Secret> {
    const FILE: &str = "server.admin-token-file";
    let token: Option<Secret> = reader.get("server.admin-token");
    let file: Option<PathBuf> = reader.get(FILE);
    match (token, file) {
        (Some(_), Some(_)) => {
            reader.error(FILE, "cannot be set together with server.admin-token");
            None
        }
        (token, None) => token,
        (None, Some(file)) => match std::fs::read_to_string(&file) {
            Ok(text) if (16..=4096).contains(&text.trim().chars().count()) => Some(Secret::new(text.trim())),
            Ok(_) => {
                reader.error(FILE, format!("{} must hold 16 to 4096 characters", file.display()));
                None
            }
            Err(error) => {
                reader.error(FILE, format!("{} cannot be read: {error}", file.display()));
                None
            }
        },
    }
}

impl Admission {
    pub(super) fn read(reader: &mut Reader) -> Self {
        Self {
            cores: reader.get("admission.cores"),
            memory: reader.get("admission.memory"),
            cpu_per_run: reader.get("admission.cpu-per-run"),
            cpu_overcommit: reader.get("admission.cpu-overcommit"),
            pressure: reader.get("admission.pressure"),
            queue_length: reader.get("admission.queue-length"),
            queue_wait: reader.get("admission.queue-wait"),
            overtakes: reader.get("admission.overtakes"),
            contest_rooms: reader.get("admission.contest-rooms"),
            batch_rooms: reader.get("admission.batch-rooms"),
        }
    }
}

impl FromChecked for Percent {
    fn from_checked(checked: Checked) -> Option<Self> {
        match checked {
            Checked::Percent(percent) => Some(Self(percent)),
            _ => None,
        }
    }
}

impl FromChecked for MemoryBudget {
    fn from_checked(checked: Checked) -> Option<Self> {
        match checked {
            Checked::Percent(percent) => Some(Self::Percent(percent)),
            Checked::Bytes(bytes) => Some(Self::Bytes(bytes)),
            _ => None,
        }
    }
}

impl MemoryBudget {
    /// Bytes for all sandboxes together, where the machine (or the daemon's own cgroup) has `total` and `reserve`
    /// stays with the host. On a machine smaller than the reserve, half of it.
    #[must_use]
    pub fn resolve(self, total: u64, reserve: u64) -> u64 {
        let asked = match self {
            Self::Percent(percent) => total / 100 * percent,
            Self::Bytes(bytes) => bytes,
        };
        let most = total.checked_sub(reserve).filter(|rest| *rest > 0).unwrap_or(total / 2);
        asked.min(most)
    }
}

impl Rooms {
    pub(super) fn read(reader: &mut Reader) -> Self {
        Self {
            lock_wait: reader.get("rooms.lock-wait"),
            message_buffer: reader.get("rooms.message-buffer"),
            message_buffer_wait: reader.get("rooms.message-buffer-wait"),
            chat_chars: reader.get("rooms.chat-chars"),
            save_interval: reader.get("rooms.save-interval"),
            idle_after: reader.get("rooms.idle-after"),
            live_output_interval: reader.get("rooms.live-output-interval"),
            message_size: reader.get("rooms.message-size"),
            events_per_second: reader.get("rooms.events-per-second"),
            events_burst: reader.get("rooms.events-burst"),
            send_buffer: reader.get("rooms.send-buffer"),
            max_members: reader.get("rooms.max-members"),
            max_rooms: reader.get("rooms.max-rooms"),
        }
    }
}

impl History {
    pub(super) fn read(reader: &mut Reader, data_dir: &std::path::Path) -> Self {
        Self {
            path: reader.get::<Option<PathBuf>>("history.path").unwrap_or_else(|| data_dir.join("crankcase.db")),
            retention: reader.get("history.retention"),
            room_retention: reader.get("history.room-retention"),
            max_size: reader.get("history.max-size"),
            survives_power_loss: reader.get::<String>("history.durability") == "power-loss",
        }
    }
}

impl Redis {
    pub(super) fn read(reader: &mut Reader) -> Option<Self> {
        let url: Secret = reader.get::<Option<Secret>>("redis.url")?;
        if let Err(error) = RoomLocks::check_url(url.expose()) {
            reader.error("redis.url", error.to_string());
        }
        Some(Self { url })
    }
}

impl Runtimes {
    pub(super) fn read(reader: &mut Reader) -> Self {
        Self {
            directories: reader.get("runtimes.directories"),
            enabled: reader.get("runtimes.enabled"),
            artefact_cache: reader.get("runtimes.artefact-cache"),
            artefact_scope: reader.get("runtimes.artefact-scope"),
            precompiled_headers: reader.get("runtimes.precompiled-headers"),
        }
    }

    /// Whether a language, by its name, is among those to offer.
    #[must_use]
    pub fn offers(&self, language: &str) -> bool {
        self.enabled.as_ref().is_none_or(|names| names.iter().any(|name| name == language))
    }
}

impl FromChecked for Scope {
    fn from_checked(checked: Checked) -> Option<Self> {
        match String::from_checked(checked)?.as_str() {
            "global" => Some(Self::Global),
            "room" => Some(Self::Room),
            "user" => Some(Self::User),
            _ => None,
        }
    }
}

impl Sandbox {
    pub(super) fn read(reader: &mut Reader) -> Self {
        Self {
            spawner_socket: reader.get("sandbox.spawner-socket"),
            root: reader.get("sandbox.root"),
            cgroup_parent: reader.get("sandbox.cgroup-parent"),
            uid_base: reader.get("sandbox.uid-base"),
            max_sandboxes: reader.get("sandbox.max-sandboxes"),
            memory_reserve: reader.get("sandbox.memory-reserve"),
            cpu_weight: reader.get("sandbox.cpu-weight"),
            read_only_paths: reader.get("sandbox.read-only-paths"),
            hostname: reader.get("sandbox.hostname"),
        }
    }
}

impl Log {
    pub(super) fn read(reader: &mut Reader) -> Self {
        Self { filter: filter(reader), format: reader.get("log.format") }
    }
}

fn filter(reader: &mut Reader) -> String {
    let filter: String = reader.get("log.filter");
    if let Err(error) = filter.parse::<tracing_subscriber::EnvFilter>() {
        reader.error("log.filter", format!("is {filter:?}, it must be a level or directives: {error}"));
    }
    filter
}

impl FromChecked for LogFormat {
    fn from_checked(checked: Checked) -> Option<Self> {
        match String::from_checked(checked)?.as_str() {
            "auto" => Some(Self::Auto),
            "text" => Some(Self::Text),
            "json" => Some(Self::Json),
            "journald" => Some(Self::Journald),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn the_memory_budget_leaves_the_reserve() {
        assert_eq!(MemoryBudget::Percent(75).resolve(100 * GIB, GIB), 75 * GIB);
        assert_eq!(MemoryBudget::Percent(95).resolve(GIB, GIB / 2), GIB / 2);
        assert_eq!(MemoryBudget::Bytes(8 * GIB).resolve(4 * GIB, GIB), 3 * GIB);
        assert_eq!(MemoryBudget::Bytes(8 * GIB).resolve(GIB, GIB), GIB / 2);
        assert_eq!(MemoryBudget::Percent(95).resolve(u64::MAX, 0), u64::MAX / 100 * 95);
    }
}
