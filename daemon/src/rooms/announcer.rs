//! Tells a room of its executions, whoever submitted them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use serde_json::{Map, Value};

use super::bus::Bus;
use super::event::RoomEvent;
use super::origins::Origins;
use crate::ids::{ExecutionId, RoomId};
use crate::jobs::execution::{Finished, Head};
use crate::jobs::{CompileResponse, RoomObserver, Stream};

/// The observer that [`crate::jobs`] tells.
pub struct Announcer {
    bus: Arc<dyn Bus>,
    origins: Arc<Origins>,
    running: Mutex<HashMap<ExecutionId, Option<u64>>>,
}

impl Announcer {
    /// Over this bus.
    #[must_use]
    pub fn new(bus: Arc<dyn Bus>, origins: Arc<Origins>) -> Self {
        Self { bus, origins, running: Mutex::default() }
    }

    async fn publish(&self, room: &RoomId, event: RoomEvent) {
        if let Err(error) = self.bus.publish(room, event).await {
            tracing::warn!(%room, %error, "an execution is not announced");
        }
    }

    fn running(&self) -> MutexGuard<'_, HashMap<ExecutionId, Option<u64>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RoomObserver for Announcer {
    fn queued<'a>(&'a self, head: &'a Arc<Head>, position: usize, queue_length: usize) -> BoxFuture<'a, ()> {
        let correlation_id = head.correlation_id.clone();
        Box::pin(self.publish(&head.room, RoomEvent::ExecutionQueued { correlation_id, position, queue_length }))
    }

    fn started<'a>(&'a self, head: &'a Arc<Head>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let client_sequence = self.origins.client_sequence(&head.id, &head.room, &head.user).await;
            self.running().insert(head.id.clone(), client_sequence);
            let event = RoomEvent::ExecutionStarted {
                execution: head.id.clone(),
                correlation_id: head.correlation_id.clone(),
                user: head.user.clone(),
                username: head.username.clone(),
                client_sequence,
            };
            self.publish(&head.room, event).await;
        })
    }

    fn output<'a>(&'a self, head: &'a Arc<Head>, stream: Stream, data: &'a str, offset: u64) -> BoxFuture<'a, ()> {
        let correlation_id = head.correlation_id.clone();
        let event = RoomEvent::ExecutionOutput { correlation_id, stream, data: data.to_owned(), offset };
        Box::pin(self.publish(&head.room, event))
    }

    fn finished<'a>(&'a self, execution: &'a Arc<Finished>) -> BoxFuture<'a, ()> {
        let head = &execution.head;
        Box::pin(async move {
            let client_sequence = self.running().remove(&head.id).flatten();
            let event = RoomEvent::ExecutionFinished {
                execution: head.id.clone(),
                response: response(execution),
                client_sequence,
            };
            self.publish(&head.room, event).await;
        })
    }
}

/// The fields of the `/compile` response.
#[must_use]
pub fn response(finished: &Finished) -> Map<String, Value> {
    match serde_json::to_value(CompileResponse::from(finished)) {
        Ok(Value::Object(fields)) => fields,
        // A struct of strings and numbers always becomes an object.
        _ => Map::new(),
    }
}
