//! A file's image to its place, and into use.
//!
//! Images lie side by side in a directory of root's, by the beginning of their digest; the link `image` beside them names
//! the one in use. The one before it is kept: sandboxes may still stand on it, and one may want to go back.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use nix::sys::statvfs::statvfs;
use tempfile::TempDir;

use super::bundle::{self, Contents};
use super::digest::Digest;
use super::{FORMAT, ImageError};

/// What the disk must have left over.
const SPARE: u64 = 64 << 20;

/// An image that was read and found whole, and is not in use.
pub struct Received {
    /// What its file says.
    pub contents: Contents,
    /// The file's digest.
    pub digest: Digest,
    base: PathBuf,
    unpacked: TempDir,
    _lock: Flock<File>,
}

/// An image that is in its place.
#[derive(Debug, PartialEq, Eq)]
pub struct Installed {
    /// Its directory.
    pub directory: PathBuf,
    /// The link to the one in use.
    pub link: PathBuf,
}

/// Unpacks a file's image below `base`, which is made if missing. With a `quoted` digest the file must have it.
///
/// # Errors
/// [`ImageError`]: nothing is left below `base` then.
pub fn receive(file: &Path, base: &Path, quoted: Option<Digest>, architecture: &str) -> Result<Received, ImageError> {
    let images = base.join("images");
    for directory in [base, images.as_path()] {
        fs::create_dir_all(directory).map_err(ImageError::io("making", directory))?;
    }
    let lock = File::open(&images).map_err(ImageError::io("opening", &images))?;
    let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| {
        ImageError::wrong(format!("another import is under way in {} ({errno})", images.display()))
    })?;
    let unpacked = tempfile::Builder::new()
        .prefix(".new-")
        .tempdir_in(&images)
        .map_err(ImageError::io("making a directory in", &images))?;
    let (contents, digest) =
        bundle::read(file, unpacked.path(), |contents| acceptable(contents, &images, architecture))?;
    if let Some(quoted) = quoted
        && quoted != digest
    {
        return Err(ImageError::wrong(format!(
            "{} has the digest {digest}, you quoted {quoted}: it is another file, or it was changed on its way",
            file.display()
        )));
    }
    for needed in ["usr/bin", "bin/sh", "proc", "dev", "tmp"] {
        let path = unpacked.path().join(needed);
        if fs::symlink_metadata(&path).is_err() {
            return Err(ImageError::wrong(format!("the image has no /{needed}")));
        }
    }
    // A temporary directory is its owner's alone; the daemon looks for tools in this one.
    fs::set_permissions(unpacked.path(), fs::Permissions::from_mode(0o755))
        .map_err(ImageError::io("opening up", unpacked.path()))?;
    Ok(Received { contents, digest, base: base.to_owned(), unpacked, _lock: lock })
}

fn acceptable(contents: &Contents, images: &Path, architecture: &str) -> Result<(), ImageError> {
    if contents.architecture != architecture {
        return Err(ImageError::wrong(format!(
            "the image is for {}, this machine is {architecture}",
            contents.architecture
        )));
    }
    debug_assert_eq!(contents.format, FORMAT);
    let stat = statvfs(images).map_err(|errno| ImageError::io("looking at", images)(errno.into()))?;
    let free = stat.blocks_available() * stat.fragment_size();
    let needed = contents.image_bytes.saturating_add(SPARE);
    if free < needed {
        let mib = |bytes: u64| bytes >> 20;
        return Err(ImageError::wrong(format!(
            "the image takes {} MiB, {} has {} MiB free",
            mib(needed),
            images.display(),
            mib(free)
        )));
    }
    Ok(())
}

impl Received {
    /// Where it was unpacked, to be tried before it is used.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.unpacked.path()
    }

    /// Puts it in its place and lets the link name it; removes all others but the one that the link named.
    ///
    /// # Errors
    /// [`ImageError::Io`].
    pub fn install(self) -> Result<Installed, ImageError> {
        let link = self.base.join("image");
        let images = self.base.join("images");
        let name = self.contents.image_sha256[..16].to_owned();
        let directory = images.join(&name);
        let before = fs::read_link(&link).ok().and_then(|target| Some(target.file_name()?.to_owned()));
        if directory.exists() {
            // Imported before, and possibly in use: what lies there is the same.
            drop(self.unpacked);
        } else {
            let unpacked = self.unpacked.keep();
            fs::rename(&unpacked, &directory).map_err(ImageError::io("moving", &unpacked))?;
        }
        // A link cannot be overwritten in one step, a name can.
        let next = self.base.join(".image-next");
        let _ = fs::remove_file(&next);
        symlink(Path::new("images").join(&name), &next).map_err(ImageError::io("linking", &next))?;
        fs::rename(&next, &link).map_err(ImageError::io("linking", &link))?;
        // The same once more changes nothing, so that the one before it is still there.
        if before.as_ref().is_none_or(|before| **before != *name) {
            let entries = fs::read_dir(&images).map_err(ImageError::io("reading", &images))?;
            for entry in entries.flatten().filter(|entry| {
                let other = entry.file_name();
                other != *name && before.as_ref() != Some(&other)
            }) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        Ok(Installed { directory, link })
    }
}

