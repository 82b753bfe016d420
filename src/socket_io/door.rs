//! From sessions to sockets: clients join namespaces, send events, and leave.
//!
//! ```text
//!   on_open ──▶ a client without a socket ── CONNECT ──▶ middlewares ──▶ a connected socket
//!     │ connect_timeout                                     │                │ DISCONNECT, the end of the session,
//!     ▼                                                     ▼                ▼ or the program
//!   closed                                            CONNECT_ERROR     on_disconnecting, on_disconnect
//! ```

use std::rc::Rc;

use smallvec::SmallVec;

use super::adapter::RestoredSession;
use super::arguments::Arguments;
use super::binary::{Attachments, Reconstructor};
use super::event::{Ack, AckTo, Event};
use super::handshake::Handshake;
use super::listeners::{self, EVENTS_AT_ONCE};
use super::names::Found;
use super::packet::{self, Packet, PacketType};
use super::registry::{Burst, Certainty, Client, NamespaceState, Registry, SocketState, Stage};
use super::rooms::Rooms;
use super::sessions::Restored;
use super::socket_id::SocketId;
use super::{DisconnectReason, Namespace, Socket, acks, cluster, middlewares, recover, send, sessions};
use crate::engine_io::{self, CloseReason, ConnectionError, Id, Opening, Revision, Session, query};
use crate::http::{HeaderMap, Request};
use crate::websocket::Message;
use crate::{Key, Kind, Loop};

/// How many namespaces a client may join.
const MAX_NAMESPACES: usize = 32;

/// The bytes of the name of a namespace.
const MAX_NAMESPACE: usize = 256;

/// The bytes of such a name with its query, in which clients of version 2 send their tokens.
const MAX_NAMESPACE_WITH_QUERY: usize = 4096;

/// The bytes of the credentials of a CONNECT: each socket of the client keeps its own.
const MAX_AUTH: usize = 64 * 1024;

/// The answer to a client that asks for a namespace which does not exist.
const INVALID_NAMESPACE: &str = r#"{"message":"Invalid namespace"}"#;

/// The engine's handler of a server.
pub struct Door {
    pub(super) server: u32,
    /// How many bytes the attachments of a packet may have together.
    pub(super) max_attached: usize,
}

impl engine_io::Handler for Door {
    fn allow_request(&mut self, lp: &mut Loop, request: &Request) -> Result<(), String> {
        let Some(allow) = lp.layer_mut::<Registry>().servers[self.server as usize].allow_request.clone() else {
            return Ok(());
        };
        allow.try_borrow_mut().map_or(Ok(()), |mut allow| allow(lp, request))
    }

    fn on_headers(&mut self, lp: &mut Loop, headers: &mut HeaderMap, request: &Request, is_initial: bool) {
        let listener = lp.layer_mut::<Registry>().servers[self.server as usize].on_headers.clone();
        if let Some(listener) = listener
            && let Ok(mut listener) = listener.try_borrow_mut()
        {
            listener(lp, headers, request, is_initial);
        }
    }

    fn on_connection_error(&mut self, lp: &mut Loop, error: &ConnectionError, request: &Request) {
        log::debug!(target: "bucle::socket_io", "{} {}: {error}", request.method(), request.target());
        let listener = lp.layer_mut::<Registry>().servers[self.server as usize].on_connection_error.clone();
        if let Some(listener) = listener
            && let Ok(mut listener) = listener.try_borrow_mut()
        {
            listener(lp, error, request);
        }
    }

    fn on_open(&mut self, lp: &mut Loop, session: Session, opening: Opening<'_>) {
        let Some(revision) = session.revision(lp) else { return };
        let registry = lp.layer_mut::<Registry>();
        let handshake = registry.handshakes.add(&Handshake::text_of(opening.request, opening.address));
        let limit = registry.servers[self.server as usize].options.connect_timeout;
        registry.add_client(Client {
            session,
            server: self.server,
            handshake,
            revision,
            sockets: SmallVec::new(),
            left: Vec::new(),
            returning: Vec::new(),
            reconstructor: Reconstructor::default(),
            timer: None,
            burst: Burst::default(),
        });
        if revision == Revision::V3 {
            // A client of version 2 is in the main namespace without asking for it.
            connect(lp, session, "/", None);
            return;
        }
        let timer = lp.start_keyed_timer(limit, session.key(), connect_timed_out);
        if let Some(client) = lp.layer_mut::<Registry>().client_mut(session) {
            client.timer = Some(timer);
        }
    }

