//! Writing files into the work directory and opening what a program left there, with no more rights than the program has.

use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::{Mode, SFlag, fstat, mkdirat};
use nix::unistd::write;

use crankcase_sandbox::wire::{Packed, unpack};

pub fn write_all(pack: &[u8]) -> Result<(), Errno> {
    let work = work_directory()?;
    for file in unpack(pack) {
        write_one(&work, file.map_err(|_| Errno::EBADMSG)?)?;
    }
    Ok(())
}

/// Opens a regular file that has this one name and was reached over no link; none when what is there is anything else.
pub fn open_regular(name: &str) -> Option<OwnedFd> {
    let how = OpenHow::new()
        // A FIFO in its place must not hold us up.
        .flags(OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC)
        .resolve(inside() | ResolveFlag::RESOLVE_NO_XDEV);
    let fd = openat2(work_directory().ok()?, name, how).ok()?;
    let found = fstat(&fd).ok()?;
    (SFlag::from_bits_truncate(found.st_mode & SFlag::S_IFMT.bits()) == SFlag::S_IFREG && found.st_nlink == 1)
        .then_some(fd)
}

fn work_directory() -> Result<OwnedFd, Errno> {
    open(c"/box", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
}

/// No name leads out of the directory it is looked up in.
fn inside() -> ResolveFlag {
    ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS
}

fn write_one(work: &impl std::os::fd::AsFd, file: Packed<'_>) -> Result<(), Errno> {
    for (at, _) in file.name.match_indices('/') {
        match mkdirat(work, &file.name[..at], Mode::from_bits_truncate(0o755)) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno),
        }
    }
    let mode = if file.executable { 0o755 } else { 0o644 };
    let how = OpenHow::new()
        .flags(OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)
        .mode(Mode::from_bits_truncate(mode))
        .resolve(inside());
    let fd = openat2(work, file.name, how)?;
    let mut rest = file.content;
    while !rest.is_empty() {
        rest = &rest[write(&fd, rest)?..];
    }
    Ok(())
}
