//! One connection: frames in, frames out, bounded.

use std::collections::VecDeque;
use std::os::fd::{AsFd as _, OwnedFd};

use crankcase_sandbox::socket::{receive_frame, send_frame};
use crankcase_sandbox::wire::{Event, FRAME_BYTES_MAX, Request};
use nix::errno::Errno;

use super::epoll::{Poll, Token};

/// Frames that may wait for a slow reader; a daemon that far behind is not reading at all.
const OUTBOX_MAX: usize = 16_384;

pub struct Client {
    socket: OwnedFd,
    pub greeted: bool,
    outbox: VecDeque<(Vec<u8>, Vec<OwnedFd>)>,
    waits_to_write: bool,
    frame: Vec<u8>,
}

impl Client {
    pub fn new(socket: OwnedFd) -> Self {
        Self { socket, greeted: false, outbox: VecDeque::new(), waits_to_write: false, frame: vec![0; FRAME_BYTES_MAX] }
    }

    /// The next frame, `None` when there is none yet. The error says why to close; without a text it is the end.
    pub fn receive(&mut self) -> Result<Option<(Request, Vec<OwnedFd>)>, Option<&'static str>> {
        let received = match receive_frame(&self.socket, &mut self.frame) {
            Ok(received) => received,
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(None),
            Err(_) => return Err(None),
        };
        if received.length == 0 {
            return Err(None);
        }
        if received.truncated {
            return Err(Some("a frame that is too large"));
        }
        let request = Request::decode(&self.frame[..received.length]).map_err(|_| Some("a malformed frame"))?;
        Ok(Some((request, received.fds)))
    }

    /// Queues a frame; false when the reader is too far behind.
    pub fn send(&mut self, event: &Event, fds: Vec<OwnedFd>) -> bool {
        self.outbox.push_back((event.encode(), fds));
        self.outbox.len() <= OUTBOX_MAX
    }

    /// Writes what it can; false when the connection is broken.
    pub fn flush(&mut self, poll: &Poll, key: u32) -> bool {
        while let Some((frame, fds)) = self.outbox.front() {
            let fds: Vec<_> = fds.iter().map(|fd| fd.as_fd()).collect();
            match send_frame(&self.socket, frame, &fds) {
                Ok(_) => drop(self.outbox.pop_front()),
                Err(Errno::EAGAIN | Errno::ENOBUFS) => break,
                Err(Errno::EINTR) => {}
                Err(_) => return false,
            }
        }
        let wanted = !self.outbox.is_empty();
        if wanted != self.waits_to_write {
            self.waits_to_write = wanted;
            return poll.want_write(self.socket.as_fd(), Token::Client(key), wanted).is_ok();
        }
        true
    }
}
