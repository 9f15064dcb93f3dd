//! The fields of a JSON object, checked one by one: every message names the field and its bound.
//!
//! `null` counts as absent, as JavaScript clients send it. Characters are Unicode characters.

use serde_json::{Map, Value};

use super::error::ApiError;
use crate::ids::{BadId, CorrelationId};

/// An object's fields; each is taken out by who checks it.
pub struct Fields {
    map: Map<String, Value>,
    correlation_id: Option<CorrelationId>,
}

impl Fields {
    /// Of a parsed object. A sound `correlationId` is kept for the errors that follow.
    pub fn new(map: Map<String, Value>) -> Self {
        let correlation_id =
            map.get("correlationId").and_then(Value::as_str).and_then(|id| CorrelationId::new(id).ok());
        Self { map, correlation_id }
    }

    /// The caller's name for the request, where it gave a sound one.
    pub fn correlation_id(&self) -> Option<&str> {
        self.correlation_id.as_ref().map(CorrelationId::as_str)
    }

    /// A 400 about a field, with the correlation id.
    pub fn fail(&self, message: impl Into<String>) -> ApiError {
        self.correlate(ApiError::field(message))
    }

    /// The error with the correlation id.
    pub fn correlate(&self, error: ApiError) -> ApiError {
        error.correlated(self.correlation_id())
    }

    /// Any value but `null`.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.map.remove(name).filter(|value| !value.is_null())
    }

    /// A string of at most `max` characters, if there.
    ///
    /// # Errors
    /// 400 when it is no string or too long.
    pub fn text(&mut self, name: &str, max: usize) -> Result<Option<String>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => self.bounded(name, text, max).map(Some),
            Some(_) => Err(self.fail(format!("{name} must be a string"))),
        }
    }

    /// A string of 1 to `max` characters.
    ///
    /// # Errors
    /// 400 when it is missing, empty, no string or too long.
    pub fn required_text(&mut self, name: &str, max: usize) -> Result<String, ApiError> {
        match self.text(name, max)? {
            Some(text) if !text.is_empty() => Ok(text),
            _ => Err(self.fail(format!("{name} is required and must be a string of 1 to {max} characters"))),
        }
    }

    /// A checked name, if there; the empty string counts as absent.
    ///
    /// # Errors
    /// 400 when it is no string or a bad name.
    pub fn id<T: TryFrom<String, Error = BadId>>(&mut self, name: &str) -> Result<Option<T>, ApiError> {
        match self.text(name, usize::MAX)? {
            Some(text) if !text.is_empty() => T::try_from(text).map(Some).map_err(|error| self.correlate(error.into())),
            _ => Ok(None),
        }
    }

    /// A whole number, if there.
    ///
    /// # Errors
    /// 400 when it is no whole number or out of bounds.
    pub fn integer(&mut self, name: &str, min: i64, max: i64) -> Result<Option<i64>, ApiError> {
        let Some(value) = self.take(name) else { return Ok(None) };
        whole(&value)
            .filter(|number| (min..=max).contains(number))
            .map(Some)
            .ok_or_else(|| self.fail(format!("{name} must be an integer from {min} to {max}")))
    }

    /// An array of at most `max` elements, if there.
    ///
    /// # Errors
    /// 400 when it is no array or too long.
    pub fn array(&mut self, name: &str, max: usize) -> Result<Option<Vec<Value>>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Array(elements)) if elements.len() <= max => Ok(Some(elements)),
            Some(Value::Array(elements)) => {
                Err(self.fail(format!("{name} must have at most {max} elements, it has {}", elements.len())))
            }
            Some(_) => Err(self.fail(format!("{name} must be an array"))),
        }
    }

    fn bounded(&self, name: &str, text: String, max: usize) -> Result<String, ApiError> {
        // A text of no more bytes than that has no more characters either.
        if text.len() > max {
            let length = text.chars().count();
            if length > max {
                return Err(self.fail(format!("{name} must be at most {max} characters, it has {length}")));
            }
        }
        Ok(text)
    }
}

/// A JSON number without a fraction; `2.0` is one, as in JavaScript.
fn whole(value: &Value) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    value.as_i64().or_else(|| value.as_f64().filter(|n| n.fract() == 0.0 && n.abs() <= EXACT).map(|n| n as i64))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ids::RoomId;

    fn fields(value: Value) -> Fields {
        let Value::Object(map) = value else { panic!("no object") };
        Fields::new(map)
    }

    #[test]
    fn characters_count_not_bytes() {
        assert!(fields(json!({"code": "é".repeat(10)})).text("code", 10).is_ok());
        let error = fields(json!({"code": "é".repeat(11)})).text("code", 10).unwrap_err();
        assert_eq!(error.message(), "code must be at most 10 characters, it has 11");
    }

    #[test]
    fn absent_null_and_empty_are_told_apart_where_it_matters() {
        let mut all = fields(json!({"a": null, "roomId": "", "code": ""}));
        assert_eq!(all.text("a", 5).unwrap(), None);
        assert_eq!(all.text("b", 5).unwrap(), None);
        assert_eq!(all.id::<RoomId>("roomId").unwrap(), None);
        assert!(all.required_text("code", 5).is_err());
    }

    #[test]
    fn numbers_are_whole_and_bounded() {
        for (value, ok) in [
            (json!(3), true),
            (json!(3.0), true),
            (json!(3.5), false),
            (json!("3"), false),
            (json!(11), false),
            (json!(-1), false),
            (json!(1e300), false),
            (json!(u64::MAX), false),
        ] {
            let result = fields(json!({"priority": value.clone()})).integer("priority", 0, 10);
            assert_eq!(result.is_ok(), ok, "{value}");
            if let Err(error) = result {
                assert_eq!(error.message(), "priority must be an integer from 0 to 10");
            }
        }
    }
}
