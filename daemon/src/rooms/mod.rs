//! Rooms: who is there, what they share, in which order they hear of it.
//!
//! What a client sends is checked ([`input`]) and put into its own order ([`order`]); what comes of it is a
//! [`event::RoomEvent`] that goes over the [`bus`]; [`state::Room`] applies it without I/O and says what each
//! member is told; [`delivery`] sends that. One daemon's bus is its own memory, that of several is Redis
//! ([`redis_bus`]). [`registry`] holds the rooms, [`announcer`] brings in what `jobs` does, [`socket`] is the glue to
//! Socket.IO.

pub mod announcer;
pub mod bus;
pub mod create;
pub mod delivery;
pub mod diagnostics;
pub mod event;
pub mod history_store;
pub mod input;
pub mod limits;
pub mod members;
pub mod order;
pub mod origins;
pub mod redis_bus;
pub mod registry;
mod replica;
pub mod socket;
pub mod state;
pub mod store;
pub mod text;

use std::net::IpAddr;
use std::sync::Arc;

use http::request::Parts;
use socketioxide::SocketIo;
use socketioxide::layer::SocketIoLayer;

use crate::jobs::Runner;
use crate::redis_link::BadRedisUrl;
use announcer::Announcer;
use bus::{Bus, LocalBus};
use diagnostics::Diagnostics;
use limits::RoomLimits;
use origins::Origins;
use redis_bus::RedisBus;
use registry::RoomRegistry;
use store::RoomStore;

/// Everything about rooms, put together. `jobs` needs [`Rooms::announcer`] before it can run anything, the
/// sockets need `jobs`: first this, then `jobs`, then [`Rooms::sockets`].
pub struct Rooms {
    /// The rooms in memory; [`RoomRegistry::maintain`] must run beside it.
    pub registry: Arc<RoomRegistry>,
    /// The way to them.
    pub bus: Arc<dyn Bus>,
    /// What `jobs` tells.
    pub announcer: Arc<Announcer>,
    /// What operators see.
    pub diagnostics: Arc<Diagnostics>,
    origins: Arc<Origins>,
}

impl Rooms {
    /// Rooms of this daemon alone.
    #[must_use]
    pub fn new(limits: RoomLimits, store: Arc<dyn RoomStore>) -> Self {
        let registry = RoomRegistry::new(limits, store);
        let bus: Arc<dyn Bus> = Arc::new(LocalBus::new(Arc::clone(&registry)));
        Self::over(registry, bus)
    }

    /// Rooms shared by all daemons that use this Redis; every name there begins with `prefix`. Returns when it is
    /// known whether it answers, which takes at most a second. It is no error that it does not.
    ///
    /// # Errors
    /// [`BadRedisUrl`] when the address is none.
    pub async fn in_redis(
        limits: RoomLimits,
        store: Arc<dyn RoomStore>,
        url: &str,
        prefix: &str,
    ) -> Result<Self, BadRedisUrl> {
        let registry = RoomRegistry::new(limits, store);
        let bus = RedisBus::connect(url, prefix, Arc::clone(&registry)).await?;
        Ok(Self::over(registry, bus))
    }

    /// Rooms that events reach over this bus.
    #[must_use]
    pub fn over(registry: Arc<RoomRegistry>, bus: Arc<dyn Bus>) -> Self {
        let origins = Arc::new(Origins::default());
        let announcer = Arc::new(Announcer::new(Arc::clone(&bus), Arc::clone(&origins)));
        let diagnostics = Arc::new(Diagnostics::new(Arc::clone(&registry), Arc::clone(&bus)));
        Self { registry, bus, announcer, diagnostics, origins }
    }

    /// The Socket.IO layer for the router, and the handle that closes all connections at shutdown.
    pub fn sockets(
        &self,
        runner: Arc<dyn Runner>,
        address_of: impl Fn(&Parts) -> Option<IpAddr> + Send + Sync + 'static,
    ) -> (SocketIoLayer, SocketIo) {
        socket::layer(Arc::new(socket::Shared {
            registry: Arc::clone(&self.registry),
            bus: Arc::clone(&self.bus),
            runner,
            origins: Arc::clone(&self.origins),
            address_of: Box::new(address_of),
        }))
    }
}
