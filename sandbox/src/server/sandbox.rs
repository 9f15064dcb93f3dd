//! One sandbox as the spawner sees it: a state, an init, a cgroup a stage.

mod gate;
mod listening;

use std::collections::VecDeque;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use crankcase_sandbox::fork::GO;
use crankcase_sandbox::outcome::{Exit, SandboxError, Step};
use crankcase_sandbox::report::{REPORT_BYTES, Report};
use crankcase_sandbox::socket::{Received, receive_frame, receive_sized, send_frame};
use crankcase_sandbox::spec::{StageCommand, StageLimits};
use crankcase_sandbox::wire::{Event, GATE_MESSAGE_BYTES_MAX, Request, SandboxId};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, send, socketpair};
use nix::sys::wait::waitpid;
use nix::unistd::{Gid, Uid, fchown, pipe2};

use super::Shared;
use super::epoll::{Poll, Token};
use super::make::{self, Made};
use super::stage::{Cause, Ended, Stage};
use crate::cgroup::{Leaf, Usage};
use crankcase_sandbox::sys;
use listening::Listening;

/// How soon to try again to remove a cgroup whose last process is still being taken down.
pub(super) const RETRY: Duration = Duration::from_millis(5);
/// Processes in the cgroup that are not the program's: init.
const OURS: u64 = 1;
/// Requests that may wait for the answer to the one before them: files, a payload, its start, and one to spare.
const AHEAD_MAX: usize = 4;

/// Where a sandbox stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// init confines itself.
    Creating,
    /// Nothing runs; a stage may be loaded.
    Idle,
    /// init writes files, with a payload loaded or not.
    Writing { loaded: bool },
    /// init opens a file.
    Reading,
    /// init forks the payload.
    Loading,
    /// The payload, or a template's fork, is on its way to its gate.
    Gating(Gating),
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

/// What is still missing before a gated payload is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Gating {
    /// The gate has said that it stands.
    ready: bool,
    /// A template's fork.
    fork: Fork,
    /// init knows which process the payload is.
    known: bool,
}

/// What is known of a template's fork. init takes it for the payload once it has said who it is and is init's child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fork {
    OnItsWay,
    /// By its pid in the sandbox.
    Named(u32),
    /// The process that made it has ended.
    Alone,
    /// init was told, or the payload is its own.
    Told,
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
    /// Its namespaces, until something runs in it: what a template's fork enters.
    namespaces: Vec<OwnedFd>,
    /// It stands at a low CPU weight.
    background: bool,
    events: Vec<(Event, Vec<OwnedFd>)>,
    /// Requests that came ahead of the answer to the one before them.
    ahead: VecDeque<(Request, Option<OwnedFd>)>,
    retry_at: Option<Instant>,
    /// The first stage's cgroup is removed.
    first_leaf_gone: bool,
    /// Whether programs in it asked for IP sockets.
    listening: Listening,
}

