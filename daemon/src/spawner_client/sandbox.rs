//! One sandbox, step by step: create, write, load, start, ended; again for the next stage; dropped. Only what has an answer to
//! give waits for it: a sandbox is made and written to while the next step is on its way already.

use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

use crankcase_sandbox::outcome::{KillReason, SandboxError, StageOutcome, Step};
use crankcase_sandbox::spec::{SandboxSpec, SourceFile, StageCommand, StageLimits, TemplateSpec};
use crankcase_sandbox::wire::{Event, Request, SandboxId, pack};
use nix::sys::memfd::{MFdFlags, memfd_create};
use tokio::net::unix::pipe;
use tokio::sync::mpsc;

use super::connection::{Connection, Frame};

const LOST: SandboxError = SandboxError { step: Step::Spawner, errno: 0 };

/// A live sandbox; dropping it destroys it.
pub struct Sandbox {
    handle: Killer,
    frames: mpsc::UnboundedReceiver<Frame>,
    compiled: Option<Compiled>,
    /// Whether the answer to its making is still to come.
    coming: bool,
    /// What to do when the answer to a write comes.
    written: Option<Box<dyn FnOnce() + Send + Sync>>,
    /// Whether that was written to a payload that was loaded: what is lost by then is [`Step::Missed`].
    loaded: bool,
}

/// What a gate that compiles said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiled {
    /// 0 when the program ran after it.
    pub exit_code: u8,
    /// The compiler's diagnostics.
    pub text: String,
}

/// An interpreter that has seen no program, from which [`Sandbox::fork_from`] forks; dropping it destroys it.
pub struct Template {
    handle: Killer,
    frames: mpsc::UnboundedReceiver<Frame>,
}

/// Ends a stage from elsewhere.
#[derive(Clone)]
pub struct Killer {
    connection: Arc<Connection>,
    id: SandboxId,
}

/// The daemon's ends of a loaded payload's pipes.
pub struct Stdio {
    /// Write end of its stdin.
    pub stdin: pipe::Sender,
    /// Read end of its stdout.
    pub stdout: pipe::Receiver,
    /// Read end of its stderr.
    pub stderr: pipe::Receiver,
}

/// A stage that is on its way already.
pub enum Loaded {
    /// It waits for [`Sandbox::start`].
    Waiting(Stdio),
    /// It was let go.
    Started(Stdio),
}

impl Sandbox {
    pub(super) async fn create(
        connection: Arc<Connection>,
        spec: SandboxSpec,
        background: bool,
    ) -> Result<Self, SandboxError> {
        let (id, frames) = connection.register().ok_or(LOST)?;
        let handle = Killer { connection, id };
        let sandbox = Self { handle, frames, compiled: None, coming: true, written: None, loaded: false };
        sandbox.send(&Request::Create { id, spec, background }).await?;
        Ok(sandbox)
    }

    /// Waits until it is made.
    ///
    /// # Errors
    /// The step that failed.
    pub async fn created(&mut self) -> Result<(), SandboxError> {
        match self.frame().await? {
            (Event::Created { .. }, _) if std::mem::take(&mut self.coming) => Ok(()),
            _ => Err(SandboxError { step: Step::Protocol, errno: 0 }),
        }
    }

    async fn send(&self, request: &Request) -> Result<(), SandboxError> {
        self.handle.connection.send(request, &[]).await.map_err(|_| LOST)
    }

    /// The next frame that tells more than that something was done which nobody waits for.
    async fn next(&mut self) -> Result<Frame, SandboxError> {
        loop {
            match self.frame().await? {
                (Event::Created { .. }, _) if std::mem::take(&mut self.coming) => {}
                (Event::Written { .. }, _) => match self.written.take() {
                    Some(written) => written(),
                    None => return Err(SandboxError { step: Step::Protocol, errno: 0 }),
                },
                frame => return Ok(frame),
            }
        }
    }

    async fn frame(&mut self) -> Result<Frame, SandboxError> {
        match self.frames.recv().await {
            None => Err(LOST),
            Some((Event::Failed { error, .. }, _)) => {
                let missed = self.loaded && self.written.is_some() && error.step != Step::WriteFile;
                Err(if missed { SandboxError { step: Step::Missed, ..error } } else { error })
            }
            Some(frame) => Ok(frame),
        }
    }

