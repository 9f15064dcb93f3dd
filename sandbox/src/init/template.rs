//! A template's way from the clone to its interpreter.
//!
//! It is confined as a sandbox is, but for what it needs to fork into sandboxes: it stays in the spawner's pid namespace
//! (whose procfs shows it nothing but itself) and in the host's user namespace, under a uid of its own, with the
//! capabilities that `setns(2)` asks for, and its filter lets through what entering takes. It is an interpreter of the
//! host's that has seen no program, and never will.

use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, chdir, pipe2, setgroups, setresgid, setresuid, setsid};

use super::{Plan, belong, places, tell};
use crankcase_sandbox::confine::At as _;
use crankcase_sandbox::fork::{GATE_FD, ORDERS_FD, Rlimits};
use crankcase_sandbox::outcome::{SandboxError, Step};
use crankcase_sandbox::report::Report;
use crankcase_sandbox::sys;

/// CAP_SYS_CHROOT and CAP_SYS_ADMIN: what entering namespaces takes.
const ENTER: &[u32] = &[18, 21];
/// CAP_DAC_OVERRIDE besides, to be born in a cgroup that is root's.
const ENTER_V2: &[u32] = &[1, 18, 21];

/// Everything that [`run_template`] needs.
pub struct TemplatePlan<'a> {
    pub plan: Plan<'a>,
    /// Its uid and gid on the host.
    pub host_id: u32,
    pub image: sys::ExecImage,
    pub rlimits: Rlimits,
    pub cgroup_v2: bool,
}

/// The life of a template up to `execve`, in the child of the clone.
pub fn run_template(plan: &TemplatePlan<'_>, gate: &OwnedFd, orders: &OwnedFd) -> ! {
    // Out of the way of the numbers that they are about to get, which in a busy spawner may be anybody's.
    let above = |fd: &OwnedFd| sys::duplicate_from(fd.as_fd(), GATE_FD + 1);
    let (Ok(gate), Ok(orders)) = (&above(gate), &above(orders)) else { sys::exit(127) };
    let Err(error) = confine_and_exec(plan, gate, orders);
    let _ = tell(gate, Report::Failed(error));
    sys::exit(127)
}

fn confine_and_exec(
    plan: &TemplatePlan<'_>,
    gate: &OwnedFd,
    orders: &OwnedFd,
) -> Result<std::convert::Infallible, SandboxError> {
    prctl::set_pdeathsig(Signal::SIGKILL).at(Step::DeathSignal)?;
    belong(&plan.plan)?;
    places(&plan.plan)?;
    pipes_to_nowhere().at(Step::Stdio)?;
    sys::keep_as(orders.as_fd(), ORDERS_FD).at(Step::Stdio)?;
    sys::keep_as(gate.as_fd(), GATE_FD).at(Step::Stdio)?;
    // Close-on-exec, the first of them.
    sys::close_fds_except(&[gate.as_raw_fd(), ORDERS_FD, GATE_FD]).at(Step::CloseFds)?;
    setgroups(&[]).at(Step::Groups)?;
    let capabilities = if plan.cgroup_v2 { ENTER_V2 } else { ENTER };
    // Inheritable while they are still in the bounding set, which then goes: ambient ones are all that execve leaves.
    sys::make_inheritable(capabilities).at(Step::Capabilities)?;
    sys::drop_bounding_set().at(Step::BoundingSet)?;
    let (uid, gid) = (Uid::from_raw(plan.host_id), Gid::from_raw(plan.host_id));
    setresgid(gid, gid, gid).at(Step::SetId)?;
    prctl::set_keepcaps(true).at(Step::Securebits)?;
    setresuid(uid, uid, uid).at(Step::SetId)?;
    sys::make_ambient(capabilities).at(Step::Capabilities)?;
    // Changing ids cleared the death signal.
    prctl::set_pdeathsig(Signal::SIGKILL).at(Step::DeathSignal)?;
    prctl::set_no_new_privs().at(Step::NoNewPrivs)?;
    sys::set_rlimits(&plan.rlimits).at(Step::Rlimit)?;
    sys::reset_signals().at(Step::Stdio)?;
    setsid().at(Step::Setsid)?;
    chdir(c"/box").at(Step::Chdir)?;
    let failed = |errno| SandboxError { step: Step::Seccomp, errno };
    plan.plan.filters.install_template().map_err(failed)?;
    plan.image.exec().at(Step::Exec)
}

/// As stdio, which every fork replaces by its own: interpreters remember what kind of file they found there.
fn pipes_to_nowhere() -> Result<(), Errno> {
    let (stdin, output) = pipe2(OFlag::O_CLOEXEC)?;
    [&stdin, &output, &output].into_iter().zip(0..).try_for_each(|(end, number)| sys::place_stdio(end.as_fd(), number))
}
