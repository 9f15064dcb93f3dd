//! What can happen to a room, and what its members are told of it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::members::{Dialect, Member, MemberId};
use crate::ids::{CorrelationId, ExecutionId, UserId};
use crate::jobs::Stream;

/// Something that happened to a room. Every daemon that serves the room applies the same events in the
/// same order, so an event holds all that its effect depends on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum RoomEvent {
    /// A connection joined, or joined again.
    Joined(Member),
    /// A connection left.
    Left(MemberId),
    /// Somebody changed the code. Takes a number.
    CodeChanged {
        /// Who; is not told.
        by: MemberId,
        /// All of it.
        code: String,
        /// The sender's own number.
        client_sequence: Option<u64>,
    },
    /// Somebody changed the language. Takes a number.
    LanguageChanged {
        /// Who; is not told.
        by: MemberId,
        /// Its name.
        language: String,
        /// The sender's own number.
        client_sequence: Option<u64>,
    },
    /// An execution waits.
    ExecutionQueued {
        /// Which.
        correlation_id: CorrelationId,
        /// 0 runs next.
        position: usize,
        /// How many wait.
        queue_length: usize,
    },
    /// An execution is about to run. Takes a number.
    ExecutionStarted {
        /// Which.
        execution: ExecutionId,
        /// Which, as the client named it.
        correlation_id: CorrelationId,
        /// Whose.
        user: UserId,
        /// The name shown.
        username: String,
        /// The number of the message that asked for it.
        client_sequence: Option<u64>,
    },
    /// An execution printed.
    ExecutionOutput {
        /// Which.
        correlation_id: CorrelationId,
        /// Where.
        #[serde(with = "StreamName")]
        stream: Stream,
        /// What.
        data: String,
        /// Bytes of the stream before.
        offset: u64,
    },
    /// An execution ended. Takes a number.
    ExecutionFinished {
        /// Which.
        execution: ExecutionId,
        /// The `/compile` response.
        response: Map<String, Value>,
        /// The number of the message that asked for it.
        client_sequence: Option<u64>,
    },
    /// Somebody said something; already plain and bounded.
    Chat {
        /// Who; is not told.
        by: MemberId,
        /// The name shown, if not the one from joining.
        username: Option<String>,
        /// The text.
        message: String,
    },
    /// Somebody is typing.
    Typing {
        /// Who; is not told.
        by: MemberId,
        /// The name shown, if not the one from joining.
        username: Option<String>,
    },
    /// Somebody's cursor moved.
    CursorMoved {
        /// Who; is not told.
        by: MemberId,
        /// The name shown, if not the one from joining.
        username: Option<String>,
        /// As given.
        position: Value,
        /// As given.
        selection: Value,
        /// As given, else the one from joining.
        color: Option<String>,
    },
    /// Somebody's debugger moved.
    DebugState {
        /// Who; is not told.
        by: MemberId,
        /// As given.
        state: Value,
    },
    /// The host wants to record.
    RecordingStarted {
        /// Who; must be the host.
        by: MemberId,
        /// What the recording will be found by.
        recording_id: String,
    },
    /// The host has recorded enough.
    RecordingStopped {
        /// Who; must be the host.
        by: MemberId,
    },
    /// An operator moves the room's counter on; everyone gets the room's state again.
    Advanced {
        /// The last number that counts as given.
        to: u64,
    },
    /// A member lost its place and wants the room's state.
    StateRequested {
        /// Who; alone is told.
        by: MemberId,
    },
}

/// [`Stream`] as it goes from daemon to daemon.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Stream")]
enum StreamName {
    Stdout,
    Stderr,
}

impl RoomEvent {
    /// Whose doing it is, if it needs a place in the room.
    #[must_use]
    pub const fn by(&self) -> Option<&MemberId> {
        match self {
            Self::Joined(member) => Some(&member.id),
            Self::Left(by)
            | Self::CodeChanged { by, .. }
            | Self::LanguageChanged { by, .. }
            | Self::Chat { by, .. }
            | Self::Typing { by, .. }
            | Self::CursorMoved { by, .. }
            | Self::DebugState { by, .. }
            | Self::RecordingStarted { by, .. }
            | Self::RecordingStopped { by }
            | Self::StateRequested { by } => Some(by),
            Self::Advanced { .. }
            | Self::ExecutionQueued { .. }
            | Self::ExecutionStarted { .. }
            | Self::ExecutionOutput { .. }
            | Self::ExecutionFinished { .. } => None,
        }
    }

    /// Whether nobody misses it once the next of its kind has come.
    #[must_use]
    pub const fn is_fleeting(&self) -> bool {
        matches!(self, Self::Typing { .. } | Self::CursorMoved { .. })
    }

    /// Whether it changes the room's state for everyone and takes a number of the room.
    #[must_use]
    pub const fn is_numbered(&self) -> bool {
        matches!(
            self,
            Self::CodeChanged { .. }
                | Self::LanguageChanged { .. }
                | Self::ExecutionStarted { .. }
                | Self::ExecutionFinished { .. }
        )
    }
}

/// Who is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audience {
    /// Every member.
    Room,
    /// Every member but one.
    Others(MemberId),
    /// One member.
    One(MemberId),
}

/// What is told: the same to all, or by dialect.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// To all.
    Same(Value),
    /// To each in its own shape.
    ByDialect {
        /// The older one.
        old: Value,
        /// The current one.
        current: Value,
    },
}

/// One message to some members.
#[derive(Debug, Clone, PartialEq)]
pub struct Outgoing {
    /// Who is told.
    pub to: Audience,
    /// The event's name on the wire.
    pub event: &'static str,
    /// The payload.
    pub body: Body,
    /// Whether a reader that lags may go without it.
    pub droppable: bool,
}

impl Outgoing {
    /// The same payload for everyone in `to`.
    #[must_use]
    pub const fn new(to: Audience, event: &'static str, payload: Value) -> Self {
        Self { to, event, body: Body::Same(payload), droppable: false }
    }

    /// What this member is told, if it is.
    #[must_use]
    pub fn payload_for(&self, member: &Member) -> Option<&Value> {
        let told = match &self.to {
            Audience::Room => true,
            Audience::Others(other) => *other != member.id,
            Audience::One(one) => *one == member.id,
        };
        match (&self.body, member.dialect) {
            _ if !told => None,
            (Body::Same(payload), _)
            | (Body::ByDialect { old: payload, .. }, Dialect::Old)
            | (Body::ByDialect { current: payload, .. }, Dialect::Current) => Some(payload),
        }
    }
}
