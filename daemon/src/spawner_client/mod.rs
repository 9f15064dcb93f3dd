//! The daemon's end of the conversation with the spawner.
//!
//! One connection, shared by all executions; frames are matched to sandboxes by id. When the connection breaks, every
//! sandbox on it fails with [`Step::Spawner`] and a new connection is tried until there is one: under systemd the spawner
//! is started again by systemd, by hand by its supervisor.
//!
//! **Invariant.** A [`Sandbox`] that is dropped is destroyed, whatever state it is in.

mod connection;
pub mod embedded;
pub mod gates;
mod sandbox;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crankcase_sandbox::outcome::{SandboxError, Step};
use crankcase_sandbox::spec::{SandboxSpec, TemplateSpec};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use connection::Connection;
pub use sandbox::{Compiled, Killer, Loaded, Sandbox, Stdio, Template};

/// Waits between attempts to connect.
const RETRY_MIN: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_secs(1);

/// How long a spawner may take to come back before a run fails.
const CONNECT_WAIT: Duration = Duration::from_secs(2);

/// What the spawner said of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// 1 or 2.
    pub cgroup_version: u8,
    /// Landlock's ABI, 0 without.
    pub landlock_abi: u8,
    /// Sandboxes that may be alive at once.
    pub sandboxes_max: u32,
    /// The cgroup directory whose memory is that of all sandboxes together.
    pub memory_cgroup: PathBuf,
}

/// The handle that everybody shares.
#[derive(Clone)]
pub struct SpawnerClient {
    connection: watch::Receiver<Option<Arc<Connection>>>,
}

impl SpawnerClient {
    /// Connects to the spawner's socket and keeps connecting, until `shutdown`.
    #[must_use]
    pub fn start(path: PathBuf, shutdown: CancellationToken) -> Self {
        let (sender, connection) = watch::channel(None);
        tokio::spawn(async move {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = keep_connected(path, &sender) => {}
            }
            sender.send_replace(None);
        });
        Self { connection }
    }

    /// What the spawner said of itself; none while it is not connected.
    #[must_use]
    pub fn welcome(&self) -> Option<Welcome> {
        self.connection.borrow().as_ref().map(|connection| connection.welcome.clone())
    }

    /// Sandboxes that are alive.
    #[must_use]
    pub fn sandboxes(&self) -> usize {
        self.connection.borrow().as_ref().map_or(0, |connection| connection.sandboxes())
    }

    /// Waits until the spawner is connected.
    ///
    /// # Errors
    /// [`Step::Spawner`] when it is not within `wait`.
    pub async fn ready(&self, wait: Duration) -> Result<Welcome, SandboxError> {
        self.connected(wait).await.map(|connection| connection.welcome.clone())
    }

    /// Waits until the connection is lost, or there is one again.
    pub async fn changed(&mut self) {
        if self.connection.changed().await.is_err() {
            // The end of the service: nothing changes any more.
            std::future::pending::<()>().await;
        }
    }

    async fn connected(&self, wait: Duration) -> Result<Arc<Connection>, SandboxError> {
        let lost = SandboxError { step: Step::Spawner, errno: 0 };
        let mut receiver = self.connection.clone();
        let connection = tokio::time::timeout(wait, receiver.wait_for(Option::is_some)).await;
        connection.ok().and_then(Result::ok).and_then(|found| found.clone()).ok_or(lost)
    }

    /// Has a sandbox made, without waiting for it: what fails is told by whatever of it is waited for next.
    ///
    /// # Errors
    /// [`Step::Spawner`] when the spawner does not come back within two seconds.
    pub async fn create(&self, spec: SandboxSpec) -> Result<Sandbox, SandboxError> {
        let connection = self.connected(CONNECT_WAIT).await?;
        Sandbox::create(connection, spec, false).await
    }

    /// Has one made ahead of need: at a low CPU weight until files are written into it or its stage starts.
    ///
    /// # Errors
    /// As [`SpawnerClient::create`].
    pub async fn create_background(&self, spec: SandboxSpec) -> Result<Sandbox, SandboxError> {
        let connection = self.connected(CONNECT_WAIT).await?;
        Sandbox::create(connection, spec, true).await
    }

    /// Starts an interpreter up to its gate, for [`Sandbox::fork_from`]. `spec` and `limits` are those of its forks.
    ///
    /// # Errors
    /// The step that failed; [`Step::Gate`] when it did not come to its gate.
    pub async fn create_template(&self, spec: TemplateSpec) -> Result<Template, SandboxError> {
        let connection = self.connected(CONNECT_WAIT).await?;
        Template::create(connection, spec).await
    }
}

async fn keep_connected(path: PathBuf, sender: &watch::Sender<Option<Arc<Connection>>>) {
    let mut retry = RETRY_MIN;
    let mut told = false;
    loop {
        match Connection::open(&path).await {
            Ok(connection) => {
                let connection = Arc::new(connection);
                info!(
                    cgroup = connection.welcome.cgroup_version,
                    landlock = connection.welcome.landlock_abi,
                    "spawner connected"
                );
                (retry, told) = (RETRY_MIN, false);
                sender.send_replace(Some(connection.clone()));
                let reason = connection.read().await;
                sender.send_replace(None);
                warn!(%reason, "spawner connection lost");
            }
            Err(error) if !told => {
                told = true;
                warn!(path = %path.display(), %error, "spawner not reachable, trying again");
            }
            Err(_) => {}
        }
        tokio::time::sleep(retry).await;
        retry = (retry * 2).min(RETRY_MAX);
    }
}
