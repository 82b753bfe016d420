//! The session that the clients of one server share: it is opened, lost, and opened again.
//!
//! ```text
//!              open                 on_open
//!   closed ──────────▶ opening ────────────────▶ open: each client asks for its namespace
//!     ▲                 ▲   │ on_error            │ on_close
//!     │ no client       │   ▼                     ▼
//!     │ wants to be  waiting, with a longer delay after each failure
//!     └ connected ──────┘
//! ```

use form_urlencoded::Serializer;
use serde_json::{Map, Value};

use super::registry::{ClientState, Early, Link, Main, Manager, Registry, Stage, get, get_mut};
use super::{Client, ConnectError, acks, listeners, retry, send};
use crate::engine_io::{self, ClientHandler, ClientSession, CloseReason, Revision, query};
use crate::socket_io::arguments::Arguments;
use crate::socket_io::binary::Attachments;
use crate::socket_io::event::{Ack, AckTo, Event};
use crate::socket_io::packet::{Limits, Packet, PacketType};
use crate::socket_io::{DisconnectReason, json};
use crate::websocket::Message;
use crate::{Error, Key, Kind, Loop};

/// The handler of a manager's sessions.
struct Sessions {
    manager: Manager,
}

impl Sessions {
    /// Whether this is the manager's session. One that it has given up is of no interest.
    fn is_current(&self, lp: &mut Loop, session: ClientSession) -> bool {
        let link = lp.layer_mut::<Registry>().manager(self.manager).map(|state| state.link);
        matches!(link, Some(Link::Open(current) | Link::Opening(Some(current))) if current == session)
    }
}

impl ClientHandler for Sessions {
    fn on_open(&mut self, lp: &mut Loop, session: ClientSession) {
        if self.is_current(lp, session) {
            opened(lp, self.manager, session);
        }
    }

    fn on_message(&mut self, lp: &mut Loop, session: ClientSession, message: Message<'_>) {
        if self.is_current(lp, session) {
            received(lp, self.manager, session, message);
        }
    }

    fn on_upgrade(&mut self, lp: &mut Loop, session: ClientSession) {
        if self.is_current(lp, session) {
            for client in clients_of(lp, self.manager) {
                listeners::call(lp, client, Kind::OnUpgrade, |list| &list.on_upgrade);
            }
        }
    }

    fn on_drain(&mut self, lp: &mut Loop, session: ClientSession) {
        if self.is_current(lp, session) {
            for client in clients_of(lp, self.manager) {
                listeners::call(lp, client, Kind::OnDrain, |list| &list.on_drain);
            }
        }
    }

    fn on_close(&mut self, lp: &mut Loop, session: ClientSession, reason: CloseReason, error: &Error) {
        if !self.is_current(lp, session) {
            return;
        }
        log::debug!(target: "bucle::socket_io", "{session} was lost: {error}");
        let reason = match reason {
            CloseReason::TransportError => DisconnectReason::TransportError,
            CloseReason::ParseError => DisconnectReason::ParseError,
            CloseReason::PingTimeout => DisconnectReason::PingTimeout,
            CloseReason::ForcedClose => DisconnectReason::ForcedClose,
            CloseReason::TransportClose | CloseReason::ServerShuttingDown => DisconnectReason::TransportClose,
        };
        lost(lp, self.manager, reason);
    }

    fn on_error(&mut self, lp: &mut Loop, session: ClientSession, error: &Error) {
        if self.is_current(lp, session) {
            not_opened(lp, self.manager, error);
        }
    }
}

fn clients_of(lp: &mut Loop, manager: Manager) -> Vec<Client> {
    lp.layer_mut::<Registry>().manager(manager).map_or_else(Vec::new, |state| state.clients.clone())
}

/// Whether a client of the manager wants to be connected.
fn is_wanted(lp: &mut Loop, manager: Manager) -> bool {
    clients_of(lp, manager).into_iter().any(|client| get(lp, client).is_some_and(|state| state.is_active()))
}

