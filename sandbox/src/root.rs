//! The root that every sandbox starts from: built once, read-only, in a mount namespace that only the spawner has.
//!
//! The spawner pivots into it. From then on it has no path to the host's other files; a sandbox is cloned from it with a
//! copy of the mounts, so that it stands in its root from the first.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{chdir, pivot_root};
use thiserror::Error;

use crankcase_sandbox::confine::INNER_ID;

/// The user and group name of the sandbox's uid and gid.
pub const USER_NAME: &str = "runner";

/// The template could not be built.
#[derive(Debug, Error)]
#[error("building the sandbox's root: {action} {path}: {errno}")]
pub struct RootError {
    action: &'static str,
    path: PathBuf,
    errno: Errno,
}

/// Directories of the host that make a root; on a merged-/usr host all but the first are links into it.
const SYSTEM: [&str; 6] = ["usr", "bin", "sbin", "lib", "lib32", "lib64"];

/// Host files below `/etc` that dynamic linkers and alternatives need; absent ones are left out.
const ETC: [&str; 5] =
    ["/etc/alternatives", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/localtime"];

/// Device nodes, bound from the host: making them would take a capability and a `/dev` of the unit's less strict.
const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];

/// What an image must have so that it can stand in the host's place.
const OF_AN_IMAGE: [&str; 4] = ["usr", "tmp", "proc", "dev"];

/// Where every sandbox finds the gates of interpreters that are started ahead of need.
pub const GATES: &str = "opt/crankcase";
/// Bytes that all gates together may have; they lie in memory.
const GATES_BYTES_MAX: u64 = 32 << 20;

/// What the root is made of.
pub struct Plan<'a> {
    /// A directory of root's that stands in the host's place: nothing of the host itself is to be seen.
    pub image: Option<&'a Path>,
    /// Further paths, of the host or of the image, to show at the same place; ones that do not exist are left out.
    pub read_only: &'a [PathBuf],
    /// A directory of the host whose files are copied.
    pub gates: Option<&'a Path>,
    /// A directory of the host that is shown as it is at any time, at the same place: compilers read what is made there
    /// while sandboxes run.
    pub headers: Option<&'a Path>,
    /// What programs see as the host's name.
    pub hostname: &'a str,
}

/// Leaves the host's mounts behind.
///
/// # Errors
/// [`RootError`], with the path and the kernel's errno.
pub fn enter(plan: &Plan<'_>) -> Result<(), RootError> {
    let here = Path::new("/");
    unshare(CloneFlags::CLONE_NEWNS).map_err(at("unsharing mounts of", here))?;
    set_propagation(here, MsFlags::MS_PRIVATE)?;
    // Read while the host's files are still to be seen.
    let gates = plan.gates.map(read_gates).transpose()?.unwrap_or_default();
    plan.image.map(enter_image).transpose()?;
    // Any directory will do as a mount point: nobody else sees this mount.
    let root = Path::new("/tmp");
    tmpfs(root, "size=40m,mode=755")?;
    for name in SYSTEM {
        system_directory(root, name)?;
    }
    for name in ["box", "tmp", "proc", "dev", "etc", "opt", "run", "var", "var/tmp"] {
        directory(&root.join(name))?;
    }
    devices(&root.join("dev"))?;
    synthetic_etc(&root.join("etc"), plan.hostname)?;
    for path in ETC.iter().map(Path::new).chain(plan.read_only.iter().map(PathBuf::as_path)) {
        if is_plain_absolute(path) && path.exists() && !path.starts_with("/usr") {
            show(root, path)?;
        }
    }
    write_gates(&root.join(GATES), &gates)?;
    // Compilers do without where others than root could change what they would believe.
    if let (Some(headers), None) = (plan.headers, plan.image)
        && belongs_to_root(headers).is_ok()
    {
        show(root, headers)?;
        let strict = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        remount(&below(root, headers), MsFlags::MS_BIND | strict)?;
    }
    remount(root, MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV)?;

    pivot(root)
}

/// Makes a mount point the root, and takes the old one off: nothing leads back.
fn pivot(root: &Path) -> Result<(), RootError> {
    chdir(root).map_err(at("entering", root))?;
    pivot_root(".", ".").map_err(at("pivoting into", root))?;
    // The old root is now stacked on the new one.
    umount2(".", MntFlags::MNT_DETACH).map_err(at("detaching the old root from", root))?;
    chdir("/").map_err(at("entering", root))
}

