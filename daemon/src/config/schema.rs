//! Every key: its name, default, bounds and meaning. The loader checks against this table, and the
//! commented example file and the reference in the docs are held to it by a test.

use crankcase_sandbox::spec::{CpuQuota, CpuTime, MemoryMax, PidsMax, TmpfsInodes, TmpfsSize, WallTime};

use super::kind::Kind::{self, *};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// What a key's value is when nothing sets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Default {
    /// This TOML value.
    Is(&'static str),
    /// There is none; the TOML value is an example.
    Unset(&'static str),
}

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The full name: section, dot, key.
    pub name: &'static str,
    /// Its default.
    pub default: Default,
    /// Its type and bounds.
    pub kind: Kind,
    /// What it is for, in full sentences, on one line.
    pub meaning: &'static str,
    /// Whether `<section>.<language>` may have it too.
    pub per_language: bool,
}

impl Key {
    const fn is(name: &'static str, default: &'static str, kind: Kind, meaning: &'static str) -> Self {
        Self { name, default: Default::Is(default), kind, meaning, per_language: false }
    }

    const fn unset(name: &'static str, example: &'static str, kind: Kind, meaning: &'static str) -> Self {
        Self { name, default: Default::Unset(example), kind, meaning, per_language: false }
    }

    const fn also_of_language(name: &'static str, default: &'static str, kind: Kind, meaning: &'static str) -> Self {
        Self { name, default: Default::Is(default), kind, meaning, per_language: true }
    }

    /// The section, empty for a key at the top of the file.
    #[must_use]
    pub fn section(&self) -> &'static str {
        self.name.rsplit_once('.').map_or("", |(section, _)| section)
    }

    /// The name within its section.
    #[must_use]
    pub fn leaf(&self) -> &'static str {
        self.name.rsplit_once('.').map_or(self.name, |(_, leaf)| leaf)
    }
}

/// One section.
#[derive(Debug, Clone, Copy)]
pub struct Section {
    /// As in the file; empty for the top of it.
    pub name: &'static str,
    /// What it is about.
    pub meaning: &'static str,
    /// Whether SIGHUP reloads it.
    pub reloadable: bool,
}

const fn section(name: &'static str, reloadable: bool, meaning: &'static str) -> Section {
    Section { name, meaning, reloadable }
}

/// All sections, in the order of the file.
pub const SECTIONS: &[Section] = &[
    section("", false, "Keys at the top of the file, before any section."),
    section("server", false, "The HTTP and Socket.IO interface."),
    section(
        "limits",
        true,
        "What one execution may use. Keys without a prefix hold for the run, those with compile- for the compiler. \
         A table [limits.<language>] (python, java, ...) holds for one language and may have every key but code-chars and \
         stdin-chars. The order, last word first: a request (which may only lower), limits.<language>, the \
         language's manifest, limits.",
    ),
    section(
        "warm",
        true,
        "What stands ready before anybody asks for it: sandboxes, and interpreters started up to where they would open the \
         program. Each serves one run. A language may have a setting of its own: its name with a size, or a table [warm.<language>] \
         with size, fork and max. Runs that find nothing ready are started plainly.",
    ),
    section(
        "admission",
        true,
        "How much runs at once, and who waits how long. memory can only be lowered without a restart. docs/load.md says how to size it.",
    ),
    section("rooms", false, "Rooms, their locks, and the messages of their members."),
    section("quotas", true, "Bounds on what one user or one room may use over time."),
    section("rate-limit", true, "The bound on requests from one address."),
    section("history", false, "The record of executions and rooms."),
    section(
        "redis",
        false,
        "Locks and events shared by several daemons. Without a url everything stays in this process.",
    ),
    section("runtimes", false, "The languages."),
    section("sandbox", false, "How the host is used to keep programs apart."),
    section("log", false, "What is logged, and how. Code and output are never logged at info."),
];

