//! A real `redis-server` for one test.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// A server that is killed with this value. It listens on a Unix socket in its own directory and on a free port.
pub(crate) struct Server {
    directory: TempDir,
    pub(crate) port: u16,
    process: Option<Child>,
}

impl Server {
    /// A place for a server, not started; none where there is no `redis-server`.
    pub(crate) fn prepare() -> Option<Self> {
        if Command::new("redis-server").arg("--version").stdout(Stdio::null()).status().is_err() {
            println!("SKIP: there is no redis-server on this host");
            return None;
        }
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        Some(Self { directory: tempfile::tempdir().unwrap(), port, process: None })
    }

    pub(crate) async fn started() -> Option<Self> {
        let mut server = Self::prepare()?;
        server.start(&[]).await;
        Some(server)
    }

    pub(crate) async fn start(&mut self, more: &[&str]) {
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &self.port.to_string(), "--save", "", "--appendonly", "no"]);
        command.arg("--unixsocket").arg(self.directory.path().join("socket"));
        command.arg("--dir").arg(self.directory.path()).args(more).stdout(Stdio::null()).stderr(Stdio::null());
        self.process = Some(command.spawn().unwrap());
        // Asked by its own socket: on the port somebody else might answer, and this one would have given up.
        let client = ::redis::Client::open(self.socket_url()).unwrap();
        // Any answer will do: with a password set it is a refusal.
        eventually("the server answers", async || match client.get_multiplexed_async_connection().await {
            Ok(_) => true,
            Err(error) => !error.is_io_error(),
        })
        .await;
    }

    /// With the credentials (`user:password@`) or without.
    pub(crate) fn url(&self, credentials: &str) -> String {
        format!("redis://{credentials}127.0.0.1:{}", self.port)
    }

    pub(crate) fn socket_url(&self) -> String {
        format!("unix://{}/socket", self.directory.path().display())
    }

    async fn connection(&self) -> ::redis::aio::MultiplexedConnection {
        // However busy the machine is.
        let patient = ::redis::AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let client = ::redis::Client::open(self.url("")).unwrap();
        client.get_multiplexed_async_connection_with_config(&patient).await.unwrap()
    }

    pub(crate) async fn ask<T: ::redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = ::redis::Cmd::new();
        for word in words {
            command.arg(*word);
        }
        command.query_async(&mut self.connection().await).await.unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self.process.as_ref().unwrap().id();
        kill(Pid::from_raw(pid.try_into().unwrap()), signal).unwrap();
    }

    pub(crate) fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Waits until it is so, at most half a minute.
pub(crate) async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !is_so().await {
        assert!(start.elapsed() < Duration::from_secs(30), "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
