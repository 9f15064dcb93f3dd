//! Writing source files into the work directory, with no more rights than the program has.

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::write;

use crankcase_sandbox::wire::{Packed, unpack};

pub fn write_all(pack: &[u8]) -> Result<(), Errno> {
    let work = open(c"/box", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    for file in unpack(pack) {
        write_one(&work, file.map_err(|_| Errno::EBADMSG)?)?;
    }
    Ok(())
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
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let fd = openat2(work, file.name, how)?;
    let mut rest = file.content;
    while !rest.is_empty() {
        rest = &rest[write(&fd, rest)?..];
    }
    Ok(())
}
