//! Who may do what concerns everybody: whoever has the configured token.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use subtle::ConstantTimeEq;

use super::Shared;
use super::error::ApiError;

/// Proof that the request carries `Authorization: Bearer` with the admin token.
pub struct Admin;

impl FromRequestParts<Shared> for Admin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &Shared) -> Result<Self, ApiError> {
        let settings = state.settings();
        let Some(token) = &settings.admin_token else {
            let message = "This route needs an admin token, and none is configured";
            return Err(ApiError::new(StatusCode::FORBIDDEN, "ADMIN_DISABLED", message));
        };
        let given = parts.headers.get(header::AUTHORIZATION).map(|value| value.as_bytes()).unwrap_or_default();
        let given = match given.split_at_checked(7) {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case(b"bearer ") => rest.trim_ascii(),
            _ => b"",
        };
        if bool::from(given.ct_eq(token.as_bytes())) {
            return Ok(Self);
        }
        Err(ApiError::unauthorized("The admin token is missing or wrong"))
    }
}
