//! From root to nobody in particular, before anything from outside is read.
//!
//! **Invariant.** After [`become_account`] the process holds no capability, cannot gain one, and cannot be looked into
//! by others of the same account.

use caps::{CapSet, CapsHashSet};
use nix::sys::prctl;
use nix::unistd::{Gid, Uid, User, setgroups, setresgid, setresuid};
use thiserror::Error;

/// The account could not be found or taken.
#[derive(Debug, Error)]
pub enum PrivilegeError {
    /// No such name or number.
    #[error("server.user: there is no account {0:?} on this host")]
    NoAccount(String),
    /// root is what we are to get away from.
    #[error("server.user: the daemon must not run as root")]
    Root,
    /// A system call.
    #[error("giving up privileges: {0}")]
    Os(#[from] nix::errno::Errno),
    /// Capabilities.
    #[error("giving up privileges: {0}")]
    Caps(#[from] caps::errors::CapsError),
}

/// A user and a group of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// The user's number.
    pub uid: u32,
    /// Its group's.
    pub gid: u32,
}

impl Account {
    /// The account that `server.user` names; without it `crankcase` where it exists, else `nobody`.
    ///
    /// # Errors
    /// [`PrivilegeError`] when there is none of that name, or it is root.
    pub fn find(name: Option<&str>) -> Result<Self, PrivilegeError> {
        let by_name = |name: &str| Ok::<_, PrivilegeError>(User::from_name(name)?.map(|user| (user.uid, user.gid)));
        let found = match name {
            Some(name) => match by_name(name)? {
                Some(found) => found,
                None => {
                    let missing = || PrivilegeError::NoAccount(name.to_owned());
                    let uid: u32 = name.parse().map_err(|_| missing())?;
                    let gid = User::from_uid(Uid::from_raw(uid))?.map_or(Gid::from_raw(uid), |user| user.gid);
                    (Uid::from_raw(uid), gid)
                }
            },
            None => match by_name("crankcase")? {
                Some(found) => found,
                None => by_name("nobody")?.unwrap_or((Uid::from_raw(65_534), Gid::from_raw(65_534))),
            },
        };
        if found.0.is_root() {
            Err(PrivilegeError::Root)
        } else {
            Ok(Self { uid: found.0.as_raw(), gid: found.1.as_raw() })
        }
    }
}

/// Becomes the account for good. Single-threaded: credentials are each thread's own.
///
/// # Errors
/// [`PrivilegeError`]; the process must end then, for it may be half way.
pub fn become_account(account: Account) -> Result<(), PrivilegeError> {
    caps::clear(None, CapSet::Ambient)?;
    caps::clear(None, CapSet::Bounding)?;
    setgroups(&[])?;
    let (uid, gid) = (Uid::from_raw(account.uid), Gid::from_raw(account.gid));
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)?;
    for set in [CapSet::Effective, CapSet::Permitted, CapSet::Inheritable] {
        caps::set(None, set, &CapsHashSet::new())?;
    }
    prctl::set_no_new_privs()?;
    prctl::set_dumpable(false)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_found_by_name_and_number() {
        assert!(matches!(Account::find(Some("root")), Err(PrivilegeError::Root)));
        assert!(matches!(Account::find(Some("0")), Err(PrivilegeError::Root)));
        assert!(matches!(Account::find(Some("no such account")), Err(PrivilegeError::NoAccount(_))));
        assert_eq!(Account::find(Some("123456")).unwrap(), Account { uid: 123_456, gid: 123_456 });
        assert_ne!(Account::find(None).unwrap().uid, 0);
    }
}
