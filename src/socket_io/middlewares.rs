//! The middlewares of a connection: they decide whether a client may join a namespace. Behind the last one its socket
//! is connected.

use super::event::EventError;
use super::packet::PacketType;
use super::registry::{Registry, Stage};
use super::{Socket, cluster, listeners, recover, send};
use crate::engine_io::Revision;
use crate::{Key, Kind, Loop};

/// Calls the middlewares that are left, until one decides later.
pub(super) fn run(lp: &mut Loop, key: Key) {
    let socket = Socket(key);
    loop {
        let registry = lp.layer_mut::<Registry>();
        let Some(state) = registry.socket_mut(socket) else { return };
        let Stage::Connecting { next, is_running: false } = state.stage else { return };
        state.stage = Stage::Connecting { next, is_running: true };
        let middleware = registry.list_of(socket).and_then(|list| list.middlewares.get(next as usize)).cloned();
        let Some(middleware) = middleware else { return connected(lp, socket) };
        if let Ok(mut middleware) = middleware.try_borrow_mut() {
            lp.in_layer_callback(Kind::OnHandshake, socket.serial(), 0, |lp| {
                middleware(lp, socket, Next { socket, number: next });
            });
        }
        let Some(state) = lp.layer_mut::<Registry>().socket_mut(socket) else { return };
        match &mut state.stage {
            Stage::Connecting { next: now, is_running } => {
                *is_running = false;
                if *now == next {
                    // It decides later.
                    return;
                }
            }
            _ => return,
        }
    }
}

/// The decision of a connection middleware. To be made once, in the callback or later.
#[derive(Debug)]
pub struct Next {
    socket: Socket,
    number: u32,
}

impl Next {
    /// The next middleware is called; behind the last one the socket is connected.
    #[doc(alias = "next")]
    pub fn allow(self, lp: &mut Loop) {
        let Some(state) = lp.layer_mut::<Registry>().socket_mut(self.socket) else { return };
        let Stage::Connecting { next, is_running } = state.stage else { return };
        if next != self.number {
            return;
        }
        state.stage = Stage::Connecting { next: next + 1, is_running };
        if !is_running {
            lp.keyed_tick(self.socket.0, run);
        }
    }

    /// The connection is refused: the client gets `connect_error`.
    pub fn refuse(self, lp: &mut Loop, error: impl Into<EventError>) {
        let registry = lp.layer_mut::<Registry>();
        let Some(state) = registry.socket_mut(self.socket) else { return };
        if !matches!(state.stage, Stage::Connecting { next, .. } if next == self.number) {
            return;
        }
        let (session, namespace, pid) = (state.session, state.namespace, state.pid);
        let Some(state) = registry.namespace_mut(namespace) else { return };
        let name = state.name.clone();
        if let Some(pid) = pid {
            state.forget_pid(&pid);
        }
        if let Some(client) = registry.client_mut(session) {
            client.sockets.retain(|(_, socket)| *socket != self.socket);
        }
        registry.remove_socket(self.socket);
        let error = error.into();
        let mut object = serde_json::Map::new();
        object.insert("message".to_owned(), error.message().into());
        if let Some(data) = error.data() {
            object.insert("data".to_owned(), data.clone());
        }
        let data = match session.revision(lp) {
            // Version 2: the data alone, or the message as a string.
            Some(Revision::V3) => error.data().cloned().unwrap_or_else(|| error.message().into()),
            _ => object.into(),
        };
        send::control(lp, session, PacketType::ConnectError, &name, Some(&data.to_string()));
        cluster::remove_if_empty(lp, namespace);
    }
}

/// All middlewares have allowed the connection.
pub(super) fn connected(lp: &mut Loop, socket: Socket) {
    let replay = recover::take_whole_replay(lp, socket);
    let registry = lp.layer_mut::<Registry>();
    let Some(state) = registry.socket_mut(socket) else { return };
    let Ok(replay) = replay else {
        let session = state.session;
        log::debug!(target: "bucle::socket_io", "{socket}: the events that it has missed are gone, closing");
        return session.close(lp);
    };
    state.stage = Stage::Connected;
    let (session, namespace, id, pid) = (state.session, state.namespace, state.id.clone(), state.pid);
    if let Some(timer) = registry.client_mut(session).and_then(|client| client.timer.take()) {
        lp.clear(timer);
    }
    let Some(state) = lp.layer_mut::<Registry>().namespace_mut(namespace) else { return };
    let name = state.name.clone();
    let joined = state.rooms.add(socket, id.clone());
    if cluster::watches_rooms(state) && joined.is_some_and(|joined| joined.created) {
        cluster::rooms_changed(lp, namespace, &[id.to_string()], true);
    }
    let answer = match session.revision(lp) {
        Some(Revision::V3) => None,
        _ => Some(match pid {
            None => format!(r#"{{"sid":"{id}"}}"#),
            Some(pid) => format!(r#"{{"sid":"{id}","pid":"{pid}"}}"#),
        }),
    };
    // As in Node, clients get what they have missed before the answer: it is delivered before their `connect`.
    if let Some(replay) = replay {
        recover::replay(lp, socket, session, &replay);
    }
    send::control(lp, session, PacketType::Connect, &name, answer.as_deref());
    log::debug!(target: "bucle::socket_io", "{socket} is connected to {name}");
    let list = lp.layer_mut::<Registry>().collect(socket, |list| &list.on_connection);
    listeners::call_on_socket(lp, Kind::OnConnection, socket, list);
}