/// A client wants to be connected.
pub(super) fn connect(lp: &mut Loop, client: Client) {
    let registry = lp.layer_mut::<Registry>();
    let Some(state) = registry.client_mut(client) else { return };
    let manager = state.manager;
    if state.stage == Stage::Idle {
        state.stage = Stage::Waiting;
    }
    let Some(manager_state) = registry.manager(manager) else { return };
    match manager_state.link {
        // While listeners are told of a failed attempt, or of the next one, that one follows in any case.
        Link::Closed if !manager_state.is_reconnecting => open(lp, manager),
        // In a tick, because `auth` may be a function of the program.
        Link::Open(_) => lp.keyed_tick(client.0, |lp, key| ask(lp, Client(key))),
        Link::Closed | Link::Waiting(_) | Link::Opening(_) => {}
    }
}

/// Begins to open the session.
fn open(lp: &mut Loop, manager: Manager) {
    let Some(state) = lp.layer_mut::<Registry>().manager_mut(manager) else { return };
    let (server, options, jar) = (state.server.clone(), state.options.engine.clone(), state.cookies.clone());
    let result = engine_io::connect_with_jar(lp, &server, options, jar, Sessions { manager });
    let Some(state) = lp.layer_mut::<Registry>().manager_mut(manager) else { return };
    match result {
        Ok(session) => state.link = Link::Opening(Some(session)),
        Err(error) => {
            state.link = Link::Opening(None);
            lp.next_tick(move |lp| {
                let link = lp.layer_mut::<Registry>().manager(manager).map(|state| state.link);
                if link == Some(Link::Opening(None)) {
                    not_opened(lp, manager, &error);
                }
            });
        }
    }
}

/// The session is open.
fn opened(lp: &mut Loop, manager: Manager, session: ClientSession) {
    let Some(state) = lp.layer_mut::<Registry>().manager_mut(manager) else { return };
    state.link = Link::Open(session);
    state.main = Main::Awaited;
    state.reconstructor = Default::default();
    let attempts = state.backoff.attempts();
    state.backoff.reset();
    let was_reconnecting = std::mem::take(&mut state.is_reconnecting);
    for client in clients_of(lp, manager) {
        if let Some(state) = get_mut(lp, client) {
            state.is_asked = false;
        }
        ask(lp, client);
    }
    if was_reconnecting {
        for client in clients_of(lp, manager) {
            listeners::call_with_attempt(lp, client, attempts, |list| &list.on_reconnect);
        }
    }
}

/// A client that waits for the session asks for its namespace. If it has left while the server's answer to an earlier
/// CONNECT was on its way, it waits for that answer: a server closes the session of a client that asks twice.
fn ask(lp: &mut Loop, client: Client) {
    let registry = lp.layer_mut::<Registry>();
    let Some(session) = registry.session_of(client) else { return };
    let is_version_2 = session.revision(lp) == Some(Revision::V3);
    let registry = lp.layer_mut::<Registry>();
    let is_ready = |state: &&mut ClientState| state.stage == Stage::Waiting && !state.is_asked;
    let Some(state) = registry.client_mut(client).filter(is_ready) else { return };
    state.stage = Stage::Joining;
    let (namespace, auth, manager) = (state.namespace.clone(), state.auth.clone(), state.manager);
    if is_version_2 && &*namespace == "/" {
        return match registry.manager(manager).map(|state| state.main) {
            Some(Main::Joined) => joined(lp, client, session, None),
            Some(Main::Left) => send::control(lp, session, PacketType::Connect, "/", None),
            Some(Main::Awaited) | None => {}
        };
    }
    let (make, mut auth) = (auth, None);
    if !lp.guarded(|lp| auth = make.make(lp)) {
        // The function has panicked. The next connection calls it again.
        return session.close(lp);
    }
    // The function may have disconnected the client.
    let registry = lp.layer_mut::<Registry>();
    let Some(state) = registry.client_mut(client).filter(|state| state.stage == Stage::Joining) else { return };
    state.is_asked = true;
    if is_version_2 {
        let pairs = registry.manager(manager).map(|state| state.query.clone()).unwrap_or_default();
        let name = name_of_version_2(&namespace, &pairs, auth);
        return send::control(lp, session, PacketType::Connect, &name, None);
    }
    let data = match &state.pid {
        None => auth,
        Some(pid) => {
            let mut data = Map::new();
            data.insert("pid".to_owned(), pid.clone().into());
            if let Some(offset) = &state.offset {
                data.insert("offset".to_owned(), offset.clone().into());
            }
            data.extend(auth.unwrap_or_default());
            Some(data)
        }
    };
    let data = data.map(|data| Value::Object(data).to_string());
    send::control(lp, session, PacketType::Connect, &namespace, data.as_deref());
}

