//! The system-call filter, compiled once at start and installed by every sandbox's init.
//!
//! It allows what [`table`] lists and answers everything else with `ENOSYS`, so that libraries fall back as on an older
//! kernel. The calls of [`FORBIDDEN`] get `EPERM`: they exist, they are just not for you. Another architecture's calls
//! (`int 0x80`) kill the process; x32 calls are in no list.
//!
//! A template that forks into sandboxes needs a few more calls to do so ([`calls::ENTERING`]): its own filter lets them
//! through, and each fork installs [`Filters::seal`] on top, which answers just these as the sandbox's filter does.
//!
//! Where the kernel can, no socket of the IP families is made before somebody who listens has agreed
//! (`SECCOMP_RET_USER_NOTIF`). The spawner listens: not to decide, but to know; see `server::net`.

mod calls;
mod program;

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use crankcase_sandbox::sys;
use nix::libc;
use seccompiler::BpfProgram;

use program::{Answer, Condition, Rule, assemble};

pub use calls::FORBIDDEN;

/// All filters.
pub struct Filters {
    /// Of a sandbox.
    sandbox: BpfProgram,
    /// Of a template.
    template: BpfProgram,
    /// What makes the second the first.
    pub seal: BpfProgram,
    /// The first and the third ask before they let a program make an IP socket, and want a listener.
    pub ask: bool,
}

/// Any of the namespace flags of `clone(2)`.
const NEW_NAMESPACES: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u32;

const TIOCSTI: u32 = 0x5412;
const TIOCLINUX: u32 = 0x541C;

#[cfg(target_arch = "x86_64")]
const ARCH: u32 = program::ARCH_X86_64;
#[cfg(target_arch = "aarch64")]
const ARCH: u32 = program::ARCH_AARCH64;

impl Filters {
    /// Compiles for this machine's architecture and kernel.
    pub fn compile() -> Self {
        Self::compile_for(sys::can_listen())
    }

    fn compile_for(ask: bool) -> Self {
        let table = table(ask);
        let entering: Vec<u32> = calls::ENTERING.iter().map(|call| number(*call)).collect();
        // A process has at most one listener: a fork brings it with its seal.
        let mut open = self::table(false);
        let mut sealed = BTreeMap::new();
        for call in entering {
            open.insert(call, Answer::Allow);
            sealed.insert(call, table.get(&call).cloned().unwrap_or(OTHERWISE));
        }
        if ask {
            sealed.extend(table.get_key_value(&number(libc::SYS_socket)).map(|(call, answer)| (*call, answer.clone())));
        }
        Self {
            sandbox: assemble(ARCH, &table, &OTHERWISE),
            template: assemble(ARCH, &open, &OTHERWISE),
            seal: assemble(ARCH, &sealed, &Answer::Allow),
            ask,
        }
    }

    /// Installs a sandbox's filter for this process and all it will ever start; `no_new_privs` is set. The descriptor is
    /// the listener's, where the filter asks.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn install(&self) -> Result<Option<OwnedFd>, i32> {
        install(&self.sandbox, self.ask)
    }

    /// As [`Filters::install`], a template's.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn install_template(&self) -> Result<(), i32> {
        install(&self.template, false).map(drop)
    }
}

fn install(program: &BpfProgram, ask: bool) -> Result<Option<OwnedFd>, i32> {
    crankcase_sandbox::fork::install_filter(program, ask).map_err(|errno| errno as i32)
}

type Table = BTreeMap<u32, Answer>;

const OTHERWISE: Answer = Answer::Refuse(libc::ENOSYS as u16);

fn number(call: libc::c_long) -> u32 {
    u32::try_from(call).unwrap_or(u32::MAX)
}

