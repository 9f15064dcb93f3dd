//! What a fork brings in of its template ahead of need.
//!
//! A page that is shared with the template is copied when it is written to first, by a fault each. An interpreter writes to
//! most of its variables and of its first heap, counting references, at the latest when it takes itself apart at its end. Nor
//! does a fork know the pages of the files that its template had mapped: it meets its own code by a fault for every sixteen.
//! A fork that waits in a pool has all of that done before it is asked for: off a run's path, and at once it costs less.

use std::fs;
use std::ops::Range;
use std::sync::OnceLock;

use crate::sys;

/// What a region to copy may be long, in bytes: of longer ones a program uses too small a part.
const COPIED_LONGEST: usize = 2 << 20;
/// What a region of a file's own pages may be long, in bytes: none of it is copied.
const MAPPED_LONGEST: usize = 8 << 20;

/// The regions to bring in, by their addresses.
#[derive(Debug, Default)]
pub struct Copies {
    copied: Vec<Range<usize>>,
    mapped: Vec<Range<usize>>,
}

#[derive(Debug, PartialEq, Eq)]
enum Region {
    /// Variables of the program and its libraries, or the heap.
    Copied(Range<usize>),
    /// Code and constants.
    Mapped(Range<usize>),
}

impl Copies {
    /// Those of this process as they were when it was asked first; none without a procfs. A template has done all that
    /// changes them before it forks.
    pub fn of_this_process() -> &'static Self {
        static COPIES: OnceLock<Copies> = OnceLock::new();
        COPIES.get_or_init(|| {
            let mut copies = Self::default();
            for region in fs::read_to_string("/proc/self/maps").unwrap_or_default().lines().filter_map(region) {
                match region {
                    Region::Copied(region) => copies.copied.push(region),
                    Region::Mapped(region) => copies.mapped.push(region),
                }
            }
            copies
        })
    }

    /// Brings them in, in this process, of which they were before it forked.
    pub fn take(&self) {
        self.copied.iter().for_each(sys::populate_for_writing);
        self.mapped.iter().for_each(sys::populate_for_reading);
    }
}

/// `start-end perms offset device inode path`, as proc_pid_maps(5) has it.
fn region(line: &str) -> Option<Region> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let permissions = words.next()?;
    let path = words.nth(3)?;
    let region = usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?;
    match permissions {
        "rw-p" if (path.starts_with('/') || path == "[heap]") && region.len() <= COPIED_LONGEST => {
            Some(Region::Copied(region))
        }
        "r-xp" | "r--p" if path.starts_with('/') && region.len() <= MAPPED_LONGEST => Some(Region::Mapped(region)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_and_the_heap_are_copied_and_files_are_mapped() {
        let copied = |range| Some(Region::Copied(range));
        assert_eq!(
            region("00941000-00a7f000 rw-p 00541000 fe:00 12 /usr/bin/python3.11"),
            copied(0x94_1000..0xa7_f000)
        );
        assert_eq!(region("2f44a000-2f504000 rw-p 00000000 00:00 0   [heap]"), copied(0x2f44_a000..0x2f50_4000));
        let mapped = Some(Region::Mapped(0x94_1000..0xa7_f000));
        assert_eq!(region("00941000-00a7f000 r--p 00541000 fe:00 12 /usr/bin/python3.11"), mapped);
        assert_eq!(region("00941000-00a7f000 r-xp 00541000 fe:00 12 /usr/bin/python3.11"), mapped);
        for other in [
            "00941000-00a7f000 rw-s 00541000 fe:00 12 /usr/bin/python3.11",
            "00941000-20a7f000 r--p 00541000 fe:00 12 /usr/lib/locale/locale-archive",
            "7fca02286000-7fca024ec000 rw-p 00000000 00:00 0",
            "7ffec718f000-7ffec71b0000 rw-p 00000000 00:00 0   [stack]",
            "7ffec71b0000-7ffec71b2000 r-xp 00000000 00:00 0   [vdso]",
            "2f44a000-3f504000 rw-p 00000000 00:00 0   [heap]",
            "nonsense",
        ] {
            assert_eq!(region(other), None, "{other}");
        }
    }

    #[test]
    fn copying_leaves_everything_as_it_is() {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(7);
        let copies = Copies::of_this_process();
        assert!(!copies.copied.is_empty() && !copies.mapped.is_empty());
        copies.take();
        assert_eq!(COUNT.load(std::sync::atomic::Ordering::Relaxed), 7);
    }
}
