//! What one client does, one message after another.

use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};
use tokio::task::AbortHandle;
use uuid::Uuid;

use super::connection::{Connection, Mail};
use super::execute::Runs;
use crate::ids::{RoomId, UserId};
use crate::rooms::bus::BusError;
use crate::rooms::delivery::OrderView;
use crate::rooms::event::RoomEvent;
use crate::rooms::input::{self, Action, Join, Problem, Request};
use crate::rooms::members::{Dialect, Member};
use crate::rooms::order::{Arrival, ClientOrder, Numbered};

/// One client's place, if it has one. Handled by one task at a time.
#[derive(Default)]
pub struct Session {
    place: Option<Place>,
}

/// The room a client is in.
pub(super) struct Place {
    pub(super) room: RoomId,
    pub(super) member: Member,
    pub(super) order: ClientOrder<Pending>,
    pub(super) runs: Runs,
    timer: Option<AbortHandle>,
}

/// A message that waits for its turn.
pub(super) struct Pending {
    action: Action,
    at: Instant,
}

impl Session {
    /// Does what the mail asks for.
    pub async fn handle(&mut self, connection: &Arc<Connection>, mail: Mail) {
        match mail {
            Mail::Event { text, at } => match parse(connection, &text) {
                Ok((event, request)) => self.request(connection, event, request, text.len(), at).await,
                Err(problem) => connection.complain(&problem.0),
            },
            Mail::Expire => {
                if let Some(place) = &mut self.place {
                    place.timer = None;
                    let ready = place.order.expire(Instant::now());
                    place.process(connection, ready).await;
                }
            }
            Mail::Advance(to) => {
                if let Some(place) = &mut self.place {
                    let ready = place.order.advance(to);
                    place.process(connection, ready).await;
                }
            }
            Mail::Gone => self.leave(connection).await,
        }
    }

    async fn request(
        &mut self,
        connection: &Arc<Connection>,
        event: String,
        request: Request,
        bytes: usize,
        at: Instant,
    ) {
        let request = match request {
            Request::Join(join) => return self.join(connection, join).await,
            request => request,
        };
        let Some(place) = &mut self.place else {
            return match request {
                Request::InRoom { room, sequence, action: action @ (Action::Execute(_) | Action::BadExecute(..)) } => {
                    super::execute::refuse_outside(connection, room.as_ref(), sequence, &action);
                }
                _ => connection.complain(&format!("{event} needs a room: send join-room first")),
            };
        };
        match request {
            Request::Join(_) => {}
            Request::State => place.state(connection).await,
            Request::Input { correlation_id, data } => place.input(connection, &correlation_id, &data),
            Request::Cancel { correlation_id } => place.cancel(connection, &correlation_id),
            Request::InRoom { room: Some(room), sequence, action } if room != place.room => match action {
                Action::Execute(_) | Action::BadExecute(..) => {
                    super::execute::refuse_outside(connection, Some(&room), sequence, &action);
                }
                _ => connection.complain(&format!("{event}: roomId is not the room that was joined last")),
            },
            Request::InRoom { sequence: None, action, .. } => place.act(connection, None, Pending { action, at }).await,
            Request::InRoom { sequence: Some(number), action, .. } => {
                place.numbered(connection, &event, number, bytes, Pending { action, at }).await;
            }
        }
    }

    async fn join(&mut self, connection: &Arc<Connection>, join: Join) {
        let again = self.place.as_ref().is_some_and(|place| place.room == join.room);
        if again {
            if let Some(place) = &mut self.place {
                let ready = place.order.flush();
                place.process(connection, ready).await;
            }
        } else {
            self.leave(connection).await;
        }
        if let Err(error) = self.enter(connection, join, again).await {
            tracing::warn!(%error, "a room cannot be joined");
            connection.complain(&format!("the room cannot be joined: {error}"));
        }
    }

    async fn enter(&mut self, connection: &Arc<Connection>, join: Join, again: bool) -> Result<(), BusError> {
        let shared = &connection.shared;
        let dialect = if join.user.is_some() { Dialect::Current } else { Dialect::Old };
        let own = || UserId::new(connection.id.as_str()).ok();
        let Some(user) = join.user.or_else(own) else { return Ok(()) };
        let member = Member {
            id: connection.id.clone(),
            user,
            username: join.username,
            color: join.color,
            dialect,
            cursor_name: None,
            place: 0,
        };
        let budget = shared.registry.attach(&join.room, member.id.clone(), connection.sink()).await?;
        let published = shared.bus.publish(&join.room, RoomEvent::Joined(member.clone())).await;
        let published = match published {
            Ok(published) if published.accepted => published,
            refused => {
                if !again {
                    shared.registry.detach(&join.room, &member.id);
                }
                return refused.map(drop);
            }
        };
        let order = ClientOrder::new(published.sequence + 1, budget, shared.limits().gap_wait);
        let runs = self.place.take().map(Place::into_runs).unwrap_or_default();
        let place = self.place.insert(Place { room: join.room, member, order, runs, timer: None });
        place.note(connection);
        Ok(())
    }

