//! Connection state recovery: what is kept for clients that may come back, and what they get then.

use std::rc::Rc;
use std::time::Duration;

use serde_json::Value;

use super::encode::Encoded;
use super::recovery;
use super::registry::{Certainty, Registry, Replay, Since, StoredPacket};
use super::sessions::{Credentials, Restored};
use super::{Namespace, Socket, cluster, sessions};
use crate::engine_io::{Id, Session};
use crate::{Key, Kind, Loop};

/// Whether middlewares are not called for a client that has come back.
pub(super) fn skips_middlewares(registry: &Registry, server: u32) -> bool {
    registry.servers[server as usize].options.recovery.as_ref().is_some_and(|options| options.skip_middlewares)
}

/// The credentials in the data of a CONNECT. `None` if it has none, or the namespace keeps nothing.
pub(super) fn credentials(lp: &mut Loop, namespace: Namespace, auth: Option<&str>) -> Option<Credentials> {
    let state = lp.layer_mut::<Registry>().namespace(namespace)?;
    if state.recovery.is_none() && !state.are_sessions_elsewhere {
        return None;
    }
    let auth: Value = serde_json::from_str(auth?).ok()?;
    let offset = auth.get("offset").and_then(Value::as_str).map(str::to_owned);
    Some(Credentials { pid: Id::parse(auth.get("pid")?.as_str()?)?, offset })
}

/// The socket of a client that comes back before the server has noticed that its connection is broken.
pub(super) fn live_socket(lp: &mut Loop, namespace: Namespace, credentials: &Credentials) -> Option<Socket> {
    lp.layer_mut::<Registry>().namespace(namespace)?.by_pid.get(&credentials.pid).copied()
}

/// The client that comes back with these credentials. `None` if there is none, or it has missed what is not kept.
pub(super) fn restore(lp: &mut Loop, namespace: Namespace, credentials: &Credentials) -> Option<Restored> {
    let now = lp.now();
    let recovery = lp.layer_mut::<Registry>().namespace_mut(namespace)?.recovery.as_mut()?;
    let restored = recovery.restore(now, credentials.pid.as_str(), credentials.offset.as_deref())?;
    let recovery::Restored { session, missed, next } = restored;
    let replay = Replay { rooms: session.rooms, missed, since: Since::Here(next) };
    Some(Restored { id: session.sid, pid: session.pid, data: session.data, sent: session.sent, replay })
}

/// Takes what a restored socket gets when it is connected, with what was logged since it was restored. The result also
/// tells whether the places of all these events are known; `None`: some events are no longer kept.
fn take_replay(lp: &mut Loop, socket: Socket) -> Option<(Box<Replay>, Option<Certainty>)> {
    let registry = lp.layer_mut::<Registry>();
    let state = registry.socket_mut(socket)?;
    let mut replay = state.replay.take()?;
    let (namespace, id, mut sent) = (state.namespace, state.id.clone(), state.sent);
    let since = match &replay.since {
        Since::Elsewhere(since) => {
            let Some((missed, are_placed)) = sessions::catch_up(lp, namespace, &id, &replay.rooms, since) else {
                return Some((replay, None));
            };
            replay.missed.extend(missed);
            return Some((replay, Some(if are_placed { Certainty::Certain } else { Certainty::Unsettled })));
        }
        Since::Here(since) => *since,
    };
    if let Some(recovery) = registry.namespace(namespace).and_then(|state| state.recovery.as_ref()) {
        replay.missed.extend(recovery.catch_up(since, &id, &replay.rooms, &mut sent));
    }
    registry.socket_mut(socket)?.sent = sent;
    Some((replay, Some(Certainty::Certain)))
}

/// What a socket gets that is about to be connected. `None` in the result: it was not restored.
///
/// # Errors
/// Events that it has missed are gone. Its session is to be closed: the client comes again, and begins anew, because
/// its state was taken.
pub(super) fn take_whole_replay(lp: &mut Loop, socket: Socket) -> Result<Option<Box<Replay>>, Gone> {
    match take_replay(lp, socket) {
        None => Ok(None),
        Some((_, None)) => Err(Gone),
        Some((replay, Some(certainty))) => {
            if let Some(state) = lp.layer_mut::<Registry>().socket_mut(socket) {
                state.certainty = certainty;
            }
            Ok(Some(replay))
        }
    }
}

/// Events that a client has missed are no longer kept.
pub(super) struct Gone;

/// A restored socket is connected: it joins its rooms, and gets what it has missed.
pub(super) fn replay(lp: &mut Loop, socket: Socket, session: Session, replay: &Replay) {
    socket.change_rooms(lp, &replay.rooms, true);
    for packet in &replay.missed {
        session.send_packet(lp, &packet.text);
        for bytes in &*packet.attachments {
            session.send_binary(lp, bytes);
        }
    }
}

/// Keeps the state of a socket that was lost again after it was restored, and before it was connected.
pub(super) fn persist_again(lp: &mut Loop, socket: Socket) {
    let Some((replay, _)) = take_replay(lp, socket) else { return };
    if let Some(state) = lp.layer_mut::<Registry>().socket_mut(socket) {
        state.last_rooms = Some(replay.rooms.into());
    }
    persist(lp, socket);
}

