//! What a toolchain is, by the files it consists of: enough to know that it is no longer the same one.

use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::tree::Tree;

/// What changes when headers, libraries or the parts of a compiler behind its driver do: the package managers' own
/// records, the linker's cache, and the directories that an administrator fills by hand. Absent ones are left out.
const SURROUNDINGS: [&str; 8] = [
    "/var/lib/dpkg/status",
    "/usr/lib/sysimage/rpm/rpmdb.sqlite",
    "/var/lib/rpm/rpmdb.sqlite",
    "/lib/apk/db/installed",
    "/var/lib/pacman/local",
    "/etc/ld.so.cache",
    "/usr/local/include",
    "/usr/local/lib",
];

/// Device, inode, size and times of each in the tree: no file that was written anew or replaced keeps all of them.
pub(crate) fn of<'a>(tree: &Tree, tools: impl Iterator<Item = &'a Path>) -> String {
    let mut text = String::new();
    for path in tools.chain(SURROUNDINGS.iter().map(Path::new)) {
        if let Some(file) = tree.metadata(path) {
            let (modified, changed) = ((file.mtime(), file.mtime_nsec()), (file.ctime(), file.ctime_nsec()));
            let _ = writeln!(
                text,
                "{} {} {} {} {modified:?} {changed:?}",
                path.display(),
                file.dev(),
                file.ino(),
                file.size()
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_that_was_replaced_is_another_one() {
        let directory = tempfile::tempdir().unwrap();
        let (tool, link) = (directory.path().join("cc-12"), directory.path().join("cc"));
        std::fs::write(&tool, "one").unwrap();
        std::os::unix::fs::symlink("cc-12", &link).unwrap();
        let identity = || of(&Tree::host(), std::iter::once(link.as_path()));
        let before = identity();
        assert_eq!(identity(), before);
        // Same name, same size: what lies behind the link is another file.
        let other = directory.path().join("new");
        std::fs::write(&other, "two").unwrap();
        std::fs::rename(&other, &tool).unwrap();
        assert_ne!(identity(), before);
    }

    #[test]
    fn an_image_is_known_by_its_own_files() {
        let image = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(image.path().join("usr/bin")).unwrap();
        std::fs::write(image.path().join("usr/bin/env"), "").unwrap();
        let identity = of(&Tree::image(image.path()), std::iter::once(Path::new("/usr/bin/env")));
        assert_eq!(identity.lines().count(), 1, "{identity}");
        assert_ne!(identity, of(&Tree::host(), std::iter::once(Path::new("/usr/bin/env"))));
    }
}
