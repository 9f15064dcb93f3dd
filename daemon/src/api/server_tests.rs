//! The accept loop against clients of every manner, over real sockets on loopback.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::ConnectInfo;
use axum::routing::{get, post};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::server::{Limits, serve};
use super::testing::{Bench, Script};

struct Server {
    address: SocketAddr,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

async fn start(router: Router, limits: Limits) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(serve(listener, router, shutdown.clone(), limits));
    Server { address, shutdown, task }
}

fn echo() -> Router {
    Router::new()
        .route("/", get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() }))
        .route("/large", get(|| async { Bytes::from(vec![b'x'; 64 << 20]) }))
        .route("/echo", post(|body: Bytes| async { body }))
}

async fn exchange(stream: &mut TcpStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let n = stream.read(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer[..n]).into_owned()
}

/// Until the server closes, which it must.
async fn closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await;
    let _ = read.expect("the server closes the connection");
    rest
}

const GET: &str = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";

#[tokio::test]
async fn requests_know_their_peer_and_connections_are_kept() {
    let server = start(echo(), Limits::default()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    for _ in 0..3 {
        let answer = exchange(&mut stream, GET).await;
        assert!(answer.ends_with(&stream.local_addr().unwrap().to_string()), "{answer}");
    }
}

#[tokio::test]
async fn a_head_that_does_not_come_is_given_up() {
    let limits = Limits { header_timeout: Duration::from_millis(100), ..Limits::default() };
    let server = start(echo(), limits).await;
    for beginning in ["", "GET / HT", "GET / HTTP/1.1\r\nhost: x\r\n"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(beginning.as_bytes()).await.unwrap();
        closed(&mut stream).await;
    }
    // The next head of a kept connection has the same time from its first byte on, however long that took to come.
    let mut kept = TcpStream::connect(server.address).await.unwrap();
    for _ in 0..2 {
        assert!(exchange(&mut kept, GET).await.starts_with("HTTP/1.1 200"));
        tokio::time::sleep(limits.header_timeout * 3).await;
    }
    kept.write_all(b"GET / HT").await.unwrap();
    assert_eq!(closed(&mut kept).await, b"");
}

#[tokio::test]
async fn a_kept_connection_is_closed_after_the_clients_were_told_to_leave_it() {
    let limits = Limits { idle_timeout: Duration::from_millis(2500), ..Limits::default() };
    let server = start(echo(), limits).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    for request in
        [GET, "HEAD / HTTP/1.1\r\nhost: x\r\n\r\n", "POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"]
    {
        let answer = exchange(&mut stream, request).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("keep-alive: timeout=1\r\n"), "{answer}");
    }
    let begun = Instant::now();
    assert_eq!(closed(&mut stream).await, b"");
    assert!(begun.elapsed() >= Duration::from_millis(2400), "{:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(10), "by its own clock, not by the head's");
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let server = start(echo(), Limits { header_bytes: 8 * 1024, ..Limits::default() }).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = format!("GET / HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n", "x".repeat(20_000));
    let _ = stream.write_all(request.as_bytes()).await;
    let answer = closed(&mut stream).await;
    // The refusal may be lost with the connection's reset; what must not come is an answer.
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431"), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn connections_above_the_bound_wait_for_a_place() {
    let server = start(echo(), Limits { connections: 2, ..Limits::default() }).await;
    let mut first = TcpStream::connect(server.address).await.unwrap();
    let mut second = TcpStream::connect(server.address).await.unwrap();
    assert!(exchange(&mut first, GET).await.starts_with("HTTP/1.1 200"));
    assert!(exchange(&mut second, GET).await.starts_with("HTTP/1.1 200"));
    let mut third = TcpStream::connect(server.address).await.unwrap();
    third.write_all(GET.as_bytes()).await.unwrap();
    let mut byte = [0; 1];
    let early = tokio::time::timeout(Duration::from_millis(100), third.read(&mut byte)).await;
    assert!(early.is_err(), "there was no place");
    drop(first);
    let n = tokio::time::timeout(Duration::from_secs(20), third.read(&mut byte)).await.unwrap().unwrap();
    assert_eq!((n, byte), (1, *b"H"));
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_cut_off() {
    let limits = Limits { connections: 1, write_timeout: Duration::from_millis(200), ..Limits::default() };
    let server = start(echo(), limits).await;
    let mut lazy = TcpStream::connect(server.address).await.unwrap();
    lazy.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    // Its place is free again although it still holds its end.
    let mut next = TcpStream::connect(server.address).await.unwrap();
    let answer = tokio::time::timeout(Duration::from_secs(20), exchange(&mut next, GET)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    drop(lazy);
}

/// A route that says when it was entered and left, and answers when told to.
fn slow() -> (Router, mpsc::UnboundedReceiver<&'static str>, oneshot::Sender<()>) {
    struct Left(mpsc::UnboundedSender<&'static str>);
    impl Drop for Left {
        fn drop(&mut self) {
            let _ = self.0.send("left");
        }
    }
    let (told, hear) = mpsc::unbounded_channel();
    let (go, wait) = oneshot::channel::<()>();
    let wait = std::sync::Arc::new(tokio::sync::Mutex::new(Some(wait)));
    let handler = move || {
        let (told, wait) = (told.clone(), wait.clone());
        async move {
            let _left = Left(told.clone());
            let _ = told.send("entered");
            let wait = wait.lock().await.take();
            let _ = wait.expect("it is called once").await;
            "done"
        }
    };
    (Router::new().route("/", get(handler)), hear, go)
}

#[tokio::test]
async fn a_client_that_leaves_drops_its_handler() {
    let (router, mut hear, _go) = slow();
    let server = start(router, Limits::default()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(GET.as_bytes()).await.unwrap();
    assert_eq!(hear.recv().await, Some("entered"));
    drop(stream);
    let left = tokio::time::timeout(Duration::from_secs(20), hear.recv()).await;
    assert_eq!(left, Ok(Some("left")));
}

#[tokio::test]
async fn shutting_down_lets_answers_end_and_accepts_no_more() {
    let (router, mut hear, go) = slow();
    let server = start(router, Limits::default()).await;
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(GET.as_bytes()).await.unwrap();
    assert_eq!(hear.recv().await, Some("entered"));
    server.shutdown.cancel();
    closed(&mut idle).await;
    assert!(TcpStream::connect(server.address).await.is_err());
    assert!(!server.task.is_finished());
    go.send(()).unwrap();
    let answer = String::from_utf8(closed(&mut stream).await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("done"), "{answer}");
    tokio::time::timeout(Duration::from_secs(20), server.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn the_shutdown_deadline_holds() {
    let (router, mut hear, _go) = slow();
    let limits = Limits { shutdown_deadline: Duration::from_millis(100), ..Limits::default() };
    let server = start(router, limits).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(GET.as_bytes()).await.unwrap();
    assert_eq!(hear.recv().await, Some("entered"));
    let begun = Instant::now();
    server.shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(20), server.task).await.unwrap().unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(100));
    assert_eq!(hear.recv().await, Some("left"));
    assert_eq!(closed(&mut stream).await, b"");
}

#[tokio::test]
async fn an_upgraded_connection_keeps_its_place_until_it_is_closed() {
    let upgrade = |request: axum::extract::Request| async move {
        tokio::spawn(async move {
            let upgraded = hyper::upgrade::on(request).await.unwrap();
            let (mut from, mut to) = tokio::io::split(hyper_util::rt::TokioIo::new(upgraded));
            let _ = tokio::io::copy(&mut from, &mut to).await;
        });
        (axum::http::StatusCode::SWITCHING_PROTOCOLS, [("connection", "upgrade"), ("upgrade", "echo")])
    };
    let limits = Limits { connections: 1, header_timeout: Duration::from_millis(100), ..Limits::default() };
    let server = start(echo().route("/upgrade", get(upgrade)), limits).await;
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    let request = "GET /upgrade HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
    assert!(exchange(&mut socket, request).await.starts_with("HTTP/1.1 101"));
    let mut next = TcpStream::connect(server.address).await.unwrap();
    next.write_all(GET.as_bytes()).await.unwrap();
    let mut byte = [0; 1];
    let early = tokio::time::timeout(Duration::from_millis(300), next.read(&mut byte)).await;
    assert!(early.is_err(), "there was no place");
    assert_eq!(exchange(&mut socket, "ping").await, "ping", "the head's timeout does not hold for it");
    drop(socket);
    let n = tokio::time::timeout(Duration::from_secs(20), next.read(&mut byte)).await.unwrap().unwrap();
    assert_eq!((n, byte), (1, *b"H"));
}

#[tokio::test]
async fn who_writes_too_large_a_body_whole_before_reading_sees_the_413() {
    let server = start(Bench::new(Script::Hang).router, Limits::default()).await;
    for chunked in [false, true] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let body = vec![b' '; 3 << 20];
        let framing =
            if chunked { "transfer-encoding: chunked".to_owned() } else { format!("content-length: {}", body.len()) };
        let head = format!("POST /compile HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{framing}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        if chunked {
            stream.write_all(format!("{:x}\r\n", body.len()).as_bytes()).await.unwrap();
        }
        stream.write_all(&body).await.unwrap();
        if chunked {
            stream.write_all(b"\r\n0\r\n\r\n").await.unwrap();
        }
        let answer = exchange(&mut stream, "").await;
        assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("PAYLOAD_TOO_LARGE"), "{answer}");
    }
}
