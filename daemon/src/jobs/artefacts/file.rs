//! One entry as a file: a mark, the SHA-256 of all that follows, what the compiler printed, and the files as a pack.

use crankcase_sandbox::spec::SourceFile;
use crankcase_sandbox::wire::{pack, unpack};
use sha2::{Digest as _, Sha256};

use super::Artefact;
use crate::jobs::capture::Captured;

/// Changes with the format.
const MARK: &[u8; 8] = b"crankca1";
const HEAD_BYTES: usize = MARK.len() + 32;

/// The bytes; none when the files make no pack.
pub fn encode(artefact: &Artefact) -> Option<Vec<u8>> {
    let files = pack(&artefact.files).ok()?;
    let texts = [&artefact.stdout.bytes, &artefact.stderr.bytes];
    let mut bytes = Vec::with_capacity(HEAD_BYTES + 8 + texts.map(Vec::len).iter().sum::<usize>() + files.len());
    bytes.extend_from_slice(MARK);
    bytes.resize(HEAD_BYTES, 0);
    for text in texts {
        bytes.extend_from_slice(&u32::try_from(text.len()).ok()?.to_le_bytes());
        bytes.extend_from_slice(text);
    }
    bytes.extend_from_slice(&files);
    let hash = Sha256::digest(&bytes[HEAD_BYTES..]);
    bytes[MARK.len()..HEAD_BYTES].copy_from_slice(&hash);
    Some(bytes)
}

/// What [`encode`] made; none of anything else, be it one bit.
pub fn decode(bytes: &[u8]) -> Option<Artefact> {
    let rest = bytes.strip_prefix(MARK)?;
    let (hash, body) = rest.split_at_checked(32)?;
    if Sha256::digest(body).as_slice() != hash {
        return None;
    }
    let (stdout, body) = text(body)?;
    let (stderr, body) = text(body)?;
    let files = unpack(body).map(|file| {
        let file = file.ok()?;
        Some(SourceFile { name: file.name.to_owned(), content: file.content.to_vec(), executable: file.executable })
    });
    Some(Artefact { stdout, stderr, files: files.collect::<Option<_>>()? })
}

fn text(bytes: &[u8]) -> Option<(Captured, &[u8])> {
    let (length, rest) = bytes.split_at_checked(4)?;
    let length = u32::from_le_bytes(length.try_into().ok()?);
    let (text, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    Some((Captured { bytes: text.to_vec(), truncated: false }, rest))
}
