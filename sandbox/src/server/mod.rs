//! The spawner's one loop: clients, sandboxes, clocks. Single-threaded; nothing in it waits for anything but `epoll`.

mod client;
mod epoll;
mod make;
mod net;
mod sandbox;
mod seats;
mod stage;
mod template;

use std::collections::HashMap;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use crankcase_sandbox::outcome::{SandboxError, Step};
use crankcase_sandbox::spec::{SandboxSpec, TemplateSpec};
use crankcase_sandbox::wire::{Event, Request, SandboxId, VERSION};
use nix::errno::Errno;
use nix::sys::socket::{SockFlag, accept4, getsockopt, sockopt};

use crate::cgroup;
use crate::notify::Notifier;
use crate::seccomp::Filters;
use client::Client;
use epoll::{Poll, Token};
use sandbox::Sandbox;
use seats::Seats;
use template::{Place, Template};

/// How often running stages are looked at: for a limit that the kernel reports by a counter alone.
const TICK: Duration = Duration::from_millis(50);
/// Connections at once: the daemon, a second one that takes over, `crankcase run` beside them.
const CLIENTS_MAX: usize = 16;
/// How long an orderly end may take.
const END_DEADLINE: Duration = Duration::from_secs(5);

/// What the spawner was started with.
pub struct Settings {
    /// Uids that may connect, besides root.
    pub client_uid: u32,
    /// The first of the host uids (and gids) given to sandboxes.
    pub uid_base: u32,
    /// Sandboxes alive at once; each has an own uid from `uid_base` on.
    pub sandboxes_max: u32,
    /// The host name inside.
    pub hostname: String,
}

/// What every sandbox is made from.
pub struct Shared {
    settings: Settings,
    filters: Filters,
    landlock_abi: u8,
    cgroups: cgroup::Parent,
    /// The host's procfs, for uid and gid maps.
    proc: OwnedFd,
    /// Network namespaces to be used again.
    nets: net::Stock,
    seats: Seats,
}

/// Everything the loop holds.
pub struct Server {
    shared: Shared,
    poll: Poll,
    listener: OwnedFd,
    clients: HashMap<u32, Client>,
    sandboxes: HashMap<u32, Sandbox>,
    templates: HashMap<u32, Template>,
    names: HashMap<(u32, SandboxId), u32>,
    free_slots: Vec<u32>,
    next_key: u32,
}

