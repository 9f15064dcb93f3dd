//! One connection: its place, and what its client may take its time for.
//!
//! A request's head must arrive in time once it has begun, a connection without a request is kept for longer, and a
//! peer that reads nothing for a while is cut off. The place is held by the socket itself, so an upgraded connection
//! (websocket) keeps it until it is closed, and has no bounds but the last.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::http::StatusCode;
use axum::response::Response;
use http_body_util::BodyExt as _;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep};

use super::server::Limits;

/// A head is awaited or has begun to arrive.
const HEAD: u8 = 0;
/// A request is answered.
const BUSY: u8 = 1;
/// The last answer is complete.
const IDLE: u8 = 2;
/// No HTTP any more.
const UPGRADED: u8 = 3;

/// How far a connection is with its request; its socket and its service share it.
#[derive(Clone, Default)]
pub struct Exchange {
    phase: Arc<AtomicU8>,
}

impl Exchange {
    /// A head is complete.
    pub fn begin(&self) {
        self.phase.store(BUSY, Ordering::Release);
    }

    /// Notes when an answer is complete: when its body is dropped.
    pub fn answer(&self, response: Response) -> Response {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            self.phase.store(UPGRADED, Ordering::Release);
            return response;
        }
        let answered = Answered(self.clone());
        response.map(|body| {
            if body.is_end_stream() {
                return body;
            }
            Body::new(body.map_err(move |error| {
                let _ = &answered;
                error
            }))
        })
    }

    fn phase(&self) -> u8 {
        self.phase.load(Ordering::Acquire)
    }

    /// Whether this was so, and is changed.
    fn advance(&self, from: u8, to: u8) -> bool {
        self.phase.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

struct Answered(Exchange);

impl Drop for Answered {
    fn drop(&mut self) {
        self.0.advance(BUSY, IDLE);
    }
}

/// A connection that holds its place.
pub struct Socket {
    stream: TcpStream,
    _place: OwnedSemaphorePermit,
    exchange: Exchange,
    header_timeout: Duration,
    idle_timeout: Duration,
    write_timeout: Duration,
    /// The end of waiting for the client in this phase.
    waiting: Option<(u8, Pin<Box<Sleep>>)>,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Socket {
    pub fn new(stream: TcpStream, place: OwnedSemaphorePermit, exchange: Exchange, limits: &Limits) -> Self {
        Self {
            stream,
            _place: place,
            exchange,
            header_timeout: limits.header_timeout,
            idle_timeout: limits.idle_timeout,
            write_timeout: limits.write_timeout,
            waiting: None,
            stalled: None,
        }
    }

    /// Whether the client has taken too long for what is awaited of it now.
    fn poll_patience(&mut self, context: &mut Context<'_>) -> Poll<u8> {
        let phase = self.exchange.phase();
        let patience = match phase {
            HEAD => self.header_timeout,
            IDLE => self.idle_timeout,
            _ => {
                self.waiting = None;
                return Poll::Pending;
            }
        };
        if self.waiting.as_ref().is_none_or(|(awaited, _)| *awaited != phase) {
            self.waiting = Some((phase, Box::pin(tokio::time::sleep(patience))));
        }
        if let Some((_, end)) = &mut self.waiting {
            ready!(end.as_mut().poll(context));
        }
        Poll::Ready(phase)
    }

    /// Passes a write on; an error once none has got on for the whole timeout.
    fn watched<T>(
        &mut self,
        context: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut TcpStream>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(result) = write(Pin::new(&mut self.stream), context) {
            self.stalled = None;
            return Poll::Ready(result);
        }
        let deadline = Instant::now() + self.write_timeout;
        let timer = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        ready!(timer.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer does not read")))
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut this.stream).poll_read(context, buffer) {
            if buffer.filled().len() > before {
                this.exchange.advance(IDLE, HEAD);
            }
            return Poll::Ready(read);
        }
        match ready!(this.poll_patience(context)) {
            // As if the client had closed it: there is nothing to answer.
            IDLE => Poll::Ready(Ok(())),
            _ => Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "no request came in time"))),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().watched(context, |stream, context| stream.poll_write(context, data))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().watched(context, |stream, context| stream.poll_write_vectored(context, data))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().watched(context, |stream, context| stream.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().watched(context, |stream, context| stream.poll_shutdown(context))
    }
}
