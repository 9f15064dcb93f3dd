//! One connection to the spawner: sends frames, hands received ones to their sandbox.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crankcase_sandbox::socket::{Received, receive_frame, send_frame};
use crankcase_sandbox::wire::{Event, FRAME_BYTES_MAX, Request, SandboxId, VERSION};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use tokio::io::Interest;
use tokio::net::UnixDatagram;
use tokio::sync::mpsc;

use super::Welcome;

/// The spawner answers a hello at once, or is not one.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

pub type Frame = (Event, Vec<OwnedFd>);

pub struct Connection {
    /// tokio knows no `SOCK_SEQPACKET`; as a datagram socket it waits for readiness just the same, and nothing else of
    /// the type is used.
    socket: UnixDatagram,
    pub welcome: Welcome,
    next_id: AtomicU32,
    /// `None` once the connection is lost.
    sandboxes: Mutex<Option<HashMap<SandboxId, mpsc::UnboundedSender<Frame>>>>,
}

impl Connection {
    pub async fn open(path: &Path) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)?;
        // Connecting to a Unix socket never waits: it is there or it is not.
        connect(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
        let mut connection = Self {
            socket: UnixDatagram::from_std(fd.into())?,
            welcome: Welcome { cgroup_version: 0, landlock_abi: 0, sandboxes_max: 0, memory_cgroup: PathBuf::new() },
            next_id: AtomicU32::new(0),
            sandboxes: Mutex::new(Some(HashMap::new())),
        };
        connection.send(&Request::Hello { version: VERSION }, &[]).await?;
        let mut buffer = vec![0; FRAME_BYTES_MAX];
        let received = tokio::time::timeout(HELLO_TIMEOUT, connection.receive(&mut buffer))
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the spawner does not answer"))??;
        match Event::decode(&buffer[..received.length]) {
            Ok(Event::Welcome { version: VERSION, cgroup_version, landlock_abi, sandboxes_max, memory_cgroup }) => {
                let memory_cgroup = PathBuf::from(memory_cgroup);
                connection.welcome = Welcome { cgroup_version, landlock_abi, sandboxes_max, memory_cgroup };
                Ok(connection)
            }
            _ => Err(io::Error::other("the spawner speaks another version, or refused this uid")),
        }
    }

    /// A name for a new sandbox and the frames that come for it; `None` once the connection is lost.
    pub fn register(&self) -> Option<(SandboxId, mpsc::UnboundedReceiver<Frame>)> {
        let mut sandboxes = self.sandboxes.lock().unwrap_or_else(PoisonError::into_inner);
        let sandboxes = sandboxes.as_mut()?;
        loop {
            let id = self.next_id.fetch_add(1, Ordering::Relaxed);
            if let Entry::Vacant(place) = sandboxes.entry(id) {
                let (sender, receiver) = mpsc::unbounded_channel();
                place.insert(sender);
                return Some((id, receiver));
            }
        }
    }

    /// How many names are in use.
    pub fn sandboxes(&self) -> usize {
        self.sandboxes.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map_or(0, HashMap::len)
    }

    pub async fn send(&self, request: &Request, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let frame = request.encode();
        self.socket.async_io(Interest::WRITABLE, || Ok(send_frame(&self.socket, &frame, fds)?)).await
    }

    /// Sends without waiting, for destructors; false when there is no room.
    pub fn try_send(&self, request: &Request) -> bool {
        send_frame(&self.socket, &request.encode(), &[]).is_ok()
    }

    async fn receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        self.socket.async_io(Interest::READABLE, || Ok(receive_frame(&self.socket, buffer)?)).await
    }

    /// Reads until the connection ends; says why it did. Every sandbox is told by the end of its channel.
    pub async fn read(&self) -> String {
        let reason = self.read_frames().await;
        self.sandboxes.lock().unwrap_or_else(PoisonError::into_inner).take();
        reason
    }

    async fn read_frames(&self) -> String {
        let mut buffer = vec![0; FRAME_BYTES_MAX];
        loop {
            let received = match self.receive(&mut buffer).await {
                Ok(received) if received.length > 0 && !received.truncated => received,
                Ok(received) if received.truncated => return "a frame that is too large".to_owned(),
                Ok(_) => return "the spawner ended".to_owned(),
                Err(error) => return error.to_string(),
            };
            let event = match Event::decode(&buffer[..received.length]) {
                Ok(event) => event,
                Err(error) => return format!("a bad frame: {error}"),
            };
            let (Event::Created { id }
            | Event::Written { id }
            | Event::File { id }
            | Event::Loaded { id }
            | Event::Ended { id, .. }
            | Event::Compiled { id, .. }
            | Event::Failed { id, .. }
            | Event::Destroyed { id }) = event
            else {
                return "a frame out of order".to_owned();
            };
            let mut sandboxes = self.sandboxes.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(sandboxes) = sandboxes.as_mut() else { continue };
            if let Some(sender) = sandboxes.get(&id) {
                // A receiver that is gone has dropped its sandbox; `Destroyed` follows.
                let gone = matches!(event, Event::Destroyed { .. });
                let _ = sender.send((event, received.fds));
                if gone {
                    sandboxes.remove(&id);
                }
            }
        }
    }
}