/// Every call that does not get `ENOSYS`. With `ask` somebody listens to who makes IP sockets.
fn table(ask: bool) -> Table {
    const EPERM: u16 = libc::EPERM as u16;
    let mut table: Table =
        calls::ALLOWED.iter().flat_map(|group| group.calls).map(|call| (number(*call), Answer::Allow)).collect();
    table.extend(FORBIDDEN.iter().map(|call| (number(*call), Answer::Refuse(EPERM))));
    let mut check = |call, rules| table.insert(number(call), Answer::Check(rules, libc::ENOSYS as u16));
    // Threads and processes, but no namespaces. clone3 hides its flags in memory, so libc must fall back to clone.
    check(libc::SYS_clone, vec![vec![masked(0, NEW_NAMESPACES, 0)]]);
    // Sockets within the sandbox: Unix, and TCP or UDP over a network namespace that has no way out.
    let sockets = |families: &[libc::c_int]| -> Vec<Rule> {
        let kinds = [libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_SEQPACKET];
        // The low four bits are the kind, the rest SOCK_NONBLOCK and SOCK_CLOEXEC.
        let rule = |family: libc::c_int, kind: libc::c_int| {
            vec![equal(0, family.unsigned_abs()), masked(1, 0xf, kind.unsigned_abs())]
        };
        families.iter().flat_map(|family| kinds.map(|kind| rule(*family, kind))).collect()
    };
    let (unix, ip) = (sockets(&[libc::AF_UNIX]), sockets(&[libc::AF_INET, libc::AF_INET6]));
    check(libc::SYS_socketpair, vec![vec![equal(0, libc::AF_UNIX.unsigned_abs())]]);
    // Terminal input must not be faked; all other requests depend on the descriptor, and those are ours.
    check(libc::SYS_ioctl, vec![vec![differs(1, TIOCSTI), differs(1, TIOCLINUX)]]);
    // Personalities that merely ask or set the default; none that weakens address layout.
    check(libc::SYS_personality, vec![vec![equal(0, 0)], vec![equal(0, 0xffff_ffff)]]);
    // prctl without what changes seccomp, securebits, capabilities or speculation controls.
    check(libc::SYS_prctl, calls::PRCTL.iter().map(|option| vec![equal(0, option.unsigned_abs())]).collect());
    const NONE: u16 = libc::ENOSYS as u16;
    let socket = if ask { Answer::Ask(unix, ip, NONE) } else { Answer::Check([unix, ip].concat(), NONE) };
    table.insert(number(libc::SYS_socket), socket);
    table
}

const fn equal(argument: u8, value: u32) -> Condition {
    Condition { argument, mask: u32::MAX, value, equal: true }
}

const fn differs(argument: u8, value: u32) -> Condition {
    Condition { argument, mask: u32::MAX, value, equal: false }
}

const fn masked(argument: u8, mask: u32, value: u32) -> Condition {
    Condition { argument, mask, value, equal: true }
}

#[cfg(test)]
mod tests {
    use super::program::tests::run;
    use super::*;

    fn errno(number: i32) -> u32 {
        libc::SECCOMP_RET_ERRNO | number.unsigned_abs()
    }

    fn answer(program: &BpfProgram, call: libc::c_long, arguments: [u64; 6]) -> u32 {
        run(program, ARCH, number(call), arguments)
    }