    #[inline]
    fn on_message(&mut self, lp: &mut Loop, session: Session, message: Message<'_>) {
        let turn = lp.turn_number();
        let registry = lp.layer_mut::<Registry>();
        let Some(client) = registry.client_mut(session) else { return };
        let burst = &mut client.burst;
        *burst = Burst { turn, events: if burst.turn == turn { burst.events + 1 } else { 0 } };
        let is_burst = burst.events >= EVENTS_AT_ONCE;
        match message {
            Message::Text(text) => {
                let limits = packet::Limits {
                    max_namespace: match client.revision {
                        Revision::V3 => MAX_NAMESPACE_WITH_QUERY,
                        Revision::V4 => MAX_NAMESPACE,
                    },
                    max_bytes: self.max_attached.saturating_add(text.len()),
                    ..packet::Limits::default()
                };
                let mut reconstructor = std::mem::take(&mut client.reconstructor);
                match reconstructor.text(text, &limits) {
                    Ok(Some(packet)) => receive(lp, session, &packet, None),
                    Ok(None) => client.reconstructor = reconstructor,
                    Err(error) => refuse(lp, session, error.reason),
                }
            }
            Message::Binary(bytes) => {
                let mut reconstructor = std::mem::take(&mut client.reconstructor);
                match reconstructor.binary(bytes) {
                    Ok(Some(complete)) => receive(lp, session, &complete.packet(), Some(complete.attachments())),
                    Ok(None) => client.reconstructor = reconstructor,
                    Err(error) => refuse(lp, session, error.reason),
                }
            }
        }
        if is_burst {
            yield_to_others(lp, session);
        }
    }

    fn on_upgrade(&mut self, lp: &mut Loop, session: Session) {
        for socket in sockets_of(lp, session) {
            let list = lp.layer_mut::<Registry>().collect(socket, |list| &list.on_upgrade);
            listeners::call_on_socket(lp, Kind::OnUpgrade, socket, list);
        }
    }

    fn on_drain(&mut self, lp: &mut Loop, session: Session) {
        for socket in sockets_of(lp, session) {
            let list = lp.layer_mut::<Registry>().collect(socket, |list| &list.on_drain);
            listeners::call_on_socket(lp, Kind::OnDrain, socket, list);
        }
    }

    fn on_close(&mut self, lp: &mut Loop, session: Session, reason: CloseReason, _description: &'static str) {
        let reason = match reason {
            CloseReason::TransportError => DisconnectReason::TransportError,
            CloseReason::TransportClose => DisconnectReason::TransportClose,
            CloseReason::ForcedClose => DisconnectReason::ForcedClose,
            CloseReason::PingTimeout => DisconnectReason::PingTimeout,
            CloseReason::ParseError => DisconnectReason::ParseError,
            CloseReason::ServerShuttingDown => DisconnectReason::ServerShuttingDown,
        };
        let Some(client) = lp.layer_mut::<Registry>().remove_client(session) else { return };
        if let Some(timer) = client.timer {
            lp.clear(timer);
        }
        for (_, socket) in client.sockets {
            if begin_end(lp, socket, reason) {
                end(lp, socket.0);
            }
        }
    }
}

/// The sockets of a client.
fn sockets_of(lp: &mut Loop, session: Session) -> Vec<Socket> {
    let client = lp.layer_mut::<Registry>().client(session);
    client.map_or_else(Vec::new, |client| client.sockets.iter().map(|(_, socket)| *socket).collect())
}

/// The client has joined no namespace in time: the timer stops when a first socket is connected.
fn connect_timed_out(lp: &mut Loop, key: Key) {
    let session = Session::of_key(key);
    let Some(client) = lp.layer_mut::<Registry>().client_mut(session) else { return };
    client.timer = None;
    log::debug!(target: "bucle::socket_io", "{session} has joined no namespace in time, closing");
    session.close(lp);
}

/// The client has sent many events in this turn: it is not read until the next one.
#[cold]
fn yield_to_others(lp: &mut Loop, session: Session) {
    let Some(ws) = session.websocket(lp) else { return };
    ws.pause(lp);
    lp.set_immediate(move |lp| ws.resume(lp));
}

/// The client has broken the protocol: as in Node all of its sockets are disconnected with `forced close`.
#[cold]
fn refuse(lp: &mut Loop, session: Session, why: &str) {
    log::debug!(target: "bucle::socket_io", "{session}: {why}, closing");
    end_all(lp, session, DisconnectReason::ForcedClose);
    session.close(lp);
}

/// Ends all sockets of a client.
pub(super) fn end_all(lp: &mut Loop, session: Session, reason: DisconnectReason) {
    for socket in sockets_of(lp, session) {
        end_later(lp, socket, reason);
    }
}

