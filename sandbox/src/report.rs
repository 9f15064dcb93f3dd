//! The fixed-size records that a sandbox's init, and a template's fork that fails, send to the spawner.

use crate::outcome::{SandboxError, Step};

/// One record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// In the new user namespace; waits for its uid and gid map.
    NeedsMap,
    /// Fully confined; waits for requests.
    Ready,
    /// The files are written.
    Written,
    /// The answer to a request for a file; its descriptor comes along where there is one.
    File,
    /// The payload is forked and waits.
    Forked,
    /// The payload ended and nothing else is alive in the sandbox but init.
    Ended {
        /// `si_code` said exit (true) or signal (false).
        exited: bool,
        /// The exit code or the signal.
        status: u8,
        /// The work directory had no space or no inodes left.
        box_full: bool,
    },
    /// A step failed.
    Failed(SandboxError),
}

/// Bytes of a record.
pub const REPORT_BYTES: usize = 8;

impl Report {
    /// The record.
    #[must_use]
    pub const fn encode(self) -> [u8; REPORT_BYTES] {
        match self {
            Self::NeedsMap => [1, 0, 0, 0, 0, 0, 0, 0],
            Self::Ready => [2, 0, 0, 0, 0, 0, 0, 0],
            Self::Written => [3, 0, 0, 0, 0, 0, 0, 0],
            Self::Forked => [4, 0, 0, 0, 0, 0, 0, 0],
            Self::Ended { exited, status, box_full } => [5, exited as u8, status, box_full as u8, 0, 0, 0, 0],
            Self::File => [7, 0, 0, 0, 0, 0, 0, 0],
            Self::Failed(error) => {
                let errno = error.errno.to_le_bytes();
                [6, error.step as u8, 0, 0, errno[0], errno[1], errno[2], errno[3]]
            }
        }
    }

    /// Reads a record; `None` for anything that [`Report::encode`] does not make.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: [u8; REPORT_BYTES] = bytes.try_into().ok()?;
        Some(match bytes[0] {
            1 => Self::NeedsMap,
            2 => Self::Ready,
            3 => Self::Written,
            4 => Self::Forked,
            5 if bytes[1] < 2 && bytes[3] < 2 => {
                Self::Ended { exited: bytes[1] == 1, status: bytes[2], box_full: bytes[3] == 1 }
            }
            7 => Self::File,
            6 => Self::Failed(SandboxError {
                step: Step::from_code(bytes[1])?,
                errno: i32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
            }),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_come_back() {
        let reports = [
            Report::NeedsMap,
            Report::Ready,
            Report::Written,
            Report::File,
            Report::Forked,
            Report::Ended { exited: true, status: 7, box_full: false },
            Report::Ended { exited: false, status: 9, box_full: true },
            Report::Failed(SandboxError { step: Step::Exec, errno: -2 }),
        ];
        for report in reports {
            assert_eq!(Report::decode(&report.encode()), Some(report));
        }
        assert_eq!(Report::decode(&[9, 0, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(Report::decode(&[1]), None);
    }
}
