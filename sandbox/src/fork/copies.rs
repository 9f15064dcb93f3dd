//! What a fork copies of its template ahead of need.
//!
//! A page that is shared with the template is copied when it is written to first, by a fault each. An interpreter writes to
//! most of its variables and of its first heap, counting references, at the latest when it takes itself apart at its end. A
//! fork that waits in a pool has those pages copied before it is asked for: that costs as much and lies off a run's path.

use std::fs;
use std::ops::Range;

use crate::sys;

/// What a region may be long, in bytes: of longer ones a program uses too small a part.
const LONGEST: usize = 2 << 20;

/// The regions to copy, by their addresses. By default none.
#[derive(Debug, Default)]
pub struct Copies(Vec<Range<usize>>);

impl Copies {
    /// The variables of the programs and libraries of this process, and its heap; none without a procfs.
    pub fn of_this_process() -> Self {
        let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
        Self(maps.lines().filter_map(region).collect())
    }

    /// Copies them in this process, of which they were before it forked.
    pub fn take(&self) {
        for region in &self.0 {
            sys::populate(region);
        }
    }
}

/// `start-end perms offset device inode path`, as proc_pid_maps(5) has it.
fn region(line: &str) -> Option<Range<usize>> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let private = words.next()? == "rw-p";
    let path = words.nth(3)?;
    let region = usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?;
    (private && (path.starts_with('/') || path == "[heap]") && region.len() <= LONGEST).then_some(region)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_and_the_heap_are_copied_and_nothing_else() {
        assert_eq!(region("00941000-00a7f000 rw-p 00541000 fe:00 12 /usr/bin/python3.11"), Some(0x94_1000..0xa7_f000));
        assert_eq!(region("2f44a000-2f504000 rw-p 00000000 00:00 0   [heap]"), Some(0x2f44_a000..0x2f50_4000));
        for other in [
            "00941000-00a7f000 rw-s 00541000 fe:00 12 /usr/bin/python3.11",
            "00941000-00a7f000 r--p 00541000 fe:00 12 /usr/bin/python3.11",
            "7fca02286000-7fca024ec000 rw-p 00000000 00:00 0",
            "7ffec718f000-7ffec71b0000 rw-p 00000000 00:00 0   [stack]",
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
        assert!(!copies.0.is_empty());
        copies.take();
        assert_eq!(COUNT.load(std::sync::atomic::Ordering::Relaxed), 7);
    }
}