/// Lets a configuration name the image, in the one line that says where the sandboxes' root is; all other lines stay as
/// they are. True when it was changed, false when it says so already.
///
/// # Errors
/// [`ImageError::Wrong`] with the line to write where there is no such line.
pub fn enable_in_config(config: &Path, image: &Path) -> Result<bool, ImageError> {
    let text = fs::read_to_string(config).map_err(ImageError::io("reading", config))?;
    let wanted = format!("root = {:?}", image.display().to_string());
    let is_root =
        |line: &&str| line.trim_start().strip_prefix("root").is_some_and(|rest| rest.trim_start().starts_with('='));
    let Some(line) = text.lines().find(is_root) else {
        return Err(ImageError::wrong(format!(
            "write this line into the section [sandbox] of {}: {wanted}",
            config.display()
        )));
    };
    if line.trim() == wanted {
        return Ok(false);
    }
    let changed: String = text
        .split_inclusive('\n')
        .map(|one| if one.trim_end_matches('\n') == line { format!("{wanted}\n") } else { one.to_owned() })
        .collect();
    // Written over, not replaced: it keeps its owner and mode.
    fs::write(config, changed).map_err(ImageError::io("writing", config))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::Bundle;
    use super::*;

    fn file(dir: &Path, word: &str) -> (PathBuf, Digest) {
        let image = dir.join(format!("image-{word}"));
        for name in ["usr/bin", "proc", "dev", "tmp"] {
            fs::create_dir_all(image.join(name)).unwrap();
        }
        let _ = symlink("usr/bin", image.join("bin"));
        fs::write(image.join("usr/bin/sh"), word).unwrap();
        let package = dir.join("p.deb");
        fs::write(&package, "p").unwrap();
        let contents = Contents {
            format: FORMAT,
            crankcase: "0.1.0".into(),
            architecture: "amd64".into(),
            suite: "bookworm".into(),
            profile: "small".into(),
            image_bytes: 0,
            image_sha256: String::new(),
            package_sha256: String::new(),
            languages: BTreeMap::new(),
        };
        let file = dir.join(format!("{word}.crankcase"));
        let digest = Bundle { image: &image, package: &package, contents }.write(&file).unwrap();
        (file, digest)
    }

    #[test]
    fn an_import_replaces_the_one_in_use_and_keeps_it() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("var");
        let shell = || fs::read_to_string(base.join("image/bin/sh")).unwrap();
        let count = || fs::read_dir(base.join("images")).unwrap().count();
        for (index, word) in ["one", "two", "three", "three"].into_iter().enumerate() {
            let (file, digest) = file(dir.path(), word);
            let received = receive(&file, &base, Some(digest), "amd64").unwrap();
            assert_eq!(fs::metadata(received.directory()).unwrap().permissions().mode() & 0o777, 0o755);
            let installed = received.install().unwrap();
            assert_eq!(installed.link, base.join("image"));
            assert_eq!((shell(), count()), (word.to_owned(), (index + 1).min(2)));
        }
    }

    #[test]
    fn what_is_refused_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (file, digest) = file(dir.path(), "one");
        let base = dir.path().join("var");
        let other = "0".repeat(64).parse().unwrap();
        let error = |quoted, architecture| receive(&file, &base, quoted, architecture).err().unwrap().to_string();
        assert!(error(Some(other), "amd64").contains("you quoted 0000"));
        assert!(error(Some(digest), "arm64").contains("is for amd64"));
        assert_eq!(fs::read_dir(base.join("images")).unwrap().count(), 0);
        let _held = receive(&file, &base, None, "amd64").unwrap();
        assert!(error(None, "amd64").contains("another import"));
    }

    #[test]
    fn the_configuration_keeps_all_but_one_line() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("c.toml");
        fs::write(&config, "# mine\n[sandbox]\nroot = \"host\"\nroot-x = 1\n").unwrap();
        let image = Path::new("/var/lib/crankcase/image");
        assert!(enable_in_config(&config, image).unwrap());
        let text = fs::read_to_string(&config).unwrap();
        assert_eq!(text, "# mine\n[sandbox]\nroot = \"/var/lib/crankcase/image\"\nroot-x = 1\n");
        assert!(!enable_in_config(&config, image).unwrap());
        fs::write(&config, "[sandbox]\n").unwrap();
        let error = enable_in_config(&config, image).unwrap_err();
        assert!(error.to_string().contains("root = \"/var/lib/crankcase/image\""));
    }
}
