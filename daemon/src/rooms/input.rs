//! What clients send, checked: from JSON of any shape to an [`Action`], or one sentence that names the field
//! and the bound.

use serde_json::{Map, Value};

use super::limits::RoomLimits;
use super::order::MAX_NUMBER;
use super::text::{self, NAME_CHARS};
use crate::ids::{CorrelationId, RoomId, UserId};

/// Characters of a language's name.
const LANGUAGE_CHARS: usize = 64;
/// Characters of a colour.
const COLOR_CHARS: usize = 32;

/// What is wrong with a message, in one sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Problem(pub String);

/// A client wants into a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// Where.
    pub room: RoomId,
    /// The name to show.
    pub username: String,
    /// None in the older dialect.
    pub user: Option<UserId>,
    /// The colour of its cursor.
    pub color: Option<String>,
}

/// A client wants a program run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execute {
    /// The program.
    pub code: String,
    /// Its language, as written.
    pub language: String,
    /// All of stdin, or its beginning.
    pub stdin: String,
    /// Who, if not as joined.
    pub user: Option<UserId>,
    /// The name to show, if not as joined.
    pub username: Option<String>,
    /// The sender's number of the change that it rests on.
    pub code_change_sequence: Option<u64>,
    /// The client's name for it.
    pub correlation_id: Option<CorrelationId>,
    /// Whether stdin stays open.
    pub interactive: bool,
}

/// What a client wants done in its room.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// `code-change`.
    Code(String),
    /// `language-change`.
    Language(String),
    /// `execute-code`.
    Execute(Box<Execute>),
    /// `send-chat`.
    Chat {
        /// The name to show, if not as joined.
        username: Option<String>,
        /// Plain text.
        message: String,
        /// Whether it was cut at the bound.
        cut: bool,
    },
    /// `typing`.
    Typing {
        /// The name to show, if not as joined.
        username: Option<String>,
    },
    /// `cursor-move`.
    Cursor {
        /// The name to show, if not as joined.
        username: Option<String>,
        /// As given.
        position: Value,
        /// As given.
        selection: Value,
        /// As given.
        color: Option<String>,
    },
    /// `debug-state`.
    Debug(Value),
    /// `start-recording`.
    StartRecording,
    /// `stop-recording`.
    StopRecording,
    /// `execute-code` with a field out of bounds: answered as an execution that cannot start.
    BadExecute(Problem, Option<CorrelationId>),
    /// Anything else with a field out of bounds.
    Bad(Problem),
}

/// One message of a client.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// `join-room`.
    Join(Join),
    /// `request-orderingstate`.
    State,
    /// `execution-input`.
    Input {
        /// Which execution.
        correlation_id: CorrelationId,
        /// For its stdin.
        data: String,
    },
    /// `cancel-execution`.
    Cancel {
        /// Which execution.
        correlation_id: CorrelationId,
    },
    /// What may be numbered.
    InRoom {
        /// The room that was named, if one was.
        room: Option<RoomId>,
        /// The sender's number.
        sequence: Option<u64>,
        /// What is to be done.
        action: Action,
    },
}

/// Checks a message.
///
/// # Errors
/// [`Problem`] when it has no effect at all, not even that of its number.
pub fn parse(event: &str, payload: &Value, limits: &RoomLimits) -> Result<Request, Problem> {
    let none = Map::new();
    let fields = match payload {
        Value::Object(fields) => Fields { fields },
        Value::Null => Fields { fields: &none },
        _ => return Err(Problem(format!("{} takes an object", name_of(event)))),
    };
    match event {
        "join-room" => join(&fields).map(Request::Join),
        "request-orderingstate" => Ok(Request::State),
        "execution-input" => {
            let data = fields.required_text("data", limits.input_bytes)?;
            Ok(Request::Input { correlation_id: fields.required_correlation_id()?, data })
        }
        "cancel-execution" => Ok(Request::Cancel { correlation_id: fields.required_correlation_id()? }),
        _ => {
            let action = action(event, &fields, limits)?;
            Ok(Request::InRoom { room: fields.room()?, sequence: fields.number("sequence")?, action })
        }
    }
}

