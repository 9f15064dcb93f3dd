//! Making a sandbox: its cgroup and its init. The rest is init's own work.

use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use crankcase_sandbox::confine::INNER_ID;
use crankcase_sandbox::outcome::{SandboxError, Step};
use crankcase_sandbox::spec::SandboxSpec;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::libc;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, send, socketpair};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, write};

use super::Shared;
use super::epoll::{Poll, Token};
use super::net::Net;
use crate::cgroup::Leaf;
use crate::init::{self, MAPPED, Plan};
use crankcase_sandbox::sys::{self, Cloned};

/// Everything but the network namespace, which may be one that served before, the user namespace, which init enters last,
/// and the cgroup namespace, whose root is wherever its maker stands: init enters it once it has its place.
const NAMESPACES: u64 = (libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS) as u64;

/// A sandbox whose init is on its way.
pub struct Made {
    pub pid: Pid,
    pub pidfd: OwnedFd,
    pub control: OwnedFd,
    pub leaf: Leaf,
    pub slot: u32,
    /// None until a new one is opened.
    pub net: Option<Net>,
    /// Where init's end of the control socket lies, until it has a table of descriptors of its own.
    seat: Option<OwnedFd>,
}

pub fn make(
    shared: &Shared,
    poll: &Poll,
    key: u32,
    slot: u32,
    spec: &SandboxSpec,
    background: bool,
) -> Result<Made, SandboxError> {
    let fail = |step| move |errno: Errno| SandboxError { step, errno: errno as i32 };
    let settings = &shared.settings;
    let host_id = settings.uid_base + slot;
    let (control, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
        .map_err(fail(Step::Protocol))?;
    let leaf = shared.cgroups.leaf(&format!("s{key}")).map_err(fail(Step::Cgroup))?;
    let net = shared.nets.take();
    let weighed = if background { leaf.weigh(true) } else { Ok(()) };
    let prepared = weighed.map_err(fail(Step::Cgroup)).and_then(|()| {
        Plan::new(
            spec,
            host_id,
            &settings.hostname,
            shared.landlock_abi,
            &shared.filters,
            leaf.entrances(),
            net.as_ref().map(Net::as_fd),
        )
        .ok_or(SandboxError { step: Step::MountBox, errno: 0 })
    });
    let plan = match prepared {
        Ok(plan) => plan,
        Err(error) => {
            let _ = shared.cgroups.remove_leaf(&leaf);
            return Err(error);
        }
    };
    let new_net = if net.is_none() { libc::CLONE_NEWNET as u64 } else { 0 };
    let seat = shared.seats.take(&theirs);
    let share = if seat.is_some() { libc::CLONE_FILES as u64 } else { 0 };
    let (pid, pidfd) = match sys::clone3(NAMESPACES | new_net | share, leaf.clone_into()) {
        Ok(Cloned::Child) => match seat {
            Some(seat) => init::run(&plan, seat, Some(shared.seats.end())),
            None => init::run(&plan, theirs, None),
        },
        Ok(Cloned::Parent { pid, pidfd }) => (pid, pidfd),
        Err(errno) => {
            seat.into_iter().for_each(|seat| shared.seats.give_back(seat));
            let _ = shared.cgroups.remove_leaf(&leaf);
            return Err(fail(Step::Clone)(errno));
        }
    };
    drop(theirs);
    let mut made = Made { pid, pidfd, control, leaf, slot, net, seat };
    let watched = poll
        .add(made.control.as_fd(), Token::Control(key))
        .map_err(fail(Step::Protocol))
        .and_then(|()| poll.add(made.pidfd.as_fd(), Token::Init(key)).map_err(fail(Step::Protocol)));
    if let Err(error) = watched {
        sys::pidfd_kill(made.pidfd.as_fd());
        let _ = nix::sys::wait::waitpid(pid, None);
        made.born(shared);
        let _ = shared.cgroups.remove_leaf(&made.leaf);
        return Err(error);
    }
    Ok(made)
}

impl Made {
    /// Init has a table of descriptors of its own, or is dead.
    pub fn born(&mut self, shared: &Shared) {
        if let Some(seat) = self.seat.take() {
            shared.seats.give_back(seat);
        }
    }
}

/// In the order in which a template's fork enters them, after the network's.
const NAMESPACE_FILES: [&str; 6] = ["mnt", "ipc", "uts", "cgroup", "pid", "user"];

/// Maps the one inner uid and gid to the sandbox's own on the host, and tells init. Returns its namespaces but for the
/// network's, which it has: later, when init is not dumpable any more, nobody could open them.
pub fn map_ids(shared: &Shared, made: &mut Made) -> Result<Vec<OwnedFd>, SandboxError> {
    let fail = |errno: Errno| SandboxError { step: Step::IdMap, errno: errno as i32 };
    made.born(shared);
    let host_id = shared.settings.uid_base + made.slot;
    let map = format!("{INNER_ID} {host_id} 1");
    let directory = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let process = openat(&shared.proc, made.pid.to_string().as_str(), directory, Mode::empty()).map_err(fail)?;
    for (file, content) in [("uid_map", map.as_str()), ("setgroups", "deny"), ("gid_map", map.as_str())] {
        let fd = openat(&process, file, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty()).map_err(fail)?;
        write(&fd, content.as_bytes()).map_err(fail)?;
    }
    if made.net.is_none() {
        made.net = Some(Net::of(&process).map_err(fail)?);
    }
    let namespaces = openat(&process, "ns", directory, Mode::empty()).map_err(fail)?;
    let open_namespace =
        |name: &&str| openat(&namespaces, *name, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).map_err(fail);
    let namespaces = NAMESPACE_FILES.iter().map(open_namespace).collect::<Result<_, _>>()?;
    send(made.control.as_raw_fd(), &[MAPPED], MsgFlags::MSG_NOSIGNAL).map_err(fail)?;
    Ok(namespaces)
}
