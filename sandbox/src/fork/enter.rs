//! The fork of a template into a sandbox, from within the interpreter.
//!
//! # Theory of operation
//!
//! ```text
//! template ──clone──▶ between ──fork──▶ the payload
//! ```
//!
//! The template takes the order and joins the sandbox's pid namespace for its children. The process
//! *between* enters everything else, drops all power and forks once more, by libc, so that the interpreter's handlers run;
//! then it ends, and the payload becomes a child of the sandbox's init. The template waits for it and serves the next order.
//! The payload brings its pages in, by a call that no program may make, seals itself with the filter that takes away what
//! entering took, and says who it is; then it goes back to its gate.
//!
//! **Invariant.** The interpreter is single-threaded when it forks: its gate stands where no program has run yet.

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::sys::prctl;
use nix::sys::socket::{MsgFlags, recv, send};
use nix::unistd::{Pid, chdir, close, setsid, write};

use super::{ALONE, ENDED, FORK, FORKED, GATE_FD, Message, ORDERS_FD, Order, OrderFds, READY, example, install_filter};
use crate::confine::{At as _, drop_privileges, landlock};
use crate::outcome::{SandboxError, Step};
use crate::report::Report;
use crate::socket::send_frame;
use crate::spec::Example;
use crate::sys;

/// Set in a payload, whose forks are its own affair.
static IN_SANDBOX: AtomicBool = AtomicBool::new(false);

/// How many libraries the template had loaded.
static LOADED: AtomicU64 = AtomicU64::new(0);

/// The kinds of the order's namespaces, in its order, but for the last two: pid and user.
const KINDS: [CloneFlags; 5] = [
    CloneFlags::CLONE_NEWNET,
    CloneFlags::CLONE_NEWNS,
    CloneFlags::CLONE_NEWIPC,
    CloneFlags::CLONE_NEWUTS,
    CloneFlags::CLONE_NEWCGROUP,
];
const PID: usize = 5;
const USER: usize = 6;

/// Takes the preload out of the environment: programs shall not find it there. Runs before the interpreter's `main`.
pub extern "C" fn hide_preload() {
    sys::unset_environment(c"LD_PRELOAD");
}

/// In the payload: 0. Where no order waits: as libc's. The template itself never returns: between two forks its interpreter
/// has nothing to do, and each page that it wrote to was to be copied, since the last fork shares it.
pub fn fork() -> i32 {
    if IN_SANDBOX.load(Ordering::Relaxed) {
        return sys::libc_fork();
    }
    LOADED.store(sys::libraries_loaded(), Ordering::Relaxed);
    let Ok(mut message) = Message::receive(sys::borrow(ORDERS_FD)) else { return sys::libc_fork() };
    loop {
        let pid = match message {
            Message::Fork(order) => fork_into(&order.0, &order.1),
            Message::Learn(example) => learn(&example),
        };
        if pid == 0 {
            IN_SANDBOX.store(true, Ordering::Relaxed);
            return 0;
        }
        message = next();
    }
}

/// What the template is told next, for which it waits in its gate. It ends with whoever tells it.
fn next() -> Message {
    let mut word = [0];
    loop {
        match recv(GATE_FD, &mut word, MsgFlags::empty()) {
            Err(Errno::EINTR) => {}
            Ok(1) if word == [FORK] => match Message::receive(sys::borrow(ORDERS_FD)) {
                Ok(message) => return message,
                Err(_) => sys::exit(1),
            },
            _ => sys::exit(0),
        }
    }
}

/// In the payload: 0.
fn learn(example: &Example) -> i32 {
    let pid = example::learn(example);
    if pid != 0 {
        let _ = send(GATE_FD, &[READY], MsgFlags::MSG_NOSIGNAL);
    }
    pid
}

