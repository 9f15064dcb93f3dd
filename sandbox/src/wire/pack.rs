//! Many files in one descriptor. The spawner hands it through unread: it is unpacked inside the sandbox,
//! by a process that has nothing left to lose.

use super::WireError;
use super::codec::{Reader, Writer};
use crate::spec::{FILES_MAX, SourceFile, is_safe_name};

/// Bytes that no pack exceeds.
pub const PACK_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A file as it lies in a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packed<'a> {
    /// Its name, checked by [`is_safe_name`].
    pub name: &'a str,
    /// Its bytes.
    pub content: &'a [u8],
    /// Whether the owner may execute it.
    pub executable: bool,
}

/// Packs files.
///
/// # Errors
/// [`WireError::Value`] for an unsafe name, more than [`FILES_MAX`] files or more than [`PACK_BYTES_MAX`] bytes.
pub fn pack(files: &[SourceFile]) -> Result<Vec<u8>, WireError> {
    if files.len() > FILES_MAX {
        return Err(WireError::Value("number of files"));
    }
    let mut w = Writer::default();
    for file in files {
        if !is_safe_name(&file.name) {
            return Err(WireError::Value("file name"));
        }
        w.u8(u8::from(file.executable));
        w.text(&file.name);
        w.blob(&file.content);
    }
    let bytes = w.into_bytes();
    if bytes.len() > PACK_BYTES_MAX {
        return Err(WireError::Value("size of the files"));
    }
    Ok(bytes)
}

/// Reads a pack, file by file, without copying.
pub fn unpack(bytes: &[u8]) -> impl Iterator<Item = Result<Packed<'_>, WireError>> {
    let mut reader = Reader::new(bytes);
    let mut left = FILES_MAX;
    let mut broken = false;
    std::iter::from_fn(move || {
        if broken || reader.is_empty() {
            return None;
        }
        let file = if left == 0 { Err(WireError::Value("number of files")) } else { next(&mut reader) };
        left = left.saturating_sub(1);
        broken = file.is_err();
        Some(file)
    })
}

fn next<'a>(reader: &mut Reader<'a>) -> Result<Packed<'a>, WireError> {
    let executable = reader.bool()?;
    let name = std::str::from_utf8(reader.blob()?).map_err(|_| WireError::Value("file name"))?;
    if !is_safe_name(name) {
        return Err(WireError::Value("file name"));
    }
    Ok(Packed { name, content: reader.blob()?, executable })
}
