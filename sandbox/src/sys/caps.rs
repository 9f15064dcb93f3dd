//! Capabilities and securebits, see capabilities(7).

use nix::errno::Errno;
use nix::libc;

use super::check;

const CAPABILITY_VERSION_3: u32 = 0x2008_0522;
const SECBIT_NOROOT: u64 = 1 << 0;
const SECBIT_NO_SETUID_FIXUP: u64 = 1 << 2;
const SECBIT_KEEP_CAPS_LOCKED: u64 = 1 << 5;
const SECBIT_NO_CAP_AMBIENT_RAISE: u64 = 1 << 6;
/// Each bit's lock is the next higher bit.
const SECUREBITS: u64 = SECBIT_NOROOT
    | SECBIT_NOROOT << 1
    | SECBIT_NO_SETUID_FIXUP
    | SECBIT_NO_SETUID_FIXUP << 1
    | SECBIT_KEEP_CAPS_LOCKED
    | SECBIT_NO_CAP_AMBIENT_RAISE
    | SECBIT_NO_CAP_AMBIENT_RAISE << 1;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Empties the bounding set: no later `execve` can gain anything.
///
/// # Errors
/// `EPERM` without `CAP_SETPCAP`.
pub fn drop_bounding_set() -> Result<(), Errno> {
    for capability in 0..64 {
        // SAFETY: integers only.
        match check(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) }.into()) {
            // The first number that the kernel does not know ends the set.
            Err(Errno::EINVAL) if capability > 0 => return Ok(()),
            other => other?,
        };
    }
    Ok(())
}

/// Locks the securebits: uid 0, if there ever were one, would mean nothing, and no bit can be changed back.
///
/// # Errors
/// `EPERM` without `CAP_SETPCAP`.
pub fn lock_securebits() -> Result<(), Errno> {
    // SAFETY: integers only.
    check(unsafe { libc::prctl(libc::PR_SET_SECUREBITS, SECUREBITS, 0, 0, 0) }.into()).map(drop)
}

/// Empties the effective, permitted, inheritable and ambient sets.
///
/// # Errors
/// The kernel's errno; none is documented for dropping.
pub fn drop_all_capabilities() -> Result<(), Errno> {
    // SAFETY: integers only.
    check(unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) }.into())?;
    set([0, 0], [0, 0], [0, 0])
}

/// Keeps just these capabilities (bit numbers of linux/capability.h) in effective and permitted; none inheritable.
///
/// # Errors
/// `EPERM` when one of them is not permitted.
pub fn keep_capabilities(numbers: &[u32]) -> Result<(), Errno> {
    let words = words(numbers);
    set(words, words, [0, 0])
}

/// Makes these inheritable beside what is effective and permitted.
///
/// # Errors
/// `EPERM` when one of them is neither permitted nor in the bounding set.
pub fn make_inheritable(numbers: &[u32]) -> Result<(), Errno> {
    let mut header = Header { version: CAPABILITY_VERSION_3, pid: 0 };
    let mut data = [Data::default(); 2];
    // SAFETY: version 3 fills two data words, both live through the call.
    check(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, &raw mut data) })?;
    set(data.map(|d| d.effective), data.map(|d| d.permitted), words(numbers))
}

/// Keeps just these, in every set up to the ambient one: they, and no others, outlive an `execve`.
///
/// # Errors
/// `EPERM` when one of them is not permitted and inheritable.
pub fn make_ambient(numbers: &[u32]) -> Result<(), Errno> {
    let words = words(numbers);
    set(words, words, words)?;
    for &number in numbers {
        // SAFETY: integers only.
        check(unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE, number, 0, 0) }.into())?;
    }
    Ok(())
}

fn words(numbers: &[u32]) -> [u32; 2] {
    let mut words = [0_u32; 2];
    for &number in numbers {
        words[number as usize / 32] |= 1 << (number % 32);
    }
    words
}

fn set(effective: [u32; 2], permitted: [u32; 2], inheritable: [u32; 2]) -> Result<(), Errno> {
    let header = Header { version: CAPABILITY_VERSION_3, pid: 0 };
    let data = [0, 1].map(|word| Data {
        effective: effective[word],
        permitted: permitted[word],
        inheritable: inheritable[word],
    });
    // SAFETY: version 3 takes two data words, both live through the call; the kernel only reads them. The `caps` crate
    // would allocate, which the child of a clone must not do.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw const header, &raw const data) }).map(drop)
}
