//! The system-call filter, compiled once at start and installed by every sandbox's init.
//!
//! Two filters. The first allows what [`allowed`] lists and answers everything else with `ENOSYS`, so that libraries
//! fall back as on an older kernel. The second, newer and therefore stronger where both refuse, answers the calls of
//! [`FORBIDDEN`] with `EPERM`: they exist, they are just not for you. Another architecture's calls (`int 0x80`) kill the
//! process; x32 calls are in no list.

mod calls;

use std::collections::BTreeMap;

use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};
use thiserror::Error;

pub use calls::FORBIDDEN;

/// The filter could not be compiled.
#[derive(Debug, Error)]
#[error("compiling the seccomp filter: {0}")]
pub struct CompileError(String);

/// Both filters, in the order of installation.
pub struct Filters {
    programs: [BpfProgram; 2],
}

/// Any of the namespace flags of `clone(2)`.
const NEW_NAMESPACES: u64 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u64;

const TIOCSTI: u64 = 0x5412;
const TIOCLINUX: u64 = 0x541C;

impl Filters {
    /// Compiles for this machine's architecture.
    ///
    /// # Errors
    /// [`CompileError`]; only a mistake in the lists makes one.
    pub fn compile() -> Result<Self, CompileError> {
        let allow = program(allowed()?, SeccompAction::Errno(libc::ENOSYS as u32), SeccompAction::Allow)?;
        let forbidden = FORBIDDEN.iter().map(|call| (*call, Vec::new())).collect();
        let forbid = program(forbidden, SeccompAction::Allow, SeccompAction::Errno(libc::EPERM as u32))?;
        Ok(Self { programs: [allow, forbid] })
    }

    /// Installs both for this process and all it will ever start; sets `no_new_privs`.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn install(&self) -> Result<(), i32> {
        for program in &self.programs {
            seccompiler::apply_filter(program).map_err(|error| match error {
                seccompiler::Error::Prctl(error) | seccompiler::Error::Seccomp(error) => {
                    error.raw_os_error().unwrap_or(libc::EINVAL)
                }
                _ => libc::EINVAL,
            })?;
        }
        Ok(())
    }
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn program(rules: Rules, otherwise: SeccompAction, on_match: SeccompAction) -> Result<BpfProgram, CompileError> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(|e| CompileError(e.to_string()))?;
    SeccompFilter::new(rules, otherwise, on_match, arch)
        .and_then(TryInto::try_into)
        .map_err(|e: seccompiler::BackendError| CompileError(e.to_string()))
}

fn allowed() -> Result<Rules, CompileError> {
    let mut rules: Rules =
        calls::ALLOWED.iter().flat_map(|group| group.calls).map(|call| (*call, Vec::new())).collect();
    // Threads and processes, but no namespaces. clone3 hides its flags in memory, so libc must fall back to clone.
    rules.insert(libc::SYS_clone, vec![rule(&[masked(0, NEW_NAMESPACES, 0)?])?]);
    // Sockets within the sandbox: Unix, and TCP or UDP over a network namespace that has no way out.
    let families = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6];
    let mut sockets = Vec::new();
    for family in families {
        for kind in [libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_SEQPACKET] {
            // The low four bits are the kind, the rest SOCK_NONBLOCK and SOCK_CLOEXEC.
            sockets
                .push(rule(&[equal(0, family.unsigned_abs().into())?, masked(1, 0xf, kind.unsigned_abs().into())?])?);
        }
    }
    rules.insert(libc::SYS_socket, sockets);
    rules.insert(libc::SYS_socketpair, vec![rule(&[equal(0, libc::AF_UNIX.unsigned_abs().into())?])?]);
    // Terminal input must not be faked; all other requests depend on the descriptor, and those are ours.
    rules.insert(libc::SYS_ioctl, vec![rule(&[differs(1, TIOCSTI)?, differs(1, TIOCLINUX)?])?]);
    // Personalities that merely ask or set the default; none that weakens address layout.
    rules.insert(libc::SYS_personality, vec![rule(&[equal(0, 0)?])?, rule(&[equal(0, 0xffff_ffff)?])?]);
    // prctl without what changes seccomp, securebits, capabilities or speculation controls.
    let prctl = calls::PRCTL.iter().map(|option| rule(&[equal(0, option.unsigned_abs().into())?]));
    rules.insert(libc::SYS_prctl, prctl.collect::<Result<_, _>>()?);
    Ok(rules)
}

fn rule(conditions: &[SeccompCondition]) -> Result<SeccompRule, CompileError> {
    SeccompRule::new(conditions.to_vec()).map_err(|e| CompileError(e.to_string()))
}

fn condition(argument: u8, op: SeccompCmpOp, value: u64) -> Result<SeccompCondition, CompileError> {
    // 32 bits: the kernel ignores the upper half of all the arguments that are looked at here.
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, op, value).map_err(|e| CompileError(e.to_string()))
}

fn equal(argument: u8, value: u64) -> Result<SeccompCondition, CompileError> {
    condition(argument, SeccompCmpOp::Eq, value)
}

fn differs(argument: u8, value: u64) -> Result<SeccompCondition, CompileError> {
    condition(argument, SeccompCmpOp::Ne, value)
}

fn masked(argument: u8, mask: u64, value: u64) -> Result<SeccompCondition, CompileError> {
    condition(argument, SeccompCmpOp::MaskedEq(mask), value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filters_compile() {
        let filters = Filters::compile().unwrap();
        // The kernel takes at most 4096 instructions.
        assert!(filters.programs.iter().all(|program| program.len() < 4096));
    }

    #[test]
    fn nothing_is_both_allowed_and_forbidden() {
        let allowed = allowed().unwrap();
        assert!(FORBIDDEN.iter().all(|call| *call == libc::SYS_seccomp || !allowed.contains_key(call)));
        assert!(!allowed.contains_key(&libc::SYS_clone3));
    }

    #[test]
    fn every_group_says_why() {
        for group in calls::ALLOWED {
            assert!(!group.why.is_empty() && !group.calls.is_empty());
        }
    }
}
