//! Which pages of a template's memory its forks will need, and bringing them in.
//!
//! A page that is shared with the template is copied when it is written to first, by a fault each: an interpreter counts
//! references in hundreds of pages before a hello is through. Nor does a fork know the pages of the files that its template
//! had mapped: it meets its own code by a fault for every sixteen. One that was seen running an example shows which pages
//! these are, and the kernel brings them in together in half of the time, before the program is there.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use crate::sys;

/// What the kernel maps of a file around a page that is read (`fault_around_bytes`, by default).
const WINDOW: usize = 64 << 10;
/// Ranges that no list exceeds.
const RANGES_MAX: usize = 4096;
const RANGE_BYTES: usize = 17;

// Bits of /proc/<pid>/pagemap: see pagemap.rst of the kernel's documentation.
const EXCLUSIVE: u64 = 1 << 56;
const OF_A_FILE: u64 = 1 << 61;
const PRESENT: u64 = 1 << 63;

/// What a process has mapped for itself alone.
#[derive(Debug, PartialEq, Eq)]
pub struct Regions(Vec<(Kind, Range<usize>)>);

/// What becomes of a page that a fork needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It is copied: variables and heaps.
    Written,
    /// It is found in its file: code and constants.
    Read,
}

/// Pages by their addresses, together as far as they lie together.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Pages(Vec<(Kind, Range<usize>)>);

impl Regions {
    /// Those of this process as they are now; none without a procfs.
    pub fn of_this_process() -> Self {
        Self(fs::read_to_string("/proc/self/maps").unwrap_or_default().lines().filter_map(region).collect())
    }
}

/// `start-end perms offset device inode path`, as proc_pid_maps(5) has it.
fn region(line: &str) -> Option<(Kind, Range<usize>)> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let permissions = words.next()?;
    let path = words.nth(3).unwrap_or_default();
    let region = usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?;
    match permissions {
        "rw-p" => Some((Kind::Written, region)),
        "r-xp" | "r--p" if path.starts_with('/') => Some((Kind::Read, region)),
        _ => None,
    }
}