/// A whole packet has arrived.
#[inline]
fn receive(lp: &mut Loop, session: Session, packet: &Packet<'_>, attachments: Option<&Attachments>) {
    if packet.kind == PacketType::Connect {
        return receive_connect(lp, session, packet);
    }
    let registry = lp.layer_mut::<Registry>();
    let Some(client) = registry.client(session) else { return };
    let find = |(namespace, _): &&(Namespace, Socket)| {
        registry.namespace(*namespace).is_some_and(|state| &*state.name == packet.namespace)
    };
    let Some(&(_, socket)) = client.sockets.iter().find(find) else {
        let has_left = client.left.iter().any(|name| **name == *packet.namespace);
        if has_left && packet.kind != PacketType::ConnectError {
            // It was on its way when the server disconnected the socket.
            return;
        }
        return refuse(lp, session, "a packet for a namespace that was not joined");
    };
    if !registry.socket(socket).is_some_and(SocketState::is_connected) {
        return refuse(lp, session, "a packet before the namespace was joined");
    }
    match packet.kind {
        PacketType::Event | PacketType::BinaryEvent => {
            let (name, arguments) = Arguments::of_event(packet, attachments);
            let ack = packet.id.map(|id| Ack { to: AckTo::Client { socket, id } });
            listeners::dispatch(lp, socket, &mut Event { name: &name, arguments, ack, may_have_offset: false });
        }
        PacketType::Ack | PacketType::BinaryAck => {
            if let Some(id) = packet.id {
                acks::received(lp, socket, id, Arguments::of_ack(packet, attachments));
            }
        }
        PacketType::Disconnect => end_later(lp, socket, DisconnectReason::ClientNamespaceDisconnect),
        PacketType::Connect | PacketType::ConnectError => refuse(lp, session, "a packet that only servers send"),
    }
}

/// A client asks for a namespace.
fn receive_connect(lp: &mut Loop, session: Session, packet: &Packet<'_>) {
    if session.revision(lp) != Some(Revision::V3) {
        if packet.data.is_some_and(|auth| auth.len() > MAX_AUTH) {
            return refuse(lp, session, "the credentials are too long");
        }
        return connect(lp, session, packet.namespace, packet.data);
    }
    // A client of version 2 gives its credentials in the query of the namespace.
    let (name, text) = packet.namespace.split_once('?').unwrap_or((packet.namespace, ""));
    if name.len() > MAX_NAMESPACE {
        return refuse(lp, session, "the name of the namespace is too long");
    }
    let auth: serde_json::Map<_, _> =
        query::pairs(text).map(|(name, value)| (name.into_owned(), value.into_owned().into())).collect();
    let auth = serde_json::Value::Object(auth).to_string();
    connect(lp, session, name, Some(&auth));
}

/// A client joins a namespace: middlewares decide.
fn connect(lp: &mut Loop, session: Session, name: &str, auth: Option<&str>) {
    let registry = lp.layer_mut::<Registry>();
    let Some(client) = registry.client(session) else { return };
    let server = client.server;
    if client.sockets.len() + client.returning.len() >= MAX_NAMESPACES {
        return refuse(lp, session, "too many namespaces");
    }
    let Some(namespace) = find_namespace(registry, server, name) else {
        send::control(lp, session, PacketType::ConnectError, name, Some(INVALID_NAMESPACE));
        return;
    };
    // One that was made for this client has none yet.
    if registry.namespace(namespace).is_some_and(|state| state.adapter.is_none()) {
        cluster::install(lp, namespace);
    }
    let Some(client) = lp.layer_mut::<Registry>().client_mut(session) else { return };
    if client.returning.contains(&namespace) || client.sockets.iter().any(|(joined, _)| *joined == namespace) {
        return refuse(lp, session, "a second CONNECT for a namespace");
    }
    let is_version_2 = client.revision == Revision::V3;
    let credentials = if is_version_2 { None } else { recover::credentials(lp, namespace, auth) };
    if let Some(credentials) = &credentials
        && let Some(lost) = recover::live_socket(lp, namespace, credentials)
    {
        end_lost(lp, lost);
        if !session.is_open(lp) || lp.layer_mut::<Registry>().namespace(namespace).is_none() {
            return;
        }
    }
    if let Some(credentials) = &credentials
        && let Some(offset) = credentials.offset.as_deref()
        && sessions::are_kept(lp, namespace)
    {
        let registry = lp.layer_mut::<Registry>();
        if let Some(client) = registry.client_mut(session) {
            client.returning.push(namespace);
        }
        // Until the answer comes, a namespace that exists on demand stays, also if its last socket leaves.
        if let Some(state) = registry.namespace_mut(namespace) {
            state.returning_count += 1;
        }
        let (name, auth) = (name.to_owned(), auth.map(str::to_owned));
        return sessions::restore(lp, namespace, credentials, offset, move |lp, restored| {
            restored_elsewhere(lp, session, namespace, &name, auth.as_deref(), restored);
        });
    }
    let restored = credentials.and_then(|credentials| recover::restore(lp, namespace, &credentials));
    join(lp, session, namespace, name, auth, restored);
}

