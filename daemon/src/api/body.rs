//! Reads a request's JSON body: bounded in bytes and in time, with the contract's errors.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::{Map, Value};
use thiserror::Error;

use super::Shared;
use super::error::ApiError;
use super::fields::Fields;

/// Why there is no JSON object to work with.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BodyError {
    /// Another content type, or none.
    #[error("The content type must be application/json")]
    WrongType,
    /// More bytes than allowed.
    #[error("The request body must be at most {limit} bytes")]
    TooLarge {
        /// The bound.
        limit: usize,
    },
    /// It took too long to arrive.
    #[error("The request body did not arrive within {} seconds", .0.as_secs_f32())]
    TimedOut(Duration),
    /// The connection broke, or its framing is wrong.
    #[error("The request body could not be read")]
    Broken,
    /// No JSON.
    #[error("The request body is not valid JSON: {0}")]
    NotJson(String),
    /// JSON, but no object.
    #[error("The request body must be a JSON object")]
    NotObject,
}

impl BodyError {
    /// The contract's status.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::WrongType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TimedOut(_) => StatusCode::REQUEST_TIMEOUT,
            Self::Broken | Self::NotJson(_) | Self::NotObject => StatusCode::BAD_REQUEST,
        }
    }

    const fn code(&self) -> &'static str {
        match self {
            Self::WrongType => "UNSUPPORTED_MEDIA_TYPE",
            Self::TooLarge { .. } => "PAYLOAD_TOO_LARGE",
            Self::TimedOut(_) => "REQUEST_TIMEOUT",
            Self::Broken | Self::NotJson(_) | Self::NotObject => "INVALID_JSON",
        }
    }
}

impl From<BodyError> for ApiError {
    fn from(error: BodyError) -> Self {
        Self::new(error.status(), error.code(), error.to_string())
    }
}

/// A JSON object of ordinary size.
pub struct JsonBody {
    /// Its fields.
    pub fields: Fields,
    /// When the request's head was there; the body may have taken its time.
    pub received: Instant,
}

impl FromRequest<Shared> for JsonBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &Shared) -> Result<Self, ApiError> {
        let received = Instant::now();
        let settings = state.settings();
        let object = read_object(request, settings.body_bytes, settings.body_timeout).await?;
        Ok(Self { fields: Fields::new(object), received })
    }
}

/// A JSON object that may be large: many inputs, many files.
pub struct LargeJsonBody(pub JsonBody);

impl FromRequest<Shared> for LargeJsonBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &Shared) -> Result<Self, ApiError> {
        let received = Instant::now();
        let settings = state.settings();
        let object = read_object(request, settings.large_body_bytes, settings.body_timeout).await?;
        Ok(Self(JsonBody { fields: Fields::new(object), received }))
    }
}

/// A JSON object where none at all, without a content type, is as good as `{}`.
pub struct OptionalJsonBody(pub JsonBody);

impl FromRequest<Shared> for OptionalJsonBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &Shared) -> Result<Self, ApiError> {
        let empty = !request.headers().contains_key(header::CONTENT_TYPE)
            && !request.headers().contains_key(header::TRANSFER_ENCODING)
            && content_length(request.headers()).unwrap_or(0) == 0;
        if empty {
            return Ok(Self(JsonBody { fields: Fields::new(Map::new()), received: Instant::now() }));
        }
        JsonBody::from_request(request, state).await.map(Self)
    }
}

/// Checks the content type, reads at most `limit` bytes within `timeout`, and parses an object.
///
/// # Errors
/// [`BodyError`]; of a body that is too large a bounded part has been read and dropped, so that a client
/// that writes all before it reads sees the answer and not a reset connection.
pub async fn read_object(request: Request, limit: usize, timeout: Duration) -> Result<Map<String, Value>, BodyError> {
    let (parts, mut body) = request.into_parts();
    if !is_json(&parts.headers) {
        return Err(BodyError::WrongType);
    }
    let length = content_length(&parts.headers);
    let fits = length.is_none_or(|length| length <= limit as u64);
    let read = async {
        let bytes = if fits { collect(&mut body, limit, length).await? } else { None };
        if bytes.is_none() && !parts.headers.contains_key(header::EXPECT) {
            drain(&mut body).await;
        }
        bytes.ok_or(BodyError::TooLarge { limit })
    };
    let bytes = tokio::time::timeout(timeout, read).await.map_err(|_| match fits {
        true => BodyError::TimedOut(timeout),
        false => BodyError::TooLarge { limit },
    })??;
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(BodyError::NotObject),
        Err(error) => Err(BodyError::NotJson(error.to_string())),
    }
}

