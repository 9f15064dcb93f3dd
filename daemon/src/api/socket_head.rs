//! The head of the request that connects a socket, cut down to what is needed of it.
//!
//! The Socket.IO library keeps that head for as long as the socket lives, and every part of it is a slice of the buffer
//! that the whole request was read into: 8 KiB a connection, cookies included.

use axum::extract::{OriginalUri, Request};
use http::header::{CONTENT_TYPE, SEC_WEBSOCKET_KEY};
use http::{HeaderMap, HeaderValue};

/// Where Socket.IO answers; all other requests pass as they are.
const PATH: &str = "/socket.io";

/// Copies what the library reads, and lets go of the rest.
pub async fn cut(mut request: Request) -> Request {
    if request.uri().path().starts_with(PATH) {
        let mut copied = HeaderMap::with_capacity(2);
        for name in [CONTENT_TYPE, SEC_WEBSOCKET_KEY] {
            let value = request.headers().get(&name).map(|value| HeaderValue::from_bytes(value.as_bytes()));
            if let Some(Ok(value)) = value {
                copied.insert(name, value);
            }
        }
        *request.headers_mut() = copied;
        request.extensions_mut().remove::<OriginalUri>();
        if let Ok(uri) = request.uri().to_string().parse() {
            *request.uri_mut() = uri;
        }
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn cut_head(path: &str) -> Request {
        let request = Request::get(path)
            .header("cookie", "session=secret")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("content-type", "text/plain;charset=UTF-8");
        cut(request.body(axum::body::Body::empty()).unwrap()).await
    }

    #[tokio::test]
    async fn a_sockets_head_keeps_what_is_read_of_it() {
        let request = cut_head("/socket.io/?EIO=4&transport=websocket&sid=a%20b").await;
        assert_eq!(request.uri(), "/socket.io/?EIO=4&transport=websocket&sid=a%20b");
        assert_eq!(request.headers().len(), 2);
        assert_eq!(request.headers()["sec-websocket-key"], "dGhlIHNhbXBsZSBub25jZQ==");
    }

    #[tokio::test]
    async fn other_requests_pass_as_they_are() {
        assert_eq!(cut_head("/compile").await.headers().len(), 3);
    }
}
