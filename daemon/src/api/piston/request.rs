//! What Piston's `execute` takes, checked in Piston's order and words.

use std::net::IpAddr;
use std::time::Instant;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use crankcase_sandbox::spec::{FILES_MAX, MemoryMax, SourceFile, WallTime, is_safe_name};
use serde_json::Value;

use super::super::error::ApiError;
use super::super::fields::Fields;
use super::super::languages::Language;
use super::super::request::ARGS_BYTES;

use super::version;
use crate::ids::{RoomId, UserId};
use crate::jobs::{LimitOverrides, Submission};

/// A checked request, and the language it meant.
#[derive(Debug)]
pub struct Asked {
    pub language: Language,
    pub submission: Submission,
}

/// Checks the fields.
///
/// # Errors
/// 400 in Piston's words.
pub fn read(
    mut fields: Fields,
    languages: &[Language],
    address: Option<IpAddr>,
    received: Instant,
) -> Result<Asked, ApiError> {
    let name = required_text(&mut fields, "language")?;
    let selector = required_text(&mut fields, "version")?;
    let Some(Value::Array(files)) = fields.take("files") else {
        return Err(ApiError::field("files is required as an array"));
    };
    let files = files.iter().enumerate().map(|(n, file)| File::read(n, file)).collect::<Result<Vec<_>, _>>()?;
    let named = |language: &&Language| language.name == name || language.aliases.contains(&name);
    let in_range = |language: &&Language| version::satisfies(&version::normal(language.version.as_deref()), &selector);
    let Some(language) = languages.iter().filter(named).find(in_range) else {
        return Err(ApiError::field(format!("{name}-{selector} runtime is unknown")));
    };
    let (code, files) = split(files)?;
    let overrides = overrides(&mut fields, language)?;
    let submission = Submission {
        room: RoomId::standalone(),
        user: UserId::new("anonymous")?,
        username: "Anonymous".to_owned(),
        language: language.name.clone(),
        code,
        stdin: stdin(&mut fields)?,
        args: args(&mut fields)?,
        files,
        priority: 0,
        overrides,
        correlation_id: None,
        interactive: false,
        address,
        received,
    };
    Ok(Asked { language: language.clone(), submission })
}

fn required_text(fields: &mut Fields, name: &str) -> Result<String, ApiError> {
    match fields.take(name) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text),
        _ => Err(ApiError::field(format!("{name} is required as a string"))),
    }
}

struct File {
    name: String,
    content: String,
    encoding: Option<String>,
}

impl File {
    fn read(n: usize, value: &Value) -> Result<Self, ApiError> {
        let Some(content) = value.get("content").and_then(Value::as_str) else {
            return Err(ApiError::field(format!("files[{n}].content is required as a string")));
        };
        let text = |field: &str| value.get(field).and_then(Value::as_str).filter(|text| !text.is_empty());
        Ok(Self {
            name: text("name").map_or_else(|| format!("file{n}.code"), str::to_owned),
            content: content.to_owned(),
            encoding: text("encoding").map(str::to_owned),
        })
    }

    /// Whether it counts as a source; an unknown encoding is read as text, but does not.
    fn is_source(&self) -> bool {
        self.encoding.as_deref().is_none_or(|encoding| encoding == "utf8")
    }

    fn bytes(self) -> Result<Vec<u8>, ApiError> {
        // As lenient as Node's Buffer in what stands between the digits.
        let digits = || self.content.chars().filter(|c| !c.is_whitespace());
        let decoded = match self.encoding.as_deref() {
            Some("base64") => {
                const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
                    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
                    .with_decode_allow_trailing_bits(true);
                let standard = |c| match c {
                    '-' => '+',
                    '_' => '/',
                    other => other,
                };
                GeneralPurpose::new(&STANDARD, LENIENT).decode(digits().map(standard).collect::<String>()).ok()
            }
            Some("hex") => hex::decode(digits().collect::<String>()).ok(),
            _ => return Ok(self.content.into_bytes()),
        };
        decoded.ok_or_else(|| {
            let encoding = self.encoding.as_deref().unwrap_or_default();
            ApiError::field(format!("the content of {:?} is not valid {encoding}", self.name))
        })
    }
}

