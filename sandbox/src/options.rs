//! The command line. It comes from root: from the daemon before it gives its privileges up, or from a unit file.

use std::path::PathBuf;

use lexopt::prelude::*;

use crate::root::is_plain_absolute;

/// What to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The spawner.
    Serve,
    /// Start the spawner again whenever it dies, until the lifeline ends.
    Supervise,
}

/// Everything the command line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    pub mode: Mode,
    /// The listening socket.
    pub listen_fd: i32,
    /// A pipe whose other end the daemon holds.
    pub lifeline_fd: Option<i32>,
    /// Who may connect, besides root.
    pub client_uid: u32,
    /// First host uid and gid of the sandboxes.
    pub uid_base: u32,
    /// Sandboxes alive at once.
    pub sandboxes_max: u32,
    /// Bytes that all sandboxes together may hold.
    pub memory_max: Option<u64>,
    /// CPU weight of all sandboxes together, 100 as any other cgroup.
    pub cpu_weight: u64,
    /// Where to make cgroups; `None` chooses.
    pub cgroup_base: Option<String>,
    /// A number that no other living spawner has; a spawner that is started again keeps it, and its cgroups' paths.
    pub instance: u32,
    /// The daemon's process, where it started this one: it is to have the CPU when it needs it (cgroup v1 alone; on v2 that
    /// is the service manager's affair).
    pub daemon: Option<u32>,
    /// The host name inside.
    pub hostname: String,
    /// A directory that stands in the host's place.
    pub root: Option<PathBuf>,
    /// Paths of the host, or of what stands in its place, to show read-only.
    pub read_only: Vec<PathBuf>,
    /// A directory whose files every sandbox finds below [`crate::root::GATES`].
    pub gates: Option<PathBuf>,
    /// A directory of the host's to show read-only at the same place of every sandbox, whatever is in it by then.
    pub headers: Option<PathBuf>,
    /// A directory with a socket in it that the supervisor removes in the end: the daemon may not any more.
    pub remove: Option<PathBuf>,
}

impl Options {
    pub fn from_env() -> Result<Self, String> {
        let mut options = Self::parse(lexopt::Parser::from_env()).map_err(|error| error.to_string())?;
        // sd_listen_fds(3): the sockets start at 3.
        if std::env::var("LISTEN_PID").is_ok_and(|pid| pid == std::process::id().to_string()) {
            options.listen_fd = 3;
        }
        Ok(options)
    }

    fn parse(mut parser: lexopt::Parser) -> Result<Self, lexopt::Error> {
        let mut options = Self {
            mode: Mode::Serve,
            listen_fd: 0,
            lifeline_fd: None,
            client_uid: 0,
            uid_base: 700_000,
            sandboxes_max: 512,
            memory_max: None,
            cpu_weight: 400,
            cgroup_base: None,
            instance: std::process::id(),
            daemon: None,
            hostname: "crankcase".to_owned(),
            root: None,
            read_only: Vec::new(),
            gates: None,
            headers: None,
            remove: None,
        };
        while let Some(argument) = parser.next()? {
            match argument {
                Long("supervise") => options.mode = Mode::Supervise,
                Long("lifeline-fd") => options.lifeline_fd = Some(parser.value()?.parse()?),
                Long("client-uid") => options.client_uid = parser.value()?.parse()?,
                Long("uid-base") => options.uid_base = parser.value()?.parse()?,
                Long("sandboxes-max") => options.sandboxes_max = parser.value()?.parse()?,
                Long("memory-max") => options.memory_max = Some(parser.value()?.parse()?),
                Long("cpu-weight") => options.cpu_weight = parser.value()?.parse()?,
                Long("cgroup-base") => options.cgroup_base = Some(parser.value()?.string()?),
                Long("instance") => options.instance = parser.value()?.parse()?,
                Long("daemon") => options.daemon = Some(parser.value()?.parse()?),
                Long("hostname") => options.hostname = parser.value()?.string()?,
                Long("gates") => options.gates = Some(parser.value()?.into()),
                Long("headers") => options.headers = Some(parser.value()?.into()),
                Long("root") => options.root = Some(parser.value()?.into()),
                Long("remove") => options.remove = Some(parser.value()?.into()),
                Long("read-only") => options.read_only.push(parser.value()?.into()),
                _ => return Err(argument.unexpected()),
            }
        }
        options.check().map_err(|message| lexopt::Error::Custom(message.into()))?;
        Ok(options)
    }

    fn check(&self) -> Result<(), String> {
        // Below 65536 are the host's own users, above 2^31 nobody should be.
        let end = u64::from(self.uid_base) + u64::from(self.sandboxes_max);
        if self.uid_base < 65_536 || end > 1 << 31 {
            return Err("--uid-base must leave all uids between 65536 and 2^31".to_owned());
        }
        if !(1..=65_536).contains(&self.sandboxes_max) {
            return Err("--sandboxes-max must be 1 to 65536".to_owned());
        }
        if !(1..=10_000).contains(&self.cpu_weight) {
            return Err("--cpu-weight must be 1 to 10000".to_owned());
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if self.hostname.is_empty() || self.hostname.len() > 64 || !self.hostname.chars().all(plain) {
            return Err("--hostname must be 1 to 64 letters, digits or hyphens".to_owned());
        }
        match self.read_only.iter().chain(&self.root).chain(&self.headers).find(|path| !is_plain_absolute(path)) {
            Some(path) => Err(format!("the path {} must be absolute, without `..`, and not /", path.display())),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Options, String> {
        Options::parse(lexopt::Parser::from_args(arguments)).map_err(|error| error.to_string())
    }

    #[test]
    fn options_are_checked() {
        let options = parse(&["--uid-base", "800000", "--read-only", "/etc/php", "--read-only", "/opt/swift"]).unwrap();
        assert_eq!((options.uid_base, options.read_only.len()), (800_000, 2));
        for bad in [
            &["--uid-base", "0"][..],
            &["--read-only", "../etc"],
            &["--read-only", "/"],
            &["--root", "image"],
            &["--headers", "cache"],
            &["--hostname", "a b"],
            &["--sandboxes-max", "0"],
            &["--cpu-weight", "0"],
            &["--what"],
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