    #[test]
    fn the_filters_answer_as_the_lists_say() {
        let Filters { sandbox, template, seal, .. } = Filters::compile_for(false);
        // The kernel takes at most 4096 instructions.
        assert!([&sandbox, &template, &seal].iter().all(|program| program.len() < 256));
        let none = [0; 6];
        for call in calls::ALLOWED.iter().flat_map(|group| group.calls) {
            assert_eq!(answer(&sandbox, *call, none), libc::SECCOMP_RET_ALLOW, "{call}");
        }
        for call in FORBIDDEN {
            assert_eq!(answer(&sandbox, *call, none), errno(libc::EPERM), "{call}");
        }
        assert_eq!(answer(&sandbox, libc::SYS_clone3, none), errno(libc::ENOSYS));
        assert_eq!(run(&sandbox, ARCH, number(libc::SYS_getpid) | 0x4000_0000, none), errno(libc::ENOSYS));
        for (call, arguments, wanted) in [
            (libc::SYS_clone, [libc::SIGCHLD as u64, 0], libc::SECCOMP_RET_ALLOW),
            (libc::SYS_clone, [libc::CLONE_NEWUSER as u64, 0], errno(libc::ENOSYS)),
            (libc::SYS_socket, [libc::AF_INET as u64, libc::SOCK_STREAM as u64 | 0x80000], libc::SECCOMP_RET_ALLOW),
            (libc::SYS_socket, [libc::AF_INET as u64, libc::SOCK_RAW as u64], errno(libc::ENOSYS)),
            (libc::SYS_socket, [libc::AF_NETLINK as u64, libc::SOCK_DGRAM as u64], errno(libc::ENOSYS)),
            (libc::SYS_socketpair, [libc::AF_UNIX as u64, 1], libc::SECCOMP_RET_ALLOW),
            (libc::SYS_ioctl, [0, 0x5401], libc::SECCOMP_RET_ALLOW),
            (libc::SYS_ioctl, [0, u64::from(TIOCSTI)], errno(libc::ENOSYS)),
            (libc::SYS_ioctl, [0, u64::from(TIOCSTI) | 1 << 32], errno(libc::ENOSYS)),
            (libc::SYS_personality, [0x0004_0000, 0], errno(libc::ENOSYS)),
            (libc::SYS_prctl, [libc::PR_SET_NAME as u64, 0], libc::SECCOMP_RET_ALLOW),
            (libc::SYS_prctl, [libc::PR_SET_SECCOMP as u64, 0], errno(libc::ENOSYS)),
        ] {
            let [a, b] = arguments;
            assert_eq!(answer(&sandbox, call, [a, b, 0, 0, 0, 0]), wanted, "{call} {arguments:?}");
        }
    }

    #[test]
    fn a_sealed_template_is_a_sandbox() {
        for ask in [false, true] {
            let Filters { sandbox, template, seal, .. } = Filters::compile_for(ask);
            let stricter = |a: u32, b: u32| if a == libc::SECCOMP_RET_ALLOW { b } else { a };
            for call in (0..1024).chain(0x4000_0000..0x4000_0400) {
                for first in [0, 1, 2, 10, 22, 0x1000_0000, u64::from(TIOCSTI)] {
                    let arguments = [first, first, 0, 0, 0, 0];
                    let [a, b, c] = [&sandbox, &template, &seal].map(|program| run(program, ARCH, call, arguments));
                    assert_eq!(a, stricter(c, b), "{call} {first} {ask}");
                }
            }
        }
    }

    #[test]
    fn ip_sockets_alone_are_asked_for() {
        let Filters { sandbox, template, seal, .. } = Filters::compile_for(true);
        for (family, wanted) in [
            (libc::AF_UNIX, libc::SECCOMP_RET_ALLOW),
            (libc::AF_INET, libc::SECCOMP_RET_USER_NOTIF),
            (libc::AF_INET6, libc::SECCOMP_RET_USER_NOTIF),
            (libc::AF_NETLINK, errno(libc::ENOSYS)),
        ] {
            let arguments = [family as u64, libc::SOCK_STREAM as u64, 0, 0, 0, 0];
            assert_eq!(answer(&sandbox, libc::SYS_socket, arguments), wanted, "{family}");
            assert_eq!(answer(&seal, libc::SYS_socket, arguments), wanted, "{family}");
            assert_ne!(answer(&template, libc::SYS_socket, arguments), libc::SECCOMP_RET_USER_NOTIF, "{family}");
        }
        // Whatever else may ask would go past what the spawner knows.
        for call in (0..1024).filter(|call| *call != number(libc::SYS_socket)) {
            for first in [0, 1, 2, 10] {
                let asked = run(&sandbox, ARCH, call, [first, 1, 0, 0, 0, 0]);
                assert_ne!(asked, libc::SECCOMP_RET_USER_NOTIF, "{call}");
            }
        }
    }

    #[test]
    fn nothing_is_both_allowed_and_forbidden() {
        let allowed: Vec<_> = calls::ALLOWED.iter().flat_map(|group| group.calls).collect();
        assert!(FORBIDDEN.iter().all(|call| !allowed.contains(&call)));
    }

    #[test]
    fn every_group_says_why() {
        for group in calls::ALLOWED {
            assert!(!group.why.is_empty() && !group.calls.is_empty());
        }
    }
}