/// Keeps the state of a socket that was lost.
pub(super) fn persist(lp: &mut Loop, socket: Socket) {
    let namespace = socket.namespace(lp);
    if namespace.is_some_and(|namespace| sessions::are_kept(lp, namespace)) {
        return sessions::persist(lp, socket);
    }
    let now = lp.now();
    let registry = lp.layer_mut::<Registry>();
    let Some(state) = registry.socket_mut(socket) else { return };
    let (namespace, Some(pid)) = (state.namespace, state.pid) else { return };
    let lost_at = state.lost_at;
    let rooms = state.last_rooms.as_deref().unwrap_or_default();
    let rooms: Vec<String> = rooms.iter().filter(|room| **room != state.id.as_str()).cloned().collect();
    let session = recovery::Session { sid: state.id.clone(), pid, rooms, data: state.data.take(), sent: state.sent };
    let Some(recovery) = registry.namespace_mut(namespace).and_then(|state| state.recovery.as_mut()) else { return };
    let lost_at = lost_at.unwrap_or_else(|| recovery.next_offset());
    let dropped = recovery.persist_since(now, session, lost_at);
    arm(lp, namespace);
    if let Some(dropped) = dropped {
        report_expired(lp, namespace, dropped.sid.as_str());
    }
}

/// The offset of the next packet that is kept, if this one is.
pub(super) fn next_offset(lp: &mut Loop, namespace: Namespace) -> Option<String> {
    let state = lp.layer_mut::<Registry>().namespace(namespace)?;
    Some(state.recovery.as_ref()?.next_offset().to_string())
}

/// Keeps a packet that carries [`next_offset`], and notes for whom it was.
pub(super) fn store(
    lp: &mut Loop,
    namespace: Namespace,
    encoded: &Encoded,
    rooms: &[String],
    except: &[String],
    receivers: &[Socket],
) {
    let now = lp.now();
    let packet = StoredPacket {
        text: Rc::from(encoded.text.as_str()),
        attachments: encoded.attachments.iter().map(|bytes| Rc::from(bytes.as_slice())).collect(),
    };
    let size = packet.text.len() + packet.attachments.iter().map(|bytes| bytes.len()).sum::<usize>();
    let registry = lp.layer_mut::<Registry>();
    let Some(recovery) = registry.namespace_mut(namespace).and_then(|state| state.recovery.as_mut()) else { return };
    let offset = recovery.log(now, rooms, except, packet, size);
    for socket in receivers {
        if let Some(state) = registry.socket_mut(*socket) {
            state.sent.add(offset);
        }
    }
    arm(lp, namespace);
}

/// Makes sure that the timer of a namespace fires when the first packet or client is too old.
fn arm(lp: &mut Loop, namespace: Namespace) {
    let now = lp.now();
    let Some(state) = lp.layer_mut::<Registry>().namespace_mut(namespace) else { return };
    let Some(at) = state.recovery.as_ref().and_then(|recovery| recovery.next_expiry()) else { return };
    // One check for everything that is over within a while.
    let at = at.max(now + EXPIRY_PERIOD);
    if state.recovery_timer.is_some_and(|(_, fires_at)| fires_at <= at) {
        return;
    }
    // A packet is kept longer than a client, so its timer may fire too late for one that was lost.
    if let Some((old, _)) = state.recovery_timer.take() {
        lp.clear(old);
    }
    let timer = lp.start_keyed_timer(at - now, namespace.0, expire);
    if let Some(state) = lp.layer_mut::<Registry>().namespace_mut(namespace) {
        state.recovery_timer = Some((timer, at));
    }
}

/// The least time between two checks for what is too old.
const EXPIRY_PERIOD: Duration = Duration::from_millis(100);

/// Drops what is too old.
fn expire(lp: &mut Loop, key: Key) {
    let (namespace, now) = (Namespace(key), lp.now());
    let Some(state) = lp.layer_mut::<Registry>().namespace_mut(namespace) else { return };
    state.recovery_timer = None;
    let expired = state.recovery.as_mut().map_or_else(Vec::new, |recovery| recovery.expire(now));
    for session in expired {
        report_expired(lp, namespace, session.sid.as_str());
    }
    arm(lp, namespace);
    cluster::remove_if_empty(lp, namespace);
}

fn report_expired(lp: &mut Loop, namespace: Namespace, id: &str) {
    let registry = lp.layer_mut::<Registry>();
    let Some(list) = registry.namespace(namespace).map(|state| state.list) else { return };
    for listener in registry.lists[list as usize].on_expired.clone() {
        if let Ok(mut listener) = listener.try_borrow_mut() {
            lp.in_guarded_callback(Kind::OnClose, 0, 0, |lp| listener(lp, id));
        }
    }
}

/// As [`store`], for one socket.
pub(super) fn store_for_one(lp: &mut Loop, namespace: Namespace, encoded: &Encoded, socket: Socket) {
    let Some(id) = socket.id(lp) else { return };
    store(lp, namespace, encoded, &[id.to_string()], &[], &[socket]);
}