/// In version 2 the query of a namespace has the query of the URL and what lets the client in.
fn name_of_version_2(namespace: &str, pairs: &str, auth: Option<Map<String, Value>>) -> String {
    let mut query = Serializer::new(String::new());
    query.extend_pairs(query::pairs(pairs));
    for (name, value) in auth.unwrap_or_default() {
        match value {
            Value::String(text) => query.append_pair(&name, &text),
            value => query.append_pair(&name, &value.to_string()),
        };
    }
    let query = query.finish();
    if query.is_empty() { namespace.to_owned() } else { format!("{namespace}?{query}") }
}

/// The session could not be opened.
fn not_opened(lp: &mut Loop, manager: Manager, error: &Error) {
    let Some(state) = lp.layer_mut::<Registry>().manager_mut(manager) else { return };
    state.link = Link::Closed;
    let was_reconnecting = state.is_reconnecting;
    let error = ConnectError::of_session(error);
    for client in clients_of(lp, manager) {
        if get(lp, client).is_some_and(|state| state.is_active()) {
            listeners::call_on_connect_error(lp, client, &error, was_reconnecting);
        }
    }
    if let Some(state) = lp.layer_mut::<Registry>().manager_mut(manager) {
        state.is_reconnecting = matches!(state.link, Link::Waiting(_));
    }
    reconnect(lp, manager);
    if was_reconnecting {
        for client in clients_of(lp, manager) {
            listeners::call_on_reconnect_error(lp, client, &error);
        }
    }
}

/// The session was open, and is lost.
fn lost(lp: &mut Loop, manager: Manager, reason: DisconnectReason) {
    let Some(state) = lp.layer_mut::<Registry>().manager_mut(manager) else { return };
    state.link = Link::Closed;
    state.reconstructor = Default::default();
    state.backoff.reset();
    let clients = clients_of(lp, manager);
    let mut connected = Vec::new();
    for client in clients {
        let Some(state) = get_mut(lp, client).filter(|state| state.is_active()) else { continue };
        let was_connected = state.is_connected();
        state.stage = Stage::Waiting;
        state.id = None;
        state.take_early();
        if was_connected {
            connected.push((client, acks::take_lost(lp, client)));
        }
    }
    for (client, acks) in connected {
        listeners::call_on_disconnect(lp, client, reason);
        acks::fail(lp, client, acks);
    }
    if reason.reconnects() {
        reconnect(lp, manager);
    }
}

/// Makes the next attempt after a delay, if a client still wants to be connected and nothing has opened a session
/// since.
fn reconnect(lp: &mut Loop, manager: Manager) {
    let registry = lp.layer_mut::<Registry>();
    let Some(state) = registry.manager(manager) else { return };
    let options = state.options.clone();
    if state.link != Link::Closed || !options.reconnection || !is_wanted(lp, manager) {
        return;
    }
    let registry = lp.layer_mut::<Registry>();
    let random = registry.random_number();
    let Some(state) = registry.manager_mut(manager) else { return };
    if options.reconnection_attempts.is_some_and(|most| state.backoff.attempts() >= most) {
        state.backoff.reset();
        for client in clients_of(lp, manager) {
            listeners::call(lp, client, Kind::OnError, |list| &list.on_reconnect_failed);
        }
        return;
    }
    let delay = state.backoff.next_delay(random);
    let timer = lp.start_keyed_timer(delay, manager.0, attempt);
    // The program wants to be connected, so the loop goes on.
    lp.ref_(timer);
    if let Some(state) = lp.layer_mut::<Registry>().manager_mut(manager) {
        state.link = Link::Waiting(timer);
        state.is_reconnecting = true;
    }
    log::debug!(target: "bucle::socket_io", "the next attempt to connect follows in {delay:?}");
}

