//! The frames: one per `SOCK_SEQPACKET` message, little-endian, bounded, and refused when anything is odd.
//!
//! | request | permitted in state | answer |
//! |---|---|---|
//! | [`Request::Hello`] | first frame only | [`Event::Welcome`] |
//! | [`Request::Create`] | id unused | [`Event::Created`] or [`Event::Failed`] |
//! | [`Request::Write`] + pack | created, loaded, between stages | [`Event::Written`] |
//! | [`Request::Read`] | created, between stages | [`Event::File`] + the file's descriptor, or none |
//! | [`Request::Load`] | created, between stages | [`Event::Loaded`] + stdin, stdout, stderr |
//! | [`Request::CreateTemplate`] | id unused | [`Event::Created`] or [`Event::Failed`] |
//! | [`Request::Fork`] | created, nothing loaded before | [`Event::Loaded`] + stdin, stdout, stderr |
//! | [`Request::Start`] | loaded | [`Event::Ended`] when the stage has ended, perhaps [`Event::Compiled`] before |
//! | [`Request::Kill`] | loading ahead, loaded, being written to then, running | [`Event::Ended`] |
//! | [`Request::Destroy`] | any | [`Event::Destroyed`] |
//!
//! Up to four of `Write`, `Read`, `Load`, `Fork` and `Start` may be sent ahead of the answer to what was asked before them, and
//! are done in their turn. When something fails, so does the sandbox, and what was sent ahead gets no answer of its own.
//!
//! A frame that is malformed closes the connection; one that the state does not permit fails the sandbox.

mod codec;
mod pack;

use std::time::Duration;

use thiserror::Error;

use crate::outcome::{Exit, KillReason, Limit, SandboxError, StageOutcome, Step};
use crate::spec::{
    COMMAND_BYTES_MAX, CpuQuota, CpuTime, Example, MemoryMax, PidsMax, SandboxSpec, StageCommand, StageLimits,
    TemplateSpec, TmpfsInodes, TmpfsSize, WallTime, is_safe_name,
};
use codec::{Reader, Writer};
pub use pack::{PACK_BYTES_MAX, Packed, pack, unpack};

/// The version both ends must speak.
pub const VERSION: u16 = 6;
/// Bytes that no frame exceeds.
pub const FRAME_BYTES_MAX: usize = COMMAND_BYTES_MAX + Example::BYTES_MAX + 4096;
/// Descriptors that no frame exceeds.
pub const FRAME_FDS_MAX: usize = 16;
/// Bytes of a gate's message: a letter, an exit code, diagnostics.
pub const GATE_MESSAGE_BYTES_MAX: usize = 60_002;

/// A frame that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum WireError {
    /// It ends too early.
    #[error("the frame is too short")]
    Short,
    /// Bytes are left over.
    #[error("the frame is too long")]
    Long,
    /// No such kind of frame.
    #[error("unknown frame kind {0}")]
    Kind(u8),
    /// A value out of its bounds.
    #[error("bad value for {0}")]
    Value(&'static str),
}

/// A sandbox's name on one connection, chosen by the daemon.
pub type SandboxId = u32;

/// From the daemon to the spawner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Opens the conversation.
    Hello {
        /// [`VERSION`].
        version: u16,
    },
    /// Makes a sandbox: cgroup, namespaces, mounts, privileges, filters; nothing runs in it yet.
    Create {
        /// A name unused on this connection.
        id: SandboxId,
        /// What it is made with.
        spec: SandboxSpec,
        /// Made ahead of need: at a low CPU weight until `Start`.
        background: bool,
    },
    /// Starts an interpreter that has seen no program and never will: [`Request::Fork`] fills sandboxes from it.
    CreateTemplate {
        /// A name unused on this connection.
        id: SandboxId,
        /// What it is.
        spec: TemplateSpec,
    },
    /// Writes files into the work directory; a descriptor with a [`pack`] comes along.
    Write {
        /// Which sandbox.
        id: SandboxId,
    },
    /// Asks for a regular file of the work directory. What it holds the programs before have determined.
    Read {
        /// Which sandbox.
        id: SandboxId,
        /// Its name, checked by [`is_safe_name`].
        name: String,
    },
    /// Forks the payload and holds it one step before `execve`, or in its gate.
    Load {
        /// Which sandbox.
        id: SandboxId,
        /// What it will execute.
        command: StageCommand,
        /// What it may use.
        limits: StageLimits,
        /// Executed at once, and held where the interpreter's gate stops: before it opens the program. Only as the first
        /// stage of a sandbox.
        gate: bool,
    },
    /// As a `Load` with a gate, by a fork of a template in place of a start.
    Fork {
        /// Which sandbox.
        id: SandboxId,
        /// The template, by its name on the same connection.
        template: SandboxId,
        /// What the payload may use.
        limits: StageLimits,
    },
    /// From the spawner to a sandbox's init alone: the payload is this process, which a template forked.
    Adopt {
        /// Its pid in the sandbox.
        pid: u32,
    },
    /// From the spawner to a sandbox's init alone: a program wants IP sockets. The listener comes along; init agrees
    /// to everything it is asked, since the spawner knows by now.
    Agree,
    /// Lets the payload go; its clocks start.
    Start {
        /// Which sandbox.
        id: SandboxId,
    },
    /// Ends a stage, and with it the sandbox's usefulness.
    Kill {
        /// Which sandbox.
        id: SandboxId,
        /// Why; it shows in the outcome.
        reason: KillReason,
    },
    /// Ends and removes the sandbox.
    Destroy {
        /// Which sandbox.
        id: SandboxId,
    },
}

