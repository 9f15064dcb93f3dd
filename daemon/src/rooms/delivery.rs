//! From what a room says to what its members' connections are sent.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::value::{RawValue, to_raw_value};

use super::event::{Body, Outgoing};
use super::members::{Dialect, MemberId, Members};

/// One message to one connection; the payload is shared by all that are sent the same.
#[derive(Debug, Clone)]
pub struct Wire {
    /// The event's name.
    pub event: &'static str,
    /// JSON.
    pub payload: Arc<RawValue>,
    /// Whether a reader that lags may go without it.
    pub droppable: bool,
}

impl Wire {
    /// Serialises a payload.
    #[must_use]
    pub fn new(event: &'static str, payload: &serde_json::Value, droppable: bool) -> Self {
        // A `Value` has string keys only: this cannot fail.
        let payload = to_raw_value(payload).unwrap_or_else(|_| RawValue::NULL.to_owned());
        Self { event, payload: payload.into(), droppable }
    }
}

/// Where one client stands in its own counting, for diagnostics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OrderView {
    /// The number that is due; none while it numbers nothing.
    pub expected: Option<u64>,
    /// Messages that wait for it.
    pub waiting: usize,
}

/// A member's connection on this daemon. Called with the room locked: must not block.
pub trait Sink: Send + Sync + 'static {
    /// Sends in the order of the calls, or gives the connection up.
    fn send(&self, message: &Wire);
    /// Where its client stands.
    fn order(&self) -> OrderView;
    /// Gives up on numbers of its client that are missing below `to`.
    fn advance(&self, to: u64);
}

/// Sends what a room says to those of its members that are connected here.
pub fn deliver(outgoing: &[Outgoing], members: &Members, sinks: &HashMap<MemberId, Arc<dyn Sink>>) {
    for message in outgoing {
        let mut wires: [Option<Wire>; 2] = [None, None];
        for member in members.iter() {
            let Some(sink) = sinks.get(&member.id) else { continue };
            send(message, member, sink, &mut wires);
        }
    }
}

/// Sends what a room says to one who is not (or no longer) among its members.
pub fn deliver_to_stranger(outgoing: &[Outgoing], stranger: &super::members::Member, sink: &Arc<dyn Sink>) {
    for message in outgoing {
        send(message, stranger, sink, &mut [None, None]);
    }
}

fn send(message: &Outgoing, member: &super::members::Member, sink: &Arc<dyn Sink>, wires: &mut [Option<Wire>; 2]) {
    let Some(payload) = message.payload_for(member) else { return };
    let slot = match (&message.body, member.dialect) {
        (Body::ByDialect { .. }, Dialect::Old) => 1,
        _ => 0,
    };
    let wire = wires[slot].get_or_insert_with(|| Wire::new(message.event, payload, message.droppable));
    sink.send(wire);
}
