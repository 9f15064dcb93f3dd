//! Landlock, see landlock(7): a second wall behind the mount namespace, where the kernel has it.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;

use super::check;

const CREATE_RULESET_VERSION: u32 = 1;
const RULE_PATH_BENEATH: u32 = 1;

const EXECUTE: u64 = 1 << 0;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
/// Rights 4 to 12: removing and making directory entries of every kind.
const ENTRIES: u64 = 0b1_1111_1111 << 4;
const MAKE_CHAR: u64 = 1 << 6;
const MAKE_BLOCK: u64 = 1 << 11;
/// From ABI 2.
const REFER: u64 = 1 << 13;
/// From ABI 3.
const TRUNCATE: u64 = 1 << 14;
/// From ABI 5.
const IOCTL_DEV: u64 = 1 << 15;
/// From ABI 6: abstract sockets stay inside. Signals are left to the pid namespace: init must reach what a template forked,
/// which has a domain of its own.
const SCOPE_ABSTRACT_UNIX_SOCKET: u64 = 0b01;

#[repr(C)]
struct RulesetAttr {
    handled_access_fs: u64,
    handled_access_net: u64,
    scoped: u64,
}

#[repr(C, packed)]
struct PathBeneathAttr {
    allowed_access: u64,
    parent_fd: i32,
}

/// What may be done beneath a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read and execute.
    ReadExecute,
    /// Read files and write into those that exist (`/proc`, `/dev`).
    ReadWriteFiles,
    /// Everything but device nodes.
    Full,
}

/// The version of the kernel's Landlock, 0 where there is none.
#[must_use]
pub fn landlock_abi() -> u8 {
    // SAFETY: a null pointer and size 0 are what this flag asks for.
    let version = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<RulesetAttr>(), 0, CREATE_RULESET_VERSION)
    };
    u8::try_from(version).unwrap_or(0)
}

/// A ruleset that denies all that no rule allows.
pub struct Ruleset {
    fd: OwnedFd,
    handled: u64,
}

impl Ruleset {
    /// Starts with everything denied that this ABI knows.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn new(abi: u8) -> Result<Self, Errno> {
        let mut handled = EXECUTE | WRITE_FILE | READ_FILE | READ_DIR | ENTRIES;
        for (since, right) in [(2, REFER), (3, TRUNCATE), (5, IOCTL_DEV)] {
            if abi >= since {
                handled |= right;
            }
        }
        let attr = RulesetAttr {
            handled_access_fs: handled,
            handled_access_net: 0,
            scoped: if abi >= 6 { SCOPE_ABSTRACT_UNIX_SOCKET } else { 0 },
        };
        // Older kernels know a shorter structure and refuse a longer one only if its tail is not zero.
        // SAFETY: `attr` lives through the call and the size is its own.
        let fd = check(unsafe {
            libc::syscall(libc::SYS_landlock_create_ruleset, &raw const attr, size_of::<RulesetAttr>(), 0)
        })?;
        // SAFETY: the kernel just made this descriptor for us.
        let fd = unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).unwrap_or(-1)) };
        Ok(Self { fd, handled })
    }

    /// Allows `access` beneath `path`.
    ///
    /// # Errors
    /// The kernel's errno; a path that is missing is one.
    pub fn allow(&self, path: &CStr, access: Access) -> Result<(), Errno> {
        let allowed = match access {
            Access::ReadExecute => EXECUTE | READ_FILE | READ_DIR,
            Access::ReadWriteFiles => READ_FILE | READ_DIR | WRITE_FILE | TRUNCATE | IOCTL_DEV,
            Access::Full => {
                (EXECUTE | WRITE_FILE | READ_FILE | READ_DIR | ENTRIES | REFER | TRUNCATE | IOCTL_DEV)
                    & !(MAKE_CHAR | MAKE_BLOCK)
            }
        };
        // SAFETY: `path` is a C string.
        let fd = check(unsafe { libc::open(path.as_ptr(), libc::O_PATH | libc::O_CLOEXEC) }.into())?;
        // SAFETY: the descriptor was made by the line above.
        let fd = unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).unwrap_or(-1)) };
        let attr = PathBeneathAttr { allowed_access: allowed & self.handled, parent_fd: fd.as_raw_fd() };
        // SAFETY: `attr` lives through the call.
        check(unsafe {
            libc::syscall(libc::SYS_landlock_add_rule, self.fd.as_raw_fd(), RULE_PATH_BENEATH, &raw const attr, 0)
        })
        .map(drop)
    }

    /// Restricts this process and all it will ever start; needs `no_new_privs`.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn restrict_self(self) -> Result<(), Errno> {
        // SAFETY: integers only.
        check(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, self.fd.as_raw_fd(), 0) }).map(drop)
    }
}
