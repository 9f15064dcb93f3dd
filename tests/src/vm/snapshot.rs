//! The state of a machine right after its boot, saved once for each size.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::fcntl::{Flock, FlockArg};

use super::guest::{Guest, cold};
use super::machine::{Machine, Size};

/// The machine to resume; taken first, if there is none yet.
///
/// # Panics
/// When it cannot be taken.
#[must_use]
pub fn find(image: &Path, size: Size) -> Machine {
    let directory = image.join(name(size));
    let lock = fs::File::create(image.join("lock-snapshot")).expect("a lock file");
    let _lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, errno)| errno).expect("the lock");
    if !directory.join("state").exists() {
        take(image, &directory, size);
    }
    Machine { disk: directory.join("disk.img"), state: Some(directory.join("state")), ..cold(image, size) }
}

/// What a saved state depends on beside the image, whose new one removes it.
fn name(size: Size) -> String {
    let mut hasher = DefaultHasher::new();
    let version = Command::new("qemu-system-x86_64").arg("--version").output().expect("qemu is installed");
    version.stdout.hash(&mut hasher);
    format!("snapshot-{}x{}-{:016x}", size.cores, size.memory, hasher.finish())
}

fn take(image: &Path, directory: &PathBuf, size: Size) {
    eprintln!("taking a snapshot of a booted machine (once)");
    let work = tempfile::Builder::new().prefix("build.").tempdir_in(image).expect("a directory");
    let disk = work.path().join("disk.img");
    let status =
        Command::new("cp").args(["--sparse=always", "--reflink=auto"]).arg(image.join("disk.img")).arg(&disk).status();
    assert!(status.is_ok_and(|status| status.success()), "copying the disk");
    let machine = Machine { disk, throw_away: false, ..cold(image, size) };
    let guest = Guest::start(&machine, None, None);
    assert_eq!(guest.state(), "running", "a unit of the stock system failed:\n{}", guest.console());
    fs::write(work.path().join("boot.json"), guest.greeting().to_string()).expect("writing");
    guest.save(&work.path().join("state"));
    let _ = fs::remove_dir_all(directory);
    fs::rename(work.keep(), directory).expect("moving the snapshot to its place");
}
