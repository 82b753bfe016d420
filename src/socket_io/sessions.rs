//! Connection state recovery by an adapter that keeps the sessions of all nodes.
//!
//! ```text
//!   emit ──▶ adapter.broadcast ──▶ (Redis) ──▶ receive_broadcast with the offset ──▶ sockets of each node
//!   a client is lost       ──▶ adapter.persist_session
//!   it comes back, anywhere ──▶ adapter.restore_session ──▶ middlewares ──▶ adapter.missed_since ──▶ connected
//! ```

use std::rc::Rc;
use std::time::Duration;

use serde_json::Value;

use super::adapter::{BroadcastPacket, LostSession, MissedEvent, OnRestored, Placement, RestoredSession, Target};
use super::arguments::IntoArguments;
use super::cluster::with_adapter;
use super::recovery::Sent;
use super::registry::{Certainty, Data, Registry, Replay, Since, StoredPacket, select};
use super::socket_id::SocketId;
use super::{Namespace, Socket, encode, packet};
use crate::Loop;
use crate::engine_io::Id;

/// A client that has come back, before it is connected.
pub(super) struct Restored {
    pub id: SocketId,
    pub pid: Id,
    pub data: Option<Box<dyn Data>>,
    pub sent: Sent,
    pub replay: Replay,
}

/// The credentials with which a client comes back.
pub(super) struct Credentials {
    pub pid: Id,
    pub offset: Option<String>,
}

/// Whether the adapter of a namespace keeps what recovery needs.
pub(super) fn are_kept(lp: &Loop, namespace: Namespace) -> bool {
    let state = lp.layer::<Registry>().and_then(|registry| registry.namespace(namespace));
    state.is_some_and(|state| state.are_sessions_elsewhere)
}

/// Gives an event to the adapter, which sends it to all nodes and this one. Returns `false` if it cannot be sent.
pub(super) fn emit(
    lp: &mut Loop,
    namespace: Namespace,
    target: &Target,
    name: &str,
    arguments: &impl IntoArguments,
    compress: bool,
) -> bool {
    if packet::RESERVED_EVENTS.contains(&name) {
        log::error!(target: "bucle::socket_io", "{name:?} is reserved and cannot be emitted: choose another name");
        return false;
    }
    let Some(arguments) = encode::to_owned(arguments) else { return false };
    let packet = BroadcastPacket { name, arguments: &arguments, volatile: false, compress, offset: None };
    with_adapter(lp, namespace, |adapter, lp| adapter.broadcast(lp, namespace, target, packet));
    true
}

/// Keeps the state of a socket that was lost.
pub(super) fn persist(lp: &mut Loop, socket: Socket) {
    let registry = lp.layer_mut::<Registry>();
    let Some(state) = registry.socket_mut(socket) else { return };
    let (namespace, Some(pid)) = (state.namespace, state.pid) else { return };
    // It is not certain which events a restored client would get twice.
    if state.certainty != Certainty::Certain {
        return;
    }
    let sid = state.id.to_string();
    let mut rooms = state.last_rooms.as_deref().unwrap_or_default().to_vec();
    if rooms.first() != Some(&sid) {
        rooms.retain(|room| *room != sid);
        rooms.insert(0, sid.clone());
    }
    let data = state.data.take().map_or_else(|| Value::Object(serde_json::Map::new()), |data| data.to_json());
    let session = LostSession { sid, pid: pid.to_string(), rooms, data };
    keep(lp, namespace, &session);
}

fn keep(lp: &mut Loop, namespace: Namespace, session: &LostSession) {
    let Some(lifetime) = lifetime(lp, namespace) else { return };
    with_adapter(lp, namespace, |adapter, lp| adapter.persist_session(lp, namespace, session, lifetime));
}

fn lifetime(lp: &mut Loop, namespace: Namespace) -> Option<Duration> {
    let registry = lp.layer_mut::<Registry>();
    let server = registry.namespace(namespace)?.server;
    Some(registry.servers[server as usize].options.recovery.as_ref()?.max_disconnection)
}

