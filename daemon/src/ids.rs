//! Names that come from outside, checked once; whoever holds one may use it as a key, a log field or a label.

use std::fmt;

use rand::Rng;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A name that is empty, too long or holds control characters.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{field} must be 1 to {max} characters without control characters")]
pub struct BadId {
    /// The field's name on the wire.
    pub field: &'static str,
    /// The largest number of characters.
    pub max: usize,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $field:literal, $max:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// The largest number of Unicode characters.
            pub const MAX: usize = $max;

            /// Checks length and characters.
            ///
            /// # Errors
            /// [`BadId`] when empty, longer than `MAX` characters, or holding control characters.
            pub fn new(value: &str) -> Result<Self, BadId> {
                let length = value.chars().take($max + 1).count();
                if length == 0 || length > $max || value.chars().any(char::is_control) {
                    return Err(BadId { field: $field, max: $max });
                }
                Ok(Self(value.into()))
            }

            /// As text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadId;
            fn try_from(value: String) -> Result<Self, BadId> {
                Self::new(&value)
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0.to_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// A room. `standalone` is a name but no room: see [`RoomId::is_room`].
    RoomId, "roomId", 128
);
id!(
    /// Whoever a client says it is; nothing is authenticated by it.
    UserId, "userId", 128
);
id!(
    /// The caller's name for one request, unique per room and user.
    CorrelationId, "correlationId", 128
);
id!(
    /// `exec-<unix ms>-<random>`, unique per execution.
    ExecutionId, "executionId", 64
);

impl RoomId {
    /// What a request without a room gets.
    pub const STANDALONE: &'static str = "standalone";

    /// The default of a request without a room.
    #[must_use]
    pub fn standalone() -> Self {
        Self(Self::STANDALONE.into())
    }

    /// False for `standalone`, which is never locked and never announced.
    #[must_use]
    pub fn is_room(&self) -> bool {
        self.as_str() != Self::STANDALONE
    }
}

impl ExecutionId {
    /// A new one: the time keeps them roughly sortable, 72 random bits keep them apart.
    #[must_use]
    pub fn generate(unix_ms: i64) -> Self {
        let mut rng = rand::rng();
        let (high, low): (u64, u8) = (rng.random(), rng.random());
        Self(format!("exec-{unix_ms}-{high:016x}{low:02x}").into())
    }
}

impl From<&ExecutionId> for CorrelationId {
    fn from(id: &ExecutionId) -> Self {
        Self(id.as_str().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_ids_name_field_and_bound() {
        assert_eq!(
            RoomId::new("").unwrap_err().to_string(),
            "roomId must be 1 to 128 characters without control characters"
        );
        assert!(UserId::new(&"é".repeat(128)).is_ok());
        assert!(UserId::new(&"é".repeat(129)).is_err());
        assert!(CorrelationId::new("a\nb").is_err());
    }

    #[test]
    fn generated_ids_differ() {
        assert_ne!(ExecutionId::generate(5), ExecutionId::generate(5));
        assert!(ExecutionId::generate(5).as_str().starts_with("exec-5-"));
    }
}