/// From the spawner to the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Answers [`Request::Hello`].
    Welcome {
        /// [`VERSION`].
        version: u16,
        /// 1 or 2.
        cgroup_version: u8,
        /// Landlock's ABI, 0 where the kernel has none.
        landlock_abi: u8,
        /// Sandboxes that may be alive at once.
        sandboxes_max: u32,
        /// The cgroup directory whose memory is that of all stages together.
        memory_cgroup: String,
    },
    /// The sandbox is there.
    Created {
        /// Which.
        id: SandboxId,
    },
    /// The files are there.
    Written {
        /// Which.
        id: SandboxId,
    },
    /// Answers [`Request::Read`]; a descriptor comes along where there is such a file. It comes out of the sandbox, past
    /// the spawner, unexamined: whoever receives it must find out what it is.
    File {
        /// Which.
        id: SandboxId,
    },
    /// The payload waits; stdin (write end), stdout and stderr (read ends) come along.
    Loaded {
        /// Which.
        id: SandboxId,
    },
    /// The stage has ended; every process of it is gone.
    Ended {
        /// Which.
        id: SandboxId,
        /// How.
        outcome: StageOutcome,
    },
    /// The gate of a running stage has compiled the program.
    Compiled {
        /// Which.
        id: SandboxId,
        /// 0 when the program is about to run; else it will not.
        exit_code: u8,
        /// The compiler's diagnostics.
        text: String,
    },
    /// The sandbox failed; only `Destroy` is permitted from here.
    Failed {
        /// Which.
        id: SandboxId,
        /// What failed.
        error: SandboxError,
    },
    /// The sandbox is gone without a trace; its id may be used again.
    Destroyed {
        /// Which.
        id: SandboxId,
    },
}

impl Request {
    /// The frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        match self {
            Self::Hello { version } => {
                w.u8(1);
                w.u16(*version);
            }
            Self::Create { id, spec, background } => {
                w.u8(2);
                w.u32(*id);
                write_spec(&mut w, spec);
                w.u8(u8::from(*background));
            }
            Self::CreateTemplate { id, spec } => {
                w.u8(9);
                w.u32(*id);
                write_spec(&mut w, &spec.sandbox);
                write_limits(&mut w, &spec.limits);
                encode_command(&mut w, &spec.command);
                w.u8(u8::from(spec.example.is_some()));
                if let Some(Example { file, code, stdin }) = &spec.example {
                    w.text(file);
                    w.text(code);
                    w.text(stdin);
                }
            }
            Self::Write { id } => {
                w.u8(3);
                w.u32(*id);
            }
            Self::Load { id, command, limits, gate } => {
                w.u8(4);
                w.u32(*id);
                w.u8(u8::from(*gate));
                write_limits(&mut w, limits);
                encode_command(&mut w, command);
            }
            Self::Fork { id, template, limits } => {
                w.u8(10);
                w.u32(*id);
                w.u32(*template);
                write_limits(&mut w, limits);
            }
            Self::Adopt { pid } => {
                w.u8(11);
                w.u32(*pid);
            }
            Self::Agree => w.u8(12),
            Self::Start { id } => {
                w.u8(5);
                w.u32(*id);
            }
            Self::Kill { id, reason } => {
                w.u8(6);
                w.u32(*id);
                w.u8(match reason {
                    KillReason::Output => 1,
                    KillReason::Cancelled => 2,
                });
            }
            Self::Destroy { id } => {
                w.u8(7);
                w.u32(*id);
            }
            Self::Read { id, name } => {
                w.u8(16);
                w.u32(*id);
                w.text(name);
            }
        }
        w.into_bytes()
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// [`WireError`] for anything that [`Request::encode`] does not make.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(bytes);
        let request = match r.u8()? {
            1 => Self::Hello { version: r.u16()? },
            2 => Self::Create { id: r.u32()?, spec: read_spec(&mut r)?, background: r.bool()? },
            3 => Self::Write { id: r.u32()? },
            4 => {
                let (id, gate) = (r.u32()?, r.bool()?);
                Self::Load { id, gate, limits: read_limits(&mut r)?, command: decode_command(&mut r)? }
            }
            5 => Self::Start { id: r.u32()? },
            6 => Self::Kill {
                id: r.u32()?,
                reason: match r.u8()? {
                    1 => KillReason::Output,
                    2 => KillReason::Cancelled,
                    _ => return Err(WireError::Value("kill reason")),
                },
            },
            7 => Self::Destroy { id: r.u32()? },
            9 => {
                let (id, sandbox, limits) = (r.u32()?, read_spec(&mut r)?, read_limits(&mut r)?);
                let (command, example) = (decode_command(&mut r)?, decode_example(&mut r)?);
                Self::CreateTemplate { id, spec: TemplateSpec { sandbox, command, limits, example } }
            }
            11 => Self::Adopt { pid: r.u32()? },
            12 => Self::Agree,
            10 => Self::Fork { id: r.u32()?, template: r.u32()?, limits: read_limits(&mut r)? },
            16 => {
                let (id, name) = (r.u32()?, r.text("file name")?);
                if !is_safe_name(&name) {
                    return Err(WireError::Value("file name"));
                }
                Self::Read { id, name }
            }
            kind => return Err(WireError::Kind(kind)),
        };
        r.finish()?;
        Ok(request)
    }
}

