//! The gates' files where the spawner finds them: written by root, before privileges are given up.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::embedded::{EmbeddedError, fork_library};

/// The gates, and beside them the library that templates preload; it lies with the daemon's program.
///
/// # Errors
/// [`EmbeddedError`] when the library is not there.
pub fn with_fork(mut gates: Vec<(PathBuf, Vec<u8>)>) -> Result<Vec<(PathBuf, Vec<u8>)>, EmbeddedError> {
    if !gates.is_empty() {
        gates.push((PathBuf::from("fork.so"), fs::read(fork_library()?)?));
    }
    Ok(gates)
}

/// Writes them below `directory`, which must not exist yet.
///
/// # Errors
/// As the file system says.
pub fn write(directory: &Path, files: &[(PathBuf, Vec<u8>)]) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.mode(0o755).create(directory)?;
    for (name, content) in files {
        let path = directory.join(name);
        if let Some(parent) = path.parent() {
            builder.recursive(true).create(parent)?;
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o444).open(&path)?;
        file.write_all(content)?;
    }
    Ok(())
}

/// Writes them anew to a place of their own below `parent`, for a spawner that outlives this process. Returns the place.
///
/// # Errors
/// As the file system says.
pub fn replace(parent: &Path, files: &[(PathBuf, Vec<u8>)]) -> io::Result<PathBuf> {
    let directory = parent.join("crankcase-gates");
    match fs::remove_dir_all(&directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    write(&directory, files)?;
    Ok(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_written_below_the_directory_and_replaced_as_a_whole() {
        let parent = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| (PathBuf::from(name), text.as_bytes().to_vec());
        let place = replace(parent.path(), &[file("python/sitecustomize.py", "1"), file("x", "2")]).unwrap();
        assert_eq!(fs::read_to_string(place.join("python/sitecustomize.py")).unwrap(), "1");
        let again = replace(parent.path(), &[file("python/sitecustomize.py", "3")]).unwrap();
        assert_eq!(again, place);
        assert_eq!(fs::read_to_string(place.join("python/sitecustomize.py")).unwrap(), "3");
        assert!(!place.join("x").exists());
        assert!(write(&place, &[]).is_err(), "it exists");
    }
}
