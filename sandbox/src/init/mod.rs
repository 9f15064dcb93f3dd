//! Pid 1 of a sandbox: confines itself step by step, then writes files, forks payloads, reaps, reports, and dies last.
//!
//! It runs in a clone of the spawner and never executes anything. [`confine`] is the one ordered list of everything that
//! separates a program from the host; each step stands where it stands for the reason beside it. What comes after it,
//! in [`serve`], has no more power than the program itself.
//!
//! Killing init ends the sandbox. When the spawner is gone, init's control socket ends and so does init.

mod files;
mod payload;
mod serve;
mod template;

use std::ffi::CString;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};

use crankcase_sandbox::outcome::{SandboxError, Step};
use crankcase_sandbox::spec::SandboxSpec;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::socket::{MsgFlags, recv, send};
use nix::sys::stat::Mode;
use nix::unistd::{setgroups, sethostname, write};

use crate::seccomp::Filters;
use crankcase_sandbox::confine::{At, drop_privileges, landlock};
use crankcase_sandbox::report::Report;
use crankcase_sandbox::socket::send_frame;
use crankcase_sandbox::sys;
pub use template::{TemplatePlan, run_template};

/// What the spawner sends when the uid and gid map is written.
pub const MAPPED: u8 = b'M';

/// Everything that [`run`] needs, prepared before the clone.
pub struct Plan<'a> {
    hostname: &'a str,
    box_options: CString,
    tmp_options: CString,
    landlock_abi: u8,
    filters: &'a Filters,
    entrances: &'a [OwnedFd],
    /// The network namespace to enter; none where it is born in one.
    net: Option<BorrowedFd<'a>>,
}

impl<'a> Plan<'a> {
    /// Prepares; `host_id` is the sandbox's uid and gid outside, `entrances` are its cgroup's.
    #[must_use]
    pub fn new(
        spec: &SandboxSpec,
        host_id: u32,
        hostname: &'a str,
        landlock_abi: u8,
        filters: &'a Filters,
        entrances: &'a [OwnedFd],
        net: Option<BorrowedFd<'a>>,
    ) -> Option<Self> {
        let options = |size: u64, inodes: u64, mode: &str| {
            CString::new(format!("size={size},nr_inodes={inodes},mode={mode},uid={host_id},gid={host_id}")).ok()
        };
        Some(Self {
            hostname,
            box_options: options(spec.box_size.get(), spec.box_inodes.get(), "0755")?,
            tmp_options: options(spec.tmp_size.get(), spec.box_inodes.get(), "1777")?,
            landlock_abi,
            filters,
            entrances,
            net,
        })
    }
}

/// The life of init, in the child of the clone. With `shared` it shares its maker's table of descriptors, and takes along
/// what lies below that number.
pub fn run(plan: &Plan<'_>, control: OwnedFd, shared: Option<RawFd>) -> ! {
    let listener = match confine(plan, &control, shared) {
        Ok(listener) => listener,
        Err(error) => {
            let _ = tell(&control, Report::Failed(error));
            sys::exit(1);
        }
    };
    let fds: Vec<_> = listener.iter().map(|fd| fd.as_fd()).collect();
    if send_frame(&control, &Report::Ready.encode(), &fds).is_err() {
        sys::exit(1);
    }
    // The spawner's from here on.
    drop(listener);
    serve::serve(control)
}

fn tell(control: &OwnedFd, report: Report) -> Result<(), Errno> {
    send(control.as_raw_fd(), &report.encode(), MsgFlags::MSG_NOSIGNAL).map(drop)
}