/// The delay is over.
fn attempt(lp: &mut Loop, key: Key) {
    let manager = Manager(key);
    let Some(state) = lp.layer_mut::<Registry>().manager_mut(manager) else { return };
    state.link = Link::Closed;
    let attempts = state.backoff.attempts();
    for client in clients_of(lp, manager) {
        listeners::call_with_attempt(lp, client, attempts, |list| &list.on_reconnect_attempt);
    }
    // A listener may have disconnected the clients. If it has connected them again, the session is opened already.
    let link = lp.layer_mut::<Registry>().manager(manager).map(|state| state.link);
    if link == Some(Link::Closed) && is_wanted(lp, manager) {
        open(lp, manager);
    }
}

/// A client does not want to be connected any longer: the session is closed if no other one does.
pub(super) fn leave(lp: &mut Loop, manager: Manager) {
    if is_wanted(lp, manager) {
        return;
    }
    let Some(state) = lp.layer_mut::<Registry>().manager_mut(manager) else { return };
    let link = std::mem::replace(&mut state.link, Link::Closed);
    state.is_reconnecting = false;
    state.reconstructor = Default::default();
    state.backoff.reset();
    match link {
        Link::Waiting(timer) => lp.clear(timer),
        Link::Opening(Some(session)) | Link::Open(session) => session.close(lp),
        Link::Opening(None) | Link::Closed => {}
    }
}

/// A message has arrived.
fn received(lp: &mut Loop, manager: Manager, session: ClientSession, message: Message<'_>) {
    let Some(state) = lp.layer_mut::<Registry>().manager_mut(manager) else { return };
    let limits = Limits::default();
    let limits = Limits { max_bytes: limits.max_bytes.max(state.options.engine.max_message), ..limits };
    let result = match message {
        Message::Text(text) => match state.reconstructor.text(text, &limits) {
            Ok(Some(packet)) => return received_packet(lp, manager, session, &packet, None),
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        },
        Message::Binary(bytes) => match state.reconstructor.binary(bytes) {
            Ok(Some(whole)) => {
                return received_packet(lp, manager, session, &whole.packet(), Some(whole.attachments()));
            }
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        },
    };
    if let Err(error) = result {
        fail(lp, manager, session, error.reason);
    }
}

/// The server has broken the protocol.
#[cold]
fn fail(lp: &mut Loop, manager: Manager, session: ClientSession, why: &str) {
    log::debug!(target: "bucle::socket_io", "{session}: {why}, closing");
    session.close(lp);
    lost(lp, manager, DisconnectReason::ParseError);
}