impl Event {
    /// The frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        match self {
            Self::Welcome { version, cgroup_version, landlock_abi, sandboxes_max, memory_cgroup } => {
                w.u8(1);
                w.u16(*version);
                w.u8(*cgroup_version);
                w.u8(*landlock_abi);
                w.u32(*sandboxes_max);
                w.text(memory_cgroup);
            }
            Self::Created { id } => {
                w.u8(2);
                w.u32(*id);
            }
            Self::Written { id } => {
                w.u8(3);
                w.u32(*id);
            }
            Self::Loaded { id } => {
                w.u8(4);
                w.u32(*id);
            }
            Self::Ended { id, outcome } => {
                w.u8(5);
                w.u32(*id);
                match outcome.exit {
                    Exit::Code(code) => {
                        w.u8(0);
                        w.u8(code);
                    }
                    Exit::Signal(signal) => {
                        w.u8(1);
                        w.u8(signal);
                    }
                }
                w.u8(outcome.limit.map_or(0, limit_code));
                w.u8(u8::from(outcome.cancelled));
                w.duration(outcome.cpu_time);
                w.duration(outcome.wall_time);
                w.u64(outcome.peak_memory);
            }
            Self::Failed { id, error } => {
                w.u8(6);
                w.u32(*id);
                w.u8(error.step as u8);
                w.i32(error.errno);
            }
            Self::Destroyed { id } => {
                w.u8(7);
                w.u32(*id);
            }
            Self::Compiled { id, exit_code, text } => {
                w.u8(9);
                w.u32(*id);
                w.u8(*exit_code);
                w.text(text);
            }
            Self::File { id } => {
                w.u8(16);
                w.u32(*id);
            }
        }
        w.into_bytes()
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// [`WireError`] for anything that [`Event::encode`] does not make.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(bytes);
        let event = match r.u8()? {
            1 => Self::Welcome {
                version: r.u16()?,
                cgroup_version: r.u8()?,
                landlock_abi: r.u8()?,
                sandboxes_max: r.u32()?,
                memory_cgroup: r.text("cgroup")?,
            },
            2 => Self::Created { id: r.u32()? },
            3 => Self::Written { id: r.u32()? },
            4 => Self::Loaded { id: r.u32()? },
            5 => Self::Ended {
                id: r.u32()?,
                outcome: StageOutcome {
                    exit: match (r.u8()?, r.u8()?) {
                        (0, code) => Exit::Code(code),
                        (1, signal) => Exit::Signal(signal),
                        _ => return Err(WireError::Value("exit")),
                    },
                    limit: limit_from_code(r.u8()?)?,
                    cancelled: r.bool()?,
                    cpu_time: r.duration()?,
                    wall_time: r.duration()?,
                    peak_memory: r.u64()?,
                },
            },
            6 => Self::Failed {
                id: r.u32()?,
                error: SandboxError {
                    step: Step::from_code(r.u8()?).ok_or(WireError::Value("step"))?,
                    errno: r.i32()?,
                },
            },
            7 => Self::Destroyed { id: r.u32()? },
            9 => Self::Compiled { id: r.u32()?, exit_code: r.u8()?, text: r.text("diagnostics")? },
            16 => Self::File { id: r.u32()? },
            kind => return Err(WireError::Kind(kind)),
        };
        r.finish()?;
        Ok(event)
    }
}

