//! A tree of files to a compressed archive and back.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use tar::{EntryType, Header};

use super::ImageError;

/// zstd's level: a classroom's image is made once and unpacked on a slow machine.
const LEVEL: i32 = 12;
/// Bits that no file of an image keeps: it lies on the host, where its set-uid programs would be anybody's.
const MODES_TAKEN: u32 = 0o7022;
/// Directories whose content is the machine's or of no use to programs; they themselves must be there.
const EMPTY: [&str; 14] = [
    "boot",
    "dev",
    "home",
    "media",
    "mnt",
    "proc",
    "root",
    "run",
    "srv",
    "sys",
    "tmp",
    "var",
    "usr/share/man",
    "usr/share/info",
];

/// Packs what programs may read of a tree; gives the unpacked size in bytes.
///
/// # Errors
/// [`ImageError::Io`].
pub fn pack(root: &Path, to: impl Write) -> Result<u64, ImageError> {
    let compressed = zstd::Encoder::new(to, LEVEL).map_err(ImageError::io("compressing", root))?;
    let mut packer = Packer { root, archive: tar::Builder::new(compressed), linked: HashMap::new(), bytes: 0 };
    packer.archive.follow_symlinks(false);
    packer.directory(Path::new(""))?;
    let bytes = packer.bytes;
    packer
        .archive
        .into_inner()
        .and_then(zstd::Encoder::finish)
        .and_then(|mut to| to.flush())
        .map_err(ImageError::io("packing", root))?;
    Ok(bytes)
}

struct Packer<'a, W: Write> {
    root: &'a Path,
    archive: tar::Builder<W>,
    /// The first name of a file with several, by device and inode.
    linked: HashMap<(u64, u64), PathBuf>,
    bytes: u64,
}

impl<W: Write> Packer<'_, W> {
    /// What is in it, by name, so that the same tree makes the same archive.
    fn directory(&mut self, directory: &Path) -> Result<(), ImageError> {
        let here = self.root.join(directory);
        let entries = fs::read_dir(&here).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let mut names: Vec<_> =
            entries.map_err(ImageError::io("reading", &here))?.into_iter().map(|entry| entry.file_name()).collect();
        names.sort();
        for name in names {
            self.entry(&directory.join(name))?;
        }
        Ok(())
    }

    fn entry(&mut self, name: &Path) -> Result<(), ImageError> {
        let path = self.root.join(name);
        let found = fs::symlink_metadata(&path).map_err(ImageError::io("looking at", &path))?;
        let (mut header, failed) = (Header::new_gnu(), ImageError::io("packing", &path));
        header.set_mode(found.mode() & 0o7777 & !MODES_TAKEN);
        header.set_mtime(u64::try_from(found.mtime()).unwrap_or(0));
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(0);
        if found.is_dir() {
            header.set_entry_type(EntryType::Directory);
            self.archive.append_data(&mut header, name, io::empty()).map_err(failed)?;
            return if is_left_empty(name) { Ok(()) } else { self.directory(name) };
        }
        if found.is_symlink() {
            header.set_entry_type(EntryType::Symlink);
            let target = fs::read_link(&path).map_err(ImageError::io("reading", &path))?;
            return self.archive.append_link(&mut header, name, target).map_err(failed);
        }
        // Devices and sockets are nothing that a program gets from an image; of manuals only the licences are kept.
        if !found.is_file() || is_left_out(name) {
            return Ok(());
        }
        if found.nlink() > 1 {
            let first = self.linked.entry((found.dev(), found.ino())).or_insert_with(|| name.to_owned()).clone();
            if first != name {
                header.set_entry_type(EntryType::Link);
                return self.archive.append_link(&mut header, name, first).map_err(failed);
            }
        }
        let mut file = File::open(&path).map_err(ImageError::io("opening", &path))?;
        header.set_entry_type(EntryType::Regular);
        header.set_size(found.len());
        self.bytes += found.len();
        self.archive.append_data(&mut header, name, &mut file).map_err(failed)
    }
}

fn is_left_empty(name: &Path) -> bool {
    EMPTY.iter().any(|empty| name == Path::new(empty))
}

fn is_left_out(name: &Path) -> bool {
    let accounts = ["etc/shadow", "etc/shadow-", "etc/gshadow", "etc/gshadow-"];
    accounts.iter().any(|file| name == Path::new(file))
        || (name.starts_with("usr/share/doc") && name.file_name().is_none_or(|file| file != "copyright"))
}