/// Returns the listener of the filter, where it asks.
fn confine(plan: &Plan<'_>, control: &OwnedFd, shared: Option<RawFd>) -> Result<Option<OwnedFd>, SandboxError> {
    // If the spawner dies in the middle of this, so do we.
    prctl::set_pdeathsig(Signal::SIGKILL).at(Step::DeathSignal)?;
    belong(plan)?;
    // Nothing is opened before this.
    shared.map_or(Ok(()), sys::leave_fds).at(Step::CloseFds)?;
    places(plan)?;
    // Nothing of the spawner's stays open but the control socket: above all no cgroup and no host directory.
    null_stdio().at(Step::Stdio)?;
    sys::close_fds_except(&[control.as_raw_fd()]).at(Step::CloseFds)?;
    // Supplementary groups can be dropped only while groups are still mapped.
    setgroups(&[]).at(Step::Groups)?;
    // This process is in its cgroup, which so becomes all that is to be seen of cgroups.
    unshare(CloneFlags::CLONE_NEWCGROUP).at(Step::CgroupNamespace)?;
    // The user namespace comes after all others: those stay owned by the host's, so that even with every capability
    // in this one nothing could be mounted, no interface raised.
    unshare(CloneFlags::CLONE_NEWUSER).at(Step::UserNamespace)?;
    wait_for_map(control)?;
    drop_privileges()?;
    // Changing ids cleared the death signal.
    prctl::set_pdeathsig(Signal::SIGKILL).at(Step::DeathSignal)?;
    // Programs run under the same uid: they must not look into init.
    prctl::set_dumpable(false).at(Step::Capabilities)?;
    prctl::set_no_new_privs().at(Step::NoNewPrivs)?;
    if plan.landlock_abi > 0 {
        landlock(plan.landlock_abi).at(Step::Landlock)?;
    }
    // The filter is last: it forbids most of the above.
    plan.filters.install().map_err(|errno| SandboxError { step: Step::Seccomp, errno })
}

/// Its cgroup and its network namespace.
fn belong(plan: &Plan<'_>) -> Result<(), SandboxError> {
    // Before anything is charged to somebody.
    plan.entrances.iter().try_for_each(|fd| write(fd, b"0").map(drop)).at(Step::Attach)?;
    if let Some(net) = plan.net {
        setns(net, CloneFlags::CLONE_NEWNET).at(Step::Namespaces)?;
    }
    Ok(())
}

/// Everything that the new namespaces hold. The root is the spawner's, of which there is nothing else.
fn places(plan: &Plan<'_>) -> Result<(), SandboxError> {
    // The umask and the nice value of whoever started the spawner are not the program's.
    sys::umask(0o022);
    sys::reset_priority();
    mounts(plan)?;
    sethostname(plan.hostname).at(Step::Hostname)?;
    // The host's own processes shall outlive any sandbox; needs this /proc and, later, would not be permitted.
    prefer_for_oom_kill().at(Step::MountProc)
}

fn mounts(plan: &Plan<'_>) -> Result<(), SandboxError> {
    let strict = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let tmpfs = |target, options: &CString, flags| {
        mount(Some(c"tmpfs"), target, Some(c"tmpfs"), flags, Some(options.as_c_str()))
    };
    tmpfs(c"/box", &plan.box_options, strict).at(Step::MountBox)?;
    tmpfs(c"/tmp", &plan.tmp_options, strict).at(Step::MountTmp)?;
    tmpfs(c"/dev/shm", &plan.tmp_options, strict | MsFlags::MS_NOEXEC).at(Step::MountShm)?;
    // hidepid: init, which is not dumpable, does not show.
    mount(Some(c"proc"), c"/proc", Some(c"proc"), strict | MsFlags::MS_NOEXEC, Some(c"hidepid=2")).at(Step::MountProc)
}

fn prefer_for_oom_kill() -> Result<(), Errno> {
    let fd = open(c"/proc/self/oom_score_adj", OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    write(&fd, b"500").map(drop)
}

fn null_stdio() -> Result<(), Errno> {
    let null = open(c"/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())?;
    (0..=2).try_for_each(|number| sys::place_stdio(null.as_fd(), number))
}

fn wait_for_map(control: &OwnedFd) -> Result<(), SandboxError> {
    tell(control, Report::NeedsMap).at(Step::IdMap)?;
    let mut answer = [0_u8; 1];
    match recv(control.as_raw_fd(), &mut answer, MsgFlags::empty()) {
        Ok(1) if answer[0] == MAPPED => Ok(()),
        Ok(_) => Err(SandboxError { step: Step::IdMap, errno: 0 }),
        Err(errno) => Err(SandboxError { step: Step::IdMap, errno: errno as i32 }),
    }
}