const MEMORY: Kind = Size(MemoryMax::MIN, MemoryMax::MAX);
const PIDS: Kind = Integer(PidsMax::MIN as i64, PidsMax::MAX as i64);
const CPUS: Kind = Cores(CpuQuota::MIN, CpuQuota::MAX);
const WALL: Kind = Time(WallTime::MIN, WallTime::MAX);
const CPU: Kind = Time(CpuTime::MIN, CpuTime::MAX);
const OPEN_FILES: Kind = Integer(16, 1_048_576);
const FILE_SIZE: Kind = Size(4 * KIB, 64 * GIB);
const STACK: Kind = Size(64 * KIB, 8 * GIB);
const TMPFS: Kind = Size(TmpfsSize::MIN, TmpfsSize::MAX);
const INODES: Kind = Integer(TmpfsInodes::MIN as i64, TmpfsInodes::MAX as i64);
const STOCK: Kind = Either(&OneOf(&["auto", "off"]), &Integer(1, 256));
const COUNT_OR_OFF: Kind = Or("off", &Integer(1, 1_000_000));

/// All keys, in the order of the file.
#[rustfmt::skip]
pub const KEYS: &[Key] = &[
    Key::is("data-dir", "\"auto\"", Or("auto", &AbsolutePath),
        "Where the history lives. auto: what systemd gives as STATE_DIRECTORY, else /var/lib/crankcase for root, else crankcase-data in the directory the daemon was started in."),

    Key::is("server.listen", "\"127.0.0.1:4334\"", Address,
        "Where to listen. Port 0 takes a free one."),
    Key::is("server.user", "\"auto\"", Or("auto", &Text(1)),
        "The account (a name or a number) that the daemon becomes when started as root. auto: crankcase where that account exists, else nobody."),
    Key::is("server.allowed-origins",
        "[\"http://localhost:3000\", \"http://localhost:5173\", \"http://127.0.0.1:3000\", \"http://127.0.0.1:5173\"]",
        List(&Origin),
        "The pages that may call the interface from a browser."),
    Key::is("server.trusted-proxies", "[]", List(&Network),
        "Addresses or networks of reverse proxies whose X-Forwarded-For is believed. Without one the peer's own address counts."),
    Key::unset("server.admin-token", "\"at least sixteen characters\"", Secret(16),
        "The bearer token of the routes that change things for everybody. Without one these routes are closed."),
    Key::unset("server.admin-token-file", "\"/etc/crankcase/admin-token\"", AbsolutePath,
        "A file that holds the admin token, in place of admin-token."),
    Key::is("server.body-limit", "\"50KiB\"", Size(KIB, 64 * MIB),
        "The largest request body; a larger one is refused with 413."),
    Key::is("server.header-timeout", "\"10s\"", Time(100, 5 * MINUTE),
        "How long a client may take to send a request's head."),
    Key::is("server.idle-timeout", "\"75s\"", Time(100, 60 * MINUTE),
        "How long a kept connection may be without a request. Longer than a reverse proxy in front keeps its own (often 60 s), else requests are lost now and then. Clients are told a little less (Keep-Alive)."),
    Key::is("server.body-timeout", "\"10s\"", Time(100, 5 * MINUTE),
        "How long a client may take to send a request's body."),
    Key::is("server.write-timeout", "\"30s\"", Time(100, 10 * MINUTE),
        "How long a client may leave unread what is sent to it."),
    Key::is("server.max-connections", "12000", Integer(1, 1_000_000),
        "Connections held open at once, sockets included; further ones wait to be accepted."),
    Key::is("server.piston-api", "true", Flag,
        "Whether the routes of Piston's interface (/api/v2) are served."),
    Key::is("server.shutdown-deadline", "\"15s\"", Time(0, 10 * MINUTE),
        "How long running executions may go on after SIGTERM before they are killed."),

    Key::is("limits.code-chars", "10000", Integer(1, 10_000_000),
        "The largest number of Unicode characters of a program."),
    Key::is("limits.stdin-chars", "1000", Integer(0, 10_000_000),
        "The largest number of Unicode characters of a request's stdin."),
    Key::also_of_language("limits.output-chars", "5000", Integer(1, 10_000_000),
        "Where the response's output field is cut, in Unicode characters."),
    Key::also_of_language("limits.output-bytes", "\"128KiB\"", Size(KIB, GIB),
        "Bytes of stdout, and as many of stderr, that a stage may print before it is killed."),
    Key::also_of_language("limits.memory", "\"256MiB\"", MEMORY,
        "Memory of the run, files in its work directory and in /tmp included. Swap is never used."),
    Key::also_of_language("limits.processes", "64", PIDS,
        "Processes and threads of the run at once."),
    Key::also_of_language("limits.cpus", "1", CPUS,
        "Cores' worth of CPU that the run may use."),
    Key::also_of_language("limits.wall-time", "\"10s\"", WALL,
        "Time from the run's start to its end."),
    Key::also_of_language("limits.cpu-time", "\"5s\"", CPU,
        "CPU time of all processes of the run together."),
    Key::also_of_language("limits.open-files", "256", OPEN_FILES,
        "Descriptors that one process of the run may hold (RLIMIT_NOFILE)."),
    Key::also_of_language("limits.file-size", "\"64MiB\"", FILE_SIZE,
        "The largest file that the run may write (RLIMIT_FSIZE)."),
    Key::also_of_language("limits.stack", "\"8MiB\"", STACK,
        "The main thread's stack in the run (RLIMIT_STACK)."),
    Key::also_of_language("limits.compile-memory", "\"1GiB\"", MEMORY,
        "Memory of the compiler, likewise."),
    Key::also_of_language("limits.compile-processes", "128", PIDS,
        "Processes and threads of the compiler at once."),
    Key::also_of_language("limits.compile-cpus", "1", CPUS,
        "Cores' worth of CPU that the compiler may use."),
    Key::also_of_language("limits.compile-wall-time", "\"20s\"", WALL,
        "Time from the compiler's start to its end."),
    Key::also_of_language("limits.compile-cpu-time", "\"15s\"", CPU,
        "CPU time of all processes of the compiler together."),
    Key::also_of_language("limits.compile-open-files", "1024", OPEN_FILES,
        "Descriptors that one process of the compiler may hold (RLIMIT_NOFILE)."),
    Key::also_of_language("limits.compile-file-size", "\"256MiB\"", FILE_SIZE,
        "The largest file that the compiler may write (RLIMIT_FSIZE)."),
    Key::also_of_language("limits.compile-stack", "\"8MiB\"", STACK,
        "The main thread's stack in the compiler (RLIMIT_STACK)."),
    Key::also_of_language("limits.box-size", "\"64MiB\"", TMPFS,
        "Size of the work directory, which compiler and run share."),
    Key::also_of_language("limits.box-inodes", "4096", INODES,
        "Files, directories and links in the work directory."),
    Key::also_of_language("limits.tmp-size", "\"64MiB\"", TMPFS,
        "Size of /tmp, and of /dev/shm."),

    Key::also_of_language("warm.size", "\"auto\"", STOCK,
        "Interpreters that stand ready of each language that has a gate. auto grows by demand and shrinks when idle; off starts each program plainly."),
    Key::also_of_language("warm.fork", "true", Flag,
        "Whether the stock is filled by forks of one started interpreter, where the language has that. Forks cost a tenth of a start, and those of one template share its address layout and hash seed; the templates that fork are part of the threat model."),
    Key::also_of_language("warm.max", "\"auto\"", Or("auto", &Integer(1, 256)),
        "The most that a size of auto grows to. auto: 48 where forks fill the stock, 16 elsewhere, 2 of what takes more than 64 MiB each."),
    Key::is("warm.prepared", "\"auto\"", STOCK,
        "Sandboxes that stand ready without an interpreter, for each size of work directory; under auto also with a compiler or interpreter loaded one step before it is executed, for the languages in use."),
    Key::is("warm.memory", "\"auto\"", Or("auto", &Size(MIB, 1024 * GIB)),
        "Memory that everything that stands ready may hold, within admission.memory. auto: a sixteenth of that, from 32 MiB to 1 GiB. Runs that need the room get it at once."),
    Key::is("warm.idle-after", "\"10m\"", Time(10 * SECOND, DAY),
        "After so long without the demand that it was made for a stock shrinks."),
    Key::is("warm.max-age", "\"10m\"", Time(10 * SECOND, DAY),
        "After so long what stands ready, and a template, is replaced by a new one."),
    Key::is("warm.template-runs", "200", Integer(1, 1_000_000),
        "After so many forks a template is replaced."),

    Key::is("admission.cores", "\"auto\"", Or("auto", &CPUS),
        "Cores that all executions share. auto: all that the daemon may use."),
    Key::is("admission.memory", "\"75%\"", Either(&Percent, &Size(16 * MIB, 1024 * GIB)),
        "Memory that all executions share: a size, or a share of what the machine (or the daemon's own cgroup) has."),
    Key::is("admission.cpu-per-run", "0.5", Cores(50, 64_000),
        "Cores' worth of CPU that one execution reserves. A run spends part of its time on starting, pipes and the record, so two to a core keep the core busy."),
    Key::is("admission.cpu-overcommit", "8", Integer(1, 100),
        "While cores stand idle although all are reserved (programs that sleep or wait for input), the CPU budget grows up to so many times its size. 1 turns it off."),
    Key::is("admission.pressure", "\"20%\"", Or("off", &Percent),
        "Share of the last 10 seconds in which some task stalled for memory from which on nothing further is admitted, where the kernel tells."),
    Key::is("admission.queue-length", "500", Integer(0, 100_000),
        "Executions that may wait for capacity; a further one is refused at once. 0: none waits."),
    Key::is("admission.queue-wait", "\"30s\"", Time(0, HOUR),
        "How long an execution may wait for capacity before it is refused."),
    Key::is("admission.overtakes", "16", Integer(0, 10_000),
        "How many smaller executions may pass a large one that does not fit yet."),
    Key::is("admission.contest-rooms", "[]", List(&Text(1)),
        "Rooms whose executions go before all others. A * at the end of a name stands for anything."),
    Key::is("admission.batch-rooms", "[]", List(&Text(1)),
        "Rooms, likewise, whose executions go after all others."),

    Key::is("rooms.lock-wait", "\"5s\"", Time(0, 10 * MINUTE),
        "How long an execution waits for its room before it is refused as busy."),
    Key::is("rooms.message-buffer", "1000", Integer(0, 100_000),
        "Messages of a room that are kept while an earlier one is missing."),
    Key::is("rooms.message-buffer-wait", "\"30s\"", Time(100, 10 * MINUTE),
        "How long they are kept before they are processed without it."),
    Key::is("rooms.chat-chars", "1000", Integer(1, 100_000),
        "The largest number of Unicode characters of a chat message."),
    Key::is("rooms.save-interval", "\"2s\"", Time(10, MINUTE),
        "A changed room is saved at most this long after its last change."),
    Key::is("rooms.idle-after", "\"1m\"", Time(SECOND, DAY),
        "A room without members leaves memory after this; it is read back when someone joins."),
    Key::is("rooms.live-output-interval", "\"250ms\"", Time(20, MINUTE),
        "What a program prints is passed on to its room at most this often."),
    Key::is("rooms.message-size", "\"512KiB\"", Size(KIB, 64 * MIB),
        "The largest socket message from a client; a larger one ends its connection."),
    Key::is("rooms.events-per-second", "300", Integer(1, 100_000),
        "Events a second that one socket may send on average; the excess is refused."),
    Key::is("rooms.events-burst", "1200", Integer(1, 1_000_000),
        "Events that one socket may send at once after a pause."),
    Key::is("rooms.send-buffer", "4096", Integer(16, 100_000),
        "Messages that may wait for a slow reader before it is disconnected."),
    Key::is("rooms.max-members", "200", Integer(1, 100_000),
        "Sockets in one room."),
    Key::is("rooms.max-rooms", "10000", Integer(1, 1_000_000),
        "Rooms in memory at once."),

    Key::is("quotas.user-runs-per-minute", "\"off\"", COUNT_OR_OFF, "Executions a minute of one user."),
    Key::is("quotas.room-runs-per-minute", "\"off\"", COUNT_OR_OFF, "Executions a minute of one room."),
    Key::is("quotas.user-cpu-seconds-per-hour", "\"off\"", COUNT_OR_OFF, "Seconds of CPU time an hour of one user."),
    Key::is("quotas.room-cpu-seconds-per-hour", "\"off\"", COUNT_OR_OFF, "Seconds of CPU time an hour of one room."),
    Key::is("quotas.user-queued", "\"off\"", COUNT_OR_OFF, "Executions of one user that may wait at once."),
    Key::is("quotas.room-queued", "\"off\"", COUNT_OR_OFF, "Executions of one room that may wait at once."),

    Key::is("quotas.user-memory", "\"off\"", Or("off", &MEMORY), "Memory of the run of one execution of a user, where the limits allow more."),
    Key::is("quotas.room-memory", "\"off\"", Or("off", &MEMORY), "Memory of the run of one execution in a room, likewise."),
    Key::is("quotas.user-wall-time", "\"off\"", Or("off", &WALL), "Wall time of the run of one execution of a user, where the limits allow more."),
    Key::is("quotas.room-wall-time", "\"off\"", Or("off", &WALL), "Wall time of the run of one execution in a room, likewise."),

    Key::is("rate-limit.requests-per-second", "100", Or("off", &Integer(1, 1_000_000)),
        "Requests a second from one address on average. A whole class often shares one."),
    Key::is("rate-limit.burst", "1000", Integer(1, 1_000_000),
        "Requests that an address may send at once after a pause."),

    Key::unset("history.path", "\"/var/lib/crankcase/crankcase.db\"", AbsolutePath,
        "The database. Without it: crankcase.db in data-dir."),
    Key::is("history.retention", "\"30d\"", Or("off", &Time(MINUTE, 36_500 * DAY)),
        "Executions and room messages older than this are deleted. off: none is."),
    Key::is("history.room-retention", "\"365d\"", Or("off", &Time(MINUTE, 36_500 * DAY)),
        "Rooms that nobody changed for this long are deleted. off: none is."),
    Key::is("history.max-size", "\"off\"", Or("off", &Size(16 * MIB, 1024 * GIB)),
        "Above this size of the database the oldest executions are deleted."),
    Key::is("history.durability", "\"process-crash\"", OneOf(&["process-crash", "power-loss"]),
        "What a committed record survives: the end of any process, or a power cut too, at one fsync per group of writes."),

    Key::unset("redis.url", "\"redis://127.0.0.1:6379\"", Url(&["redis", "unix"]),
        "The server. A password in it is never logged."),

    Key::is("runtimes.directories", "[]", List(&AbsolutePath),
        "Directories with manifests of further languages; one of a known name replaces it."),
    Key::is("runtimes.enabled", "\"all\"", Or("all", &List(&Name)),
        "The languages to offer, by name."),
    Key::is("runtimes.artefact-cache", "\"256MiB\"", Or("off", &Size(MIB, 1024 * GIB)),
        "Disk space in data-dir for what compilers made, so that a program that was compiled before starts at once; the least recently used goes first. off: nothing is kept."),
    Key::is("runtimes.artefact-scope", "\"room\"", OneOf(&["global", "room", "user"]),
        "Who shares it. A fast answer tells that somebody of the same scope had exactly this program compiled before. room: its members (outside of rooms a user, or an address of users without a name); user: nobody; global: everybody."),
    Key::is("runtimes.precompiled-headers", "true", Flag,
        "Whether the headers that manifests name, iostream and bits/stdc++.h among them, are compiled once for all C++ programs that begin with them, in the background after the start: a short program takes a third of its compiler's time, for 270 MiB in /var/cache/crankcase. Nothing is made with less than 1 GiB free there, nor of an image's compilers."),

    Key::is("sandbox.spawner-socket", "\"auto\"", Or("auto", &AbsolutePath),
        "The socket of a spawner that runs as a service of its own. auto: the daemon starts its own, which takes root."),
    Key::is("sandbox.root", "\"host\"", Or("host", &AbsolutePath),
        "Whose toolchains programs see: the host's, or those of an image, a directory that root alone can write to, as crankcase runtimes import and build make it. With an image nothing of the host is visible, and read-only-paths are the image's."),
    Key::is("sandbox.cgroup-parent", "\"auto\"", Or("auto", &AbsolutePath),
        "The cgroup, from the root of its hierarchy, below which those of the sandboxes are made. auto: the spawner's own, else /crankcase."),
    Key::is("sandbox.uid-base", "1879048192", Integer(65_536, 2_147_400_000),
        "The first of the host's user and group ids that are given to sandboxes; nobody else may use them. The default lies where systemd, containers and directories leave the numbers unused."),
    Key::is("sandbox.max-sandboxes", "512", Integer(1, 10_000),
        "Sandboxes alive at once, and the number of ids from uid-base on."),
    Key::is("sandbox.memory-reserve", "\"256MiB\"", Size(0, 1024 * GIB),
        "Memory that all sandboxes together always leave to the host, whatever admission.memory says."),
    Key::is("sandbox.cpu-weight", "400", Integer(1, 10_000),
        "CPU weight of all sandboxes together against the rest of the host, where any other cgroup has 100."),
    Key::is("sandbox.read-only-paths", "[]", List(&AbsolutePath),
        "Further files and directories of the host that programs may read, such as /opt/swift."),
    Key::is("sandbox.hostname", "\"sandbox\"", Hostname,
        "The host name that programs see."),

    Key::is("log.filter", "\"info\"", Text(1),
        "Which events: a level, or directives as RUST_LOG has them."),
    Key::is("log.format", "\"auto\"", OneOf(&["auto", "text", "json", "journald"]),
        "auto: journald under systemd, text on a terminal, else json."),
];