/// Unpacks into an empty directory; no more than `bytes_max` bytes of files, nothing outside of it, no device, no set-uid
/// program, everything the caller's own.
///
/// # Errors
/// [`ImageError`]; what was unpacked until then is for the caller to remove.
pub fn unpack(from: impl Read, directory: &Path, bytes_max: u64) -> Result<(), ImageError> {
    let failed = || ImageError::io("unpacking into", directory);
    let mut archive = tar::Archive::new(zstd::Decoder::new(from).map_err(failed())?);
    archive.set_preserve_permissions(true);
    archive.set_preserve_ownerships(false);
    archive.set_mask(MODES_TAKEN);
    let mut left = bytes_max;
    for entry in archive.entries().map_err(failed())? {
        let mut entry = entry.map_err(failed())?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let kind = entry.header().entry_type();
        if !matches!(kind, EntryType::Regular | EntryType::Directory | EntryType::Symlink | EntryType::Link) {
            return Err(ImageError::wrong(format!("the image holds {name:?}, which is {kind:?}")));
        }
        left = left.checked_sub(entry.size()).ok_or_else(|| {
            ImageError::wrong(format!("the image holds more than the {bytes_max} bytes that it says"))
        })?;
        if !entry.unpack_in(directory).map_err(failed())? {
            return Err(ImageError::wrong(format!("the image holds {name:?}, which lies outside of it")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in ["usr/bin", "usr/share/doc/x", "usr/share/man/man1", "dev", "tmp", "proc", "var/cache", "etc"] {
            fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        for name in [
            "usr/bin/su",
            "usr/share/doc/x/copyright",
            "usr/share/doc/x/news",
            "usr/share/man/man1/x",
            "var/cache/x",
            "etc/shadow",
        ] {
            fs::write(dir.path().join(name), name).unwrap();
        }
        fs::set_permissions(dir.path().join("usr/bin/su"), fs::Permissions::from_mode(0o4775)).unwrap();
        fs::hard_link(dir.path().join("usr/bin/su"), dir.path().join("usr/bin/zsu")).unwrap();
        symlink("usr/bin", dir.path().join("bin")).unwrap();
        symlink("/etc/passwd", dir.path().join("usr/bin/link")).unwrap();
        dir
    }

    #[test]
    fn a_tree_comes_back_without_what_the_host_must_not_have() {
        let (from, to) = (tree(), tempfile::tempdir().unwrap());
        let mut packed = Vec::new();
        let bytes = pack(from.path(), &mut packed).unwrap();
        let mut again = Vec::new();
        pack(from.path(), &mut again).unwrap();
        assert!(packed == again, "the same tree makes the same archive");
        unpack(&packed[..], to.path(), bytes).unwrap();
        let at = |name: &str| to.path().join(name);
        assert_eq!(fs::read_to_string(at("bin/zsu")).unwrap(), "usr/bin/su");
        assert_eq!(fs::metadata(at("usr/bin/su")).unwrap().mode() & 0o7777, 0o755);
        assert_eq!(fs::metadata(at("usr/bin/su")).unwrap().ino(), fs::metadata(at("usr/bin/zsu")).unwrap().ino());
        assert_eq!(fs::read_link(at("usr/bin/link")).unwrap(), Path::new("/etc/passwd"));
        assert!(at("usr/share/doc/x/copyright").exists());
        for gone in ["usr/share/doc/x/news", "usr/share/man/man1", "var/cache", "etc/shadow"] {
            assert!(!at(gone).exists(), "{gone}");
        }
        for kept in ["dev", "tmp", "proc", "var"] {
            assert!(at(kept).is_dir(), "{kept}");
        }
        assert!(unpack(&packed[..], tempfile::tempdir().unwrap().path(), bytes - 1).is_err());
    }

    fn archive(build: impl FnOnce(&mut tar::Builder<zstd::Encoder<'static, Vec<u8>>>)) -> Vec<u8> {
        let mut archive = tar::Builder::new(zstd::Encoder::new(Vec::new(), 1).unwrap());
        build(&mut archive);
        archive.into_inner().unwrap().finish().unwrap()
    }

    fn header(kind: EntryType, name: &[u8], size: u64) -> Header {
        let mut header = Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(size);
        header.set_cksum();
        header
    }

    #[test]
    fn an_archive_cannot_write_outside_or_make_devices() {
        let outside = tempfile::tempdir().unwrap();
        let inside = outside.path().join("image");
        fs::create_dir(&inside).unwrap();
        let through = archive(|archive| {
            let mut link = header(EntryType::Symlink, b"out", 0);
            link.set_link_name("..").unwrap();
            link.set_cksum();
            archive.append(&link, io::empty()).unwrap();
            archive.append(&header(EntryType::Regular, b"out/evil", 1), &b"x"[..]).unwrap();
        });
        let above = archive(|archive| {
            archive.append(&header(EntryType::Regular, b"../evil", 1), &b"x"[..]).unwrap();
        });
        let device = archive(|archive| archive.append(&header(EntryType::Char, b"null", 0), io::empty()).unwrap());
        for bad in [through, above, device] {
            assert!(unpack(&bad[..], &inside, 100).is_err());
        }
        assert!(!outside.path().join("evil").exists());
    }
}