fn join(fields: &Fields<'_>) -> Result<Join, Problem> {
    let room = fields.room()?.ok_or_else(|| Problem("roomId is required".to_owned()))?;
    if !room.is_room() {
        return Err(Problem(format!("roomId must not be \"{}\", which is no room", RoomId::STANDALONE)));
    }
    Ok(Join {
        room,
        username: fields.username()?.unwrap_or_else(|| text::ANONYMOUS.to_owned()),
        user: fields.user()?,
        color: fields.color()?,
    })
}

fn action(event: &str, fields: &Fields<'_>, limits: &RoomLimits) -> Result<Action, Problem> {
    let action = match event {
        "code-change" => fields.required_text("code", limits.texts.code()).map(Action::Code),
        "language-change" => fields.required_language().map(Action::Language),
        "execute-code" => {
            let correlation_id = fields.correlation_id();
            return Ok(match execute(fields, limits) {
                Ok(execute) => Action::Execute(Box::new(execute)),
                Err(problem) => Action::BadExecute(problem, correlation_id.ok().flatten()),
            });
        }
        "send-chat" => chat(fields, limits),
        "typing" => fields.username().map(|username| Action::Typing { username }),
        "cursor-move" => cursor(fields, limits),
        "debug-state" => fields.json("state", limits.json_depth, limits.debug_state_bytes).map(Action::Debug),
        "start-recording" => Ok(Action::StartRecording),
        "stop-recording" => Ok(Action::StopRecording),
        _ => return Err(Problem(format!("there is no event {}", name_of(event)))),
    };
    Ok(action.unwrap_or_else(Action::Bad))
}

fn execute(fields: &Fields<'_>, limits: &RoomLimits) -> Result<Execute, Problem> {
    let code = fields.required_text("code", limits.texts.code())?;
    if code.is_empty() {
        return Err(Problem(format!("code must be 1 to {} characters", limits.texts.code())));
    }
    Ok(Execute {
        code,
        language: fields.required_language()?,
        stdin: fields.text("stdin", limits.texts.stdin())?.unwrap_or_default(),
        user: fields.user()?,
        username: fields.username()?,
        code_change_sequence: fields.number("codeChangeSequence")?,
        correlation_id: fields.correlation_id()?,
        interactive: fields.flag("interactive")?,
    })
}

fn chat(fields: &Fields<'_>, limits: &RoomLimits) -> Result<Action, Problem> {
    let Some(Value::String(typed)) = fields.get("message") else {
        return Err(Problem("message must be a string".to_owned()));
    };
    let (message, cut) = text::plain(typed, limits.chat_chars);
    if message.is_empty() {
        return Err(Problem(format!("message must be 1 to {} characters", limits.chat_chars)));
    }
    Ok(Action::Chat { username: fields.username()?, message, cut })
}

fn cursor(fields: &Fields<'_>, limits: &RoomLimits) -> Result<Action, Problem> {
    Ok(Action::Cursor {
        username: fields.username()?,
        position: fields.json("position", limits.json_depth, limits.cursor_bytes)?,
        selection: fields.json("selection", limits.json_depth, limits.cursor_bytes)?,
        color: fields.color()?,
    })
}

/// A name that a client made up, fit to be told back.
fn name_of(event: &str) -> String {
    text::plain(event, NAME_CHARS).0
}

struct Fields<'a> {
    fields: &'a Map<String, Value>,
}

