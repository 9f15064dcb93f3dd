//! A directory of cgroupfs, held by a descriptor.

use std::cell::RefCell;
use std::io::Write as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag, open, openat};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::{Mode, mkdirat};
use nix::sys::uio::pread;
use nix::unistd::{Pid, UnlinkatFlags, read, unlinkat, write};

use super::SetupError;

const DIRECTORY: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

/// Bytes of a file with a few counters; `cpu.stat`, the longest, has some 300.
const COUNTERS_BYTES_MAX: usize = 1024;

/// A lock on a directory.
pub type Lock = Flock<OwnedFd>;

/// An open directory and what it is called, for messages.
pub struct Dir {
    fd: OwnedFd,
    path: PathBuf,
    /// Its files that were read or written before, to be so again: opening one costs more than a word to it.
    files: RefCell<Vec<(&'static str, OFlag, OwnedFd)>>,
}

impl Dir {
    pub fn open(path: &Path) -> Result<Self, SetupError> {
        let fd = open(path, DIRECTORY, Mode::empty()).map_err(|errno| io("opening", path, errno))?;
        Ok(Self::of(fd, path.to_owned()))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Makes a child, or takes the one that is there.
    pub fn child(&self, name: &str) -> Result<Self, SetupError> {
        let path = self.path.join(name);
        match mkdirat(&self.fd, name, Mode::from_bits_truncate(0o755)) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(io("making", &path, errno)),
        }
        let fd = openat(&self.fd, name, DIRECTORY, Mode::empty()).map_err(|errno| io("opening", &path, errno))?;
        Ok(Self::of(fd, path))
    }

    /// Makes a child that must be new.
    pub fn new_child(&self, name: &str) -> Result<Self, Errno> {
        mkdirat(&self.fd, name, Mode::from_bits_truncate(0o755))?;
        let fd = openat(&self.fd, name, DIRECTORY, Mode::empty())?;
        Ok(Self::of(fd, PathBuf::from(name)))
    }

    const fn of(fd: OwnedFd, path: PathBuf) -> Self {
        Self { fd, path, files: RefCell::new(Vec::new()) }
    }

    pub fn remove_child(&self, name: &str) -> Result<(), Errno> {
        match unlinkat(&self.fd, name, UnlinkatFlags::RemoveDir) {
            Err(Errno::ENOENT) => Ok(()),
            other => other,
        }
    }

    pub fn open_with(&self, file: &str, how: OFlag) -> Result<OwnedFd, Errno> {
        openat(&self.fd, file, how | OFlag::O_CLOEXEC, Mode::empty())
    }

    /// Does something to a file, which is opened once.
    fn with<T>(
        &self,
        file: &'static str,
        how: OFlag,
        act: impl FnOnce(&OwnedFd) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let mut files = self.files.borrow_mut();
        let kept = files.iter().position(|(name, opened, _)| *name == file && *opened == how);
        let index = match kept {
            Some(index) => index,
            None => {
                files.push((file, how, self.open_with(file, how)?));
                files.len() - 1
            }
        };
        act(&files[index].2)
    }

    pub fn write(&self, file: &'static str, value: &str) -> Result<(), Errno> {
        self.with(file, OFlag::O_WRONLY, |fd| write(fd, value.as_bytes()).map(drop))
    }

    pub fn write_number(&self, file: &'static str, value: u64) -> Result<(), Errno> {
        let mut text = [0_u8; 20];
        let mut cursor = std::io::Cursor::new(&mut text[..]);
        write!(cursor, "{value}").map_err(|_| Errno::EOVERFLOW)?;
        let length = usize::try_from(cursor.position()).unwrap_or(0);
        self.write(file, std::str::from_utf8(&text[..length]).unwrap_or("0"))
    }

    /// As [`Dir::write`], for the set-up.
    pub fn set(&self, file: &'static str, value: &str) -> Result<(), SetupError> {
        self.write(file, value).map_err(|errno| io("writing", &self.path.join(file), errno))
    }

    /// A file of any length, opened anew: a list of processes stays for a while what it was at the first read.
    pub fn read(&self, file: &str) -> Result<String, Errno> {
        let fd = self.open_with(file, OFlag::O_RDONLY)?;
        let mut text = Vec::new();
        let mut chunk = [0_u8; 2048];
        loop {
            match read(&fd, &mut chunk)? {
                0 => break,
                n => text.extend_from_slice(&chunk[..n]),
            }
        }
        String::from_utf8(text).map_err(|_| Errno::EILSEQ)
    }

