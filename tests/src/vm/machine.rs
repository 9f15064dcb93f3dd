//! qemu's command line: the same for the boot that a snapshot is taken of and for what resumes it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The disk that carries files into the machine. A resumed machine remembers its size, so there is one.
pub const SHARE_BYTES: u64 = 4 << 30;

/// What the machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Processors.
    pub cores: u32,
    /// Memory in MiB.
    pub memory: u32,
}

impl Size {
    /// A modest classroom server.
    pub const USUAL: Self = Self { cores: 2, memory: 2048 };
    /// The smallest that is supported.
    pub const SMALL: Self = Self { cores: 1, memory: 1024 };
}

/// A machine about to be started.
#[derive(Debug, Clone)]
pub struct Machine {
    /// The directory that `tests/vm/image` filled.
    pub image: PathBuf,
    /// Its disk.
    pub disk: PathBuf,
    /// Whether what it writes to the disk is thrown away.
    pub throw_away: bool,
    /// Processors and memory.
    pub size: Size,
    /// A saved state to go on from.
    pub state: Option<PathBuf>,
}

impl Machine {
    /// Starts qemu; its sockets (`agent`, `monitor`), its console log and the share disk lie in `work`.
    ///
    /// # Errors
    /// When qemu cannot be started.
    pub fn start(&self, work: &Path) -> std::io::Result<Child> {
        let path = |name: &str| work.join(name).display().to_string();
        // Ends with us, however we end, and leaves the processor to everything else.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "nice", "-n", "10", "qemu-system-x86_64"]);
        command.args(["-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35"]);
        // By emulation alone, so that it runs the same everywhere. What is off costs the emulation most.
        command.args(["-accel", "tcg,thread=multi", "-cpu", "max,la57=off,smap=off,smep=off"]);
        command.args(["-smp", &self.size.cores.to_string(), "-m", &self.size.memory.to_string()]);
        command.arg("-kernel").arg(self.image.join("vmlinuz")).arg("-initrd").arg(self.image.join("initrd"));
        // A panic starts the machine again, which the agent's greeting tells.
        command.args(["-append", "console=ttyS0 quiet panic=-1 mitigations=off nokaslr audit=0 systemd.show_status=0"]);
        let snapshot = if self.throw_away { "on" } else { "off" };
        let disk = format!("if=none,id=root,format=raw,cache=unsafe,snapshot={snapshot},file={}", self.disk.display());
        command.args(["-drive", &disk, "-device", "virtio-blk-pci,drive=root"]);
        let share = format!("if=none,id=share,format=raw,readonly=on,file={}", path("share.img"));
        command.args(["-drive", &share, "-device", "virtio-blk-pci,drive=share"]);
        command.args(["-serial", &format!("file:{}", path("console"))]);
        let socket = |id: &str| format!("socket,id={id},path={},server=on,wait=off", path(id));
        command.args(["-device", "virtio-serial-pci", "-chardev", &socket("agent")]);
        command.args(["-device", "virtserialport,chardev=agent,name=agent"]);
        command.args(["-chardev", &socket("monitor"), "-mon", "chardev=monitor,mode=readline"]);
        if let Some(state) = &self.state {
            command.args(["-incoming", &format!("exec:cat {}", state.display())]);
        }
        let log = File::create(work.join("qemu.log"))?;
        command.env("TMPDIR", work).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()
    }
}