/// A whole packet has arrived. One for a namespace that no client has asked for is of no consequence, as in Node.
fn received_packet(
    lp: &mut Loop,
    manager: Manager,
    session: ClientSession,
    packet: &Packet<'_>,
    attachments: Option<&Attachments>,
) {
    let registry = lp.layer_mut::<Registry>();
    if packet.kind == PacketType::Connect
        && packet.namespace == "/"
        && let Some(state) = registry.manager_mut(manager)
    {
        state.main = Main::Joined;
    }
    let client = registry.find(manager, packet.namespace);
    let Some((client, state)) = client.and_then(|client| Some((client, registry.client_mut(client)?))) else {
        // It was released before the answer to its CONNECT.
        let is_implicit = packet.namespace == "/" && session.revision(lp) == Some(Revision::V3);
        if packet.kind == PacketType::Connect && !is_implicit {
            send::control(lp, session, PacketType::Disconnect, packet.namespace, None);
        }
        return;
    };
    let stage = state.stage;
    let is_answer = matches!(packet.kind, PacketType::Connect | PacketType::ConnectError | PacketType::Disconnect);
    if is_answer && std::mem::take(&mut state.is_asked) && matches!(stage, Stage::Idle | Stage::Waiting) {
        return left_meanwhile(lp, client, session, packet);
    }
    match (packet.kind, stage) {
        (PacketType::Connect, Stage::Joining) => joined(lp, client, session, packet.data),
        (PacketType::ConnectError, Stage::Joining | Stage::Connected) => refused(lp, client, stage, packet.data),
        (PacketType::Disconnect, Stage::Joining | Stage::Connected) => left(lp, client),
        (PacketType::Event | PacketType::BinaryEvent, Stage::Connected) => {
            let (name, arguments) = Arguments::of_event(packet, attachments);
            event(lp, client, &name, arguments, packet.id);
        }
        (PacketType::Event | PacketType::BinaryEvent, Stage::Joining) => {
            let (name, arguments) = Arguments::of_event(packet, attachments);
            let early = Early { name: name.into(), arguments: arguments.to_owned(), id: packet.id };
            if !keep_early(lp, client, early) {
                // The next attempt would fail in the same way.
                if let Some(state) = get_mut(lp, client) {
                    (state.pid, state.offset) = (None, None);
                }
                fail(lp, manager, session, "too many events before the answer to CONNECT");
            }
        }
        (PacketType::Ack | PacketType::BinaryAck, Stage::Connected) => {
            if let Some(id) = packet.id {
                acks::received(lp, client, id, Arguments::of_ack(packet, attachments));
            }
        }
        (kind, stage) => log::debug!(target: "bucle::socket_io", "{client}: {kind:?} while it is {stage:?} is ignored"),
    }
}

/// An event of a client that is connected.
fn event(lp: &mut Loop, client: Client, name: &str, arguments: Arguments<'_>, id: Option<u64>) {
    let Some(state) = get(lp, client) else { return };
    let connection = state.connection;
    // Node's servers add no offset to an event that they want acknowledged.
    let may_have_offset = state.pid.is_some() && id.is_none();
    let ack = id.map(|id| Ack { to: AckTo::Server { client, id, connection } });
    listeners::dispatch(lp, client, &mut Event { name, arguments, ack, may_have_offset });
    let last = arguments.iter().last().filter(|_| may_have_offset).and_then(json::string);
    if let Some(offset) = last
        && let Some(state) = get_mut(lp, client).filter(|state| state.connection == connection)
    {
        state.offset = Some(offset.into_owned());
    }
}

/// Keeps an event that has come before the answer to CONNECT: a server sends what a recovered client has missed in this
/// order. Returns `false` if there is no room.
fn keep_early(lp: &mut Loop, client: Client, early: Early) -> bool {
    let registry = lp.layer_mut::<Registry>();
    let Some(manager) = registry.client(client).map(|state| state.manager) else { return true };
    let limit = registry.manager(manager).map_or(0, |state| state.options.engine.max_message);
    let Some(state) = registry.client_mut(client) else { return true };
    state.early_bytes = state.early_bytes.saturating_add(early.size());
    if state.early_bytes > limit {
        return false;
    }
    state.early.push(early);
    true
}