    /// What `find` finds in a file with a few counters, which the kernel shows in one piece.
    fn counters<T>(&self, file: &'static str, find: impl FnOnce(&str) -> Option<T>) -> Result<T, Errno> {
        let mut text = [0_u8; COUNTERS_BYTES_MAX];
        let length = self.with(file, OFlag::O_RDONLY, |fd| pread(fd, &mut text, 0))?;
        if length == text.len() {
            return Err(Errno::EOVERFLOW);
        }
        std::str::from_utf8(&text[..length]).ok().and_then(find).ok_or(Errno::EINVAL)
    }

    pub fn has(&self, file: &str) -> bool {
        openat(&self.fd, file, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).is_ok()
    }

    pub fn number(&self, file: &'static str) -> Result<u64, Errno> {
        self.counters(file, |text| text.trim().parse().ok())
    }

    /// The number behind `key` in a file of `key number` lines; 0 where the kernel has no such line.
    pub fn keyed(&self, file: &'static str, key: &str) -> Result<u64, Errno> {
        self.counters(file, |text| Some(keyed_number(text, key)))
    }

    pub fn processes(&self) -> Result<Vec<Pid>, Errno> {
        Ok(self.read("cgroup.procs")?.lines().filter_map(|line| line.parse().ok()).map(Pid::from_raw).collect())
    }

    /// Signals each process until none is left or `rounds` are over: v1 has no way to kill all at once.
    pub fn kill_each(&self, rounds: usize) {
        for _ in 0..rounds {
            let Ok(pids) = self.processes() else { return };
            if pids.is_empty() {
                return;
            }
            for pid in pids.into_iter().filter(|pid| pid.as_raw() > 0) {
                let _ = kill(pid, Signal::SIGKILL);
            }
        }
    }

    /// Takes the lock that says "the owner of this directory lives". It goes with the last descriptor.
    pub fn lock(&self) -> Result<Lock, Errno> {
        self.flock(FlockArg::LockExclusiveNonblock)
    }

    /// Waits for the lock: one spawner at a time looks for dead ones and makes its own place.
    pub fn wait_for_lock(&self) -> Result<Lock, SetupError> {
        self.flock(FlockArg::LockExclusive).map_err(|errno| io("locking", &self.path, errno))
    }

    fn flock(&self, how: FlockArg) -> Result<Lock, Errno> {
        let fd = openat(&self.fd, ".", DIRECTORY, Mode::empty())?;
        Flock::lock(fd, how).map_err(|(_, errno)| errno)
    }
}

pub fn io(action: &'static str, path: &Path, errno: Errno) -> SetupError {
    SetupError::Io { action, path: path.to_owned(), errno }
}

fn keyed_number(text: &str, key: &str) -> u64 {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .find_map(|(name, value)| (name == key).then(|| value.trim().parse().ok()).flatten())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keyed_files_are_read_by_key() {
        let text = "usage_usec 1234\nuser_usec 5\noom 1\noom_kill 3\n";
        assert_eq!(keyed_number(text, "usage_usec"), 1234);
        assert_eq!(keyed_number(text, "oom_kill"), 3);
        assert_eq!(keyed_number(text, "max"), 0);
    }

    #[test]
    fn a_directory_is_locked_once() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open(temp.path()).unwrap().child("i1").unwrap();
        let lock = dir.lock().unwrap();
        assert_eq!(dir.lock().map(drop), Err(Errno::EWOULDBLOCK));
        drop(lock);
        dir.lock().unwrap();
    }

    #[test]
    fn children_are_made_written_and_removed() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open(temp.path()).unwrap();
        let child = dir.new_child("a").unwrap();
        assert_eq!(dir.new_child("a").map(drop), Err(Errno::EEXIST));
        std::fs::write(temp.path().join("a/pids.max"), "").unwrap();
        child.write_number("pids.max", 64).unwrap();
        assert_eq!(child.number("pids.max"), Ok(64));
        std::fs::remove_file(temp.path().join("a/pids.max")).unwrap();
        dir.remove_child("a").unwrap();
        dir.remove_child("a").unwrap();
    }
}