fn fork_into(order: &Order, fds: &OrderFds) -> i32 {
    let cgroup = fds.cgroup.first().filter(|_| order.clone_into).map(|fd| fd.as_fd());
    let cloned = setns(&fds.namespaces[PID], CloneFlags::CLONE_NEWPID)
        .and_then(|()| sys::clone_in_place(cgroup, between, &(order, fds)));
    match cloned {
        Ok(0) => match settle(order) {
            Ok(()) => 0,
            Err(error) => {
                tell(sys::borrow(GATE_FD), error);
                sys::exit(1)
            }
        },
        Ok(pid) => {
            // Until the process between has ended init is not the payload's parent, and could not wait for it. Until we have
            // waited for that one in turn, a program would see it.
            sys::wait_for(pid);
            let _ = send(fds.stdio[0].as_raw_fd(), &[ALONE], MsgFlags::MSG_NOSIGNAL);
            pid
        }
        Err(errno) => {
            tell(fds.stdio[0].as_fd(), SandboxError { step: Step::Fork, errno: errno as i32 });
            errno.set();
            -1
        }
    }
}

/// `_exit`, but for [`ENDED`].
pub fn end(status: i32) -> ! {
    let status = if status == ENDED { ended_well() } else { status };
    example::finish();
    sys::exit(status)
}

/// What is left to do at the end of a program.
fn ended_well() -> i32 {
    if LOADED.load(Ordering::Relaxed) != sys::libraries_loaded() {
        sys::exit_by_libc(0);
    }
    // The program loaded nothing that has an end, or could have asked libc for one. Those of the interpreter's libraries would
    // each bring in their code, and copy a page to note that they ran.
    sys::flush_streams();
    0
}

fn tell(go: BorrowedFd<'_>, error: SandboxError) {
    let _ = send(go.as_raw_fd(), &Report::Failed(error).encode(), MsgFlags::MSG_NOSIGNAL);
}

/// The process between. It stands on the template's own memory, so that nothing is copied for it but what the payload
/// gets anyway; it returns in the payload alone.
fn between((order, fds): &(&Order, &OrderFds)) {
    if let Err(error) = enter(order, fds) {
        tell(fds.stdio[0].as_fd(), error);
        sys::exit(1);
    }
    match sys::libc_fork() {
        0 => {}
        1.. => sys::exit(0),
        _ => sys::exit(1),
    }
}

/// In the payload, before it goes back to its gate.
fn settle(order: &Order) -> Result<(), SandboxError> {
    IN_SANDBOX.store(true, Ordering::Relaxed);
    setsid().at(Step::Setsid)?;
    if let Some(pages) = example::pages() {
        pages.bring_in();
    }
    let listener = install_filter(&order.seal, order.ask).at(Step::Seccomp)?;
    let mut message = [FORKED, 0, 0, 0, 0];
    message[1..].copy_from_slice(&Pid::this().as_raw().to_le_bytes());
    let fds: Vec<_> = listener.iter().map(|fd| fd.as_fd()).collect();
    send_frame(&sys::borrow(GATE_FD), &message, &fds).at(Step::Protocol)?;
    drop(listener);
    // The filter lets this through; the listener's number might have been above the limit.
    sys::set_rlimits(&order.rlimits).at(Step::Rlimit)
}

/// One ordered list, as init's: see `init::confine`. Everything that init has done for the sandbox as a whole is there.
fn enter(order: &Order, fds: &OrderFds) -> Result<(), SandboxError> {
    if !order.clone_into {
        fds.cgroup.iter().try_for_each(|fd| write(fd, b"0").map(drop)).at(Step::Attach)?;
    }
    for (namespace, kind) in fds.namespaces.iter().zip(KINDS) {
        setns(namespace, kind).at(Step::Namespaces)?;
    }
    chdir(c"/box").at(Step::Chdir)?;
    let [go, stdio @ ..] = &fds.stdio;
    for (number, fd) in (0..).zip(stdio) {
        sys::place_stdio(fd.as_fd(), number).at(Step::Stdio)?;
    }
    // The template's own sockets go with that.
    sys::keep_as(go.as_fd(), GATE_FD).at(Step::Stdio)?;
    close(ORDERS_FD).at(Step::CloseFds)?;
    // Last of the namespaces: from here on there is no power outside of it.
    setns(&fds.namespaces[USER], CloneFlags::CLONE_NEWUSER).at(Step::UserNamespace)?;
    drop_privileges()?;
    if order.landlock_abi > 0 {
        landlock(order.landlock_abi).at(Step::Landlock)?;
    }
    // As after an execve: programs may look at their own /proc.
    prctl::set_dumpable(true).at(Step::Capabilities)
}
