//! Payloads that are started ahead of need and stand in their interpreter's gate.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use crankcase_sandbox::fork::{ALONE, COMPILED, FORKED, Order, READY, rlimits};
use crankcase_sandbox::outcome::{SandboxError, Step};
use crankcase_sandbox::socket::send_frame;
use crankcase_sandbox::spec::StageLimits;
use crankcase_sandbox::wire::{Event, Request};

use super::super::Shared;
use super::super::epoll::Poll;
use super::super::template::Template;
use super::{Fork, Gating, OURS, Sandbox, State, at};

/// The process between a template and its fork counts as well, while it lives.
const BETWEEN: u64 = 1;

impl Sandbox {
    /// Has a template fork into it; without one, or for an error of the template's or of ours, it fails.
    pub fn fork(&mut self, template: Option<&Template>, limits: StageLimits, shared: &Shared, poll: &Poll, key: u32) {
        let forked = template
            .ok_or(SandboxError { step: Step::Template, errno: 0 })
            .and_then(|template| self.fork_from(template, limits, shared, poll, key));
        if let Err(error) = forked {
            self.fail(error);
        }
    }

    fn fork_from(
        &mut self,
        template: &Template,
        limits: StageLimits,
        shared: &Shared,
        poll: &Poll,
        key: u32,
    ) -> Result<(), SandboxError> {
        let namespaces = <[OwnedFd; 6]>::try_from(std::mem::take(&mut self.namespaces));
        let (State::Idle, 0, Ok(namespaces)) = (self.state, self.stages, namespaces) else {
            return Err(SandboxError { step: Step::State, errno: 0 });
        };
        self.made.leaf.limit(&limits, OURS + BETWEEN).map_err(at(Step::Cgroup))?;
        let stdio = self.connect(limits, true, shared, poll, key)?;
        self.stages += 1;
        self.state = State::Gating(Gating { ready: false, fork: Fork::OnItsWay, known: false });
        let leaf = &self.made.leaf;
        let net = self.made.net.as_ref().ok_or(SandboxError { step: Step::Namespaces, errno: 0 })?;
        let directory = leaf.clone_into();
        let order = Order {
            landlock_abi: shared.landlock_abi,
            clone_into: directory.is_some(),
            ask: shared.filters.ask,
            rlimits: rlimits(&limits, 0),
            seal: shared.filters.seal.clone(),
        };
        let owned = stdio.iter().map(|fd| fd.as_fd());
        let fds: Vec<BorrowedFd<'_>> = owned
            .chain([net.as_fd()])
            .chain(namespaces.iter().map(|fd| fd.as_fd()))
            .chain(directory)
            .chain(leaf.entrances().iter().map(|fd| fd.as_fd()))
            .collect();
        template.fork(&order, &fds).map_err(at(Step::Template))
    }

    /// A message of the gate: it stands, it compiled, or a fork's pid.
    pub(super) fn gate_said(&mut self, message: &[u8], listener: Vec<OwnedFd>, poll: &Poll, key: u32) {
        match (self.state, message) {
            (State::Gating(gating), [READY]) => self.gating(Gating { ready: true, ..gating }),
            (State::Gating(gating), [FORKED, pid @ ..]) if pid.len() == 4 => {
                let pid = u32::from_le_bytes([pid[0], pid[1], pid[2], pid[3]]);
                self.listening.fork(listener, poll, key);
                match gating.fork {
                    Fork::OnItsWay => self.state = State::Gating(Gating { fork: Fork::Named(pid), ..gating }),
                    Fork::Alone => self.adopt(pid, gating),
                    _ => self.fail(SandboxError { step: Step::Gate, errno: 0 }),
                }
            }
            (State::Gating(gating), [ALONE]) => match gating.fork {
                Fork::OnItsWay => self.state = State::Gating(Gating { fork: Fork::Alone, ..gating }),
                Fork::Named(pid) => self.adopt(pid, gating),
                _ => self.fail(SandboxError { step: Step::Gate, errno: 0 }),
            },
            (State::Running, [COMPILED, exit_code, text @ ..]) => {
                let text = String::from_utf8_lossy(text).replace('\0', "\u{FFFD}");
                self.say(Event::Compiled { id: self.id, exit_code: *exit_code, text });
            }
            // It was killed in the middle of a word.
            (State::Killed | State::Spent | State::Dying | State::Gone, _) => {}
            _ => self.fail(SandboxError { step: Step::Gate, errno: 0 }),
        }
    }

    /// Tells init which process the payload is.
    fn adopt(&mut self, pid: u32, gating: Gating) {
        self.state = State::Gating(Gating { fork: Fork::Told, ..gating });
        if let Err(errno) = send_frame(&self.made.control, &Request::Adopt { pid }.encode(), &[]) {
            self.fail(at(Step::Protocol)(errno));
        }
    }

    /// It is ready, or known; with both the payload is loaded.
    pub(super) fn gating(&mut self, gating: Gating) {
        self.state = State::Gating(gating);
        if gating.ready
            && gating.known
            && let Err(error) = self.loaded()
        {
            self.fail(error);
        }
    }

    /// What the start took is not the program's: its memory comes on top of the limit.
    pub(super) fn forgive_start(&self, limits: &StageLimits) -> Result<(), SandboxError> {
        let leaf = &self.made.leaf;
        leaf.limit_pids(limits, OURS).map_err(at(Step::Cgroup))?;
        leaf.forgive_memory(limits).map_err(at(Step::Cgroup))
    }
}