/// The adapter has found the state of a client that comes back, or has not.
fn restored_elsewhere(
    lp: &mut Loop,
    session: Session,
    namespace: Namespace,
    name: &str,
    auth: Option<&str>,
    restored: Option<RestoredSession>,
) {
    let registry = lp.layer_mut::<Registry>();
    if let Some(state) = registry.namespace_mut(namespace) {
        state.returning_count -= 1;
    }
    let Some(client) = registry.client_mut(session) else {
        if let Some(restored) = restored {
            sessions::keep_again(lp, namespace, &restored);
        }
        // It may have been made for this client.
        return cluster::remove_if_empty(lp, namespace);
    };
    client.returning.retain(|other| *other != namespace);
    let restored = restored.and_then(|restored| sessions::restored(lp, namespace, restored));
    join(lp, session, namespace, name, auth, restored);
}

/// Makes the socket of a client in a namespace: middlewares decide.
fn join(
    lp: &mut Loop,
    session: Session,
    namespace: Namespace,
    name: &str,
    auth: Option<&str>,
    restored: Option<Restored>,
) {
    let Some(engine_id) = session.id(lp) else { return };
    let registry = lp.layer_mut::<Registry>();
    let Some(client) = registry.client(session) else { return };
    let (server, handshake) = (client.server, client.handshake);
    let is_version_2 = client.revision == Revision::V3;
    let id = match &restored {
        Some(restored) => restored.id.clone(),
        None if is_version_2 => SocketId::of_version_2(name, engine_id),
        None => match registry.random.random() {
            Ok(bytes) => Id::from_random(bytes).into(),
            Err(error) => {
                log::error!(target: "bucle::socket_io", "{session}: {error}");
                return session.close(lp);
            }
        },
    };
    let has_recovery =
        registry.namespace(namespace).is_some_and(|state| state.recovery.is_some() || state.are_sessions_elsewhere);
    let pid = match &restored {
        Some(restored) => Some(restored.pid),
        None if has_recovery && !is_version_2 => registry.random.random().ok().map(Id::from_random),
        None => None,
    };
    let serial = registry.serial();
    let skips = restored.is_some() && recover::skips_middlewares(registry, server);
    let is_recovered = restored.is_some();
    let (data, sent, replay) = match restored {
        Some(restored) => (restored.data, restored.sent, Some(Box::new(restored.replay))),
        None => Default::default(),
    };
    let socket = registry.add_socket(SocketState {
        serial,
        namespace,
        session,
        id: id.clone(),
        pid,
        stage: Stage::Connecting { next: 0, is_running: false },
        is_recovered,
        sent,
        lost_at: None,
        certainty: Certainty::Certain,
        replay,
        handshake,
        auth: auth.map(Box::from),
        data,
        listeners: None,
        last_rooms: None,
    });
    if let Some(client) = registry.client_mut(session) {
        client.sockets.push((namespace, socket));
    }
    if let (Some(pid), Some(state)) = (pid, registry.namespace_mut(namespace)) {
        state.by_pid.insert(pid, socket);
    }
    if skips { middlewares::connected(lp, socket) } else { middlewares::run(lp, socket.0) }
}

/// A client has come back on another connection: the old one is broken, and the server has not noticed it yet.
fn end_lost(lp: &mut Loop, lost: Socket) {
    let Some(session) = lost.session(lp) else { return };
    for socket in sockets_of(lp, session) {
        if begin_end(lp, socket, DisconnectReason::TransportClose) {
            end(lp, socket.0);
        }
    }
    engine_io::send::end(lp, session, CloseReason::TransportClose, "its client has come back");
}

/// The namespace of a name. One that a predicate accepts is made.
fn find_namespace(registry: &mut Registry, server: u32, name: &str) -> Option<Namespace> {
    let parent = match registry.servers[server as usize].names.find(name)? {
        Found::Named(namespace) => return Some(*namespace),
        Found::Matching(parent) => *parent,
    };
    let state = &mut registry.servers[server as usize];
    if state.dynamic_count >= state.options.max_dynamic_namespaces {
        log::warn!(target: "bucle::socket_io", "too many namespaces exist on demand, {name:?} is refused");
        return None;
    }
    state.dynamic_count += 1;
    let list = registry.namespace(parent)?.list;
    let namespace = add_namespace(registry, server, name, list, Some(parent));
    registry.servers[server as usize].names.insert(name, namespace);
    Some(namespace)
}

