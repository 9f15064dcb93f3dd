//! One sandbox as the spawner sees it: a state, an init, a cgroup a stage.

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use crankcase_sandbox::outcome::{Exit, SandboxError, Step};
use crankcase_sandbox::socket::send_frame;
use crankcase_sandbox::spec::{StageCommand, StageLimits};
use crankcase_sandbox::wire::{Event, Request, SandboxId};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};
use nix::sys::wait::waitpid;
use nix::unistd::{Gid, Uid, fchown, pipe2};

use super::Shared;
use super::epoll::{Poll, Token};
use super::make::{self, Made};
use super::stage::{Cause, Ended, Stage};
use crate::cgroup::{Leaf, Usage};
use crate::init::{REPORT_BYTES, Report};
use crankcase_sandbox::sys;

/// How soon to try again to remove a cgroup whose last process is still being taken down.
const RETRY: Duration = Duration::from_millis(5);
/// Processes in the cgroup that are not the program's: init.
const OURS: u64 = 1;

/// Where a sandbox stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// init confines itself.
    Creating,
    /// Nothing runs; a stage may be loaded.
    Idle,
    /// init writes files; with a payload loaded or not.
    Writing { loaded: bool },
    /// init forks the payload.
    Loading,
    /// The payload waits for go.
    Loaded,
    /// The payload runs.
    Running,
    /// We killed it; init is not yet dead.
    Killed,
    /// It failed or was killed; only `Destroy` is left.
    Spent,
    /// It is being removed.
    Dying,
    /// Nothing is left of it.
    Gone,
}

/// A sandbox.
pub struct Sandbox {
    pub client: u32,
    pub id: SandboxId,
    pub slot: u32,
    made: Made,
    state: State,
    init_alive: bool,
    /// The cgroups of stages after the first, which runs in the one that init was born in.
    later_leaves: Vec<Leaf>,
    stages: u32,
    stage: Option<Stage>,
    events: Vec<(Event, Vec<OwnedFd>)>,
    retry_at: Option<Instant>,
}

impl Sandbox {
    pub fn new(client: u32, id: SandboxId, made: Made) -> Self {
        Self {
            client,
            id,
            slot: made.slot,
            made,
            state: State::Creating,
            init_alive: true,
            later_leaves: Vec::new(),
            stages: 0,
            stage: None,
            events: Vec::new(),
            retry_at: None,
        }
    }

    pub fn take_events(&mut self) -> Vec<(Event, Vec<OwnedFd>)> {
        std::mem::take(&mut self.events)
    }

    pub fn is_gone(&self) -> bool {
        self.state == State::Gone
    }

    fn leaf(&self) -> &Leaf {
        self.later_leaves.last().unwrap_or(&self.made.leaf)
    }

    fn say(&mut self, event: Event) {
        self.events.push((event, Vec::new()));
    }

    /// Reports a failure of ours and ends what runs.
    fn fail(&mut self, error: SandboxError) {
        if matches!(self.state, State::Spent | State::Dying | State::Gone) {
            return;
        }
        self.say(Event::Failed { id: self.id, error });
        self.state = State::Spent;
        self.stage = None;
        sys::pidfd_kill(self.made.pidfd.as_fd());
    }

    /// Does what the state permits; anything else fails the sandbox.
    pub fn request(&mut self, request: Request, fd: Option<OwnedFd>, shared: &Shared, poll: &Poll, key: u32) {
        let result = match (self.state, request, fd) {
            (_, Request::Destroy { .. }, _) => {
                self.destroy(shared);
                Ok(())
            }
            (State::Idle | State::Loaded, Request::Write { id }, Some(pack)) => {
                let loaded = self.state == State::Loaded;
                self.state = State::Writing { loaded };
                self.forward(&Request::Write { id }, &[pack.as_fd()])
            }
            (State::Idle, Request::Load { command, limits, .. }, None) => self.load(command, limits, shared, poll, key),
            (State::Loaded, Request::Start { .. }, None) => self.start(),
            (State::Loaded | State::Running, Request::Kill { reason, .. }, None) => {
                self.kill(Cause::from(reason));
                Ok(())
            }
            // The stage ended while these were under way; the daemon will read of it.
            (State::Idle | State::Killed | State::Spent | State::Dying, Request::Kill { .. }, None)
            | (State::Killed | State::Spent | State::Dying, _, _) => Ok(()),
            _ => Err(SandboxError { step: Step::State, errno: 0 }),
        };
        if let Err(error) = result {
            self.fail(error);
        }
    }

