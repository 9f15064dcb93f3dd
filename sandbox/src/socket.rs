//! Frames with descriptors over a `SOCK_SEQPACKET` Unix socket; the caller decides how to wait.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recv, recvmsg, sendmsg};

use crate::sys;
use crate::wire::FRAME_FDS_MAX;

/// A received frame.
#[derive(Debug)]
pub struct Received {
    /// Bytes of the buffer that it fills; 0 is the end of the connection.
    pub length: usize,
    /// The descriptors that came along, close-on-exec.
    pub fds: Vec<OwnedFd>,
    /// It was larger than the buffer, or brought more descriptors than a frame may have.
    pub truncated: bool,
}

/// Sends a frame at once or not at all, never blocking.
///
/// # Errors
/// `EAGAIN` when there is no room, `EPIPE` when the other end is gone.
pub fn send_frame(socket: &impl AsFd, frame: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let raw: Vec<RawFd> = fds.iter().map(|fd| fd.as_raw_fd()).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control = if raw.is_empty() { &[] } else { &rights[..] };
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    sendmsg::<()>(socket.as_fd().as_raw_fd(), &[IoSlice::new(frame)], control, flags, None).map(drop)
}

/// Receives a frame if there is one, never blocking.
///
/// # Errors
/// `EAGAIN` when there is none.
pub fn receive_frame(socket: &impl AsFd, buffer: &mut [u8]) -> Result<Received, Errno> {
    let mut space = nix::cmsg_space!([RawFd; FRAME_FDS_MAX]);
    let mut iov = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<()>(socket.as_fd().as_raw_fd(), &mut iov, Some(&mut space), flags)?;
    let mut fds = Vec::new();
    // The buffer has room for exactly what a frame may bring; what is beyond the kernel has closed already.
    if let Ok(messages) = message.cmsgs() {
        for control in messages {
            if let ControlMessageOwned::ScmRights(received) = control {
                for fd in received {
                    fds.push(sys::inherited_fd(fd)?);
                }
            }
        }
    }
    let truncated = message.flags.intersects(MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC);
    Ok(Received { length: message.bytes, fds, truncated })
}

/// As [`receive_frame`], with the frame in memory of its own, of `max` bytes at most: a buffer for the largest would have to
/// be zeroed each time, and a process that was just cloned, or has just cloned itself, would copy each of its pages.
///
/// # Errors
/// `EAGAIN` when there is none.
pub fn receive_sized(socket: &impl AsFd, max: usize) -> Result<(Vec<u8>, Received), Errno> {
    let look = MsgFlags::MSG_PEEK | MsgFlags::MSG_TRUNC | MsgFlags::MSG_DONTWAIT;
    let length = recv(socket.as_fd().as_raw_fd(), &mut [], look)?;
    let mut frame = vec![0; length.min(max)];
    let received = receive_frame(socket, &mut frame)?;
    Ok((frame, received))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

    use super::*;

    #[test]
    fn frames_and_descriptors_arrive_whole() {
        let (left, right) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();
        send_frame(&left, b"abc", &[file.as_fd(), file.as_fd()]).unwrap();
        send_frame(&left, b"0123456789", &[]).unwrap();
        let mut buffer = [0; 4];
        let first = receive_frame(&right, &mut buffer).unwrap();
        assert_eq!((first.length, first.fds.len(), first.truncated), (3, 2, false));
        assert!(receive_frame(&right, &mut buffer).unwrap().truncated);
        assert_eq!(receive_frame(&right, &mut buffer).unwrap_err(), Errno::EAGAIN);
        send_frame(&left, b"0123456789", &[file.as_fd()]).unwrap();
        send_frame(&left, b"0123456789", &[]).unwrap();
        let (frame, first) = receive_sized(&right, 100).unwrap();
        assert_eq!((&frame[..], first.length, first.fds.len(), first.truncated), (&b"0123456789"[..], 10, 1, false));
        let (frame, second) = receive_sized(&right, 4).unwrap();
        assert_eq!((&frame[..], second.truncated), (&b"0123"[..], true));
        assert_eq!(receive_sized(&right, 4).unwrap_err(), Errno::EAGAIN);
        drop(left);
        assert_eq!(receive_frame(&right, &mut buffer).unwrap().length, 0);
        assert_eq!(receive_sized(&right, 4).unwrap().1.length, 0);
    }
}