const fn limit_code(limit: Limit) -> u8 {
    match limit {
        Limit::Time => 1,
        Limit::Cpu => 2,
        Limit::Memory => 3,
        Limit::Output => 4,
        Limit::Processes => 5,
        Limit::Disk => 6,
    }
}

const fn limit_from_code(code: u8) -> Result<Option<Limit>, WireError> {
    Ok(Some(match code {
        0 => return Ok(None),
        1 => Limit::Time,
        2 => Limit::Cpu,
        3 => Limit::Memory,
        4 => Limit::Output,
        5 => Limit::Processes,
        6 => Limit::Disk,
        _ => return Err(WireError::Value("limit")),
    }))
}

fn write_spec(w: &mut Writer, spec: &SandboxSpec) {
    w.u64(spec.box_size.get());
    w.u64(spec.box_inodes.get());
    w.u64(spec.tmp_size.get());
}

fn read_spec(r: &mut Reader<'_>) -> Result<SandboxSpec, WireError> {
    Ok(SandboxSpec {
        box_size: TmpfsSize::new(r.u64()?).map_err(|e| WireError::Value(e.field))?,
        box_inodes: TmpfsInodes::new(r.u64()?).map_err(|e| WireError::Value(e.field))?,
        tmp_size: TmpfsSize::new(r.u64()?).map_err(|e| WireError::Value(e.field))?,
    })
}

fn write_limits(w: &mut Writer, limits: &StageLimits) {
    w.u64(limits.memory.get());
    w.u64(limits.pids.get());
    w.u64(limits.cpu_quota.get());
    w.u64(limits.wall.get());
    w.u64(limits.cpu.get());
    w.u64(limits.open_files);
    w.u64(limits.file_size);
    w.u64(limits.stack);
}

fn read_limits(r: &mut Reader<'_>) -> Result<StageLimits, WireError> {
    Ok(StageLimits {
        memory: MemoryMax::new(r.u64()?).map_err(|e| WireError::Value(e.field))?,
        pids: PidsMax::new(r.u64()?).map_err(|e| WireError::Value(e.field))?,
        cpu_quota: CpuQuota::new(r.u64()?).map_err(|e| WireError::Value(e.field))?,
        wall: WallTime::new(r.u64()?).map_err(|e| WireError::Value(e.field))?,
        cpu: CpuTime::new(r.u64()?).map_err(|e| WireError::Value(e.field))?,
        open_files: r.u64()?,
        file_size: r.u64()?,
        stack: r.u64()?,
    })
}

fn encode_command(w: &mut Writer, command: &StageCommand) {
    w.list(command.argv.len());
    for arg in &command.argv {
        w.text(arg);
    }
    w.list(command.env.len());
    for (key, value) in &command.env {
        w.text(key);
        w.text(value);
    }
}

fn decode_example(r: &mut Reader<'_>) -> Result<Option<Example>, WireError> {
    if !r.bool()? {
        return Ok(None);
    }
    let example = Example { file: r.text("example")?, code: r.text("example")?, stdin: r.text("example")? };
    if example.is_valid() { Ok(Some(example)) } else { Err(WireError::Value("example")) }
}

fn decode_command(r: &mut Reader<'_>) -> Result<StageCommand, WireError> {
    let argv = (0..r.list()?).map(|_| r.text("argv")).collect::<Result<Vec<_>, _>>()?;
    let env = (0..r.list()?)
        .map(|_| {
            let key = r.text("environment")?;
            if key.is_empty() || key.contains('=') {
                return Err(WireError::Value("environment"));
            }
            Ok((key, r.text("environment")?))
        })
        .collect::<Result<Vec<_>, _>>()?;
    if argv.first().is_none_or(String::is_empty) {
        return Err(WireError::Value("argv"));
    }
    let bytes: usize =
        argv.iter().map(|a| a.len() + 1).sum::<usize>() + env.iter().map(|(k, v)| k.len() + v.len() + 2).sum::<usize>();
    if bytes > COMMAND_BYTES_MAX {
        return Err(WireError::Value("command size"));
    }
    Ok(StageCommand { argv, env })
}

impl Writer {
    fn duration(&mut self, value: Duration) {
        self.u64(u64::try_from(value.as_nanos()).unwrap_or(u64::MAX));
    }
}

impl Reader<'_> {
    fn duration(&mut self) -> Result<Duration, WireError> {
        Ok(Duration::from_nanos(self.u64()?))
    }
}

#[cfg(test)]
mod tests;