pub(super) fn add_namespace(
    registry: &mut Registry,
    server: u32,
    name: &str,
    list: u32,
    parent: Option<Namespace>,
) -> Namespace {
    let serial = registry.serial();
    let recovery = registry.new_recovery(server);
    Namespace(registry.namespaces.insert(NamespaceState {
        serial,
        server,
        name: Rc::from(name),
        list,
        parent,
        rooms: Rooms::default(),
        socket_count: 0,
        returning_count: 0,
        acks: Default::default(),
        ack_timer: None,
        operations: Default::default(),
        recovery,
        are_sessions_elsewhere: false,
        recovery_timer: None,
        by_pid: Default::default(),
        adapter: None,
    }))
}

/// Ends a socket; its last callbacks run in a tick.
pub(super) fn end_later(lp: &mut Loop, socket: Socket, reason: DisconnectReason) {
    if begin_end(lp, socket, reason) {
        lp.keyed_tick(socket.0, end);
    }
}

/// Takes a socket out of its client and its rooms. Returns `false` if that has happened already.
fn begin_end(lp: &mut Loop, socket: Socket, reason: DisconnectReason) -> bool {
    let registry = lp.layer_mut::<Registry>();
    let Some(state) = registry.socket_mut(socket) else { return false };
    let was = state.stage;
    if matches!(was, Stage::Disconnected(_)) {
        return false;
    }
    state.stage = Stage::Disconnected(reason);
    let (session, namespace, pid) = (state.session, state.namespace, state.pid);
    if let (Some(pid), Some(state)) = (pid, registry.namespace_mut(namespace)) {
        state.forget_pid(&pid);
    }
    if let Some(client) = registry.client_mut(session) {
        client.sockets.retain(|(_, other)| *other != socket);
    }
    if was != Stage::Connected {
        // The program has not heard of it.
        if reason.is_recoverable() {
            recover::persist_again(lp, socket);
        }
        lp.layer_mut::<Registry>().remove_socket(socket);
        cluster::remove_if_empty(lp, namespace);
        return false;
    }
    let name = registry.namespace(namespace).map(|state| state.name.clone());
    if reason == DisconnectReason::ServerNamespaceDisconnect
        && let (Some(name), Some(client)) = (name, registry.client_mut(session))
    {
        client.left.retain(|other| *other != name);
        client.left.truncate(MAX_NAMESPACES - 1);
        client.left.insert(0, name);
    }
    let Some(state) = registry.namespace_mut(namespace) else { return true };
    let rooms: Box<[String]> = state.rooms.rooms_of(socket).map(str::to_owned).collect();
    let (is_watched, mut deleted) = (cluster::watches_rooms(state), Vec::new());
    state.rooms.remove(socket, |room, left| {
        if is_watched && left.deleted {
            deleted.push(room.to_owned());
        }
    });
    let lost_at = state.recovery.as_ref().map(|recovery| recovery.next_offset());
    if let Some(state) = registry.socket_mut(socket) {
        state.last_rooms = Some(rooms);
        state.lost_at = lost_at;
    }
    cluster::rooms_changed(lp, namespace, &deleted, false);
    log::debug!(target: "bucle::socket_io", "{socket} is disconnected: {reason}");
    true
}

/// The last callbacks of a socket.
fn end(lp: &mut Loop, key: Key) {
    let socket = Socket(key);
    let registry = lp.layer_mut::<Registry>();
    let Some(state) = registry.socket(socket) else { return };
    let Stage::Disconnected(reason) = state.stage else { return };
    let namespace = state.namespace;
    let list = registry.collect(socket, |list| &list.on_disconnecting);
    listeners::call_on_disconnect(lp, socket, list, reason);
    let registry = lp.layer_mut::<Registry>();
    let rooms = registry.socket_mut(socket).and_then(|state| state.last_rooms.take());
    let list = registry.collect(socket, |list| &list.on_disconnect);
    listeners::call_on_disconnect(lp, socket, list, reason);
    if reason.is_recoverable() {
        // Behind the last listener, which may still read the data of the socket.
        if let Some(state) = lp.layer_mut::<Registry>().socket_mut(socket) {
            state.last_rooms = rooms;
        }
        recover::persist(lp, socket);
    }
    acks::fail_all(lp, socket);
    lp.layer_mut::<Registry>().remove_socket(socket);
    cluster::remove_if_empty(lp, namespace);
}
