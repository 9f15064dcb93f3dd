//! What stands in a path or behind its question mark, checked.

use std::collections::HashMap;
use std::str::FromStr;

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;

use super::error::ApiError;
use crate::ids::{BadId, ExecutionId};

/// The path's one parameter, a checked name; anything else is a 400.
pub struct Name<T>(pub T);

impl<S: Send + Sync, T: TryFrom<String, Error = BadId>> FromRequestParts<S> for Name<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        Ok(Self(T::try_from(raw(parts, state).await?)?))
    }
}

/// The path's one parameter, an execution's id; what cannot be one is not found.
pub struct Execution(pub ExecutionId);

impl<S: Send + Sync> FromRequestParts<S> for Execution {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let id = raw(parts, state).await?;
        ExecutionId::new(&id).map(Self).map_err(|_| ApiError::not_found("Execution"))
    }
}

async fn raw<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<String, ApiError> {
    match Path::<String>::from_request_parts(parts, state).await {
        Ok(Path(text)) => Ok(text),
        Err(_) => Err(ApiError::field("The path must be percent-encoded UTF-8")),
    }
}

/// What stands behind the question mark; of a name that is there twice the last counts.
pub struct Params(HashMap<String, String>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Query::<Vec<(String, String)>>::from_request_parts(parts, state).await {
            Ok(Query(pairs)) => Ok(Self(pairs.into_iter().collect())),
            Err(_) => Err(ApiError::field("The query must be name=value pairs")),
        }
    }
}

impl Params {
    /// As it was sent.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A whole number, or the default where there is none.
    ///
    /// # Errors
    /// 400 when it is no whole number or out of bounds.
    pub fn integer(&self, name: &str, min: u64, max: u64, default: u64) -> Result<u64, ApiError> {
        let Some(text) = self.text(name) else { return Ok(default) };
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits
            .then(|| text.parse().ok())
            .flatten()
            .filter(|number| (min..=max).contains(number))
            .ok_or_else(|| ApiError::field(format!("{name} must be an integer from {min} to {max}")))
    }

    /// Anything that has a text of its own, where there is one.
    ///
    /// # Errors
    /// 400 with the type's own words.
    pub fn parse<T: FromStr>(&self, name: &str) -> Result<Option<T>, ApiError>
    where
        T::Err: std::fmt::Display,
    {
        self.text(name).map(|text| text.parse().map_err(|error: T::Err| ApiError::field(error.to_string()))).transpose()
    }
}
