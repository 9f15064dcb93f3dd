//! Numbers below those of all other descriptors, for the one that a new init keeps.
//!
//! A spawner with a hundred sandboxes has a thousand descriptors. A child that copied its table would have to close them one
//! by one, which took more of a short run's CPU time than all mounts together. So a child shares the table until it leaves
//! it, and takes along only what lies below the first number that it does not want: the seats, of which one is its own.
//!
//! **Invariant.** While a child shares the table it opens nothing, and nothing that it uses is closed here: its seat
//! and its cgroup's entrances stay as they are until it says that it has left, or is dead.

use std::cell::RefCell;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::{dup3, pipe2};

/// Children on their way at once; more than that copy the table.
const SEATS: usize = 16;

/// The seats that are free.
pub struct Seats {
    free: RefCell<Vec<OwnedFd>>,
    /// What lies on those: nothing that anybody could use.
    nothing: OwnedFd,
    end: RawFd,
}

impl Seats {
    /// To be called before anything else is opened in numbers.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn new() -> Result<Self, Errno> {
        let (nothing, _) = pipe2(OFlag::O_CLOEXEC)?;
        let errno = |error: std::io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(0));
        let free = (0..SEATS).map(|_| nothing.try_clone().map_err(errno)).collect::<Result<Vec<_>, _>>()?;
        let end = free.iter().map(|seat| seat.as_raw_fd() + 1).max().unwrap_or(0);
        Ok(Self { free: RefCell::new(free), nothing, end })
    }

    /// The first number that a child with a seat does not take along.
    pub const fn end(&self) -> RawFd {
        self.end
    }

    /// Puts a child's end of its control socket on a seat; none where all are taken.
    pub fn take(&self, control: &OwnedFd) -> Option<OwnedFd> {
        let mut seat = self.free.borrow_mut().pop()?;
        match dup3(control, &mut seat, OFlag::O_CLOEXEC) {
            Ok(()) => Some(seat),
            Err(_) => {
                self.free.borrow_mut().push(seat);
                None
            }
        }
    }

    /// Once the child has left, or is dead.
    pub fn give_back(&self, mut seat: OwnedFd) {
        // One that keeps what lay on it would keep a dead child's socket open, and nothing worse.
        let _ = dup3(self.nothing.as_fd(), &mut seat, OFlag::O_CLOEXEC);
        self.free.borrow_mut().push(seat);
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, socketpair};

    use super::*;

    #[test]
    fn a_seat_keeps_its_number_and_lets_go_of_what_lay_on_it() {
        let seats = Seats::new().unwrap();
        let mut taken = Vec::new();
        let pair = || socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).unwrap();
        let (ours, theirs) = pair();
        for _ in 0..SEATS {
            let seat = seats.take(&theirs).unwrap();
            assert!(seat.as_raw_fd() < seats.end());
            taken.push(seat);
        }
        assert!(seats.take(&theirs).is_none());
        drop(theirs);
        let mut byte = [0];
        let look = || recv(ours.as_raw_fd(), &mut byte, MsgFlags::MSG_DONTWAIT);
        assert_eq!({ look }(), Err(Errno::EAGAIN));
        taken.drain(..).for_each(|seat| seats.give_back(seat));
        assert_eq!(recv(ours.as_raw_fd(), &mut byte, MsgFlags::MSG_DONTWAIT), Ok(0));
        assert!(seats.take(&pair().1).is_some());
    }
}
