//! Steps of confinement that init and a template's fork share.

use nix::errno::Errno;
use nix::unistd::{Gid, Uid, setresgid, setresuid};

use crate::outcome::{SandboxError, Step};
use crate::sys;

/// The uid and gid inside; outside each live sandbox has its own.
pub const INNER_ID: u32 = 1000;

/// Marks a failure with its step.
pub trait At<T> {
    /// As it says.
    ///
    /// # Errors
    /// The same failure, with its step.
    fn at(self, step: Step) -> Result<T, SandboxError>;
}

impl<T> At<T> for Result<T, Errno> {
    fn at(self, step: Step) -> Result<T, SandboxError> {
        self.map_err(|errno| SandboxError { step, errno: errno as i32 })
    }
}

/// In the sandbox's user namespace: its uid and gid, no capability, none to come.
///
/// # Errors
/// The step that failed.
pub fn drop_privileges() -> Result<(), SandboxError> {
    let (uid, gid) = (Uid::from_raw(INNER_ID), Gid::from_raw(INNER_ID));
    setresgid(gid, gid, gid).at(Step::SetId)?;
    setresuid(uid, uid, uid).at(Step::SetId)?;
    // Bounding set and securebits want CAP_SETPCAP, so the capabilities go last.
    sys::drop_bounding_set().at(Step::BoundingSet)?;
    sys::lock_securebits().at(Step::Securebits)?;
    sys::drop_all_capabilities().at(Step::Capabilities)
}

/// The second wall behind the mounts; needs `no_new_privs`.
///
/// # Errors
/// The kernel's errno.
pub fn landlock(abi: u8) -> Result<(), Errno> {
    use sys::Access::{Full, ReadExecute, ReadWriteFiles};
    let rules = [
        (c"/", ReadExecute),
        (c"/dev", ReadWriteFiles),
        (c"/proc", ReadWriteFiles),
        (c"/box", Full),
        (c"/tmp", Full),
        (c"/dev/shm", Full),
    ];
    let ruleset = sys::Ruleset::new(abi)?;
    rules.iter().try_for_each(|(path, access)| ruleset.allow(path, *access))?;
    ruleset.restrict_self()
}