    /// Writes files into the work directory, before a stage or between two, without waiting for it. What fails inside is told
    /// by whatever is waited for next: [`Step::WriteFile`] when they do not fit.
    ///
    /// # Errors
    /// [`Step::WriteFile`] when a name is unsafe or they are too many or too large for one pack, [`Step::Spawner`] when the
    /// connection is lost.
    pub async fn write(&mut self, files: &[SourceFile]) -> Result<(), SandboxError> {
        self.write_and_tell(files, || {}).await
    }

    /// As [`Sandbox::write`]; `written` is called once they are there. Where a payload is loaded, [`Step::Missed`] says that the
    /// sandbox was dead by then.
    ///
    /// # Errors
    /// As [`Sandbox::write`].
    pub async fn write_and_tell(
        &mut self,
        files: &[SourceFile],
        written: impl FnOnce() + Send + Sync + 'static,
    ) -> Result<(), SandboxError> {
        if files.is_empty() {
            written();
            return Ok(());
        }
        self.written = Some(Box::new(written));
        self.send_files(files).await
    }

    async fn send_files(&self, files: &[SourceFile]) -> Result<(), SandboxError> {
        let bad = |errno| SandboxError { step: Step::WriteFile, errno };
        let bytes = pack(files).map_err(|_| bad(0))?;
        let memory = packed(&bytes).map_err(|error| bad(error.raw_os_error().unwrap_or(0)))?;
        let request = Request::Write { id: self.handle.id };
        self.handle.connection.send(&request, &[memory.as_fd()]).await.map_err(|_| LOST)
    }

    /// Copies a regular file of at most `bytes_max` bytes out of the work directory, before a stage or between two; none
    /// when there is no such file or it is larger. The descriptor comes out of a sandbox in which untrusted code ran, so
    /// nothing is believed of it.
    ///
    /// # Errors
    /// [`SandboxError`] when the sandbox failed.
    pub async fn read(&mut self, name: &str, bytes_max: u64) -> Result<Option<SourceFile>, SandboxError> {
        self.send(&Request::Read { id: self.handle.id, name: name.to_owned() }).await?;
        let (Event::File { .. }, mut fds) = self.next().await? else {
            return Err(SandboxError { step: Step::Protocol, errno: 0 });
        };
        let Some(fd) = fds.pop() else { return Ok(None) };
        // On a thread of its own: nobody has promised that reading it never waits.
        let copied = tokio::task::spawn_blocking(move || regular(fd.into(), bytes_max)).await;
        let file = copied.ok().flatten();
        Ok(file.map(|(content, executable)| SourceFile { name: name.to_owned(), content, executable }))
    }

    /// Forks a payload and holds it one step before `execve`.
    ///
    /// # Errors
    /// The step that failed.
    pub async fn load(&mut self, command: StageCommand, limits: StageLimits) -> Result<Stdio, SandboxError> {
        self.send(&Request::Load { id: self.handle.id, command, limits, gate: false }).await?;
        self.loaded().await
    }

    /// Forks a payload and lets it go, with one wait for both.
    ///
    /// # Errors
    /// The step that failed.
    pub async fn load_and_start(&mut self, command: StageCommand, limits: StageLimits) -> Result<Stdio, SandboxError> {
        self.send(&Request::Load { id: self.handle.id, command, limits, gate: false }).await?;
        self.start().await?;
        self.loaded().await
    }

    /// Executes an interpreter and holds it in its gate, before it looks at the program. Only as the first stage.
    ///
    /// # Errors
    /// The step that failed; [`Step::Gate`] when it did not come to its gate.
    pub async fn load_gated(&mut self, command: StageCommand, limits: StageLimits) -> Result<Stdio, SandboxError> {
        self.send(&Request::Load { id: self.handle.id, command, limits, gate: true }).await?;
        self.loaded().await
    }

    /// As [`Sandbox::load_gated`], by a fork of `template`, which must be of the same connection.
    ///
    /// # Errors
    /// The step that failed; [`Step::Template`] when the template is gone.
    pub async fn fork_from(&mut self, template: &Template, limits: StageLimits) -> Result<Stdio, SandboxError> {
        if !Arc::ptr_eq(&self.handle.connection, &template.handle.connection) {
            return Err(SandboxError { step: Step::Template, errno: 0 });
        }
        self.send(&Request::Fork { id: self.handle.id, template: template.handle.id, limits }).await?;
        self.loaded().await
    }