impl Sandbox {
    pub fn new(client: u32, id: SandboxId, made: Made, background: bool) -> Self {
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
            namespaces: Vec::new(),
            background,
            events: Vec::new(),
            ahead: VecDeque::new(),
            retry_at: None,
            first_leaf_gone: false,
            listening: Listening::default(),
        }
    }

    pub fn take_events(&mut self) -> Vec<(Event, Vec<OwnedFd>)> {
        std::mem::take(&mut self.events)
    }

    pub fn is_gone(&self) -> bool {
        self.state == State::Gone
    }

    /// Keeps a request that came ahead of the answer to the one before it, for [`Sandbox::take_ahead`]; others come back.
    pub fn put_ahead(&mut self, request: Request, fd: Option<OwnedFd>) -> Option<(Request, Option<OwnedFd>)> {
        let busy = matches!(
            self.state,
            State::Creating | State::Writing { .. } | State::Reading | State::Loading | State::Gating(_)
        );
        let waits = !matches!(request, Request::Kill { .. } | Request::Destroy { .. });
        if !(busy && waits && self.ahead.len() < AHEAD_MAX) {
            return Some((request, fd));
        }
        self.ahead.push_back((request, fd));
        None
    }

    /// The next of them, once it may be done.
    pub fn take_ahead(&mut self) -> Option<(Request, Option<OwnedFd>)> {
        if matches!(self.state, State::Idle | State::Loaded) { self.ahead.pop_front() } else { None }
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
                // From here on somebody waits for it.
                self.bring_forward();
                self.state = State::Writing { loaded };
                self.forward(&Request::Write { id }, &[pack.as_fd()])
            }
            (State::Idle, Request::Load { command, limits, gate, .. }, None) if !gate || self.stages == 0 => {
                self.load(command, limits, gate, shared, poll, key)
            }
            // Between stages nothing of the program's is alive: what the file is and holds can change no more.
            (State::Idle, Request::Read { id, name }, None) => {
                self.state = State::Reading;
                self.forward(&Request::Read { id, name }, &[])
            }
            (State::Loaded, Request::Start { .. }, None) => self.start(),
            (
                State::Gating(_) | State::Writing { loaded: true } | State::Loaded | State::Running,
                Request::Kill { reason, .. },
                None,
            ) => {
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
        gate: bool,
        shared: &Shared,
        poll: &Poll,
        key: u32,
    ) -> Result<(), SandboxError> {
        let later = self.stages > 0;
        if later {
            // An own cgroup, so that neither peak memory nor a limit of the stage before counts against this one.
            let leaf = shared.cgroups.leaf(&format!("s{key}.{}", self.stages)).map_err(at(Step::Cgroup))?;
            self.later_leaves.push(leaf);
        }
        self.leaf().limit(&limits, OURS).map_err(at(Step::Cgroup))?;
        let theirs = self.connect(limits, gate, shared, poll, key)?;
        // The first one's payload is born where init is.
        let entrances = if later { self.leaf().entrances() } else { &[] };
        let fds: Vec<BorrowedFd<'_>> = theirs.iter().chain(entrances).map(|fd| fd.as_fd()).collect();
        self.forward(&Request::Load { id: self.id, command, limits, gate }, &fds)?;
        self.stages += 1;
        self.state = State::Loading;
        Ok(())
    }

    /// Makes the stage with its pipes and its go socket; what comes back is the payload's: go, stdin, stdout, stderr.
    fn connect(
        &mut self,
        limits: StageLimits,
        gate: bool,
        shared: &Shared,
        poll: &Poll,
        key: u32,
    ) -> Result<[OwnedFd; 4], SandboxError> {
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
        self.stage = Some(Stage::new(limits, gate, go, vec![stdin_write, stdout_read, stderr_read]));
        // Nothing else enters once something runs in it.
        self.namespaces = Vec::new();
        Ok([theirs, stdin_read, stdout_write, stderr_write])
    }

    /// The payload is forked. Without entrances to go through by itself it is moved into its cgroup.
    fn forked(&mut self) -> Result<(), SandboxError> {
        if let Some(leaf) = self.later_leaves.last()
            && !leaf.has_entrances()
        {
            for pid in self.made.leaf.processes().map_err(at(Step::Attach))? {
                if pid != self.made.pid {
                    leaf.attach(pid).map_err(at(Step::Attach))?;
                }
            }
        }
        if self.stage.as_ref().is_some_and(|stage| stage.gate) {
            self.say_go(b'g')?;
            self.state = State::Gating(Gating { ready: false, fork: Fork::Told, known: true });
            return Ok(());
        }
        self.loaded()
    }

    /// Tells the daemon, which gets its ends of the pipes.
    fn loaded(&mut self) -> Result<(), SandboxError> {
        let stage = self.stage.as_mut().ok_or(SandboxError { step: Step::Protocol, errno: 0 })?;
        let stdio = std::mem::take(&mut stage.stdio);
        self.events.push((Event::Loaded { id: self.id }, stdio));
        self.state = State::Loaded;
        Ok(())
    }

    fn start(&mut self) -> Result<(), SandboxError> {
        self.bring_forward();
        let Some(Stage { gate, limits, .. }) = self.stage else {
            return Err(SandboxError { step: Step::State, errno: 0 });
        };
        if gate {
            self.forgive_start(&limits)?;
        }
        let base = self.leaf().usage().map_err(at(Step::Cgroup))?;
        // Taken before: on a busy machine the program may be further than we are once it was let go.
        let now = Instant::now();
        // Whoever does not get the word is dead, and the program has not run.
        self.say_go(if gate { GO } else { b'g' }).map_err(|error| SandboxError { step: Step::Lost, ..error })?;
        if let Some(stage) = self.stage.as_mut() {
            stage.start(now, base);
        }
        self.state = State::Running;
        Ok(())
    }

    fn say_go(&self, word: u8) -> Result<(), SandboxError> {
        let go = self.stage.as_ref().and_then(|stage| stage.go.as_ref());
        let go = go.ok_or(SandboxError { step: Step::State, errno: 0 })?;
        send(go.as_raw_fd(), &[word], MsgFlags::MSG_NOSIGNAL).map(drop).map_err(at(Step::Protocol))
    }

    /// Up to the weight of any other. A failure would only make it slow.
    fn bring_forward(&mut self) {
        if std::mem::take(&mut self.background) {
            let _ = self.made.leaf.weigh(false);
        }
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
    pub fn control_ready(&mut self, shared: &Shared, poll: &Poll, key: u32) {
        loop {
            let mut record = [0_u8; REPORT_BYTES];
            let received = match receive_frame(&self.made.control, &mut record) {
                Err(Errno::EAGAIN | Errno::EINTR) => return,
                // Its death is told by the pidfd.
                Err(_) => return poll.remove(self.made.control.as_fd()),
                Ok(received) if received.length == 0 => return poll.remove(self.made.control.as_fd()),
                Ok(received) => received,
            };
            match Report::decode(&record[..received.length]) {
                Some(Report::File) if self.state == State::Reading && received.fds.len() <= 1 => {
                    // Passed on as it is: to look at it is for those who have less to lose.
                    self.state = State::Idle;
                    self.events.push((Event::File { id: self.id }, received.fds));
                }
                Some(report) => {
                    if report == Report::Ready && self.state == State::Creating {
                        self.listening.init(received.fds, poll, key);
                    }
                    self.report(report, shared, poll, key);
                }
                None => self.fail(SandboxError { step: Step::Protocol, errno: 0 }),
            }
        }
    }

    fn report(&mut self, report: Report, shared: &Shared, poll: &Poll, key: u32) {
        let id = self.id;
        match (self.state, report) {
            (State::Killed | State::Spent | State::Dying | State::Gone, _) => {}
            (State::Creating, Report::NeedsMap) => match make::map_ids(shared, &mut self.made) {
                Ok(namespaces) => self.namespaces = namespaces,
                Err(error) => self.fail(error),
            },
            (State::Creating, Report::Ready) => {
                self.state = State::Idle;
                self.say(Event::Created { id });
            }
            (State::Writing { loaded }, Report::Written) => {
                self.state = if loaded { State::Loaded } else { State::Idle };
                self.say(Event::Written { id });
            }
            (State::Loading, Report::Forked) => {
                if let Err(error) = self.forked() {
                    self.fail(error);
                }
            }
            (State::Gating(gating), Report::Forked) => self.gating(Gating { known: true, ..gating }),
            (
                State::Loading | State::Gating(_) | State::Writing { loaded: true } | State::Loaded | State::Running,
                Report::Ended { exited, status, box_full },
            ) => {
                let exit = if exited { Exit::Code(status) } else { Exit::Signal(status) };
                // A failure between fork and execve may still lie in the go socket.
                self.go_ready(poll, key);
                self.ended(Ended { exit, box_full });
            }
            (_, Report::Failed(error)) => self.fail(error),
            _ => self.fail(SandboxError { step: Step::Protocol, errno: 0 }),
        }
    }

    /// The payload executed (end of file), says why it could not, or its gate speaks.
    pub fn go_ready(&mut self, poll: &Poll, key: u32) {
        while let Some(go) = self.stage.as_ref().and_then(|stage| stage.go.as_ref()) {
            let gate = self.stage.as_ref().is_some_and(|stage| stage.gate);
            match receive_sized(go, if gate { GATE_MESSAGE_BYTES_MAX } else { REPORT_BYTES }) {
                Err(Errno::EAGAIN | Errno::EINTR) => return,
                Ok((record, Received { length: 1.., fds, .. })) => match Report::decode(&record) {
                    Some(Report::Failed(error)) => self.fail(error),
                    None if gate => self.gate_said(&record, fds, poll, key),
                    _ => self.fail(SandboxError { step: Step::Protocol, errno: 0 }),
                },
                closed => {
                    poll.remove(go.as_fd());
                    if let Some(stage) = self.stage.as_mut() {
                        stage.go = None;
                    }
                    // Only who died with a word unread resets the connection (unix(7)).
                    let unread = matches!(closed, Err(Errno::ECONNRESET));
                    let step = match self.state {
                        State::Gating(_) if gate => Step::Gate,
                        State::Loaded | State::Writing { loaded: true } if gate => Step::Lost,
                        State::Running if unread => Step::Lost,
                        _ => return,
                    };
                    self.fail(SandboxError { step, errno: 0 });
                }
            }
        }
    }

    /// Somebody in it wants an IP socket.
    pub fn asked(&mut self, poll: &Poll) {
        if let Err(errno) = self.listening.asked(&self.made.control, poll)
            && self.init_alive
        {
            self.fail(at(Step::Protocol)(errno));
        }
    }

    fn ended(&mut self, ended: Ended) {
        let Some(stage) = self.stage.take() else { return };
        if !stage.is_started() && stage.cause.is_none() {
            let step = match self.state {
                State::Loaded | State::Writing { .. } => Step::Lost,
                _ if stage.gate => Step::Gate,
                _ => Step::Exec,
            };
            return self.fail(SandboxError { step, errno: 0 });
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
    pub fn init_died(&mut self, shared: &Shared, poll: &Poll, key: u32) {
        self.control_ready(shared, poll, key);
        poll.remove(self.made.pidfd.as_fd());
        poll.remove(self.made.control.as_fd());
        let _ = waitpid(self.made.pid, None);
        self.made.born(shared);
        self.init_alive = false;
        let untouched = self.listening.end();
        if let Some(net) = self.made.net.take() {
            shared.nets.give_back(net, untouched);
        }
        // Whether the payload had read its word.
        self.go_ready(poll, key);
        match self.state {
            State::Dying => self.remove(shared),
            State::Spent | State::Gone => {}
            State::Killed => self.ended(Ended { exit: Exit::Signal(9), box_full: false }),
            // With memory.oom.group the OOM killer takes init along.
            State::Running if self.stage.as_ref().is_some_and(|stage| stage.is_out_of_memory(self.counters().0)) => {
                self.ended(Ended { exit: Exit::Signal(9), box_full: false });
            }
            State::Loaded | State::Writing { .. } => self.fail(SandboxError { step: Step::Lost, errno: 0 }),
            State::Idle if self.stages == 0 => self.fail(SandboxError { step: Step::Lost, errno: 0 }),
            _ => self.fail(SandboxError { step: Step::InitDied, errno: 0 }),
        }
    }

    /// Removes the cgroups; nothing else outlives the processes.
    fn remove(&mut self, shared: &Shared) {
        let busy = |leaf: &Leaf| {
            let busy = shared.cgroups.remove_leaf(leaf).is_err();
            if busy {
                leaf.kill();
            }
            busy
        };
        // One that is not ours any more may be another's by the next try.
        self.later_leaves.retain(busy);
        if !self.first_leaf_gone {
            self.first_leaf_gone = !busy(&self.made.leaf);
        }
        if !(self.later_leaves.is_empty() && self.first_leaf_gone) {
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

pub(super) fn at(step: Step) -> impl Fn(Errno) -> SandboxError {
    move |errno| SandboxError { step, errno: errno as i32 }
}
