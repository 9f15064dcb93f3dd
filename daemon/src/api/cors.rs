//! CORS: the configured origins, with credentials, on every answer.

use axum::http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

/// The layer. `*` among the origins allows any; the origin is then echoed, because browsers refuse the
/// literal `*` together with credentials. That gives a foreign page nothing: the daemon knows no cookies,
/// and the administrator's token is sent by nobody unasked.
pub fn layer(origins: &[String]) -> CorsLayer {
    let allowed = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::mirror_request()
    } else {
        AllowOrigin::list(origins.iter().filter_map(|origin| {
            let value = HeaderValue::from_str(origin.trim_end_matches('/')).ok();
            if value.is_none() {
                tracing::warn!(origin, "an allowed origin is no header value and is ignored");
            }
            value
        }))
    };
    CorsLayer::new()
        .allow_origin(allowed)
        .allow_credentials(true)
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(
            ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset", "idempotent-replay"]
                .map(HeaderName::from_static)
                .into_iter()
                .chain([header::RETRY_AFTER])
                .collect::<Vec<_>>(),
        )
        .max_age(std::time::Duration::from_secs(600))
}
