//! A template as the spawner sees it: an interpreter in its gate, to which orders to fork are passed.

use std::ffi::CString;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::time::Instant;

use crankcase_sandbox::fork::{FORK, Order, READY, rlimits, send_example};
use crankcase_sandbox::outcome::{SandboxError, Step};
use crankcase_sandbox::report::{REPORT_BYTES, Report};
use crankcase_sandbox::spec::{Example, StageCommand, TemplateSpec};
use crankcase_sandbox::sys::{self, Cloned, ExecImage};
use crankcase_sandbox::wire::{Event, SandboxId};
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use super::Shared;
use super::epoll::{Poll, Token};
use super::sandbox::{RETRY, at};
use crate::cgroup::Leaf;
use crate::init::{Plan, TemplatePlan, run_template};

/// No pid namespace of its own: a process can send its children only into one below its own. No user namespace either.
const NAMESPACES: u64 = (libc::CLONE_NEWNS | libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS) as u64;
/// Forks on their way count as its processes until they have entered their sandbox's cgroup.
const ON_THEIR_WAY: u64 = 64;
/// A template's own CPU time is not limited.
const NO_CPU_LIMIT: u64 = 1 << 40;

/// Where it finds the library, among the gates.
const FORK_LIBRARY: &str = "/opt/crankcase/fork.so";
const PRELOAD: &str = "LD_PRELOAD";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Starting,
    Ready,
    /// Told as failed; only `Destroy` is left.
    Spent,
    Dying,
    Gone,
}

/// A template.
pub struct Template {
    pub client: u32,
    pub id: SandboxId,
    pub slot: u32,
    pid: Pid,
    pidfd: OwnedFd,
    gate: OwnedFd,
    orders: OwnedFd,
    leaf: Leaf,
    alive: bool,
    state: State,
    /// Until it stands: what it has to run before it forks.
    example: Option<Example>,
    events: Vec<Event>,
    retry_at: Option<Instant>,
}

/// Who asks for one, and where it goes.
pub struct Place {
    pub client: u32,
    pub id: SandboxId,
    pub key: u32,
    pub slot: u32,
}

impl Template {
    /// Clones it; it says by its gate when it stands.
    pub fn start(shared: &Shared, poll: &Poll, place: &Place, spec: TemplateSpec) -> Result<Self, SandboxError> {
        let leaf = shared.cgroups.leaf(&format!("t{}", place.key)).map_err(at(Step::Cgroup))?;
        Self::start_in(leaf, shared, poll, place, spec).map_err(|failed| {
            let (leaf, error) = *failed;
            let _ = shared.cgroups.remove_leaf(&leaf);
            error
        })
    }

    fn start_in(
        leaf: Leaf,
        shared: &Shared,
        poll: &Poll,
        place: &Place,
        spec: TemplateSpec,
    ) -> Result<Self, Box<(Leaf, SandboxError)>> {
        let started = Self::clone(&leaf, shared, place, &spec);
        let (pid, pidfd, gate, orders) = match started {
            Ok(started) => started,
            Err(error) => return Err(Box::new((leaf, error))),
        };
        let watched =
            poll.add(gate.as_fd(), Token::Go(place.key)).and_then(|()| poll.add(pidfd.as_fd(), Token::Init(place.key)));
        if let Err(errno) = watched {
            sys::pidfd_kill(pidfd.as_fd());
            let _ = waitpid(pid, None);
            return Err(Box::new((leaf, at(Step::Protocol)(errno))));
        }
        let &Place { client, id, slot, .. } = place;
        let (state, events, retry_at) = (State::Starting, Vec::new(), None);
        Ok(Self {
            client,
            id,
            slot,
            pid,
            pidfd,
            gate,
            orders,
            leaf,
            alive: true,
            state,
            example: spec.example,
            events,
            retry_at,
        })
    }

    fn clone(
        leaf: &Leaf,
        shared: &Shared,
        place: &Place,
        spec: &TemplateSpec,
    ) -> Result<(Pid, OwnedFd, OwnedFd, OwnedFd), SandboxError> {
        let host_id = shared.settings.uid_base + place.slot;
        leaf.limit(&spec.limits, ON_THEIR_WAY).map_err(at(Step::Cgroup))?;
        let hostname = &shared.settings.hostname;
        let entrances = leaf.entrances();
        let plan = Plan::new(&spec.sandbox, host_id, hostname, shared.landlock_abi, &shared.filters, entrances, None);
        let plan = TemplatePlan {
            plan: plan.ok_or(SandboxError { step: Step::MountBox, errno: 0 })?,
            host_id,
            image: image(&spec.command).ok_or(SandboxError { step: Step::Exec, errno: 0 })?,
            rlimits: rlimits(&spec.limits, NO_CPU_LIMIT),
            cgroup_v2: shared.cgroups.version() == 2,
        };
        let pair = || {
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
                .map_err(at(Step::Protocol))
        };
        let ((gate, their_gate), (orders, their_orders)) = (pair()?, pair()?);
        match sys::clone3(NAMESPACES, leaf.clone_into()) {
            Ok(Cloned::Child) => run_template(&plan, &their_gate, &their_orders),
            Ok(Cloned::Parent { pid, pidfd }) => Ok((pid, pidfd, gate, orders)),
            Err(errno) => Err(at(Step::Clone)(errno)),
        }
    }

