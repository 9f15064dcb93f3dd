//! A place in a history, handed to a client and back.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use thiserror::Error;

use super::timestamp::Timestamp;

/// Points behind the last entry of a page. Pages continue there whatever is recorded meanwhile: an entry that was
/// there when the first page was read appears exactly once, unless it was pruned.
///
/// Its text is opaque to clients; only [`FromStr`] gives it a meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    pub(super) completed_at: Timestamp,
    pub(super) id: i64,
}

/// The text is no cursor of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("before must be a cursor that an earlier page gave")]
pub struct BadCursor;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:x}", self.completed_at.0, self.id)
    }
}

impl FromStr for Cursor {
    type Err = BadCursor;

    fn from_str(text: &str) -> Result<Self, BadCursor> {
        if !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(BadCursor);
        }
        let (completed_at, id) = text.split_at_checked(16).ok_or(BadCursor)?;
        let number = |digits: &str| u64::from_str_radix(digits, 16).map(u64::cast_signed).map_err(|_| BadCursor);
        Ok(Self { completed_at: Timestamp(number(completed_at)?), id: number(id)? })
    }
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn comes_back_from_its_text(completed_at: i64, id: i64) {
            let cursor = Cursor { completed_at: Timestamp(completed_at), id };
            prop_assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }

        #[test]
        fn any_text_is_a_cursor_or_refused(text: String) {
            let _ = text.parse::<Cursor>();
        }
    }

    #[test]
    fn refuses_what_is_none() {
        for text in ["", "0", "0123456789abcdef", "-000000000000001-1", "+00000000000000012", "é00000000000000011"] {
            assert_eq!(text.parse::<Cursor>(), Err(BadCursor), "{text:?}");
        }
    }
}
