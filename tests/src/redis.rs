//! A real `redis-server` of its own, which a test stops, pauses and flushes.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::eventually;

/// Ended when dropped.
pub struct Redis {
    child: Option<Child>,
    port: u16,
}

impl Redis {
    /// Starts one on a free port of the loopback, without a file.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let mut redis = Self { child: None, port: port.expect("a free port").port() };
        redis.start_again();
        redis
    }

    /// Starts it again on its port.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start_again(&mut self) {
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port"])
            .arg(self.port.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        self.child = Some(child);
        eventually(Duration::from_secs(20), || self.try_command("PING"));
    }

    /// Its address, as `REDIS_URL` wants it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Ends it.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops the process: connections stay open, nothing is answered.
    pub fn pause(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Goes on after [`Self::pause`].
    pub fn go_on(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        if let Some(child) = &self.child {
            let _ = kill(Pid::from_raw(i32::try_from(child.id()).expect("process ids fit")), signal);
        }
    }

    /// Sends an inline command and gives what was answered at once.
    ///
    /// # Panics
    /// When there is no answer.
    #[track_caller]
    pub fn command(&self, line: &str) -> String {
        self.try_command(line).expect("redis answers")
    }

    fn try_command(&self, line: &str) -> Result<String, String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).map_err(|error| error.to_string())?;
        let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
        stream.write_all(format!("{line}\r\n").as_bytes()).map_err(|error| error.to_string())?;
        let mut buffer = vec![0; 65536];
        let read = stream.read(&mut buffer).map_err(|error| error.to_string())?;
        buffer.truncate(read);
        if buffer.is_empty() || buffer.starts_with(b"-") {
            return Err(String::from_utf8_lossy(&buffer).into_owned());
        }
        Ok(String::from_utf8_lossy(&buffer).into_owned())
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop();
    }
}
