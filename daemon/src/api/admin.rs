//! Who may do what concerns everybody: whoever has the configured token.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};

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
        let given = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let given =
            given.and_then(|value| value.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        if given.is_some_and(|(_, given)| token.matches(given.trim())) {
            return Ok(Self);
        }
        Err(ApiError::unauthorized("The admin token is missing or wrong"))
    }
}