/// The variables that win over the file: name, key, and what is special.
pub const VARIABLES: &[(&str, &str, &str)] = &[
    ("PORT", "server.listen", "The port; the address stays."),
    ("ALLOWED_ORIGINS", "server.allowed-origins", "Comma separated."),
    ("REDIS_URL", "redis.url", ""),
    ("CRANKCASE_DATA_DIR", "data-dir", ""),
    ("RUST_LOG", "log.filter", ""),
];

/// The key of this full name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_kebab_case_and_in_a_section() {
        let mut seen = HashSet::new();
        for key in KEYS {
            assert!(seen.insert(key.name), "{} twice", key.name);
            assert!(key.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-' || b == b'.'), "{}", key.name);
            assert!(SECTIONS.iter().any(|section| section.name == key.section()), "{}", key.name);
            assert!(key.meaning.ends_with('.') && !key.meaning.contains('\n'), "{}", key.name);
        }
    }

    #[test]
    fn every_default_and_example_is_good() {
        for key in KEYS {
            let (Default::Is(text) | Default::Unset(text)) = key.default;
            let table: toml::Table = format!("v = {text}").parse().unwrap_or_else(|e| panic!("{}: {e}", key.name));
            assert!(key.kind.check(&table["v"]).is_some(), "{} = {text} must be {}", key.name, key.kind.words());
        }
    }

    #[test]
    fn keys_stand_with_their_section_in_the_order_of_the_file() {
        let mut order: Vec<&str> = KEYS.iter().map(Key::section).collect();
        order.dedup();
        assert_eq!(order, SECTIONS.iter().map(|section| section.name).collect::<Vec<_>>());
    }

    #[test]
    fn variables_name_keys() {
        for (variable, key, _) in VARIABLES {
            assert!(find(key).is_some(), "{variable}");
        }
    }
}
