//! The accept loop: bounds on connections and on the time a client may take, and an orderly end.
//!
//! `axum::serve` knows no bounds. Here a connection is accepted only while there is a place for it, and its
//! [`Socket`] bounds what a client may take its time for.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderValue, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::connection::{Exchange, Socket};

/// Bounds on clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections open at once, websockets included; further ones wait in the kernel's backlog.
    pub connections: usize,
    /// From a request's first byte, or the connection's beginning, to the end of the request's head.
    pub header_timeout: Duration,
    /// How long a connection is kept after an answer while no further request begins.
    pub idle_timeout: Duration,
    /// How long a peer may leave unread what is sent to it.
    pub write_timeout: Duration,
    /// Bytes of a request's head.
    pub header_bytes: usize,
    /// From the end of accepting to the end of the last answer; what is open then is cut off.
    pub shutdown_deadline: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 12_000,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(30),
            header_bytes: 32 * 1024,
            shutdown_deadline: Duration::from_secs(15),
        }
    }
}

/// Serves until the token is cancelled, then lets answers that are under way end within the deadline.
///
/// Connections that were upgraded are not waited for: whoever upgraded them ends them.
pub async fn serve(listener: TcpListener, router: Router, shutdown: CancellationToken, limits: Limits) {
    let places = Arc::new(Semaphore::new(limits.connections.clamp(1, Semaphore::MAX_PERMITS)));
    let mut connections = JoinSet::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        // The socket knows both times apart; with one of its own, hyper looks at an idle connection at all.
        .header_read_timeout(limits.idle_timeout + limits.header_timeout)
        .max_buf_size(limits.header_bytes.max(8 * 1024))
        .keep_alive(true);
    let announced = announced(limits.idle_timeout);
    loop {
        let next = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            next = accept(&listener, &places) => next,
        };
        let Some((stream, peer, place)) = next else { continue };
        let exchange = Exchange::default();
        let socket = Socket::new(stream, place, exchange.clone(), &limits);
        let (answering, announced) = (exchange.clone(), announced.clone());
        let service = router
            .clone()
            .map_request(move |request: hyper::Request<Incoming>| {
                exchange.begin();
                let mut request = request.map(Body::new);
                request.extensions_mut().insert(ConnectInfo(peer));
                request
            })
            .map_response(move |mut response| {
                if let Some(announced) = &announced {
                    response.headers_mut().insert(header::HeaderName::from_static("keep-alive"), announced.clone());
                }
                answering.answer(response)
            });
        let io = TokioIo::new(socket);
        let connection = http.serve_connection(io, TowerToHyperService::new(service)).with_upgrades();
        let shutdown = shutdown.clone();
        connections.spawn(async move {
            let mut connection = pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = shutdown.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                // Clients come and go as they like; nobody needs to be told.
                tracing::debug!(%peer, %error, "a connection ended early");
            }
        });
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(limits.shutdown_deadline, all).await.is_err() {
        tracing::warn!("answers were still under way at the shutdown deadline and are cut off");
    }
    connections.shutdown().await;
}

/// What `Keep-Alive` says: less than is kept, so that it is the client who gives an idle connection up. The other way
/// round a request may cross the server's end of the connection, and is lost.
fn announced(idle_timeout: Duration) -> Option<HeaderValue> {
    let seconds = (idle_timeout - (idle_timeout / 2).min(Duration::from_secs(5))).as_secs();
    if seconds == 0 { None } else { HeaderValue::try_from(format!("timeout={seconds}")).ok() }
}

/// The next connection, once there is a place for it; none after an error, when it is time to look again.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => {
            // Answers are written whole: waiting to fill a segment would only delay them.
            let _ = stream.set_nodelay(true);
            Some((stream, peer, place))
        }
        Err(error) if is_the_peers(&error) => None,
        Err(error) => {
            // No descriptors or no memory: trying at once would only spin.
            tracing::error!(%error, "no connection can be accepted");
            tokio::time::sleep(Duration::from_millis(100)).await;
            None
        }
    }
}

fn is_the_peers(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
