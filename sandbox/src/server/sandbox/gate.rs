//! Payloads that are started ahead of need and stand in their interpreter's gate.

use std::os::fd::{AsFd as _, OwnedFd};

use crankcase_sandbox::fork::{ALONE, COMPILED, FORKED, Order, OrderFds, READY, rlimits};
use crankcase_sandbox::outcome::{SandboxError, Step};
use crankcase_sandbox::socket::send_frame;
use crankcase_sandbox::spec::StageLimits;
use crankcase_sandbox::wire::{Event, Request};

use super::super::Shared;
use super::super::epoll::Poll;
use super::{Gating, OURS, Sandbox, State, at};

/// The process between a template and its fork counts as well, while it lives.
const BETWEEN: u64 = 1;

impl Sandbox {
    /// Readies it for a template's fork.
    pub fn open_to_fork(
        &mut self,
        limits: StageLimits,
        shared: &Shared,
        poll: &Poll,
        key: u32,
    ) -> Result<(Order, OrderFds), SandboxError> {
        let namespaces = <[OwnedFd; 7]>::try_from(std::mem::take(&mut self.namespaces));
        let (State::Idle, 0, Ok(namespaces)) = (self.state, self.stages, namespaces) else {
            return Err(SandboxError { step: Step::State, errno: 0 });
        };
        let leaf = &self.made.leaf;
        leaf.limit(&limits, OURS + BETWEEN).map_err(at(Step::Cgroup))?;
        let directory = leaf.clone_into();
        let clone_into = directory.is_some();
        let cgroup = directory.into_iter().chain(leaf.entrances().iter().map(|fd| fd.as_fd()));
        let cgroup = cgroup
            .map(|fd| fd.try_clone_to_owned())
            .collect::<Result<_, _>>()
            .map_err(|error| SandboxError { step: Step::Cgroup, errno: error.raw_os_error().unwrap_or(0) })?;
        let stdio = self.connect(limits, true, shared, poll, key)?;
        self.stages += 1;
        self.state = State::Gating(Gating { ready: false, forked: None, known: false });
        let order = Order {
            landlock_abi: shared.landlock_abi,
            clone_into,
            ask: shared.filters.ask,
            rlimits: rlimits(&limits, 0),
            seal: shared.filters.seal.clone(),
        };
        Ok((order, OrderFds { stdio, namespaces, cgroup }))
    }

    /// Ends it for an error of its template's or of ours.
    pub fn fork_failed(&mut self, error: SandboxError) {
        self.fail(error);
    }

    /// A message of the gate: it stands, it compiled, or a fork's pid.
    pub(super) fn gate_said(&mut self, message: &[u8], listener: Vec<OwnedFd>, poll: &Poll, key: u32) {
        match (self.state, message) {
            (State::Gating(gating), [READY]) => self.gating(Gating { ready: true, ..gating }),
            (State::Gating(gating @ Gating { forked: None, known: false, .. }), [FORKED, pid @ ..])
                if pid.len() == 4 =>
            {
                let pid = u32::from_le_bytes([pid[0], pid[1], pid[2], pid[3]]);
                self.listening.fork(listener, poll, key);
                self.state = State::Gating(Gating { forked: Some(pid), ..gating });
            }
            (State::Gating(gating @ Gating { forked: Some(pid), known: false, .. }), [ALONE]) => {
                self.state = State::Gating(Gating { forked: None, ..gating });
                let told = send_frame(&self.made.control, &Request::Adopt { pid }.encode(), &[]);
                if let Err(errno) = told {
                    self.fail(at(Step::Protocol)(errno));
                }
            }
            (State::Running, [COMPILED, exit_code, text @ ..]) => {
                let text = String::from_utf8_lossy(text).replace('\0', "\u{FFFD}");
                self.say(Event::Compiled { id: self.id, exit_code: *exit_code, text });
            }
            // It was killed in the middle of a word.
            (State::Killed | State::Spent | State::Dying | State::Gone, _) => {}
            _ => self.fail(SandboxError { step: Step::Gate, errno: 0 }),
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
