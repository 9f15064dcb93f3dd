//! The fields that say what to run and for whom, checked into a [`Submission`].

use std::time::Instant;

use crankcase_sandbox::spec::{SourceFile, is_safe_name};
use serde_json::Value;

use super::address::ClientAddress;
use super::error::ApiError;
use super::fields::Fields;
use super::settings::Settings;
use crate::ids::{RoomId, UserId};
use crate::jobs::{LimitOverrides, Submission};

/// Unicode characters of a language's name.
const LANGUAGE_CHARS: usize = 64;
/// Unicode characters of a user's name.
pub const USERNAME_CHARS: usize = 128;
/// Arguments of a program.
const ARGS: usize = 128;
/// Bytes of all arguments together; the sandbox takes 96 KiB of argv and environment.
pub const ARGS_BYTES: usize = 32 * 1024;
/// Further files of a program.
const FILES: usize = 64;
/// The longest time that may be asked for; the configured limit is nearly always less.
const TIME_LIMIT_MS: i64 = 24 * 3_600_000;
/// The most memory that may be asked for, in MiB.
const MEMORY_LIMIT_MB: i64 = 1024 * 1024;

/// Checks everything that `/compile` takes.
///
/// # Errors
/// 400 naming the field and its bound.
pub fn submission(
    fields: &mut Fields,
    settings: &Settings,
    address: Option<ClientAddress>,
    received: Instant,
) -> Result<Submission, ApiError> {
    let correlation_id = fields.id("correlationId")?;
    let language = fields.required_text("language", LANGUAGE_CHARS)?;
    let code = fields.required_text("code", settings.limits.code_chars)?;
    let stdin = fields.text("stdin", settings.limits.stdin_chars)?.unwrap_or_default();
    let overrides = LimitOverrides {
        run_wall_ms: fields.integer("timeLimitMs", 10, TIME_LIMIT_MS)?.map(i64::unsigned_abs),
        run_memory_bytes: fields.integer("memoryLimitMb", 4, MEMORY_LIMIT_MB)?.map(|mb| mb.unsigned_abs() << 20),
        ..LimitOverrides::default()
    };
    Ok(Submission {
        room: fields.id("roomId")?.unwrap_or_else(RoomId::standalone),
        user: user(fields)?,
        username: username(fields)?.unwrap_or_else(|| "Anonymous".to_owned()),
        language,
        code,
        stdin,
        args: args(fields)?,
        files: files(fields, settings.limits.code_chars)?,
        priority: priority(fields)?,
        overrides,
        correlation_id,
        interactive: false,
        address: address.map(|ClientAddress(address)| address),
        received,
    })
}

/// `userId`, or "anonymous".
///
/// # Errors
/// 400 when it is a bad name.
pub fn user(fields: &mut Fields) -> Result<UserId, ApiError> {
    match fields.id("userId")? {
        Some(user) => Ok(user),
        None => UserId::new("anonymous").map_err(ApiError::from),
    }
}

/// `username`, where there is one.
///
/// # Errors
/// 400 when it is too long or holds control characters.
pub fn username(fields: &mut Fields) -> Result<Option<String>, ApiError> {
    match fields.text("username", USERNAME_CHARS)? {
        Some(name) if name.chars().any(char::is_control) => {
            Err(fields.fail(format!("username must be at most {USERNAME_CHARS} characters without control characters")))
        }
        name => Ok(name.filter(|name| !name.is_empty())),
    }
}

/// `args`: strings that `execve` takes.
///
/// # Errors
/// 400 when there are too many, they are too long together, or one is no string or holds a NUL.
pub fn args(fields: &mut Fields) -> Result<Vec<String>, ApiError> {
    let values = fields.array("args", ARGS)?.unwrap_or_default();
    let mut args = Vec::with_capacity(values.len());
    for (n, value) in values.into_iter().enumerate() {
        match value {
            Value::String(arg) if !arg.contains('\0') => args.push(arg),
            _ => return Err(fields.fail(format!("args[{n}] must be a string without NUL characters"))),
        }
    }
    let bytes: usize = args.iter().map(String::len).sum();
    if bytes > ARGS_BYTES {
        return Err(fields.fail(format!("args must be at most {ARGS_BYTES} bytes together, they are {bytes}")));
    }
    Ok(args)
}

fn priority(fields: &mut Fields) -> Result<i32, ApiError> {
    let asked = fields.integer("priority", i32::MIN.into(), i32::MAX.into())?;
    Ok(asked.and_then(|priority| i32::try_from(priority).ok()).unwrap_or_default())
}

fn files(fields: &mut Fields, max_chars: usize) -> Result<Vec<SourceFile>, ApiError> {
    let values = fields.array("files", FILES)?.unwrap_or_default();
    let mut files = Vec::with_capacity(values.len());
    for (n, value) in values.into_iter().enumerate() {
        let Value::Object(object) = value else {
            return Err(fields.fail(format!("files[{n}] must be an object with name and content")));
        };
        let mut file = Fields::new(object);
        let text = |result: Result<Option<String>, ApiError>| {
            result.map_err(|error| fields.fail(format!("files[{n}].{}", error.message())))
        };
        let name = text(file.text("name", 512))?.filter(|name| is_safe_name(name)).ok_or_else(|| {
            fields.fail(format!("files[{n}].name must be a relative path of at most 512 bytes without . or .. in it"))
        })?;
        let content = text(file.text("content", max_chars))?
            .ok_or_else(|| fields.fail(format!("files[{n}].content is required and must be a string")))?;
        files.push(SourceFile { name, content: content.into_bytes(), executable: false });
    }
    match clash(&files) {
        Some(name) => Err(fields.fail(format!("files: {name:?} is there twice, or is both a file and a directory"))),
        None => Ok(files),
    }
}

/// A name that cannot be written beside the others.
pub fn clash(files: &[SourceFile]) -> Option<&str> {
    let mut names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
    names.sort_unstable();
    let is_dir = |name: &str| names.iter().any(|n| n.strip_prefix(name).is_some_and(|rest| rest.starts_with('/')));
    let twice = names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0]);
    twice.or_else(|| names.iter().copied().find(|name| is_dir(name)))
}