/// Asks for the state of a client that comes back. `done` is called later.
pub(super) fn restore(
    lp: &mut Loop,
    namespace: Namespace,
    credentials: &Credentials,
    offset: &str,
    done: impl FnOnce(&mut Loop, Option<RestoredSession>) + 'static,
) {
    let pid = credentials.pid;
    let done: OnRestored = Box::new(move |lp, restored| {
        // Other programs can write to Redis.
        let is_right = |restored: &RestoredSession| {
            let is_free = namespace.socket(lp, &restored.session.sid).is_none();
            restored.session.pid == pid.as_str() && Id::parse(&restored.session.sid).is_some() && is_free
        };
        let restored = restored.filter(is_right);
        done(lp, restored);
    });
    let mut done = Some(done);
    with_adapter(lp, namespace, |adapter, lp| {
        if let Some(done) = done.take() {
            adapter.restore_session(lp, namespace, pid.as_str(), offset, done);
        }
    });
    // There is no adapter.
    if let Some(done) = done {
        lp.next_tick(|lp| done(lp, None));
    }
}

/// A client that came back is gone already: its state is kept again.
pub(super) fn keep_again(lp: &mut Loop, namespace: Namespace, restored: &RestoredSession) {
    keep(lp, namespace, &restored.session);
}

/// A restored state as the socket of the client gets it.
pub(super) fn restored(lp: &mut Loop, namespace: Namespace, restored: RestoredSession) -> Option<Restored> {
    let RestoredSession { session, missed, since } = restored;
    let LostSession { sid, pid, rooms, data } = session;
    let nsp = namespace.name(lp)?;
    let missed = missed.iter().filter_map(|event| stored(lp, namespace, &nsp, event)).collect();
    let data: Option<Box<dyn Data>> = match data {
        Value::Null => None,
        Value::Object(members) if members.is_empty() => None,
        data => Some(Box::new(data)),
    };
    let rooms = rooms.into_iter().filter(|room| *room != sid).collect();
    let replay = Replay { rooms, missed, since: Since::Elsewhere(since) };
    Some(Restored { id: SocketId::from(sid.as_str()), pid: Id::parse(&pid)?, data, sent: Sent::default(), replay })
}

/// The events that a socket has missed since it was restored, and whether their places are all known. `None`: some
/// events are no longer kept.
pub(super) fn catch_up(
    lp: &mut Loop,
    namespace: Namespace,
    id: &SocketId,
    rooms: &[String],
    since: &str,
) -> Option<(Vec<StoredPacket>, bool)> {
    let rooms: Vec<String> = std::iter::once(id.to_string()).chain(rooms.iter().cloned()).collect();
    let state = lp.layer::<Registry>()?.namespace(namespace)?;
    let (nsp, missed) = (state.name.clone(), state.adapter.as_ref()?.missed_since(lp, since, &rooms)?);
    let are_placed = missed.iter().all(|event| event.offset.is_some());
    Some((missed.iter().filter_map(|event| stored(lp, namespace, &nsp, event)).collect(), are_placed))
}

fn stored(lp: &mut Loop, namespace: Namespace, nsp: &str, event: &MissedEvent) -> Option<StoredPacket> {
    let arguments = event.arguments.as_arguments();
    let mut encoded = encode::encode(lp, nsp, None, &event.name, &arguments, event.offset.as_deref())?;
    if event.offset.is_none() {
        encode::guard(lp, namespace, &mut encoded);
    }
    let packet = StoredPacket {
        text: Rc::from(encoded.text.as_str()),
        attachments: encoded.attachments.iter().map(|bytes| Rc::from(bytes.as_slice())).collect(),
    };
    encode::give_back(lp, encoded);
    Some(packet)
}

impl Namespace {
    /// For an [`Adapter`](super::adapter::Adapter) that keeps sessions: an event was sent to these sockets without an
    /// offset, and it may be kept. They could get it twice, so they are not restored if they are lost now. They are
    /// restored again when they have got an event with an offset that is certainly behind it.
    pub fn receive_uncertain(self, lp: &mut Loop, target: &Target, placement: Placement) {
        let certainty = match placement {
            Placement::Before => Certainty::UntilOffset,
            Placement::Unknown => Certainty::Unsettled,
        };
        let mut sockets = Vec::new();
        select(lp, self, target, &mut sockets);
        let registry = lp.layer_mut::<Registry>();
        for socket in sockets {
            if let Some(state) = registry.socket_mut(socket) {
                state.certainty = state.certainty.max(certainty);
            }
        }
    }

    /// For an [`Adapter`](super::adapter::Adapter) that keeps sessions: all events with [`Placement::Unknown`] are
    /// before the events that come from now on, or they are not kept.
    pub fn settle_uncertain(self, lp: &mut Loop) {
        for socket in self.sockets(lp) {
            if let Some(state) = lp.layer_mut::<Registry>().socket_mut(socket) {
                state.certainty = state.certainty.min(Certainty::UntilOffset);
            }
        }
    }
}