impl Pages {
    /// What this process has touched of these regions since it was forked, by its page tables.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn touched(regions: &Regions) -> io::Result<Self> {
        let table = File::open("/proc/self/pagemap")?;
        let mut pages = Self::default();
        let size = sys::page_size();
        for (kind, region) in &regions.0 {
            let mut entries = vec![0; region.len() / size * 8];
            table.read_exact_at(&mut entries, (region.start / size * 8) as u64)?;
            let (entries, _) = entries.as_chunks::<8>();
            for (address, entry) in region.clone().step_by(size).zip(entries) {
                pages.meet(*kind, address..address + size, u64::from_le_bytes(*entry));
            }
        }
        Ok(pages)
    }

    fn meet(&mut self, kind: Kind, page: Range<usize>, entry: u64) {
        let needed = match kind {
            Kind::Written => entry & (PRESENT | EXCLUSIVE | OF_A_FILE) == PRESENT | EXCLUSIVE,
            Kind::Read => entry & (PRESENT | OF_A_FILE) == PRESENT | OF_A_FILE,
        };
        if !needed {
            return;
        }
        let full = self.0.len() == RANGES_MAX;
        match (kind, self.0.last_mut()) {
            (Kind::Written, Some((Kind::Written, last))) if last.end == page.start => last.end = page.end,
            // One page brings its neighbours.
            (Kind::Read, Some((Kind::Read, last))) if last.start / WINDOW == page.start / WINDOW => {}
            _ if full => {}
            _ => self.0.push((kind, page)),
        }
    }

    /// Brings them in, in a fork of the process in which they were met.
    pub fn bring_in(&self) {
        for (kind, how) in [(Kind::Written, sys::Populate::Write), (Kind::Read, sys::Populate::Read)] {
            let ranges = self.0.iter().filter(|(one, _)| *one == kind);
            sys::populate(ranges.map(|(_, range)| range), how);
        }
    }

    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.0.len() * RANGE_BYTES);
        for (kind, range) in &self.0 {
            bytes.push(*kind as u8);
            bytes.extend_from_slice(&(range.start as u64).to_le_bytes());
            bytes.extend_from_slice(&(range.end as u64).to_le_bytes());
        }
        bytes
    }

    /// From bytes; none for anything that [`Pages::encode`] does not make of at least one page.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (ranges, rest) = bytes.as_chunks::<RANGE_BYTES>();
        let address = |bytes: &[u8]| usize::try_from(u64::from_le_bytes(bytes.try_into().ok()?)).ok();
        let range = |bytes: &[u8; RANGE_BYTES]| {
            let kind = match bytes[0] {
                0 => Kind::Written,
                1 => Kind::Read,
                _ => return None,
            };
            Some((kind, address(&bytes[1..9])?..address(&bytes[9..])?))
        };
        let ranges: Vec<_> = ranges.iter().map(range).collect::<Option<_>>()?;
        (rest.is_empty() && !ranges.is_empty()).then_some(Self(ranges))
    }

    /// Bytes that no encoded list exceeds.
    pub const ENCODED_MAX: usize = RANGES_MAX * RANGE_BYTES;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_private_counts() {
        let range = 0x94_1000..0xa7_f000;
        for (line, expected) in [
            ("00941000-00a7f000 rw-p 00541000 fe:00 12 /usr/bin/python3.11", Some((Kind::Written, range.clone()))),
            ("00941000-00a7f000 rw-p 00000000 00:00 0", Some((Kind::Written, range.clone()))),
            ("00941000-00a7f000 r--p 00541000 fe:00 12 /usr/bin/python3.11", Some((Kind::Read, range.clone()))),
            ("00941000-00a7f000 r-xp 00541000 fe:00 12 /usr/bin/python3.11", Some((Kind::Read, range))),
            ("00941000-00a7f000 rw-s 00541000 fe:00 12 /usr/bin/python3.11", None),
            ("00941000-00a7f000 ---p 00541000 fe:00 12 /usr/bin/python3.11", None),
            ("7ffec71b0000-7ffec71b2000 r-xp 00000000 00:00 0   [vdso]", None),
            ("nonsense", None),
        ] {
            assert_eq!(region(line), expected, "{line}");
        }
    }

    #[test]
    fn pages_that_lie_together_are_brought_in_together() {
        let mut pages = Pages::default();
        let page = |number: usize| number << 12..(number + 1) << 12;
        for (number, entry) in [
            (1, PRESENT | EXCLUSIVE),
            (2, PRESENT | EXCLUSIVE),
            (3, PRESENT),
            (4, EXCLUSIVE),
            (5, PRESENT | EXCLUSIVE | OF_A_FILE),
            (6, PRESENT | EXCLUSIVE),
        ] {
            pages.meet(Kind::Written, page(number), entry);
        }
        for (number, entry) in [
            (16, PRESENT | OF_A_FILE),
            (31, PRESENT | OF_A_FILE),
            (32, PRESENT | OF_A_FILE),
            (48, PRESENT),
            (64, OF_A_FILE),
        ] {
            pages.meet(Kind::Read, page(number), entry);
        }
        let expected = vec![
            (Kind::Written, 0x1000..0x3000),
            (Kind::Written, page(6)),
            (Kind::Read, page(16)),
            (Kind::Read, page(32)),
        ];
        assert_eq!(pages, Pages(expected));
        assert_eq!(Pages::decode(&pages.encode()), Some(pages));
        for bytes in [&[][..], &[0; 16], &[2; RANGE_BYTES]] {
            assert_eq!(Pages::decode(bytes), None);
        }
    }

    #[test]
    fn this_process_has_touched_something_and_keeps_what_it_holds() {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(7);
        let pages = Pages::touched(&Regions::of_this_process()).unwrap();
        for kind in [Kind::Written, Kind::Read] {
            assert!(pages.0.iter().any(|(one, _)| *one == kind), "{kind:?}");
        }
        pages.bring_in();
        assert_eq!(COUNT.load(std::sync::atomic::Ordering::Relaxed), 7);
    }
}
