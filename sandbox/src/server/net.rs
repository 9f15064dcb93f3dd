//! Network namespaces that serve one sandbox after another.
//!
//! Making and taking down a network namespace is the largest part of a sandbox's cost, and it grows with the number of
//! them. What a program could leave in one it could leave only in these ways:
//!
//! - by a capability over it: it belongs to the host's user namespace, in which nobody in a sandbox has any;
//! - by a socket of the IP families: counters, flow labels, group memberships and their traces, of which `/proc/net` shows
//!   some and hides others. No look at what is there could prove that there is nothing, so none is relied on: the system-call
//!   filter lets nobody have such a socket before the spawner knows (`Ask` in `seccomp`), and a namespace for which
//!   somebody asked is destroyed with its sandbox;
//! - by a Unix socket: it has a name and a place in a table for as long as it lives, and nothing else. Whether one lives
//!   beyond its processes, in a message that nobody received, the kernel counts.
//!
//! So a namespace is clean when its listener, from before the first program until the last process was dead, was never asked,
//! and the kernel counts no socket in it. Anything else, and any doubt, destroys it.
//!
//! **Invariant.** A [`Net`] belongs to one sandbox or to the stock, never to both: it is moved, not copied, and comes back
//! only when the sandbox's pid namespace has ended.

use std::cell::RefCell;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::sys::uio::pread;

/// Namespaces that may wait for a sandbox; each holds some 100 KiB of the kernel's memory.
const STOCK_MAX: usize = 64;
/// Bytes of `/proc/net/sockstat`; the file has about 130.
const SOCKSTAT_BYTES_MAX: usize = 1024;

/// A network namespace.
pub struct Net {
    namespace: OwnedFd,
    /// Its `/proc/net/sockstat`: an open one stays that of its namespace.
    sockstat: OwnedFd,
}

impl Net {
    /// That of a process, by its directory in procfs.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn of(process: &OwnedFd) -> Result<Self, Errno> {
        let open = |name| openat(process, name, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty());
        Ok(Self { namespace: open("ns/net")?, sockstat: open("net/sockstat")? })
    }

    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }

    /// Whether the kernel counts no socket in it.
    fn is_empty(&self) -> bool {
        let mut text = [0_u8; SOCKSTAT_BYTES_MAX];
        match pread(&self.sockstat, &mut text, 0) {
            Ok(length) if length < text.len() => std::str::from_utf8(&text[..length]).is_ok_and(counts_nothing),
            _ => false,
        }
    }
}

/// Clean namespaces that nobody is in.
#[derive(Default)]
pub struct Stock(RefCell<Vec<Net>>);

impl Stock {
    /// One that served before, if there is one.
    pub fn take(&self) -> Option<Net> {
        self.0.borrow_mut().pop()
    }

    /// Takes one back whose processes are all dead; `untouched` says that nobody in it asked for an IP socket.
    pub fn give_back(&self, net: Net, untouched: bool) {
        let mut stock = self.0.borrow_mut();
        if untouched && stock.len() < STOCK_MAX && net.is_empty() {
            stock.push(net);
        }
    }
}

/// Whether `/proc/net/sockstat` (proc_pid_net(5)) counts nothing that is of its namespace alone. `orphan`, `alloc` and `mem`
/// are the whole host's.
fn counts_nothing(sockstat: &str) -> bool {
    let mut sockets = false;
    let nothing = sockstat.lines().all(|line| {
        let Some((kind, counts)) = line.split_once(": ") else { return false };
        let words: Vec<&str> = counts.split_ascii_whitespace().collect();
        sockets |= kind == "sockets" && words == ["used", "0"];
        words.len().is_multiple_of(2)
            && words.chunks_exact(2).all(|pair| pair[1] == "0" || matches!(pair[0], "orphan" | "alloc" | "mem"))
    });
    nothing && sockets
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRISTINE: &str = "sockets: used 0\nTCP: inuse 0 orphan 3 tw 0 alloc 9 mem 155\nUDP: inuse 0 mem 2\n\
                            UDPLITE: inuse 0\nRAW: inuse 0\nFRAG: inuse 0 memory 0\n";

    #[test]
    fn a_socket_of_any_kind_is_seen_and_the_hosts_are_not() {
        assert!(counts_nothing(PRISTINE));
        for (from, to) in [
            ("used 0", "used 1"),
            ("TCP: inuse 0", "TCP: inuse 1"),
            ("tw 0", "tw 1"),
            ("UDP: inuse 0", "UDP: inuse 2"),
            ("RAW: inuse 0", "RAW: inuse 1"),
            ("memory 0", "memory 1"),
            ("sockets: used 0\n", ""),
            ("UDPLITE: inuse 0", "UDPLITE: inuse"),
            ("UDPLITE: inuse 0", "nonsense"),
        ] {
            assert!(!counts_nothing(&PRISTINE.replace(from, to)), "{from} {to}");
        }
        assert!(!counts_nothing(""));
    }

    #[test]
    fn one_that_is_in_use_or_in_doubt_does_not_come_back() {
        let own = std::fs::File::open("/proc/self").unwrap().into();
        let stock = Stock::default();
        // This process has a socket there, so its namespace counts one.
        let _socket = std::os::unix::net::UnixDatagram::unbound().unwrap();
        stock.give_back(Net::of(&own).unwrap(), true);
        assert!(stock.take().is_none());
        // An empty file is no account of anything.
        let null = || std::fs::File::open("/dev/null").unwrap().into();
        stock.give_back(Net { namespace: null(), sockstat: null() }, true);
        assert!(stock.take().is_none());
        let pristine = || {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), PRISTINE).unwrap();
            Net { namespace: null(), sockstat: file.reopen().unwrap().into() }
        };
        stock.give_back(pristine(), false);
        assert!(stock.take().is_none());
        stock.give_back(pristine(), true);
        assert!(stock.take().is_some());
        assert!(stock.take().is_none());
    }
}