/// Whether the content type is JSON in UTF-8: `application/json` or `application/*+json`.
pub fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let mut parts = value.split(';').map(|part| part.trim().to_ascii_lowercase());
    let essence = parts.next().unwrap_or_default();
    let json = essence.strip_prefix("application/").is_some_and(|sub| sub == "json" || sub.ends_with("+json"));
    json && parts
        .filter_map(|part| part.strip_prefix("charset=").map(|set| set.trim_matches('"').to_owned()))
        .all(|charset| charset == "utf-8" || charset == "utf8" || charset == "us-ascii")
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The whole body, or none when it is longer than `limit`.
async fn collect(body: &mut Body, limit: usize, length: Option<u64>) -> Result<Option<Vec<u8>>, BodyError> {
    // The length is the client's claim: room is made for it only as far as it is plausible.
    let mut bytes = Vec::with_capacity(length.unwrap_or(0).min(limit as u64).min(64 * 1024) as usize);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| BodyError::Broken)?;
        if let Some(data) = frame.data_ref() {
            if data.len() > limit - bytes.len() {
                return Ok(None);
            }
            bytes.extend_from_slice(data);
        }
    }
    Ok(Some(bytes))
}

/// Reads and drops up to 8 MiB within a second.
async fn drain(body: &mut Body) {
    const BYTES: usize = 8 * 1024 * 1024;
    let all = async {
        let mut left = BYTES;
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, bytes_len));
            if left == 0 {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(1), all).await;
}

fn bytes_len(data: &axum::body::Bytes) -> usize {
    data.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(content_type: Option<&str>, body: impl Into<Body>) -> Request {
        let mut builder = Request::builder();
        if let Some(value) = content_type {
            builder = builder.header("content-type", value);
        }
        builder.body(body.into()).unwrap()
    }

    async fn read(content_type: Option<&str>, body: impl Into<Body>) -> Result<Map<String, Value>, BodyError> {
        read_object(request(content_type, body), 32, Duration::from_secs(5)).await
    }

    #[tokio::test]
    async fn content_types_are_told_apart() {
        for good in ["application/json", "Application/JSON; charset=UTF-8", "application/problem+json"] {
            assert!(read(Some(good), "{}").await.is_ok(), "{good}");
        }
        for bad in ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16", "json", ""] {
            assert_eq!(read(Some(bad), "{}").await, Err(BodyError::WrongType), "{bad}");
        }
        assert_eq!(read(None, "{}").await, Err(BodyError::WrongType));
    }

    #[tokio::test]
    async fn the_bound_is_exact_with_and_without_a_length() {
        let fits = format!("{{\"a\":\"{}\"}}", "x".repeat(32 - 8));
        assert_eq!(fits.len(), 32);
        assert!(read(Some("application/json"), fits.clone()).await.is_ok());
        let above = format!("{fits} ");
        let too_large = Err(BodyError::TooLarge { limit: 32 });
        assert_eq!(read(Some("application/json"), above.clone()).await, too_large);
        let pieces =
            futures_util::stream::iter(above.into_bytes().into_iter().map(|b| Ok::<_, std::io::Error>(vec![b])));
        assert_eq!(read(Some("application/json"), Body::from_stream(pieces)).await, too_large);
    }

    #[tokio::test]
    async fn only_objects_will_do() {
        for (body, not_object) in
            [("[]", true), ("\"x\"", true), ("null", true), ("", false), ("{", false), ("{a:1}", false)]
        {
            let error = read(Some("application/json"), body).await.unwrap_err();
            assert_eq!(error == BodyError::NotObject, not_object, "{body:?}");
            assert_eq!(error.status(), StatusCode::BAD_REQUEST);
        }
        let deep = "[".repeat(20_000);
        let error = read_object(request(Some("application/json"), deep), 30_000, Duration::from_secs(5)).await;
        assert!(matches!(error, Err(BodyError::NotJson(_))));
    }

    #[tokio::test]
    async fn a_body_that_never_ends_is_given_up() {
        let never = Body::from_stream(futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>());
        let wait = Duration::from_millis(20);
        let error = read_object(request(Some("application/json"), never), 32, wait).await.unwrap_err();
        assert_eq!(error, BodyError::TimedOut(wait));
        assert_eq!(error.status(), StatusCode::REQUEST_TIMEOUT);
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_no_json() {
        let broken = futures_util::stream::iter([Ok(b"{".to_vec()), Err(std::io::Error::other("gone"))]);
        assert_eq!(read(Some("application/json"), Body::from_stream(broken)).await, Err(BodyError::Broken));
    }
}
