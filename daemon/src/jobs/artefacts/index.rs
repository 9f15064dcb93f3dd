//! Which entries there are, how large they are, and which of them was used last.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use super::key::Key;
use super::private_directory;

/// What a file takes at least on the disk, bytes.
const BLOCK_BYTES: u64 = 4096;

/// Bounded; the least recently used goes first.
#[derive(Debug)]
pub struct Index {
    entries: HashMap<Key, Entry>,
    /// By last use.
    order: BTreeMap<u64, Key>,
    clock: u64,
    bytes: u64,
    bytes_max: u64,
}

#[derive(Debug)]
struct Entry {
    bytes: u64,
    used: u64,
}

impl Index {
    pub fn new(bytes_max: u64) -> Self {
        Self { entries: HashMap::new(), order: BTreeMap::new(), clock: 0, bytes: 0, bytes_max }
    }

    /// Takes in what lies in a directory, the oldest files as the least recently used, and removes what is too much and
    /// what is no entry: what a killed daemon was writing.
    pub fn load(directory: &Path, bytes_max: u64) -> io::Result<Self> {
        private_directory(directory)?;
        let mut found = Vec::new();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            match entry.file_name().to_str().and_then(Key::from_name) {
                Some(key) if metadata.is_file() => {
                    found.push((metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), key, metadata.len()));
                }
                _ if metadata.is_file() => fs::remove_file(entry.path())?,
                _ => {}
            }
        }
        found.sort_unstable_by_key(|(modified, ..)| *modified);
        let mut index = Self::new(bytes_max);
        for (_, key, bytes) in found {
            for old in index.insert(key, bytes) {
                fs::remove_file(directory.join(old.name()))?;
            }
        }
        Ok(index)
    }

    /// Whether there is such an entry; it is the most recently used one now.
    pub fn touch(&mut self, key: &Key) -> bool {
        let Some(entry) = self.entries.get_mut(key) else { return false };
        self.clock += 1;
        self.order.remove(&entry.used);
        entry.used = self.clock;
        self.order.insert(self.clock, *key);
        true
    }

    /// Adds an entry, or replaces it; gives those that had to go for it, which may be itself.
    pub fn insert(&mut self, key: Key, bytes: u64) -> Vec<Key> {
        self.remove(&key);
        self.clock += 1;
        let bytes = bytes.next_multiple_of(BLOCK_BYTES);
        self.entries.insert(key, Entry { bytes, used: self.clock });
        self.order.insert(self.clock, key);
        self.bytes += bytes;
        let mut gone = Vec::new();
        while self.bytes > self.bytes_max
            && let Some((_, oldest)) = self.order.first_key_value()
        {
            let oldest = *oldest;
            self.remove(&oldest);
            gone.push(oldest);
        }
        gone
    }

    pub fn remove(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(key) {
            self.order.remove(&entry.used);
            self.bytes -= entry.bytes;
        }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}
