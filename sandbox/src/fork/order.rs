//! The order to fork: one message with descriptors on the template's gate.

use std::os::fd::{BorrowedFd, OwnedFd};

use nix::errno::Errno;
use seccompiler::sock_filter;

use super::{Rlimits, example};
use crate::socket::{receive_sized, send_frame};
use crate::spec::Example;

/// Bytes that no order exceeds.
const ORDER_BYTES_MAX: usize = 16 * 1024;
/// The first byte of an order.
const ORDER: u8 = b'O';
const FILTER_BYTES: usize = 8;
const RLIMIT_BYTES: usize = 12;

/// What the fork shall become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Landlock's ABI, 0 without.
    pub landlock_abi: u8,
    /// `OrderFds::cgroup` is a directory to be born in, not files to write into.
    pub clone_into: bool,
    /// The filter asks before IP sockets are made; its listener is to be sent with the fork's first words.
    pub ask: bool,
    /// The stage's limits.
    pub rlimits: Rlimits,
    /// The filter that takes away what entering took.
    pub seal: Vec<sock_filter>,
}

/// What a template is told.
#[derive(Debug)]
pub enum Message {
    /// To fork into a sandbox.
    Fork(Box<(Order, OrderFds)>),
    /// To run this in a fork of its own, and learn from it.
    Learn(Example),
}

/// What it gets for that.
#[derive(Debug)]
pub struct OrderFds {
    /// The payload's go socket, then its stdin, stdout, stderr.
    pub stdio: [OwnedFd; 4],
    /// net, mnt, ipc, uts, cgroup, pid, user of the sandbox.
    pub namespaces: [OwnedFd; 7],
    /// Files that move a process into the sandbox's cgroup (v1), or the cgroup's directory (v2).
    pub cgroup: Vec<OwnedFd>,
}

impl Order {
    /// Sends it, at once or not at all, with what [`OrderFds`] has, in its order.
    ///
    /// # Errors
    /// `EAGAIN` when too many orders wait, `EPIPE` when the template is gone.
    pub fn send(&self, gate: &OwnedFd, fds: &[BorrowedFd<'_>]) -> Result<(), Errno> {
        send_frame(gate, &self.encode(), fds)
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![ORDER, self.landlock_abi, u8::from(self.clone_into), u8::from(self.ask)];
        for (resource, value) in self.rlimits {
            bytes.extend_from_slice(&resource.to_le_bytes());
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        for op in &self.seal {
            bytes.extend_from_slice(&op.code.to_le_bytes());
            bytes.extend_from_slice(&[op.jt, op.jf]);
            bytes.extend_from_slice(&op.k.to_le_bytes());
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (&[ORDER, landlock_abi, clone_into, ask], rest) = bytes.split_first_chunk::<4>()? else { return None };
        let mut rlimits = Rlimits::default();
        let (limits, filter) = rest.split_at_checked(rlimits.len() * RLIMIT_BYTES)?;
        for (limit, bytes) in rlimits.iter_mut().zip(limits.chunks_exact(RLIMIT_BYTES)) {
            let (resource, value) = bytes.split_first_chunk::<4>()?;
            *limit = (u32::from_le_bytes(*resource), u64::from_le_bytes(value.try_into().ok()?));
        }
        if clone_into > 1 || ask > 1 || filter.len() % FILTER_BYTES != 0 {
            return None;
        }
        let op = |b: &[u8]| sock_filter {
            code: u16::from_le_bytes([b[0], b[1]]),
            jt: b[2],
            jf: b[3],
            k: u32::from_le_bytes([b[4], b[5], b[6], b[7]]),
        };
        let seal = filter.chunks_exact(FILTER_BYTES).map(op).collect();
        Some(Self { landlock_abi, clone_into: clone_into == 1, ask: ask == 1, rlimits, seal })
    }
}

impl Message {
    /// Takes the next one if it is there.
    ///
    /// # Errors
    /// `EAGAIN` when there is none, `EBADMSG` for anything else.
    pub fn receive(gate: BorrowedFd<'_>) -> Result<Self, Errno> {
        let (frame, received) = receive_sized(&gate, ORDER_BYTES_MAX)?;
        if let Some(example) = example::decode(&frame) {
            return Ok(Self::Learn(example));
        }
        let order = Order::decode(&frame).ok_or(Errno::EBADMSG)?;
        let mut stdio = received.fds;
        if received.truncated || stdio.len() < 12 {
            return Err(Errno::EBADMSG);
        }
        let mut namespaces = stdio.split_off(4);
        let cgroup = namespaces.split_off(7);
        let count = |_| Errno::EBADMSG;
        let (stdio, namespaces) = (stdio.try_into().map_err(count)?, namespaces.try_into().map_err(count)?);
        Ok(Self::Fork(Box::new((order, OrderFds { stdio, namespaces, cgroup }))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_come_back_and_nothing_else_does() {
        let order = Order {
            landlock_abi: 6,
            clone_into: true,
            ask: true,
            rlimits: [(0, 1), (1, u64::MAX), (2, 3), (3, 4), (4, 5), (5, 6), (7, 8)],
            seal: vec![sock_filter { code: 0x15, jt: 1, jf: 2, k: 0xdead_beef }; 3],
        };
        let bytes = order.encode();
        assert_eq!(Order::decode(&bytes), Some(order));
        for cut in [0, 1, 50, bytes.len() - 1] {
            assert_eq!(Order::decode(&bytes[..cut]), None, "{cut}");
        }
    }
}