    async fn leave(&mut self, connection: &Arc<Connection>) {
        let Some(mut place) = self.place.take() else { return };
        let ready = place.order.flush();
        place.process(connection, ready).await;
        place.publish(connection, RoomEvent::Left(place.member.id.clone())).await;
        connection.shared.registry.detach(&place.room, &place.member.id);
        connection.note_order(OrderView::default());
        // Its runs go with it: those that wait are cancelled, those that run end and are announced.
        drop(place.into_runs());
    }
}

impl Place {
    async fn numbered(
        &mut self,
        connection: &Arc<Connection>,
        event: &str,
        number: u64,
        bytes: usize,
        pending: Pending,
    ) {
        let (gap, ready) = match self.order.arrive(number, bytes, pending, Instant::now()) {
            Arrival::Ready(ready) => (None, ready),
            Arrival::Ahead { expected } => (Some(expected), Vec::new()),
            Arrival::Overflow { expected, ready } => (Some(expected), ready),
            Arrival::Duplicate => return,
        };
        if let Some(expected) = gap {
            let told = json!({"expectedSequence": expected, "receivedSequence": number, "type": event});
            connection.tell("sequence-gap-detected", &told);
        }
        self.process(connection, ready).await;
    }

    /// Processes what is due, then waits for the rest.
    async fn process(&mut self, connection: &Arc<Connection>, ready: Vec<Numbered<Pending>>) {
        for Numbered { number, message } in ready {
            self.act(connection, Some(number), message).await;
        }
        self.note(connection);
        let Some(deadline) = self.order.deadline() else { return };
        if self.timer.is_none() {
            let waiting = Arc::downgrade(connection);
            let timer = tokio::spawn(async move {
                tokio::time::sleep_until(deadline.into()).await;
                if let Some(connection) = waiting.upgrade() {
                    connection.post(Mail::Expire);
                }
            });
            self.timer = Some(timer.abort_handle());
        }
    }

    async fn act(&mut self, connection: &Arc<Connection>, number: Option<u64>, pending: Pending) {
        let by = self.member.id.clone();
        let client_sequence = number;
        let event = match pending.action {
            Action::Code(code) => RoomEvent::CodeChanged { by, code, client_sequence },
            Action::Language(language) => RoomEvent::LanguageChanged { by, language, client_sequence },
            Action::Execute(execute) => return self.execute(connection, number, *execute, pending.at).await,
            Action::BadExecute(problem, correlation_id) => {
                return self.bad_execute(connection, number, &problem, correlation_id);
            }
            Action::Chat { username, message, cut } => {
                if cut {
                    let most = connection.shared.limits().chat_chars;
                    connection.complain(&format!("message was cut: it may have at most {most} characters"));
                }
                RoomEvent::Chat { by, username, message }
            }
            Action::Typing { username } => RoomEvent::Typing { by, username },
            Action::Cursor { username, position, selection, color } => {
                RoomEvent::CursorMoved { by, username, position, selection, color }
            }
            Action::Debug(state) => RoomEvent::DebugState { by, state },
            Action::StartRecording => {
                RoomEvent::RecordingStarted { by, recording_id: format!("rec-{}", Uuid::new_v4().simple()) }
            }
            Action::StopRecording => RoomEvent::RecordingStopped { by },
            Action::Bad(problem) => return connection.complain(&problem.0),
        };
        self.publish(connection, event).await;
    }

    async fn state(&mut self, connection: &Arc<Connection>) {
        let asked = RoomEvent::StateRequested { by: self.member.id.clone() };
        match connection.shared.bus.publish(&self.room, asked).await {
            Ok(published) => self.order.give(published.sequence + 1),
            Err(error) => connection.complain(&error.to_string()),
        }
    }

    async fn publish(&self, connection: &Arc<Connection>, event: RoomEvent) {
        if let Err(error) = connection.shared.bus.publish(&self.room, event).await {
            tracing::warn!(room = %self.room, %error, "an event did not reach its room");
            connection.complain(&error.to_string());
        }
    }

    fn note(&self, connection: &Connection) {
        let expected = self.order.numbers().then(|| self.order.expected());
        connection.note_order(OrderView { expected, waiting: self.order.waiting() });
    }

    fn into_runs(self) -> Runs {
        if let Some(timer) = self.timer {
            timer.abort();
        }
        self.runs
    }
}

/// The event's name and its checked first argument.
fn parse(connection: &Connection, text: &str) -> Result<(String, Request), Problem> {
    let unreadable = || Problem("the message is no readable JSON".to_owned());
    let mut parts: Vec<Value> = serde_json::from_str(text).map_err(|_| unreadable())?;
    let payload = if parts.len() > 1 { parts.swap_remove(1) } else { Value::Null };
    match parts.into_iter().next() {
        Some(Value::String(event)) => {
            let request = input::parse(&event, &payload, connection.shared.limits())?;
            Ok((event, request))
        }
        _ => Err(unreadable()),
    }
}