    fn forward(&self, request: &Request, fds: &[BorrowedFd<'_>]) -> Result<(), SandboxError> {
        send_frame(&self.made.control, &request.encode(), fds).map_err(at(Step::Protocol))
    }

    fn load(
        &mut self,
        command: StageCommand,
        limits: StageLimits,
        shared: &Shared,
        poll: &Poll,
        key: u32,
    ) -> Result<(), SandboxError> {
        if self.stages > 0 {
            // An own cgroup, so that neither peak memory nor a limit of the stage before counts against this one.
            let leaf = shared.cgroups.leaf(&format!("s{key}.{}", self.stages)).map_err(at(Step::Cgroup))?;
            self.later_leaves.push(leaf);
        }
        self.leaf().limit(&limits, OURS).map_err(at(Step::Cgroup))?;
        let owner = shared.settings.uid_base + self.slot;
        let pipe = || pipe2(OFlag::O_CLOEXEC).map_err(at(Step::Pipe));
        let ((stdin_read, stdin_write), (stdout_read, stdout_write), (stderr_read, stderr_write)) =
            (pipe()?, pipe()?, pipe()?);
        for end in [&stdin_read, &stdout_write, &stderr_write] {
            // Else a program could not open /proc/self/fd/1 or /dev/stdout again.
            fchown(end, Some(Uid::from_raw(owner)), Some(Gid::from_raw(owner))).map_err(at(Step::Pipe))?;
        }
        let (go, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
            .map_err(at(Step::Protocol))?;
        poll.add(go.as_fd(), Token::Go(key)).map_err(at(Step::Protocol))?;
        let fds = [&theirs, &stdin_read, &stdout_write, &stderr_write].map(|fd| fd.as_fd());
        self.forward(&Request::Load { id: self.id, command, limits }, &fds)?;
        self.stage = Some(Stage::new(limits, go, vec![stdin_write, stdout_read, stderr_read]));
        self.stages += 1;
        self.state = State::Loading;
        Ok(())
    }

    /// The payload is forked: into its cgroup, if that is not the one it was born in, and tell the daemon.
    fn loaded(&mut self) -> Result<(), SandboxError> {
        if let Some(leaf) = self.later_leaves.last() {
            for pid in self.made.leaf.processes().map_err(at(Step::Attach))? {
                if pid != self.made.pid {
                    leaf.attach(pid).map_err(at(Step::Attach))?;
                }
            }
        }
        let stage = self.stage.as_mut().ok_or(SandboxError { step: Step::Protocol, errno: 0 })?;
        let stdio = std::mem::take(&mut stage.stdio);
        self.events.push((Event::Loaded { id: self.id }, stdio));
        self.state = State::Loaded;
        Ok(())
    }

    fn start(&mut self) -> Result<(), SandboxError> {
        let base = self.leaf().usage().map_err(at(Step::Cgroup))?;
        let stage = self.stage.as_mut().ok_or(SandboxError { step: Step::State, errno: 0 })?;
        let go = stage.go.as_ref().ok_or(SandboxError { step: Step::State, errno: 0 })?;
        send(go.as_raw_fd(), b"g", MsgFlags::MSG_NOSIGNAL).map_err(at(Step::Protocol))?;
        stage.start(Instant::now(), base);
        self.state = State::Running;
        Ok(())
    }

    fn kill(&mut self, cause: Cause) {
        if let Some(stage) = self.stage.as_mut() {
            stage.cause.get_or_insert(cause);
        }
        self.state = State::Killed;
        // init's death is the death of everything in its pid namespace.
        sys::pidfd_kill(self.made.pidfd.as_fd());
    }

    /// Ends it whatever it does.
    pub fn destroy(&mut self, shared: &Shared) {
        if matches!(self.state, State::Dying | State::Gone) {
            return;
        }
        self.state = State::Dying;
        self.stage = None;
        if self.init_alive {
            sys::pidfd_kill(self.made.pidfd.as_fd());
        } else {
            self.remove(shared);
        }
    }

    /// init wrote a record or closed its socket.
    pub fn control_ready(&mut self, shared: &Shared, poll: &Poll) {
        loop {
            let mut record = [0_u8; REPORT_BYTES];
            match recv(self.made.control.as_raw_fd(), &mut record, MsgFlags::MSG_DONTWAIT) {
                Err(Errno::EAGAIN | Errno::EINTR) => return,
                // Its death is told by the pidfd.
                Ok(0) | Err(_) => return poll.remove(self.made.control.as_fd()),
                Ok(length) => match Report::decode(&record[..length]) {
                    Some(report) => self.report(report, shared, poll),
                    None => self.fail(SandboxError { step: Step::Protocol, errno: 0 }),
                },
            }
        }
    }

    fn report(&mut self, report: Report, shared: &Shared, poll: &Poll) {
        let id = self.id;
        match (self.state, report) {
            (State::Killed | State::Spent | State::Dying | State::Gone, _) => {}
            (State::Creating, Report::NeedsMap) => {
                if let Err(error) = make::map_ids(shared, &self.made) {
                    self.fail(error);
                }
            }
            (State::Creating, Report::Ready) => {
                self.state = State::Idle;
                self.say(Event::Created { id });
            }
            (State::Writing { loaded }, Report::Written) => {
                self.state = if loaded { State::Loaded } else { State::Idle };
                self.say(Event::Written { id });
            }
            (State::Loading, Report::Forked) => {
                if let Err(error) = self.loaded() {
                    self.fail(error);
                }
            }
            (State::Loading | State::Loaded | State::Running, Report::Ended { exited, status, box_full }) => {
                let exit = if exited { Exit::Code(status) } else { Exit::Signal(status) };
                // A failure between fork and execve may still lie in the go socket.
                self.go_ready(poll);
                self.ended(Ended { exit, box_full });
            }
            (_, Report::Failed(error)) => self.fail(error),
            _ => self.fail(SandboxError { step: Step::Protocol, errno: 0 }),
        }
    }

    /// The payload executed (end of file) or says why it could not.
    pub fn go_ready(&mut self, poll: &Poll) {
        let Some(go) = self.stage.as_ref().and_then(|stage| stage.go.as_ref()) else { return };
        let mut record = [0_u8; REPORT_BYTES];
        let answer = recv(go.as_raw_fd(), &mut record, MsgFlags::MSG_DONTWAIT);
        if matches!(answer, Err(Errno::EAGAIN | Errno::EINTR)) {
            return;
        }
        poll.remove(go.as_fd());
        if let Some(stage) = self.stage.as_mut() {
            stage.go = None;
        }
        if let Ok(length @ 1..) = answer {
            match Report::decode(&record[..length]) {
                Some(Report::Failed(error)) => self.fail(error),
                _ => self.fail(SandboxError { step: Step::Protocol, errno: 0 }),
            }
        }
    }

    fn ended(&mut self, ended: Ended) {
        let Some(stage) = self.stage.take() else { return };
        if !stage.is_started() && stage.cause.is_none() {
            return self.fail(SandboxError { step: Step::Exec, errno: 0 });
        }
        let (usage, peak) = self.counters();
        let outcome = stage.outcome(Instant::now(), ended, usage, peak);
        self.state = if self.init_alive { State::Idle } else { State::Spent };
        self.say(Event::Ended { id: self.id, outcome });
    }

    fn counters(&self) -> (Usage, u64) {
        (self.leaf().usage().unwrap_or_default(), self.leaf().peak_memory().unwrap_or_default())
    }

    /// The pidfd says that init, and so everything in the sandbox, is dead.
    pub fn init_died(&mut self, shared: &Shared, poll: &Poll) {
        self.control_ready(shared, poll);
        poll.remove(self.made.pidfd.as_fd());
        poll.remove(self.made.control.as_fd());
        let _ = waitpid(self.made.pid, None);
        self.init_alive = false;
        match self.state {
            State::Dying => self.remove(shared),
            State::Spent | State::Gone => {}
            State::Killed => self.ended(Ended { exit: Exit::Signal(9), box_full: false }),
            // With memory.oom.group the OOM killer takes init along.
            State::Running if self.counters().0.oom_kills > 0 => {
                self.ended(Ended { exit: Exit::Signal(9), box_full: false });
            }
            _ => self.fail(SandboxError { step: Step::InitDied, errno: 0 }),
        }
    }

    /// Removes the cgroups; nothing else outlives the processes.
    fn remove(&mut self, shared: &Shared) {
        let busy =
            self.later_leaves.iter().chain([&self.made.leaf]).any(|leaf| match shared.cgroups.remove_leaf(leaf) {
                Ok(()) => false,
                Err(_) => {
                    leaf.kill();
                    true
                }
            });
        if busy {
            self.retry_at = Some(Instant::now() + RETRY);
            return;
        }
        self.retry_at = None;
        self.state = State::Gone;
        self.say(Event::Destroyed { id: self.id });
    }

    /// When it wants to be looked at next.
    pub fn due(&self, _now: Instant) -> Option<Instant> {
        match self.state {
            State::Running => self.stage.as_ref().and_then(Stage::due),
            State::Dying => self.retry_at,
            _ => None,
        }
    }

    /// Looks at clocks and counters.
    pub fn tick(&mut self, now: Instant, shared: &Shared) {
        match self.state {
            State::Dying => self.remove(shared),
            State::Running => {
                let usage = self.leaf().usage().ok();
                if let Some(limit) = self.stage.as_mut().and_then(|stage| stage.look(now, || usage)) {
                    self.kill(Cause::Limit(limit));
                }
            }
            _ => {}
        }
    }
}

fn at(step: Step) -> impl Fn(Errno) -> SandboxError {
    move |errno| SandboxError { step, errno: errno as i32 }
}
