//! Events to the server: sent at once, or kept until the client is connected.

use std::time::Duration;

use super::Client;
use super::buffer::Entry;
use super::registry::{OnAck, Registry, get, get_mut};
use super::{AckError, acks, listeners};
use crate::Loop;
use crate::engine_io::ClientSession;
use crate::socket_io::arguments::{Header, IntoArguments, encode_ack};
use crate::socket_io::encode::{self, Encoded, give_back, take_buffer};
use crate::socket_io::packet::{self, PacketType};

/// The session of a client to which events can be sent now.
fn open_session(lp: &mut Loop, client: Client) -> Option<ClientSession> {
    let registry = lp.layer_mut::<Registry>();
    let session = registry.session_of(client).filter(|_| registry.client(client).is_some_and(|c| c.is_connected()))?;
    // As in Node nothing is sent to a server that should have sent a heartbeat: the process may have been suspended.
    // The session ends, so that what is kept now is sent on the next one.
    (session.is_open(lp) && !session.ends_overdue(lp)).then_some(session)
}

fn deliver(lp: &mut Loop, session: ClientSession, text: &str, attachments: &[Vec<u8>]) -> bool {
    let mut is_low = session.send_text(lp, text);
    for bytes in attachments {
        is_low = session.send_binary(lp, bytes);
    }
    is_low
}

/// An acknowledgement that an event wants: its time limit, and what it calls.
pub(super) type Wanted = (Duration, OnAck);

/// Sends an event, or keeps it.
pub(super) fn event(
    lp: &mut Loop,
    client: Client,
    name: &str,
    arguments: &impl IntoArguments,
    is_volatile: bool,
    wanted: Option<Wanted>,
) -> bool {
    let now = lp.now();
    let session = open_session(lp, client);
    if is_volatile && !session.is_some_and(|session| session.is_writable(lp)) {
        return false;
    }
    let Some(state) = get_mut(lp, client) else {
        if let Some((_, done)) = wanted {
            lp.next_tick(move |lp| done(lp, client, Err(AckError::Disconnected)));
        }
        return false;
    };
    let namespace = state.namespace.clone();
    let deadline = wanted.as_ref().map(|(timeout, _)| *timeout).filter(|timeout| !timeout.is_zero());
    let deadline = deadline.and_then(|timeout| now.checked_add(timeout));
    let id = wanted.map(|(_, done)| state.acks.insert((), deadline, done));
    let is_taken = encode::encode(lp, &namespace, id, name, arguments, None).map(|encoded| match session {
        Some(session) => {
            let is_low = deliver(lp, session, &encoded.text, &encoded.attachments);
            listeners::notify_outgoing(lp, client, name, &encoded.text, &encoded.attachments);
            give_back(lp, encoded);
            (true, is_low)
        }
        None => {
            let Encoded { text, attachments } = encoded;
            let is_kept = keep(lp, client, Entry { name: name.into(), text, attachments, id, deadline });
            (is_kept, is_kept)
        }
    });
    let (is_taken, is_low) = is_taken.unwrap_or_default();
    if let Some(id) = id {
        if !is_taken && let Some(done) = get_mut(lp, client).and_then(|state| state.acks.take((), id)) {
            lp.next_tick(move |lp| done(lp, client, Err(AckError::Disconnected)));
        }
        acks::arm(lp, client);
    }
    is_low
}

/// Keeps an event until the client is connected. Returns `false` if there is no room.
fn keep(lp: &mut Loop, client: Client, entry: Entry) -> bool {
    let registry = lp.layer_mut::<Registry>();
    let Some(manager) = registry.client(client).map(|state| state.manager) else { return false };
    let limit = registry.manager(manager).map_or(0, |state| state.options.max_buffer);
    let Some(state) = registry.client_mut(client) else { return false };
    let name = entry.name.clone();
    let is_kept = state.buffer.push(entry, limit);
    if !is_kept {
        let count = state.buffer.len();
        log::warn!(target: "bucle::socket_io", "{client} is not connected and keeps {count} events: {name:?} is dropped");
    }
    is_kept
}

/// The client is connected: sends what it has kept.
pub(super) fn flush(lp: &mut Loop, client: Client) {
    let now = lp.now();
    if let Some(state) = get_mut(lp, client) {
        state.buffer.expire(now);
    }
    while let Some(session) = open_session(lp, client)
        && let Some(entry) = get_mut(lp, client).and_then(|state| state.buffer.pop())
    {
        deliver(lp, session, &entry.text, &entry.attachments);
        listeners::notify_outgoing(lp, client, &entry.name, &entry.text, &entry.attachments);
    }
}

/// Sends a packet that is neither an event nor an acknowledgement. `data` is JSON.
pub(super) fn control(lp: &mut Loop, session: ClientSession, kind: PacketType, namespace: &str, data: Option<&str>) {
    let mut encoded = take_buffer(lp);
    packet::push_header(&mut encoded.text, kind, 0, namespace, None);
    encoded.text.push_str(data.unwrap_or_default());
    deliver(lp, session, &encoded.text, &[]);
    give_back(lp, encoded);
}

impl Client {
    /// Acknowledges an event that has come on the connection of this number. The server of another one does not wait
    /// for it.
    pub(in crate::socket_io) fn send_ack(
        self,
        lp: &mut Loop,
        id: u64,
        connection: u32,
        arguments: &impl IntoArguments,
    ) -> bool {
        let Some(session) = open_session(lp, self) else { return false };
        let Some(state) = get(lp, self).filter(|state| state.connection == connection) else { return false };
        let namespace = state.namespace.clone();
        let mut encoded = take_buffer(lp);
        let header = Header::new(&namespace, Some(id));
        let is_low = match encode_ack(&mut encoded.text, &mut encoded.attachments, &header, arguments) {
            Ok(()) => deliver(lp, session, &encoded.text, &encoded.attachments),
            Err(error) => {
                log::error!(target: "bucle::socket_io", "an acknowledgement cannot be sent: {error}");
                false
            }
        };
        give_back(lp, encoded);
        is_low
    }
}
