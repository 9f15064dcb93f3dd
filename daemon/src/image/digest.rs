//! SHA-256, of what passes by.

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

/// A SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest([u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl FromStr for Digest {
    type Err = String;

    /// 64 hexadecimal digits, in groups or not, with `sha256:` before them or not: people copy it by hand.
    fn from_str(text: &str) -> Result<Self, String> {
        let digits: String = text.trim().trim_start_matches("sha256:").split_whitespace().collect();
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits.to_ascii_lowercase(), &mut bytes)
            .map_err(|_| format!("{text:?} is no SHA-256: 64 hexadecimal digits"))?;
        Ok(Self(bytes))
    }
}

/// Reads or writes through, and digests what passes.
pub struct Digesting<T> {
    inner: T,
    hash: Sha256,
}

impl<T> Digesting<T> {
    /// Nothing has passed yet.
    pub fn new(inner: T) -> Self {
        Self { inner, hash: Sha256::new() }
    }

    /// The digest of what has passed, and the inner one.
    pub fn finish(self) -> (Digest, T) {
        (Digest(self.hash.finalize().into()), self.inner)
    }

    fn passed(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
    }
}

impl<T: Read> Read for Digesting<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.passed(&buffer[..length]);
        Ok(length)
    }
}

impl<T: Write> Write for Digesting<T> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let length = self.inner.write(buffer)?;
        self.passed(&buffer[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of "abc", from FIPS 180-2, appendix B.1.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn what_passes_is_digested() {
        let mut reader = Digesting::new(&b"abc"[..]);
        let mut writer = Digesting::new(Vec::new());
        io::copy(&mut reader, &mut writer).unwrap();
        assert_eq!(reader.finish().0.to_string(), ABC);
        assert_eq!(writer.finish().0.to_string(), ABC);
    }

    #[test]
    fn digests_are_read_as_people_write_them() {
        let grouped = format!(" sha256:{} {}\n", &ABC[..32].to_ascii_uppercase(), &ABC[32..]);
        assert_eq!(grouped.parse::<Digest>().unwrap().to_string(), ABC);
        for bad in ["", "sha256:", &ABC[1..], "xyz"] {
            assert!(bad.parse::<Digest>().is_err(), "{bad:?}");
        }
    }
}