/// The main file, which is the first source, and the others.
fn split(mut files: Vec<File>) -> Result<(String, Vec<SourceFile>), ApiError> {
    let Some(main) = files.iter().position(File::is_source) else {
        return Err(ApiError::field("files must include at least one utf8 encoded file"));
    };
    if files.len() > FILES_MAX {
        return Err(ApiError::field(format!("files must have at most {FILES_MAX} elements")));
    }
    let code = files.remove(main).content;
    let mut others: Vec<SourceFile> = Vec::with_capacity(files.len());
    for file in files {
        let name = file.name.strip_prefix("./").unwrap_or(&file.name).to_owned();
        if !is_safe_name(&name) {
            return Err(ApiError::field(format!("File path {name:?} tries to escape parent directory")));
        }
        // A name that is there twice is written twice, so that the last stays.
        others.retain(|other| other.name != name);
        others.push(SourceFile { name, content: file.bytes()?, executable: false });
    }
    Ok((code, others))
}

/// Piston ends stdin with a line feed, wherever there is none.
fn stdin(fields: &mut Fields) -> Result<String, ApiError> {
    match fields.take("stdin") {
        None => Ok("\n".to_owned()),
        Some(Value::String(text)) if text.ends_with('\n') => Ok(text),
        Some(Value::String(text)) => Ok(text + "\n"),
        Some(_) => Err(ApiError::field("If specified, stdin must be a string")),
    }
}

fn args(fields: &mut Fields) -> Result<Vec<String>, ApiError> {
    let Some(value) = fields.take("args") else { return Ok(Vec::new()) };
    let texts = |values: &Vec<Value>| values.iter().map(|value| value.as_str().map(str::to_owned)).collect();
    let args: Option<Vec<String>> = value.as_array().and_then(texts);
    match args {
        Some(args) if args.iter().any(|arg| arg.contains('\0')) => {
            Err(ApiError::field("args must not contain NUL characters"))
        }
        Some(args) if args.iter().map(String::len).sum::<usize>() > ARGS_BYTES => {
            Err(ApiError::field(format!("args must be at most {ARGS_BYTES} bytes together")))
        }
        Some(args) => Ok(args),
        None => Err(ApiError::field("If specified, args must be an array of strings")),
    }
}

fn overrides(fields: &mut Fields, language: &Language) -> Result<LimitOverrides, ApiError> {
    let (compile, run) = (&language.limits.compile, &language.limits.run);
    let mut limit = |name: &str, configured: u64, least: u64| limit(fields.take(name), name, configured, least);
    Ok(LimitOverrides {
        compile_memory_bytes: limit("compile_memory_limit", compile.memory.get(), MemoryMax::MIN)?,
        run_memory_bytes: limit("run_memory_limit", run.memory.get(), MemoryMax::MIN)?,
        compile_wall_ms: limit("compile_timeout", compile.wall.get(), WallTime::MIN)?,
        run_wall_ms: limit("run_timeout", run.wall.get(), WallTime::MIN)?,
        compile_cpu_ms: limit("compile_cpu_time", compile.cpu.get(), WallTime::MIN)?,
        run_cpu_ms: limit("run_cpu_time", run.cpu.get(), WallTime::MIN)?,
    })
}

/// Nothing, zero and whatever else JavaScript takes for false asks for nothing. A memory limit of -1 means
/// "none" to Piston, and is in the example of its documentation: here it asks for nothing either.
fn limit(value: Option<Value>, name: &str, configured: u64, least: u64) -> Result<Option<u64>, ApiError> {
    let number = match value {
        None | Some(Value::Bool(false)) => return Ok(None),
        Some(Value::String(text)) if text.is_empty() => return Ok(None),
        Some(Value::Number(number)) => number.as_f64().unwrap_or(f64::MAX),
        Some(_) => return Err(ApiError::field(format!("If specified, {name} must be a number"))),
    };
    if number == 0.0 || (number < 0.0 && name.ends_with("memory_limit")) {
        return Ok(None);
    }
    if number > configured as f64 {
        return Err(ApiError::field(format!("{name} cannot exceed the configured limit of {configured}")));
    }
    if number < 0.0 {
        return Err(ApiError::field(format!("{name} must be non-negative")));
    }
    Ok(Some((number as u64).clamp(least, configured)))
}