/// The server has let the client in.
fn joined(lp: &mut Loop, client: Client, session: ClientSession, data: Option<&str>) {
    let data: Value = data.and_then(|data| serde_json::from_str(data).ok()).unwrap_or_default();
    let text = |key: &str| data[key].as_str().filter(|text| !text.is_empty());
    let id = match (session.revision(lp), text("sid")) {
        // Server and client compute it in the same way.
        (Some(Revision::V3), _) => session.id(lp).map(|id| match get(lp, client) {
            Some(state) if &*state.namespace != "/" => format!("{}#{id}", state.namespace),
            _ => id.to_owned(),
        }),
        (_, sid) => sid.map(str::to_owned),
    };
    let Some(id) = id else {
        let message = "the server speaks Socket.IO 2: the option `engine.revision` must be `Revision::V3`";
        let error = ConnectError { message: message.to_owned(), code: "E_BAD_RESPONSE".into(), data: None };
        return listeners::call_on_connect_error(lp, client, &error, false);
    };
    let pid = text("pid").map(str::to_owned);
    let Some(state) = get_mut(lp, client) else { return };
    log::debug!(target: "bucle::socket_io", "{client} is connected as {id}");
    state.stage = Stage::Connected;
    state.connection = state.connection.wrapping_add(1);
    state.is_recovered = pid.is_some() && state.pid == pid;
    if !state.is_recovered {
        state.offset = None;
    }
    (state.id, state.pid) = (Some(id.into()), pid);
    let connection = state.connection;
    for early in state.take_early() {
        if get(lp, client).is_some_and(|state| state.is_connected() && state.connection == connection) {
            event(lp, client, &early.name, early.arguments.as_arguments(), early.id);
        }
    }
    if !get(lp, client).is_some_and(|state| state.is_connected() && state.connection == connection) {
        return;
    }
    send::flush(lp, client);
    retry::send_first(lp, client, true);
    listeners::call(lp, client, Kind::OnConnect, |list| &list.on_connect);
}

/// The server has refused the client. It does not ask again by itself.
fn refused(lp: &mut Loop, client: Client, stage: Stage, data: Option<&str>) {
    let data: Value = data.and_then(|data| serde_json::from_str(data).ok()).unwrap_or_default();
    let error = match data {
        // Servers of version 2 send the message alone, or the data alone.
        Value::String(message) => ConnectError::of_server(message, None),
        Value::Object(mut object) => {
            let message = object.remove("message").and_then(|message| Some(message.as_str()?.to_owned()));
            let inner = object.remove("data");
            match message {
                Some(message) => ConnectError::of_server(message, inner),
                None => ConnectError::of_server("the server has refused the connection".to_owned(), inner),
            }
        }
        _ => ConnectError::of_server("the server has refused the connection".to_owned(), None),
    };
    // A server of version 2 sends errors of its middlewares for events in the same way.
    if stage == Stage::Joining {
        leave_namespace(lp, client);
    }
    listeners::call_on_connect_error(lp, client, &error, false);
}

/// The server has disconnected the client. It does not connect again by itself.
fn left(lp: &mut Loop, client: Client) {
    let lost = leave_namespace(lp, client);
    listeners::call_on_disconnect(lp, client, DisconnectReason::IoServerDisconnect);
    acks::fail(lp, client, lost);
}

/// The answer to the CONNECT of a client that has left since.
fn left_meanwhile(lp: &mut Loop, client: Client, session: ClientSession, packet: &Packet<'_>) {
    if packet.kind == PacketType::Connect {
        send::control(lp, session, PacketType::Disconnect, packet.namespace, None);
    }
    // It may have come back.
    lp.keyed_tick(client.0, |lp, key| ask(lp, Client(key)));
}

/// The client is in its namespace no longer. Returns what the server will not acknowledge.
pub(super) fn leave_namespace(lp: &mut Loop, client: Client) -> Vec<super::registry::OnAck> {
    let Some(state) = get_mut(lp, client) else { return Vec::new() };
    state.stage = Stage::Idle;
    state.id = None;
    state.take_early();
    let (manager, is_main) = (state.manager, &*state.namespace == "/");
    if let Some(state) = lp.layer_mut::<Registry>().manager_mut(manager).filter(|_| is_main) {
        state.main = Main::Left;
    }
    let lost = acks::take_lost(lp, client);
    leave(lp, manager);
    lost
}
