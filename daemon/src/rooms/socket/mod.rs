//! The glue between Socket.IO and rooms.
//!
//! The library runs handlers concurrently; here they only put what arrived into the connection's mailbox,
//! in the order of arrival, before the next is read. One task at a time empties it.

mod bucket;
mod connection;
mod execute;
mod outbox;
mod session;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use http::request::Parts;
use socketioxide::SocketIo;
use socketioxide::adapter::{Adapter, LocalAdapter};
use socketioxide::handler::{ConnectHandler, DisconnectHandler, MessageHandler, Value};
use socketioxide::layer::SocketIoLayer;
use socketioxide::socket::{DisconnectReason, Socket};

use super::bus::Bus;
use super::limits::RoomLimits;
use super::origins::Origins;
use super::registry::RoomRegistry;
use crate::jobs::Runner;
use connection::Connection;

/// Messages that the library itself holds for one connection; our own queue stands behind it.
const ENGINE_BUFFER: usize = 64;
/// Bytes that a websocket reads at once, and holds while it is idle; longer messages take several reads.
const READ_BUFFER: usize = 512;

/// Finds the client's address in the head of the request that connected it.
pub type AddressOf = Box<dyn Fn(&Parts) -> Option<IpAddr> + Send + Sync>;

/// What all connections share.
pub struct Shared {
    /// The rooms in memory.
    pub registry: Arc<RoomRegistry>,
    /// The way to them.
    pub bus: Arc<dyn Bus>,
    /// Runs programs.
    pub runner: Arc<dyn Runner>,
    /// Whose message asked for which execution.
    pub origins: Arc<Origins>,
    /// For quotas.
    pub address_of: AddressOf,
}

impl Shared {
    fn limits(&self) -> &RoomLimits {
        self.registry.limits()
    }
}

/// Builds the Socket.IO layer for the router, and the handle to close all connections at shutdown.
pub fn layer(shared: Arc<Shared>) -> (SocketIoLayer, SocketIo) {
    let payload = shared.limits().payload_bytes;
    let message = usize::try_from(payload).unwrap_or(usize::MAX);
    let (layer, io) = SocketIo::builder()
        .max_payload(payload)
        .ws_max_message_size(message)
        .ws_max_frame_size(message)
        .max_buffer_size(ENGINE_BUFFER)
        .ws_read_buffer_size(READ_BUFFER)
        .connect_timeout(Duration::from_secs(20))
        .build_layer();
    io.ns("/", OnConnect(shared));
    (layer, io)
}

/// Marks our own handlers apart from the library's closures.
struct Own;

#[derive(Clone)]
struct OnConnect(Arc<Shared>);

impl ConnectHandler<LocalAdapter, Own> for OnConnect {
    fn call(&self, _: Arc<Socket>, _: Option<Value>) {}

    /// Runs before the client learns that it is connected: nothing it sends can come too early.
    fn call_middleware<'a>(
        &'a self,
        socket: Arc<Socket>,
        _: &'a Option<Value>,
    ) -> futures_util::future::BoxFuture<'a, Result<(), Box<dyn std::fmt::Display + Send>>> {
        let address = (self.0.address_of)(socket.req_parts());
        let connection = Connection::new(Arc::clone(&self.0), &socket, address);
        socket.on_fallback(OnMessage(Arc::clone(&connection)));
        socket.on_disconnect(OnDisconnect(connection));
        std::future::ready(Ok(())).boxed()
    }
}

struct OnMessage(Arc<Connection>);

impl<A: Adapter> MessageHandler<A, Own> for OnMessage {
    fn call(&self, _: Arc<Socket<A>>, value: Value, _: Option<i64>) {
        match value {
            Value::Str(text, None) => self.0.arrived(text.as_str()),
            _ => self.0.complain("binary attachments are not taken"),
        }
    }
}

struct OnDisconnect(Arc<Connection>);

impl<A: Adapter> DisconnectHandler<A, Own> for OnDisconnect {
    fn call_with_defer(&self, socket: Arc<Socket<A>>, _: DisconnectReason, defer: fn(Arc<Socket<A>>)) {
        self.0.gone();
        defer(socket);
    }
}

#[cfg(test)]
mod tests;
