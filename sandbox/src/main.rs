//! The spawner: the only privileged process, and as little of it as possible.
//!
//! # Theory of operation
//!
//! It is started with a listening Unix socket (`SOCK_SEQPACKET`) as descriptor 0, or 3 from systemd. Before it serves it
//! makes its cgroups, builds the sandbox's root and pivots away from the host's file system, compiles the seccomp filter,
//! and keeps just the capabilities that making sandboxes takes. Then one loop ([`server`]) obeys the frames of
//! [`crankcase_sandbox::wire`].
//!
//! A sandbox is a clone of this process in namespaces of its own; the clone ([`init`]) confines itself and becomes pid 1.
//! It is tied to us three ways: we hold its pidfd, it gets a signal when we die, and its control socket ends with us.
mod cgroup;
mod init;
mod notify;
mod options;
mod root;
mod seccomp;
mod server;
mod supervise;

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::process::ExitCode;

use nix::fcntl::{OFlag, open};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::Mode;

use crankcase_sandbox::sys;
use options::{Mode as RunMode, Options};
use server::{Server, Settings};

/// CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_KILL, CAP_SETGID, CAP_SETUID, CAP_SETPCAP, CAP_SYS_CHROOT, CAP_SYS_ADMIN: pipes for the
/// sandbox's uid, its maps and cgroups, its end, its ids, a template's entering mount namespaces, namespaces and mounts.
const CAPABILITIES: [u32; 8] = [0, 1, 5, 6, 7, 8, 18, 21];

fn main() -> ExitCode {
    let result = Options::from_env().and_then(|options| match options.mode {
        RunMode::Supervise => supervise::supervise(options.remove.as_deref(), options.cgroup_base.as_deref()),
        RunMode::Serve => serve(&options),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("crankcase-spawner: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(options: &Options) -> Result<(), String> {
    sys::assert_single_threaded();
    let (listener, lifeline) = sockets(options)?;
    let proc = open("/proc", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
        .map_err(|errno| format!("opening /proc: {errno}"))?;
    raise_open_files();
    // What is made for the programs' root is theirs to read, whatever the umask of the unit.
    sys::umask(0o022);
    let mut notifier = notify::Notifier::from_env().map_err(|error| format!("NOTIFY_SOCKET: {error}"))?;
    let limits =
        cgroup::ParentLimits { memory: options.memory_max, cpu_weight: options.cpu_weight, daemon: options.daemon };
    let cgroups =
        cgroup::Parent::set_up(options.cgroup_base.as_deref(), options.instance, limits).map_err(|e| e.to_string())?;
    let root = root::Plan {
        image: options.root.as_deref(),
        read_only: &options.read_only,
        gates: options.gates.as_deref(),
        headers: options.headers.as_deref(),
        hostname: &options.hostname,
    };
    root::enter(&root).map_err(|e| e.to_string())?;
    let filters = seccomp::Filters::compile();
    sys::keep_capabilities(&CAPABILITIES).map_err(|errno| format!("keeping capabilities: {errno}"))?;
    let settings = Settings {
        client_uid: options.client_uid,
        uid_base: options.uid_base,
        sandboxes_max: options.sandboxes_max,
        hostname: options.hostname.clone(),
    };
    Server::new(settings, filters, sys::landlock_abi(), cgroups, proc, listener, lifeline.as_ref())
        .and_then(|mut server| {
            notifier.ready();
            server.run(&mut notifier)
        })
        .map_err(|errno| format!("serving: {errno}"))
}

/// The listening socket, and the lifeline where the daemon started us: a pipe whose reading end it holds.
fn sockets(options: &Options) -> Result<(OwnedFd, Option<OwnedFd>), String> {
    let inherited = |number, what| {
        let fd = sys::inherited_fd(number).map_err(|errno| format!("taking {what} (descriptor {number}): {errno}"))?;
        let copy = fd.try_clone().map_err(|error| format!("taking {what}: {error}"))?;
        // 0 to 2 must stay open and harmless, so that no later descriptor gets their numbers.
        if number <= 2 {
            std::mem::forget(fd);
        }
        Ok::<OwnedFd, String>(copy)
    };
    let listener = inherited(options.listen_fd, "the listening socket")?;
    let lifeline = options.lifeline_fd.map(|number| inherited(number, "the lifeline")).transpose()?;
    debug_assert!(listener.as_raw_fd() > 2);
    Ok((listener, lifeline))
}

fn raise_open_files() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
