//! Whether anybody in a sandbox ever asked for an IP socket; see [`super::super::net`] for why that matters.
//!
//! Two filters may ask: that of init and what it starts, and that of a template's fork and what that starts. The first
//! question is enough. It is not answered here: both listeners go to init, which agrees to everything, so that a program
//! that asks without end keeps its own sandbox busy and not the spawner.

use std::os::fd::{AsFd as _, OwnedFd};

use crankcase_sandbox::socket::send_frame;
use crankcase_sandbox::wire::Request;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll as poll_fds};

use super::super::epoll::{Poll, Token};

#[derive(Default)]
pub struct Listening {
    listeners: Vec<OwnedFd>,
    /// init's filter asks us.
    init: bool,
    /// Somebody asked, or might have where nobody listened.
    asked: bool,
}

impl Listening {
    /// With init's first words comes the listener of its filter, where that asks.
    pub fn init(&mut self, listener: Vec<OwnedFd>, poll: &Poll, key: u32) {
        self.init = self.add(listener, poll, key);
    }

    /// The same with a fork's first words.
    pub fn fork(&mut self, listener: Vec<OwnedFd>, poll: &Poll, key: u32) {
        self.asked |= !self.add(listener, poll, key);
    }

    fn add(&mut self, listener: Vec<OwnedFd>, poll: &Poll, key: u32) -> bool {
        let Ok([listener]) = <[OwnedFd; 1]>::try_from(listener) else { return false };
        let listens = poll.add(listener.as_fd(), Token::Ask(key)).is_ok();
        self.listeners.push(listener);
        listens
    }

    /// A listener has a question, or nobody is left who could ask it.
    pub fn asked(&mut self, control: &OwnedFd, poll: &Poll) -> Result<(), Errno> {
        let mut ready: Vec<PollFd<'_>> =
            self.listeners.iter().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)).collect();
        poll_fds(&mut ready, PollTimeout::ZERO)?;
        let ready: Vec<PollFlags> = ready.iter().map(|fd| fd.revents().unwrap_or(PollFlags::POLLIN)).collect();
        if ready.iter().any(|ready| ready.contains(PollFlags::POLLIN)) {
            self.asked = true;
            for listener in std::mem::take(&mut self.listeners) {
                poll.remove(listener.as_fd());
                send_frame(control, &Request::Agree.encode(), &[listener.as_fd()])?;
            }
            return Ok(());
        }
        let mut ready = ready.iter();
        self.listeners.retain(|listener| {
            let gone = ready.next().is_some_and(|ready| !ready.is_empty());
            if gone {
                poll.remove(listener.as_fd());
            }
            !gone
        });
        Ok(())
    }

    /// Every process is dead. Whether we listened all the time and were never asked.
    pub fn end(&mut self) -> bool {
        self.listeners.clear();
        self.init && !self.asked
    }
}
