//! Reading what a program prints: as much as it may, and no byte more into memory.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::sync::Notify;

/// Bytes that are read at once.
const CHUNK: usize = 16 * 1024;

/// One stream's text so far; others may look at it while it grows.
pub struct Capture {
    limit: usize,
    inner: Mutex<Captured>,
}

/// What was printed, up to the limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Captured {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// There were more.
    pub truncated: bool,
}

impl Captured {
    /// As text; what is no UTF-8 becomes U+FFFD. A character that the limit cut in two is left out.
    #[must_use]
    pub fn text(&self) -> String {
        let end = if self.truncated { whole_chars(&self.bytes) } else { self.bytes.len() };
        String::from_utf8_lossy(&self.bytes[..end]).into_owned()
    }
}

/// The length without an incomplete character at the end.
pub fn whole_chars(bytes: &[u8]) -> usize {
    let start = bytes.len().saturating_sub(3);
    for at in (start..bytes.len()).rev() {
        let needed = match bytes[at] {
            0xC0..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xF7 => 4,
            0x80..=0xBF => continue,
            _ => return bytes.len(),
        };
        return if bytes.len() - at < needed { at } else { bytes.len() };
    }
    bytes.len()
}

impl Capture {
    /// Nothing yet; keeps at most `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, inner: Mutex::default() }
    }

    /// Reads to the end of the pipe. Tells `exceeded` when there is more than the limit, and reads on without keeping,
    /// so that the program is not held up until it is killed.
    pub async fn read(&self, mut pipe: pipe::Receiver, exceeded: &Notify) {
        let mut chunk = vec![0; CHUNK];
        // An error ends the stream like its end: what was read counts.
        while let Ok(length @ 1..) = pipe.read(&mut chunk).await {
            let mut captured = self.lock();
            let room = self.limit - captured.bytes.len();
            captured.bytes.extend_from_slice(&chunk[..length.min(room)]);
            if length > room && !captured.truncated {
                captured.truncated = true;
                exceeded.notify_one();
            }
        }
    }

    /// Looks at what there is.
    pub fn look<T>(&self, look: impl FnOnce(&Captured) -> T) -> T {
        look(&self.lock())
    }

    /// What there is in the end.
    #[must_use]
    pub fn into_captured(self) -> Captured {
        self.inner.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Captured> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    async fn captured(limit: usize, printed: &[u8]) -> (Captured, bool) {
        let (mut sender, receiver) = pipe::pipe().unwrap();
        let (capture, exceeded) = (Capture::new(limit), Notify::new());
        let write = async {
            sender.write_all(printed).await.unwrap();
            drop(sender);
        };
        tokio::join!(write, capture.read(receiver, &exceeded));
        let told = futures_util::FutureExt::now_or_never(exceeded.notified()).is_some();
        (capture.into_captured(), told)
    }

    #[tokio::test]
    async fn the_limit_is_exact() {
        let (all, told) = captured(5, b"12345").await;
        assert_eq!((all.bytes.as_slice(), all.truncated, told), (&b"12345"[..], false, false));
        let flood = vec![b'x'; 300_000];
        let (cut, told) = captured(70_000, &flood).await;
        assert_eq!((cut.bytes.len(), cut.truncated, told), (70_000, true, true));
    }

    #[test]
    fn a_cut_character_is_left_out() {
        for (bytes, length) in
            [(&b"ab"[..], 2), ("aé".as_bytes(), 3), (&"aé".as_bytes()[..2], 1), (&"😀".as_bytes()[..3], 0), (b"", 0)]
        {
            assert_eq!(whole_chars(bytes), length, "{bytes:?}");
        }
        let cut = Captured { bytes: "aé".as_bytes()[..2].to_vec(), truncated: true };
        assert_eq!(cut.text(), "a");
        assert_eq!(Captured { bytes: vec![b'a', 0xFF], truncated: false }.text(), "a\u{FFFD}");
    }
}