/// The files of a directory of root's and of its subdirectories, by their names relative to it.
fn read_gates(directory: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>, RootError> {
    let mut files = Vec::new();
    let mut left = GATES_BYTES_MAX;
    let mut pending = vec![PathBuf::new()];
    while let Some(below) = pending.pop() {
        let here = directory.join(&below);
        for entry in fs::read_dir(&here).map_err(io_at("reading", &here))? {
            let entry = entry.map_err(io_at("reading", &here))?;
            let kind = entry.file_type().map_err(io_at("reading", &here))?;
            let name = below.join(entry.file_name());
            if kind.is_dir() {
                pending.push(name);
            } else if kind.is_file() {
                let path = entry.path();
                let content = fs::read(&path).map_err(io_at("reading", &path))?;
                left = left.checked_sub(content.len() as u64).ok_or(RootError {
                    action: "making room for",
                    path,
                    errno: Errno::EFBIG,
                })?;
                files.push((name, content));
            }
        }
    }
    Ok(files)
}

fn write_gates(target: &Path, files: &[(PathBuf, Vec<u8>)]) -> Result<(), RootError> {
    directory(target)?;
    for (name, content) in files {
        let path = target.join(name);
        for parent in name.ancestors().skip(1).collect::<Vec<_>>().into_iter().rev() {
            directory(&target.join(parent))?;
        }
        fs::write(&path, content).map_err(io_at("writing", &path))?;
        let mode = fs::Permissions::from_mode(0o444);
        fs::set_permissions(&path, mode).map_err(io_at("writing", &path))?;
    }
    Ok(())
}

/// Makes an image the root, in this mount namespace alone: from here on every path is one of the image's, links in it
/// included. The host's `/proc` and devices come along until the spawner leaves them behind with all the rest.
fn enter_image(image: &Path) -> Result<(), RootError> {
    let none = None::<&str>;
    belongs_to_root(image)?;
    for name in OF_AN_IMAGE {
        let path = image.join(name);
        // Of its own: a link would lead to the host.
        let found = fs::symlink_metadata(&path).map_err(io_at("looking at", &path))?;
        if !found.is_dir() {
            return Err(RootError { action: "taking as the image's", path, errno: Errno::ENOTDIR });
        }
    }
    mount(Some(image), image, none, MsFlags::MS_BIND, none).map_err(at("binding", image))?;
    for name in ["proc", "dev"] {
        let (host, target) = (Path::new("/").join(name), image.join(name));
        mount(Some(&host), &target, none, MsFlags::MS_BIND | MsFlags::MS_REC, none).map_err(at("binding", &target))?;
    }
    pivot(image)
}

/// Whoever could write to an image, or to a directory above it, could put anything before all programs. In a directory
/// with the sticky bit, such as `/tmp`, nobody can move what is root's.
fn belongs_to_root(image: &Path) -> Result<(), RootError> {
    const OTHERS: u32 = 0o022;
    const STICKY: u32 = 0o1000;
    let target = image.canonicalize().map_err(io_at("looking at", image))?;
    // A link to it is as good as its place: both ways are looked at.
    for path in target.ancestors().chain(image.ancestors()) {
        let found = fs::metadata(path).map_err(io_at("looking at", path))?;
        let mode = found.permissions().mode();
        let sticky = mode & STICKY != 0 && path != target && path != image;
        if !found.is_dir() || found.uid() != 0 || (mode & OTHERS != 0 && !sticky) {
            let action = "trusting (a directory that root alone may write to is needed)";
            return Err(RootError { action, path: path.to_owned(), errno: Errno::EPERM });
        }
    }
    Ok(())
}

/// A link stays a link (merged /usr), a directory is bound read-only.
fn system_directory(root: &Path, name: &str) -> Result<(), RootError> {
    let host = Path::new("/").join(name);
    let target = root.join(name);
    match fs::symlink_metadata(&host) {
        Ok(found) if found.is_symlink() => {
            let link = fs::read_link(&host).map_err(io_at("reading", &host))?;
            symlink(link, &target).map_err(io_at("linking", &target))
        }
        Ok(_) => show(root, &host),
        Err(_) => Ok(()),
    }
}

/// Binds a host path read-only at the same place of the root. A link is followed: it is the administrator's.
fn show(root: &Path, path: &Path) -> Result<(), RootError> {
    let target = below(root, path);
    if target.exists() {
        return Ok(());
    }
    let parent = target.parent().unwrap_or(root);
    fs::create_dir_all(parent).map_err(io_at("making", parent))?;
    if path.is_dir() {
        directory(&target)?;
    } else {
        fs::write(&target, "").map_err(io_at("making", &target))?;
    }
    let none = None::<&str>;
    mount(Some(path), &target, none, MsFlags::MS_BIND | MsFlags::MS_REC, none).map_err(at("binding", path))?;
    // Submounts of the host keep their own flags in a plain remount, so each is set by itself.
    for mounted in mounts_below(&target)? {
        remount(&mounted, MsFlags::MS_BIND | MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV)?;
    }
    Ok(())
}

/// The same place of the root.
fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

fn mounts_below(target: &Path) -> Result<Vec<PathBuf>, RootError> {
    let table = Path::new("/proc/self/mountinfo");
    let text = fs::read_to_string(table).map_err(io_at("reading", table))?;
    Ok(text
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|escaped| PathBuf::from(escaped.replace("\\040", " ")))
        .filter(|mounted| mounted.starts_with(target))
        .collect())
}

