//! One client's connection: a bounded mailbox that one task at a time empties in order.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use socketioxide::socket::Socket;

use super::Shared;
use super::bucket::Bucket;
use super::outbox::{Outbox, Sent};
use super::session::Session;
use crate::rooms::delivery::{OrderView, Sink, Wire};
use crate::rooms::members::MemberId;

/// Complaints about too many events that are told, at most one in this time.
const COMPLAIN_EVERY: Duration = Duration::from_secs(1);
/// Refused events in a row after which the connection is closed.
const PATIENCE: u32 = 5_000;

/// What waits in a mailbox.
pub enum Mail {
    /// The client sent this.
    Event {
        /// The event and its arguments as a JSON array.
        text: Box<str>,
        /// When.
        at: Instant,
    },
    /// A message of the client has waited long enough for those before it.
    Expire,
    /// An operator lets the client go on.
    Advance(u64),
    /// The client is gone.
    Gone,
}

/// One client.
pub struct Connection {
    /// Its name.
    pub id: MemberId,
    /// Where it came from.
    pub address: Option<IpAddr>,
    /// What all connections share.
    pub shared: Arc<Shared>,
    outbox: Arc<Outbox>,
    mailbox: Mutex<Mailbox>,
    session: tokio::sync::Mutex<Session>,
    order: Mutex<OrderView>,
}

struct Mailbox {
    queue: VecDeque<Mail>,
    bytes: usize,
    draining: bool,
    gone: bool,
    bucket: Bucket,
    refused: u32,
    complained: Option<Instant>,
}

impl Connection {
    /// For a socket that is about to be connected.
    #[must_use]
    pub fn new(shared: Arc<Shared>, socket: &Arc<Socket>, address: Option<IpAddr>) -> Arc<Self> {
        let limits = shared.limits();
        let mailbox = Mailbox {
            queue: VecDeque::new(),
            bytes: 0,
            draining: false,
            gone: false,
            bucket: Bucket::new(limits.events_burst, limits.events_per_second, Instant::now()),
            refused: 0,
            complained: None,
        };
        Arc::new(Self {
            id: MemberId::new(&socket.id.to_string()),
            address,
            outbox: Outbox::new(socket, limits.outbox_messages, limits.outbox_bytes),
            mailbox: Mutex::new(mailbox),
            session: tokio::sync::Mutex::default(),
            order: Mutex::default(),
            shared,
        })
    }

    /// The client sent something: to be called in the order of arrival.
    pub fn arrived(self: &Arc<Self>, text: &str) {
        let now = Instant::now();
        let limits = self.shared.limits();
        let mut mailbox = self.mailbox();
        if mailbox.gone {
            return;
        }
        let full = mailbox.queue.len() >= limits.mailbox_messages || mailbox.bytes + text.len() > limits.mailbox_bytes;
        if full || !mailbox.bucket.take(now) {
            let complain = mailbox.refuse(now);
            let given_up = mailbox.refused > PATIENCE;
            drop(mailbox);
            if given_up {
                self.outbox.disconnect();
                self.gone();
            } else if complain {
                self.complain(&format!(
                    "too many events: at most {} a second; some were dropped",
                    limits.events_per_second
                ));
            }
            return;
        }
        mailbox.refused = 0;
        mailbox.bytes += text.len();
        self.queue(mailbox, Mail::Event { text: text.into(), at: now });
    }

    /// The client is gone; what it sent before still counts.
    pub fn gone(self: &Arc<Self>) {
        self.outbox.close();
        let mut mailbox = self.mailbox();
        if !std::mem::replace(&mut mailbox.gone, true) {
            self.queue(mailbox, Mail::Gone);
        }
    }

    /// Something of our own to be done in order.
    pub fn post(self: &Arc<Self>, mail: Mail) {
        let mailbox = self.mailbox();
        if !mailbox.gone {
            self.queue(mailbox, mail);
        }
    }

    /// Tells the client that its message was bad.
    pub fn complain(self: &Arc<Self>, message: &str) {
        self.tell("error", &json!({"message": message}));
    }

    /// Tells the client alone.
    pub fn tell(self: &Arc<Self>, event: &'static str, payload: &Value) {
        self.deliver(&Wire::new(event, payload, false));
    }

    /// As a member's connection.
    #[must_use]
    pub fn sink(self: &Arc<Self>) -> Arc<dyn Sink> {
        Arc::new(MemberSink(Arc::clone(self)))
    }

    /// Notes where the client stands in its counting, for diagnostics.
    pub fn note_order(&self, view: OrderView) {
        *self.order.lock().unwrap_or_else(PoisonError::into_inner) = view;
    }

    fn deliver(self: &Arc<Self>, wire: &Wire) {
        if self.outbox.send(wire) == Sent::GivenUp {
            tracing::info!(socket = self.id.as_str(), "a reader that does not keep up is disconnected");
            self.gone();
        }
    }

    fn queue(self: &Arc<Self>, mut mailbox: MutexGuard<'_, Mailbox>, mail: Mail) {
        mailbox.queue.push_back(mail);
        if !std::mem::replace(&mut mailbox.draining, true) {
            tokio::spawn(Arc::clone(self).drain());
        }
    }

    async fn drain(self: Arc<Self>) {
        let mut session = self.session.lock().await;
        while let Some(mail) = self.next_mail() {
            session.handle(&self, mail).await;
        }
    }

    fn next_mail(&self) -> Option<Mail> {
        let mut mailbox = self.mailbox();
        let mail = mailbox.queue.pop_front();
        match &mail {
            Some(Mail::Event { text, .. }) => mailbox.bytes -= text.len(),
            Some(_) => {}
            None => {
                mailbox.draining = false;
                mailbox.queue = VecDeque::new();
            }
        }
        mail
    }

    fn mailbox(&self) -> MutexGuard<'_, Mailbox> {
        self.mailbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mailbox {
    /// Counts a refused event; true when the client should be told.
    fn refuse(&mut self, now: Instant) -> bool {
        self.refused += 1;
        let due = self.complained.is_none_or(|last| now.saturating_duration_since(last) >= COMPLAIN_EVERY);
        if due {
            self.complained = Some(now);
        }
        due
    }
}

/// A connection as its room holds it.
struct MemberSink(Arc<Connection>);

impl Sink for MemberSink {
    fn send(&self, message: &Wire) {
        self.0.deliver(message);
    }

    fn order(&self) -> OrderView {
        *self.0.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn advance(&self, to: u64) {
        self.0.post(Mail::Advance(to));
    }
}
