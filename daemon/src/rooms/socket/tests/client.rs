//! The least Socket.IO client that will do: websocket only, protocol 5.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

type Stream = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// The longest that a test waits for one message.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Client {
    pub sid: String,
    stream: Option<Stream>,
    heard: VecDeque<(String, Value)>,
}

impl Client {
    pub async fn connect(port: u16) -> Self {
        let url = format!("ws://127.0.0.1:{port}/socket.io/?EIO=4&transport=websocket");
        let (stream, _) = tokio_tungstenite::connect_async(url).await.unwrap();
        let mut client = Self { sid: String::new(), stream: Some(stream), heard: VecDeque::new() };
        assert!(client.packet().await.unwrap().starts_with('0'));
        client.send_raw("40").await;
        let connected = client.packet().await.unwrap();
        let connected: Value = serde_json::from_str(connected.strip_prefix("40").unwrap()).unwrap();
        client.sid = connected["sid"].as_str().unwrap().to_owned();
        client
    }

    /// Joins and gives the `room-state`.
    pub async fn join(&mut self, room: &str, username: &str, user: Option<&str>) -> Value {
        let mut payload = json!({"roomId": room, "username": username});
        if let Some(user) = user {
            payload["userId"] = json!(user);
        }
        self.send("join-room", &payload).await;
        self.next("room-state").await
    }

    pub async fn send(&mut self, event: &str, payload: &Value) {
        self.send_raw(&format!("42{}", json!([event, payload]))).await;
    }

    pub async fn send_raw(&mut self, text: &str) {
        self.stream.as_mut().unwrap().send(Message::text(text)).await.unwrap();
    }

    /// The next event of this name; what came before it of other names stays.
    pub async fn next(&mut self, event: &str) -> Value {
        loop {
            if let Some(place) = self.heard.iter().position(|(name, _)| name == event) {
                return self.heard.remove(place).unwrap().1;
            }
            if !self.hear().await {
                panic!("the connection ended before {event}");
            }
        }
    }

    /// Events of this name that came along and were not asked for yet.
    pub fn pending(&self, event: &str) -> usize {
        self.heard.iter().filter(|(name, _)| name == event).count()
    }

    /// All of them.
    pub fn all(&self, event: &str) -> Vec<Value> {
        self.heard.iter().filter(|(name, _)| name == event).map(|(_, payload)| payload.clone()).collect()
    }

    /// Waits for the server to end the connection.
    pub async fn ended(&mut self) {
        while self.hear().await {}
    }

    /// Hangs up.
    pub async fn close(mut self) {
        self.stream.take().unwrap().close(None).await.unwrap();
    }

    async fn hear(&mut self) -> bool {
        let Some(packet) = self.packet().await else { return false };
        if let Some(event) = packet.strip_prefix("42") {
            let mut parts: Vec<Value> = serde_json::from_str(event).unwrap();
            assert_eq!(parts.len(), 2, "one argument: {event}");
            let payload = parts.pop().unwrap();
            self.heard.push_back((parts[0].as_str().unwrap().to_owned(), payload));
        }
        !packet.starts_with('1') && !packet.starts_with("41")
    }

    /// The next packet that is no ping; pings are answered.
    async fn packet(&mut self) -> Option<String> {
        loop {
            let packet = self.any_packet().await;
            if packet.as_deref() != Some("2") {
                return packet;
            }
            self.send_raw("3").await;
        }
    }

    async fn any_packet(&mut self) -> Option<String> {
        let stream = self.stream.as_mut().unwrap();
        match tokio::time::timeout(PATIENCE, stream.next()).await.expect("no message in time") {
            Some(Ok(Message::Text(text))) => Some(text.to_string()),
            Some(Ok(Message::Close(_)) | Err(_)) | None => None,
            Some(Ok(_)) => Some(String::new()),
        }
    }
}