impl Server {
    /// Ready to serve; `lifeline`, where given, ends the spawner when its other end closes.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn new(
        settings: Settings,
        filters: Filters,
        landlock_abi: u8,
        cgroups: cgroup::Parent,
        proc: OwnedFd,
        listener: OwnedFd,
        lifeline: Option<&OwnedFd>,
    ) -> Result<Self, Errno> {
        let seats = Seats::new()?;
        let poll = Poll::new()?;
        poll.add(listener.as_fd(), Token::Listener)?;
        poll.add_signals()?;
        if let Some(lifeline) = lifeline {
            poll.add_hang_up(lifeline.as_fd(), Token::Lifeline)?;
        }
        // Highest first, so that the lowest are taken first.
        let free_slots = (0..settings.sandboxes_max).rev().collect();
        Ok(Self {
            shared: Shared { settings, filters, landlock_abi, cgroups, proc, nets: net::Stock::default(), seats },
            poll,
            listener,
            clients: HashMap::new(),
            sandboxes: HashMap::new(),
            templates: HashMap::new(),
            names: HashMap::new(),
            free_slots,
            next_key: 1,
        })
    }

    /// Serves until a termination signal or the end of the lifeline, then ends every sandbox.
    ///
    /// # Errors
    /// The kernel's errno, from `epoll` alone.
    pub fn run(&mut self, notifier: &mut Notifier) -> Result<(), Errno> {
        loop {
            let due = [self.timeout(), notifier.alive()].into_iter().flatten().min();
            for token in self.poll.wait(due)? {
                match token {
                    Token::Lifeline | Token::Signal => return self.end(),
                    Token::Listener => self.accept(),
                    Token::Client(key) => self.serve_client(key),
                    token => self.serve_sandbox(token),
                }
            }
            self.tick();
        }
    }

    /// Until something is due: a clock of a running stage, a retry.
    fn timeout(&self) -> Option<Duration> {
        let now = Instant::now();
        self.sandboxes
            .values()
            .filter_map(|sandbox| sandbox.due(now))
            .chain(self.templates.values().filter_map(Template::due))
            .map(|due| due.saturating_duration_since(now))
            .min()
    }

    fn tick(&mut self) {
        let now = Instant::now();
        let due: Vec<u32> = self
            .sandboxes
            .iter()
            .filter(|(_, sandbox)| sandbox.due(now).is_some_and(|due| due <= now))
            .map(|(key, _)| *key)
            .collect();
        for key in due {
            if let Some(sandbox) = self.sandboxes.get_mut(&key) {
                sandbox.tick(now, &self.shared);
            }
            self.settle(key);
        }
        let due = self.templates.iter().filter(|(_, template)| template.due().is_some_and(|due| due <= now));
        for key in due.map(|(key, _)| *key).collect::<Vec<_>>() {
            if let Some(template) = self.templates.get_mut(&key) {
                template.tick(&self.shared);
            }
            self.settle_template(key);
        }
    }

    fn accept(&mut self) {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let Ok(fd) = accept4(self.listener.as_raw_fd(), flags) else { return };
        let Ok(fd) = crankcase_sandbox::sys::inherited_fd(fd) else { return };
        let peer = getsockopt(&fd, sockopt::PeerCredentials);
        let known = peer.is_ok_and(|peer| peer.uid() == 0 || peer.uid() == self.shared.settings.client_uid);
        if !known || self.clients.len() >= CLIENTS_MAX {
            eprintln!("crankcase-spawner: refused a connection: {}", if known { "too many" } else { "unknown uid" });
            return;
        }
        let key = self.new_key();
        if self.poll.add(fd.as_fd(), Token::Client(key)).is_ok() {
            self.clients.insert(key, Client::new(fd));
        }
    }

    fn new_key(&mut self) -> u32 {
        // Keys are reused after 2^32 of them; by then the first ones are long gone, and a live one is skipped.
        loop {
            let key = self.next_key;
            self.next_key = self.next_key.wrapping_add(1);
            if ![self.clients.contains_key(&key), self.sandboxes.contains_key(&key), self.templates.contains_key(&key)]
                .contains(&true)
            {
                return key;
            }
        }
    }

    fn serve_client(&mut self, key: u32) {
        loop {
            let Some(client) = self.clients.get_mut(&key) else { return };
            match client.receive() {
                Ok(Some((request, fds))) => {
                    if let Err(reason) = self.request(key, request, fds) {
                        eprintln!("crankcase-spawner: closing a connection: {reason}");
                        return self.drop_client(key);
                    }
                }
                Ok(None) => break,
                Err(reason) => {
                    if let Some(reason) = reason {
                        eprintln!("crankcase-spawner: closing a connection: {reason}");
                    }
                    return self.drop_client(key);
                }
            }
        }
        let flushed = self.clients.get_mut(&key).is_none_or(|client| client.flush(&self.poll, key));
        if !flushed {
            self.drop_client(key);
        }
    }

    /// The table of what is permitted when; an error closes the connection.
    fn request(&mut self, client: u32, request: Request, fds: Vec<OwnedFd>) -> Result<(), &'static str> {
        let greeted = self.clients.get(&client).is_some_and(|c| c.greeted);
        let wants_fd = matches!(request, Request::Write { .. });
        let fd = match (wants_fd, <[OwnedFd; 1]>::try_from(fds)) {
            (true, Ok([fd])) => Some(fd),
            (false, Err(fds)) if fds.is_empty() => None,
            _ => return Err("a frame with the wrong descriptors"),
        };
        match (greeted, request) {
            (false, Request::Hello { version: VERSION }) => {
                if let Some(client) = self.clients.get_mut(&client) {
                    client.greeted = true;
                }
                let welcome = Event::Welcome {
                    version: VERSION,
                    cgroup_version: self.shared.cgroups.version(),
                    landlock_abi: self.shared.landlock_abi,
                    sandboxes_max: self.shared.settings.sandboxes_max,
                    memory_cgroup: self.shared.cgroups.memory_directory().display().to_string(),
                };
                self.tell(client, &welcome, Vec::new());
            }
            (false, _) => return Err("no hello of our version came first"),
            (true, Request::Hello { .. }) => return Err("a second hello"),
            (true, Request::Create { id, spec, background }) => {
                if self.names.contains_key(&(client, id)) {
                    return Err("a sandbox id that is in use");
                }
                self.create(client, id, &spec, background);
            }
            (true, Request::CreateTemplate { id, spec }) => {
                if self.names.contains_key(&(client, id)) {
                    return Err("a sandbox id that is in use");
                }
                self.create_template(client, id, spec);
            }
            (true, Request::Adopt { .. } | Request::Agree) => return Err("a frame that is not the daemon's to send"),
            (true, request) => {
                let id = match &request {
                    Request::Write { id }
                    | Request::Read { id, .. }
                    | Request::Load { id, .. }
                    | Request::Fork { id, .. }
                    | Request::Start { id }
                    | Request::Kill { id, .. }
                    | Request::Destroy { id }
                    | Request::Create { id, .. } => *id,
                    Request::Hello { .. } | Request::Adopt { .. } | Request::Agree | Request::CreateTemplate { .. } => {
                        return Err("a second hello");
                    }
                };
                let Some(&key) = self.names.get(&(client, id)) else {
                    // Of a sandbox that could not be made nothing is left, which is what was asked for. What was sent ahead for
                    // it has had its answer by that.
                    if matches!(request, Request::Destroy { .. }) {
                        self.tell(client, &Event::Destroyed { id }, Vec::new());
                    }
                    return Ok(());
                };
                match (self.sandboxes.get_mut(&key), self.templates.get_mut(&key), request) {
                    (Some(sandbox), _, request) => {
                        if let Some((request, fd)) = sandbox.put_ahead(request, fd) {
                            self.act(key, request, fd);
                        }
                    }
                    (_, Some(template), Request::Destroy { .. }) => template.destroy(&self.shared),
                    _ => return Err("a request that templates do not know"),
                }
                self.settle(key);
                self.settle_template(key);
            }
        }
        Ok(())
    }

    /// Does what is asked of a sandbox.
    fn act(&mut self, key: u32, request: Request, fd: Option<OwnedFd>) {
        let Some(sandbox) = self.sandboxes.get_mut(&key) else { return };
        if let Request::Fork { template, limits, .. } = request {
            let template = self.names.get(&(sandbox.client, template)).and_then(|key| self.templates.get(key));
            sandbox.fork(template, limits, &self.shared, &self.poll, key);
        } else {
            sandbox.request(request, fd, &self.shared, &self.poll, key);
        }
    }

    fn create_template(&mut self, client: u32, id: SandboxId, spec: TemplateSpec) {
        let key = self.new_key();
        let started = match self.free_slots.pop() {
            None => Err(SandboxError { step: Step::Capacity, errno: 0 }),
            Some(slot) => {
                let place = Place { client, id, key, slot };
                Template::start(&self.shared, &self.poll, &place, spec).inspect_err(|_| self.free_slots.push(slot))
            }
        };
        match started {
            Ok(template) => {
                self.templates.insert(key, template);
                self.names.insert((client, id), key);
            }
            Err(error) => self.tell(client, &Event::Failed { id, error }, Vec::new()),
        }
    }

    fn create(&mut self, client: u32, id: SandboxId, spec: &SandboxSpec, background: bool) {
        let key = self.new_key();
        let made = match self.free_slots.pop() {
            None => Err(SandboxError { step: Step::Capacity, errno: 0 }),
            Some(slot) => make::make(&self.shared, &self.poll, key, slot, spec, background).inspect_err(|_| {
                self.free_slots.push(slot);
            }),
        };
        match made {
            Ok(made) => {
                self.sandboxes.insert(key, Sandbox::new(client, id, made, background));
                self.names.insert((client, id), key);
            }
            // Nothing was kept, so the name is free again.
            Err(error) => self.tell(client, &Event::Failed { id, error }, Vec::new()),
        }
    }

    fn serve_sandbox(&mut self, token: Token) {
        let (Token::Control(key) | Token::Init(key) | Token::Go(key) | Token::Ask(key)) = token else { return };
        if let Some(sandbox) = self.sandboxes.get_mut(&key) {
            match token {
                Token::Control(_) => sandbox.control_ready(&self.shared, &self.poll, key),
                Token::Init(_) => sandbox.init_died(&self.shared, &self.poll, key),
                Token::Ask(_) => sandbox.asked(&self.poll),
                _ => sandbox.go_ready(&self.poll, key),
            }
            self.settle(key);
        } else if let Some(template) = self.templates.get_mut(&key) {
            match token {
                Token::Init(_) => template.died(&self.shared, &self.poll),
                _ => template.gate_ready(&self.poll),
            }
            self.settle_template(key);
        }
    }

    /// As [`Server::settle`], a template.
    fn settle_template(&mut self, key: u32) {
        let Some(template) = self.templates.get_mut(&key) else { return };
        let client = template.client;
        for event in template.take_events() {
            self.tell(client, &event, Vec::new());
        }
        if let Some(template) = self.templates.get(&key)
            && template.is_gone()
        {
            let (name, slot) = ((template.client, template.id), template.slot);
            self.templates.remove(&key);
            self.names.remove(&name);
            self.free_slots.push(slot);
        }
    }

    /// Does what a sandbox was asked ahead of time, sends what it has to say, and forgets it once it is gone.
    fn settle(&mut self, key: u32) {
        while let Some((request, fd)) = self.sandboxes.get_mut(&key).and_then(Sandbox::take_ahead) {
            self.act(key, request, fd);
        }
        let Some(sandbox) = self.sandboxes.get_mut(&key) else { return };
        let client = sandbox.client;
        for (event, fds) in sandbox.take_events() {
            self.tell(client, &event, fds);
        }
        if let Some(sandbox) = self.sandboxes.get(&key)
            && sandbox.is_gone()
        {
            let (name, slot) = ((sandbox.client, sandbox.id), sandbox.slot);
            self.sandboxes.remove(&key);
            self.names.remove(&name);
            self.free_slots.push(slot);
        }
    }

    fn tell(&mut self, key: u32, event: &Event, fds: Vec<OwnedFd>) {
        let Some(client) = self.clients.get_mut(&key) else { return };
        if !client.send(event, fds) || !client.flush(&self.poll, key) {
            self.drop_client(key);
        }
    }

    /// Ends every sandbox of a client that is gone.
    fn drop_client(&mut self, key: u32) {
        if self.clients.remove(&key).is_none() {
            return;
        }
        let orphans: Vec<u32> =
            self.sandboxes.iter().filter(|(_, sandbox)| sandbox.client == key).map(|(key, _)| *key).collect();
        for orphan in orphans {
            if let Some(sandbox) = self.sandboxes.get_mut(&orphan) {
                sandbox.destroy(&self.shared);
            }
            self.settle(orphan);
        }
        let orphans: Vec<u32> =
            self.templates.iter().filter(|(_, template)| template.client == key).map(|(key, _)| *key).collect();
        for orphan in orphans {
            if let Some(template) = self.templates.get_mut(&orphan) {
                template.destroy(&self.shared);
            }
            self.settle_template(orphan);
        }
    }

    /// Kills all, waits for all to be gone, removes the cgroups.
    fn end(&mut self) -> Result<(), Errno> {
        let clients: Vec<u32> = self.clients.keys().copied().collect();
        clients.into_iter().for_each(|key| self.drop_client(key));
        let deadline = Instant::now() + END_DEADLINE;
        while !(self.sandboxes.is_empty() && self.templates.is_empty()) && Instant::now() < deadline {
            for token in self.poll.wait(Some(TICK))? {
                self.serve_sandbox(token);
            }
            self.tick();
        }
        self.shared.cgroups.remove();
        Ok(())
    }
}