fn devices(dev: &Path) -> Result<(), RootError> {
    let none = None::<&str>;
    mount(Some("tmpfs"), dev, Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC, Some("size=64k,mode=755"))
        .map_err(at("mounting", dev))?;
    for name in DEVICES {
        let (host, node) = (Path::new("/dev").join(name), dev.join(name));
        if !fs::symlink_metadata(&host).is_ok_and(|found| found.file_type().is_char_device()) {
            return Err(RootError { action: "taking as a device", path: host, errno: Errno::ENOTTY });
        }
        fs::write(&node, "").map_err(io_at("making", &node))?;
        mount(Some(&host), &node, none, MsFlags::MS_BIND, none).map_err(at("binding", &host))?;
        remount(&node, MsFlags::MS_BIND | MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC)?;
    }
    let links = [("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("stdout", "/proc/self/fd/1")];
    for (name, target) in links.into_iter().chain([("stderr", "/proc/self/fd/2")]) {
        symlink(target, dev.join(name)).map_err(io_at("linking", dev))?;
    }
    directory(&dev.join("shm"))?;
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    mount(none, dev, none, flags, none).map_err(at("remounting", dev))
}

fn synthetic_etc(etc: &Path, hostname: &str) -> Result<(), RootError> {
    let files = [
        (
            "passwd",
            format!(
                "root:x:0:0:root:/root:/usr/sbin/nologin\n{USER_NAME}:x:{INNER_ID}:{INNER_ID}::/tmp:/bin/sh\n\
                 nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
            ),
        ),
        ("group", format!("root:x:0:\n{USER_NAME}:x:{INNER_ID}:\nnogroup:x:65534:\n")),
        ("hosts", format!("127.0.0.1 localhost {hostname}\n::1 localhost\n")),
        ("hostname", format!("{hostname}\n")),
        ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\nservices: files\nprotocols: files\n".to_owned()),
        ("resolv.conf", String::new()),
        ("timezone", "Etc/UTC\n".to_owned()),
    ];
    for (name, content) in files {
        let path = etc.join(name);
        fs::write(&path, content).map_err(io_at("writing", &path))?;
    }
    Ok(())
}

/// Absolute, without `.` or `..`, and more than `/`.
pub fn is_plain_absolute(path: &Path) -> bool {
    let mut components = path.components();
    components.next() == Some(Component::RootDir)
        && path.parent().is_some()
        && components.all(|part| matches!(part, Component::Normal(_)))
}

fn tmpfs(target: &Path, options: &str) -> Result<(), RootError> {
    mount(Some("tmpfs"), target, Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some(options))
        .map_err(at("mounting", target))
}

fn set_propagation(target: &Path, flag: MsFlags) -> Result<(), RootError> {
    let none = None::<&str>;
    mount(none, target, none, MsFlags::MS_REC | flag, none).map_err(at("making private", target))
}

fn remount(target: &Path, flags: MsFlags) -> Result<(), RootError> {
    let none = None::<&str>;
    mount(none, target, none, MsFlags::MS_REMOUNT | flags, none).map_err(at("remounting", target))
}

fn directory(path: &Path) -> Result<(), RootError> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(io_at("making", path)(error)),
        _ => fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(io_at("making", path)),
    }
}

fn at<'a>(action: &'static str, path: &'a Path) -> impl Fn(Errno) -> RootError + 'a {
    move |errno| RootError { action, path: path.to_owned(), errno }
}

fn io_at<'a>(action: &'static str, path: &'a Path) -> impl Fn(std::io::Error) -> RootError + 'a {
    move |error| RootError { action, path: path.to_owned(), errno: Errno::from_raw(error.raw_os_error().unwrap_or(0)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_that_others_could_write_is_refused() {
        let temp = tempfile::tempdir_in("/tmp").unwrap();
        let (image, open) = (temp.path().join("image"), temp.path().join("open"));
        for (path, mode) in [(&image, 0o755), (&open, 0o777)] {
            directory(path).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        // Of /tmp everybody may write to what is theirs alone.
        assert!(belongs_to_root(&image).is_ok());
        assert!(belongs_to_root(Path::new("/usr/bin")).is_ok());
        directory(&open.join("image")).unwrap();
        symlink(open.join("image"), temp.path().join("link")).unwrap();
        for bad in [Path::new("/tmp"), &open, &open.join("image"), &temp.path().join("link")] {
            assert_eq!(belongs_to_root(bad).unwrap_err().errno, Errno::EPERM, "{}", bad.display());
        }
        assert_eq!(belongs_to_root(Path::new("/usr/none")).unwrap_err().errno, Errno::ENOENT);
    }

    #[test]
    fn only_plain_absolute_paths_are_shown() {
        assert!(is_plain_absolute(Path::new("/etc/php")));
        for bad in ["/", "etc", "/a/../etc", ""] {
            assert!(!is_plain_absolute(Path::new(bad)), "{bad}");
        }
    }
}
