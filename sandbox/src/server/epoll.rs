//! What the loop waits for, by name.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// Who is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    /// A connection waits.
    Listener,
    /// The other end of the lifeline closed.
    Lifeline,
    /// SIGTERM or SIGINT.
    Signal,
    /// A client's socket.
    Client(u32),
    /// A sandbox's control socket.
    Control(u32),
    /// A sandbox's init is dead.
    Init(u32),
    /// A payload's go socket.
    Go(u32),
    /// Somebody in a sandbox asks for an IP socket.
    Ask(u32),
}

impl Token {
    fn encode(self) -> u64 {
        let (kind, key) = match self {
            Self::Listener => (0_u64, 0),
            Self::Lifeline => (1, 0),
            Self::Signal => (2, 0),
            Self::Client(key) => (3, key),
            Self::Control(key) => (4, key),
            Self::Init(key) => (5, key),
            Self::Go(key) => (6, key),
            Self::Ask(key) => (7, key),
        };
        kind << 32 | u64::from(key)
    }

    fn decode(data: u64) -> Self {
        let key = u32::try_from(data & u64::from(u32::MAX)).unwrap_or(0);
        match data >> 32 {
            0 => Self::Listener,
            1 => Self::Lifeline,
            2 => Self::Signal,
            3 => Self::Client(key),
            4 => Self::Control(key),
            5 => Self::Init(key),
            6 => Self::Go(key),
            _ => Self::Ask(key),
        }
    }
}

/// An epoll instance and the signals that go through it.
pub struct Poll {
    epoll: Epoll,
    signals: SignalFd,
}

impl Poll {
    pub fn new() -> Result<Self, Errno> {
        let mut wanted = SigSet::empty();
        wanted.add(Signal::SIGTERM);
        wanted.add(Signal::SIGINT);
        wanted.thread_block()?;
        let signals = SignalFd::with_flags(&wanted, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Self { epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?, signals })
    }

    pub fn add_signals(&self) -> Result<(), Errno> {
        self.add(self.signals.as_fd(), Token::Signal)
    }

    pub fn add(&self, fd: BorrowedFd<'_>, token: Token) -> Result<(), Errno> {
        self.epoll.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, token.encode()))
    }

    /// Wakes only when the other end is closed; always reported, whatever is asked for.
    pub fn add_hang_up(&self, fd: BorrowedFd<'_>, token: Token) -> Result<(), Errno> {
        self.epoll.add(fd, EpollEvent::new(EpollFlags::empty(), token.encode()))
    }

    /// Also wakes when there is room to write.
    pub fn want_write(&self, fd: BorrowedFd<'_>, token: Token, wanted: bool) -> Result<(), Errno> {
        let write = if wanted { EpollFlags::EPOLLOUT } else { EpollFlags::empty() };
        self.epoll.modify(fd, &mut EpollEvent::new(EpollFlags::EPOLLIN | write, token.encode()))
    }

    pub fn remove(&self, fd: BorrowedFd<'_>) {
        let _ = self.epoll.delete(fd);
    }

    /// Who is ready; nobody when the time is up.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<Vec<Token>, Errno> {
        // Rounded up: waking before the time is due would spin.
        let timeout = timeout.map_or(EpollTimeout::NONE, |t| {
            EpollTimeout::try_from(t + Duration::from_micros(999)).unwrap_or(EpollTimeout::MAX)
        });
        let mut events = [EpollEvent::empty(); 64];
        match self.epoll.wait(&mut events, timeout) {
            Err(Errno::EINTR) => Ok(Vec::new()),
            Ok(count) => Ok(events[..count].iter().map(|event| Token::decode(event.data())).collect()),
            Err(errno) => Err(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back() {
        for token in [
            Token::Listener,
            Token::Lifeline,
            Token::Signal,
            Token::Client(7),
            Token::Control(u32::MAX),
            Token::Init(0),
            Token::Go(9),
            Token::Ask(3),
        ] {
            assert_eq!(Token::decode(token.encode()), token);
        }
    }
}
