//! What is made once of the host's own toolchains and kept between starts: by root alone, who must be able to trust it.

use std::fs::Permissions;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Where it lies.
pub(crate) const CACHE: &str = "/var/cache/crankcase";

/// The cache, if it is ours and nobody else can write there.
pub(crate) fn directory() -> Option<PathBuf> {
    trusted(Path::new(CACHE), 0o700)
}

/// A directory of it that everybody may read, under the same condition.
pub(crate) fn readable(path: &Path) -> Option<PathBuf> {
    directory()?;
    let found = trusted(path, 0o755)?;
    // The umask of a service is stricter.
    std::fs::set_permissions(&found, Permissions::from_mode(0o755)).ok()?;
    Some(found)
}

fn trusted(path: &Path, mode: u32) -> Option<PathBuf> {
    let _ = std::fs::DirBuilder::new().mode(mode).create(path);
    let metadata = std::fs::symlink_metadata(path).ok()?;
    let ours = std::fs::metadata("/proc/self").ok()?.uid() == metadata.uid();
    (metadata.is_dir() && ours && metadata.mode() & 0o022 == 0).then(|| path.to_owned())
}

/// A name for what depends on these bytes (FNV-1a, which is the same in every build).
pub(crate) fn key<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let bytes = parts.into_iter().flat_map(|part| part.iter().chain(&[0]));
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")
}