    /// Passes an order on, with the descriptors of [`Order::send`]; the fork speaks for itself from there.
    pub fn fork(&self, order: &Order, fds: &[BorrowedFd<'_>]) -> Result<(), Errno> {
        if self.state != State::Ready {
            return Err(Errno::ESRCH);
        }
        // The order first, on a socket of its own: it is there when the gate has read the letter.
        order.send(&self.orders, fds)?;
        self.say_fork()
    }

    /// Its first fork, which serves nobody but itself.
    fn learn(&self, example: &Example) -> Result<(), Errno> {
        send_example(&self.orders, example)?;
        self.say_fork()
    }

    fn say_fork(&self) -> Result<(), Errno> {
        send(self.gate.as_raw_fd(), &[FORK], MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT).map(drop)
    }

    /// The gate stands, or something failed on the way there.
    pub fn gate_ready(&mut self, poll: &Poll) {
        let mut record = [0_u8; REPORT_BYTES];
        match recv(self.gate.as_raw_fd(), &mut record, MsgFlags::MSG_DONTWAIT) {
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Ok(1) if record[0] == READY && self.state == State::Starting => {
                let Some(example) = self.example.take() else {
                    self.state = State::Ready;
                    return self.events.push(Event::Created { id: self.id });
                };
                // It says so once more when it is through.
                if let Err(errno) = self.learn(&example) {
                    self.fail(at(Step::Template)(errno));
                }
            }
            Ok(length @ 1..) => match Report::decode(&record[..length]) {
                Some(Report::Failed(error)) => self.fail(error),
                _ => self.fail(SandboxError { step: Step::Gate, errno: 0 }),
            },
            Ok(_) | Err(_) => {
                poll.remove(self.gate.as_fd());
                self.fail(SandboxError { step: Step::Gate, errno: 0 });
            }
        }
    }

    fn fail(&mut self, error: SandboxError) {
        if matches!(self.state, State::Starting | State::Ready) {
            self.state = State::Spent;
            self.events.push(Event::Failed { id: self.id, error });
            sys::pidfd_kill(self.pidfd.as_fd());
        }
    }

    /// Ends it; its forks live on.
    pub fn destroy(&mut self, shared: &Shared) {
        if matches!(self.state, State::Dying | State::Gone) {
            return;
        }
        self.state = State::Dying;
        if self.alive {
            sys::pidfd_kill(self.pidfd.as_fd());
        } else {
            self.remove(shared);
        }
    }

    /// The pidfd says that it is dead.
    pub fn died(&mut self, shared: &Shared, poll: &Poll) {
        self.gate_ready(poll);
        poll.remove(self.pidfd.as_fd());
        poll.remove(self.gate.as_fd());
        let _ = waitpid(self.pid, None);
        self.alive = false;
        self.fail(SandboxError { step: Step::Template, errno: 0 });
        if self.state == State::Dying {
            self.remove(shared);
        }
    }

    fn remove(&mut self, shared: &Shared) {
        if shared.cgroups.remove_leaf(&self.leaf).is_err() {
            self.leaf.kill();
            self.retry_at = Some(Instant::now() + RETRY);
            return;
        }
        self.retry_at = None;
        self.state = State::Gone;
        self.events.push(Event::Destroyed { id: self.id });
    }

    /// When it wants to be looked at next.
    pub const fn due(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Tries again to remove its cgroup.
    pub fn tick(&mut self, shared: &Shared) {
        self.remove(shared);
    }

    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    pub fn is_gone(&self) -> bool {
        self.state == State::Gone
    }
}

/// The command with the library in front that makes its forks enter sandboxes.
fn image(command: &StageCommand) -> Option<ExecImage> {
    let argv = command.argv.iter().map(|arg| CString::new(arg.as_str()).ok()).collect::<Option<_>>()?;
    let preloads = command.env.iter().filter(|(key, _)| key == PRELOAD).map(|(_, value)| value.as_str());
    let preloads = std::iter::once(FORK_LIBRARY).chain(preloads).collect::<Vec<_>>().join(":");
    let others = command.env.iter().filter(|(key, _)| key != PRELOAD).map(|(key, value)| format!("{key}={value}"));
    let env = others.chain([format!("{PRELOAD}={preloads}")]).map(|entry| CString::new(entry).ok());
    ExecImage::new(argv, env.collect::<Option<_>>()?)
}