impl Fields<'_> {
    /// Null counts as absent.
    fn get(&self, name: &str) -> Option<&Value> {
        self.fields.get(name).filter(|value| !value.is_null())
    }

    fn text(&self, name: &str, max: usize) -> Result<Option<String>, Problem> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(value)) if text::fits(value, max) => Ok(Some(value.clone())),
            Some(_) => Err(Problem(format!("{name} must be a string of at most {max} characters"))),
        }
    }

    fn required_text(&self, name: &str, max: usize) -> Result<String, Problem> {
        self.text(name, max)?
            .ok_or_else(|| Problem(format!("{name} is required: a string of at most {max} characters")))
    }

    fn required_language(&self) -> Result<String, Problem> {
        let language = self.required_text("language", LANGUAGE_CHARS)?;
        if language.is_empty() || language.chars().any(char::is_control) {
            return Err(Problem(format!(
                "language must be 1 to {LANGUAGE_CHARS} characters without control characters"
            )));
        }
        Ok(language)
    }

    fn number(&self, name: &str) -> Result<Option<u64>, Problem> {
        match self.get(name) {
            None => Ok(None),
            Some(value) => match whole(value) {
                Some(number) if number <= MAX_NUMBER => Ok(Some(number)),
                _ => Err(Problem(format!("{name} must be a whole number from 0 to {MAX_NUMBER}"))),
            },
        }
    }

    fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.get(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(Problem(format!("{name} must be true or false"))),
        }
    }

    fn json(&self, name: &str, depth: usize, bytes: usize) -> Result<Value, Problem> {
        let value = self.fields.get(name).cloned().unwrap_or(Value::Null);
        if text::json_fits(&value, depth, bytes) {
            return Ok(value);
        }
        Err(Problem(format!("{name} must be at most {bytes} bytes of JSON, nested at most {depth} deep")))
    }

    /// An empty string counts as absent.
    fn id(&self, name: &str) -> Result<Option<String>, Problem> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(id)) if id.is_empty() => Ok(None),
            Some(Value::String(id)) => Ok(Some(id.clone())),
            Some(_) => Err(Problem(format!("{name} must be a string"))),
        }
    }

    fn room(&self) -> Result<Option<RoomId>, Problem> {
        self.id("roomId")?.map(|id| RoomId::new(&id)).transpose().map_err(|bad| Problem(bad.to_string()))
    }

    fn user(&self) -> Result<Option<UserId>, Problem> {
        self.id("userId")?.map(|id| UserId::new(&id)).transpose().map_err(|bad| Problem(bad.to_string()))
    }

    fn correlation_id(&self) -> Result<Option<CorrelationId>, Problem> {
        self.id("correlationId")?.map(|id| CorrelationId::new(&id)).transpose().map_err(|bad| Problem(bad.to_string()))
    }

    fn required_correlation_id(&self) -> Result<CorrelationId, Problem> {
        self.correlation_id()?.ok_or_else(|| Problem("correlationId is required".to_owned()))
    }

    /// Control characters are dropped; what is empty then is absent.
    fn username(&self) -> Result<Option<String>, Problem> {
        let name = self.id("username")?.map(|name| text::plain(&name, NAME_CHARS));
        match name {
            Some((_, true)) => Err(Problem(format!("username must be at most {NAME_CHARS} characters"))),
            Some((name, false)) if !name.trim().is_empty() => Ok(Some(name)),
            _ => Ok(None),
        }
    }

    fn color(&self) -> Result<Option<String>, Problem> {
        let color = self.text("color", COLOR_CHARS)?.filter(|color| !color.is_empty());
        let of_css = |c: char| c.is_ascii_alphanumeric() || "#(),.%/- ".contains(c);
        match color {
            Some(color) if !color.chars().all(of_css) => {
                Err(Problem(format!("color must be a CSS colour of at most {COLOR_CHARS} characters")))
            }
            color => Ok(color),
        }
    }
}

fn whole(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| {
        let number = value.as_f64()?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be whole and in range")]
        (number.fract() == 0.0 && (0.0..9.1e15).contains(&number)).then_some(number as u64)
    })
}

#[cfg(test)]
#[path = "input_tests.rs"]
mod tests;
