//! What systemd is told of us, sd_notify(3): that we serve, and from then on that our one loop still turns.
//!
//! The socket is connected before the spawner leaves the file system in which it has a name. Without systemd nothing is said.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

pub struct Notifier {
    socket: Option<UnixDatagram>,
    /// Between two signs of life; a third of what systemd waits for one.
    interval: Option<Duration>,
    next: Instant,
}

impl Notifier {
    /// Reads `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`.
    pub fn from_env() -> io::Result<Self> {
        let socket = std::env::var("NOTIFY_SOCKET").ok().map(|name| connect(&name)).transpose()?;
        let ours = std::env::var("WATCHDOG_PID").is_ok_and(|pid| pid == std::process::id().to_string());
        let interval = std::env::var("WATCHDOG_USEC").ok().filter(|_| ours && socket.is_some());
        let interval = interval
            .and_then(|text| text.parse().ok())
            .filter(|micros| *micros > 0)
            .map(|micros| Duration::from_micros(micros) / 3);
        Ok(Self { socket, interval, next: Instant::now() })
    }

    /// We serve.
    pub fn ready(&self) {
        self.say("READY=1");
    }

    /// Gives the sign of life if it is time, and says when it is again; `None` when nobody waits for one.
    pub fn alive(&mut self) -> Option<Duration> {
        let interval = self.interval?;
        let now = Instant::now();
        if now >= self.next {
            self.say("WATCHDOG=1");
            self.next = now + interval;
        }
        Some(self.next.saturating_duration_since(now))
    }

    fn say(&self, state: &str) {
        // A systemd that does not read now reads the next one; waiting for it would stop the loop.
        if let Some(socket) = &self.socket {
            let _ = socket.send(state.as_bytes());
        }
    }
}

fn connect(name: &str) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    match name.strip_prefix('@') {
        Some(name) => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        None => socket.connect(name)?,
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 64];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[test]
    fn signs_of_life_come_in_their_interval() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let systemd = UnixDatagram::bind(&path).unwrap();
        let socket = Some(connect(path.to_str().unwrap()).unwrap());
        let interval = Duration::from_secs(3600);
        let mut notifier = Notifier { socket, interval: Some(interval), next: Instant::now() };
        notifier.ready();
        assert_eq!(received(&systemd), "READY=1");
        assert!(notifier.alive().is_some_and(|wait| wait <= interval));
        assert_eq!(received(&systemd), "WATCHDOG=1");
        // It is not time again, so nothing is said.
        assert!(notifier.alive().is_some());
        systemd.set_nonblocking(true).unwrap();
        assert_eq!(systemd.recv(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn abstract_names_are_known_and_silence_is_no_fault() {
        let name = format!("crankcase-notify-{}", std::process::id());
        let systemd = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        connect(&format!("@{name}")).unwrap().send(b"READY=1").unwrap();
        assert_eq!(received(&systemd), "READY=1");
        let mut alone = Notifier { socket: None, interval: None, next: Instant::now() };
        alone.ready();
        assert_eq!(alone.alive(), None);
    }
}