    async fn loaded(&mut self) -> Result<Stdio, SandboxError> {
        let (Event::Loaded { .. }, fds) = self.next().await? else {
            return Err(SandboxError { step: Step::Protocol, errno: 0 });
        };
        let [stdin, stdout, stderr] =
            <[OwnedFd; 3]>::try_from(fds).map_err(|_| SandboxError { step: Step::Protocol, errno: 0 })?;
        self.loaded = true;
        let pipe = |error: std::io::Error| SandboxError { step: Step::Pipe, errno: error.raw_os_error().unwrap_or(0) };
        Ok(Stdio {
            stdin: pipe::Sender::from_owned_fd(stdin).map_err(pipe)?,
            stdout: pipe::Receiver::from_owned_fd(stdout).map_err(pipe)?,
            stderr: pipe::Receiver::from_owned_fd(stderr).map_err(pipe)?,
        })
    }

    /// Lets the payload go.
    ///
    /// # Errors
    /// [`Step::Spawner`] when the connection is lost.
    pub async fn start(&self) -> Result<(), SandboxError> {
        self.send(&Request::Start { id: self.handle.id }).await
    }

    /// Waits until the stage has ended and everything of it is gone.
    ///
    /// # Errors
    /// The step that failed: [`Step::Exec`] when there was nothing to execute.
    pub async fn ended(&mut self) -> Result<StageOutcome, SandboxError> {
        loop {
            match self.next().await? {
                (Event::Ended { outcome, .. }, _) => {
                    self.loaded = false;
                    return Ok(outcome);
                }
                (Event::Compiled { exit_code, text, .. }, _) => self.compiled = Some(Compiled { exit_code, text }),
                _ => return Err(SandboxError { step: Step::Protocol, errno: 0 }),
            }
        }
    }

    /// What the gate of the stage that ended said of compiling, if it compiles.
    pub const fn take_compiled(&mut self) -> Option<Compiled> {
        self.compiled.take()
    }

    /// Waits until it cannot be used any more, without using it.
    pub async fn lost(&mut self) -> SandboxError {
        match self.next().await {
            Err(error) => error,
            Ok(_) => SandboxError { step: Step::Protocol, errno: 0 },
        }
    }

    /// A handle that can end the stage.
    #[must_use]
    pub fn killer(&self) -> Killer {
        self.handle.clone()
    }
}

impl Killer {
    fn destroy(&self) {
        let request = Request::Destroy { id: self.id };
        if self.connection.try_send(&request) {
            return;
        }
        let connection = self.connection.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { connection.send(&request, &[]).await });
        }
    }

    /// Ends the running stage; without effect when it has ended.
    pub async fn kill(&self, reason: KillReason) {
        let _ = self.connection.send(&Request::Kill { id: self.id, reason }, &[]).await;
    }
}

impl Template {
    pub(super) async fn create(connection: Arc<Connection>, spec: TemplateSpec) -> Result<Self, SandboxError> {
        let (id, frames) = connection.register().ok_or(LOST)?;
        let mut template = Self { handle: Killer { connection, id }, frames };
        template.handle.connection.send(&Request::CreateTemplate { id, spec }, &[]).await.map_err(|_| LOST)?;
        match template.frames.recv().await {
            Some((Event::Created { .. }, _)) => Ok(template),
            Some((Event::Failed { error, .. }, _)) => Err(error),
            None => Err(LOST),
            Some(_) => Err(SandboxError { step: Step::Protocol, errno: 0 }),
        }
    }

    /// Waits until it cannot be forked any more.
    pub async fn lost(&mut self) -> SandboxError {
        match self.frames.recv().await {
            Some((Event::Failed { error, .. }, _)) => error,
            None => LOST,
            Some(_) => SandboxError { step: Step::Protocol, errno: 0 },
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.handle.destroy();
    }
}

impl Drop for Template {
    fn drop(&mut self) {
        self.handle.destroy();
    }
}

/// All of a regular file, if it is one and is not larger, and whether its owner may execute it.
fn regular(file: std::fs::File, bytes_max: u64) -> Option<(Vec<u8>, bool)> {
    let metadata = file.metadata().ok()?;
    if !metadata.is_file() || metadata.len() > bytes_max {
        return None;
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).ok()?);
    file.take(metadata.len()).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 == metadata.len()).then_some((bytes, metadata.mode() & 0o100 != 0))
}

/// Bytes in an anonymous file, read from its start by whoever gets the descriptor.
fn packed(bytes: &[u8]) -> std::io::Result<OwnedFd> {
    let mut file = std::fs::File::from(memfd_create(c"files", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(bytes)?;
    std::io::Seek::rewind(&mut file)?;
    Ok(file.into())
}
