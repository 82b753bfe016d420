//! The client: it opens a session, and changes from polling to a WebSocket connection.
//!
//! ```text
//!   connect ─▶ polling or WebSocket ─▶ on_open ─▶ on_message … ─▶ on_close
//!                      └────────────────────────────────────────▶ on_error: it could not be opened
//! ```
//!
//! The requests of polling are those of an [`http::Client`](crate::http::Client). A session that is lost is not opened
//! again here: see [`socket_io::Client`](crate::socket_io::Client).

mod channel;
pub(crate) mod cookies;
mod machine;
mod polling;
mod registry;
mod url;

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use super::packet::{Data, Packet, PacketType, Queued, Revision};
use super::session::Transport;
use super::{CloseReason, Message};
use crate::http::HeaderMap;
use crate::websocket::DeflateOptions;
use crate::{Error, Key, Kind, Loop, Result};
use machine::{Due, Machine, Reaction};
pub(crate) use registry::SharedJar;
use registry::{Registry, SessionState, Stage, end, fail, get_mut, note_upgrade, settle_later};
use url::Location;

/// From this many queued bytes on [`ClientSession::send`] returns `false`: one full read of the loop, as for WebSocket.
const HIGH_WATER_MARK: usize = 64 * 1024;

/// A handle of a client's session. 8 bytes, `Copy`; callbacks get it as an argument. It never names another session.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientSession(Key);

/// Handles the events of client sessions. Every method has a default body.
///
/// The names are those of
/// [`engine.io-client`](https://github.com/socketio/socket.io/tree/main/packages/engine.io-client).
#[expect(unused_variables, reason = "the names are for implementors")]
pub trait ClientHandler: Any {
    /// The session is open.
    fn on_open(&mut self, lp: &mut Loop, session: ClientSession) {}
    /// A message has arrived. Text is valid UTF-8.
    fn on_message(&mut self, lp: &mut Loop, session: ClientSession, message: Message<'_>) {}
    /// The session has changed from polling to a WebSocket connection.
    fn on_upgrade(&mut self, lp: &mut Loop, session: ClientSession) {}
    /// All queued messages are sent, after [`ClientSession::send`] has returned `false`.
    fn on_drain(&mut self, lp: &mut Loop, session: ClientSession) {}
    /// The session was open, and has ended: its last event. The error says more than the reason, for a log.
    fn on_close(&mut self, lp: &mut Loop, session: ClientSession, reason: CloseReason, error: &Error) {}
    /// The session could not be opened: its last event. The default reports that the error is not handled, as
    /// [`net::Handler::on_error`](crate::net::Handler::on_error) does.
    fn on_error(&mut self, lp: &mut Loop, session: ClientSession, error: &Error) {
        lp.report_unhandled("bucle::engine_io", &session, error, "engine_io::ClientHandler::on_error");
    }
}

/// The options of a client's session. The names and defaults are those of `engine.io-client`.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// The path of the server. Default: `/engine.io/`.
    pub path: String,
    /// The transports, in their order: the first one opens the session. Default: polling, then WebSocket.
    pub transports: Vec<Transport>,
    /// Whether a session that polls changes to a WebSocket connection, if the server offers it. Default: `true`.
    pub upgrade: bool,
    /// Whether the next transport is tried when the first one cannot open the session: for networks in which WebSocket
    /// connections, or long requests, do not get through. A server that has not opened the session in
    /// [`timeout`](Self::timeout) is given up with all transports, as in Node. Default: `false`.
    #[doc(alias = "tryAllTransports")]
    pub try_all_transports: bool,
    /// Whether a session begins with a WebSocket connection if the last one to this server was made, in this loop. When
    /// it fails, the next session begins with the first transport again. In Node the last one to any server counts.
    /// Default: `false`.
    #[doc(alias = "rememberUpgrade")]
    pub remember_upgrade: bool,
    /// Whether the cookies of the server are sent back to it, for load balancers that find the server of a session by
    /// them. Those of [`headers`](Self::headers) are always sent, in front of them. At most 50 cookies and 8 KiB are
    /// kept, as long as `Max-Age` or `Expires` says. Default: `false`.
    ///
    /// A [`socket_io::Client`](crate::socket_io::Client) keeps them for its next session, as a browser does, so that it
    /// comes back to the server that can recover it. Node forgets them with the session.
    #[doc(alias = "withCredentials")]
    #[doc(alias = "CookieJar")]
    pub with_credentials: bool,
    /// Further keys and values for the query of every request, behind those of the URL. Those of the protocol cannot be
    /// set. Default: none.
    pub query: Vec<(String, String)>,
    /// Further headers of every request, such as `Authorization` or `Cookie`. Default: none.
    #[doc(alias = "extraHeaders")]
    pub headers: HeaderMap,
    /// The revision of the protocol. [`Revision::V3`] is for servers of Socket.IO 2. Default: [`Revision::V4`].
    pub revision: Revision,
    /// How long the server may take to open the session. Zero: no limit. Default: 20 s.
    pub timeout: Duration,
    /// How long an upgrade may take. Then the session stays with polling. Default: 10 s.
    pub upgrade_timeout: Duration,
    /// How many bytes a message, and the answer to a poll, may have. Default: 16 MiB.
    pub max_message: usize,
    /// Compression of WebSocket messages. Default: `None`.
    #[doc(alias = "perMessageDeflate")]
    pub per_message_deflate: Option<DeflateOptions>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        ClientOptions {
            path: "/engine.io/".to_owned(),
            transports: vec![Transport::Polling, Transport::WebSocket],
            upgrade: true,
            try_all_transports: false,
            remember_upgrade: false,
            with_credentials: false,
            query: Vec::new(),
            headers: HeaderMap::new(),
            revision: Revision::V4,
            timeout: Duration::from_secs(20),
            upgrade_timeout: Duration::from_secs(10),
            max_message: 16 * 1024 * 1024,
            per_message_deflate: None,
        }
    }
}

/// Opens a session with a server. `url` is `http://host:port?query` or `ws://host:port?query`; the path is that of the
/// options. [`ClientHandler::on_open`] follows, or [`ClientHandler::on_error`].
///
/// # Errors
/// `ERR_INVALID_URL`: the URL or the path is not valid. `https://` and `wss://` are refused: there is no TLS.
/// `ERR_INVALID_ARG_VALUE`: there are no transports.
pub fn connect(lp: &mut Loop, url: &str, options: ClientOptions, handler: impl ClientHandler) -> Result<ClientSession> {
    let jar = options.with_credentials.then(SharedJar::default);
    connect_with_jar(lp, url, options, jar, handler)
}

/// As [`connect`], with the cookies of an earlier session.
pub(crate) fn connect_with_jar(
    lp: &mut Loop,
    url: &str,
    options: ClientOptions,
    jar: Option<SharedJar>,
    handler: impl ClientHandler,
) -> Result<ClientSession> {
    let (location, mut transport) = check(url, &options)?;
    let now = lp.now();
    if options.remember_upgrade
        && options.transports.contains(&Transport::WebSocket)
        && lp.layer_mut::<Registry>().has_upgraded(location.authority())
    {
        transport = Transport::WebSocket;
    }
    let machine = Machine::new(now, options.revision, transport, options.timeout, options.upgrade_timeout);
    let handler: Rc<RefCell<dyn ClientHandler>> = Rc::new(RefCell::new(handler));
    let state = SessionState::new(Rc::new(options), location, handler, machine, jar);
    let session = lp.layer_mut::<Registry>().add(state);
    open(lp, session);
    registry::arm(lp, session);
    Ok(session)
}

/// Begins to open a session with its transport.
fn open(lp: &mut Loop, session: ClientSession) {
    match get_mut(lp, session).map(|state| state.machine.transport()) {
        Some(Transport::Polling) => polling::poll(lp, session),
        Some(Transport::WebSocket) => {
            if let Err(error) = channel::connect(lp, session) {
                fail(lp, session, error);
            }
        }
        None => {}
    }
}

/// The place of a session, and its first transport.
fn check(url: &str, options: &ClientOptions) -> Result<(Location, Transport)> {
    let location = Location::new(url, &options.path, &options.query)
        .map_err(|error| Error::custom("ERR_INVALID_URL", error.to_string()))?;
    let Some(&transport) = options.transports.first() else {
        return Err(Error::custom("ERR_INVALID_ARG_VALUE", "a client needs at least one transport"));
    };
    Ok((location, transport))
}

/// Checks what [`connect`] will check.
pub(crate) fn check_client_options(url: &str, options: &ClientOptions) -> Result<()> {
    check(url, options).map(|_| ())
}

/// Whether there is a session.
#[cfg(any(test, fuzzing))]
pub(crate) fn client_holds_anything(lp: &Loop) -> bool {
    lp.layer::<Registry>().is_some_and(Registry::holds_anything)
}

impl ClientSession {
    /// Its id, which is a secret between client and server. `None` before it is open, and when it is gone.
    pub fn id(self, lp: &Loop) -> Option<&str> {
        registry::get(lp, self).map(|state| state.id.as_str()).filter(|id| !id.is_empty())
    }

    /// The number of the session, for logs.
    pub fn serial(self) -> u32 {
        self.0.serial()
    }

    /// Whether messages can be sent.
    pub fn is_open(self, lp: &Loop) -> bool {
        registry::get(lp, self).is_some_and(SessionState::is_open)
    }

    /// Its transport. `None` when it is gone.
    pub fn transport(self, lp: &Loop) -> Option<Transport> {
        registry::get(lp, self).map(|state| state.machine.transport())
    }

    /// The revision of the protocol. `None` when it is gone.
    pub fn revision(self, lp: &Loop) -> Option<Revision> {
        registry::get(lp, self).map(|state| state.machine.revision())
    }

    /// Sends a message: a `&str` as text, bytes as a binary message. Everything that is sent in one phase leaves
    /// together: in one system call, or in one POST of at most the size that the server accepts.
    ///
    /// Returns `false` if the server takes messages more slowly than the program sends them. The message is queued all
    /// the same; send on when [`ClientHandler::on_drain`] is called. Also returns `false`, and sends nothing, when the
    /// session is not open.
    pub fn send<'a>(self, lp: &mut Loop, message: impl Into<Message<'a>>) -> bool {
        match message.into() {
            Message::Binary(bytes) => self.send_packet(lp, Queued::binary(bytes)),
            Message::Text(text) => {
                let mut packet = std::mem::take(&mut lp.layer_mut::<Registry>().packet);
                packet.clear();
                packet.push('4');
                packet.push_str(text);
                let is_low = self.send_text(lp, &packet);
                if packet.capacity() <= HIGH_WATER_MARK {
                    lp.layer_mut::<Registry>().packet = packet;
                }
                is_low
            }
        }
    }

    /// Whether a message would leave now: the last one is on its way, and no upgrade is in progress.
    pub fn is_writable(self, lp: &Loop) -> bool {
        let Some(state) = registry::get(lp, self).filter(|state| state.is_open()) else { return false };
        match (state.machine.transport(), state.ws) {
            (Transport::WebSocket, Some(ws)) => ws.is_open(lp) && ws.buffered_amount(lp) == 0,
            _ => state.post.is_none() && state.machine.may_poll(),
        }
    }

    /// Whether [`send`](Self::send) has returned `false`, and [`ClientHandler::on_drain`] has not been called since.
    #[doc(alias = "writableNeedDrain")]
    pub fn needs_drain(self, lp: &Loop) -> bool {
        registry::get(lp, self).is_some_and(|state| state.needs_drain)
    }

    /// Delivers no further message, and requests none from the server, until [`resume`](Self::resume). A session that
    /// is paused answers no pings: one that is paused for longer than the heartbeat allows is lost.
    pub fn pause(self, lp: &mut Loop) {
        let Some(state) = get_mut(lp, self).filter(|state| !state.has_ended()) else { return };
        state.is_paused = true;
        if let Some(ws) = state.ws.filter(|_| state.machine.transport() == Transport::WebSocket) {
            ws.pause(lp);
        }
    }

    /// Goes on after [`pause`](Self::pause).
    pub fn resume(self, lp: &mut Loop) {
        let Some(state) = get_mut(lp, self).filter(|state| !state.has_ended() && state.is_paused) else { return };
        state.is_paused = false;
        match state.ws.filter(|_| state.machine.transport() == Transport::WebSocket) {
            Some(ws) => ws.resume(lp),
            // In a tick, because a method does not call the program.
            None => lp.keyed_tick(self.0, |lp, key| polling::read_on(lp, ClientSession(key))),
        }
    }

    /// Closes the session behind everything that was sent. [`ClientHandler::on_close`] follows with
    /// [`CloseReason::ForcedClose`]; [`ClientHandler::on_error`] if the session was not open yet.
    pub fn close(self, lp: &mut Loop) {
        let Some(state) = get_mut(lp, self).filter(|state| state.is_alive()) else { return };
        if state.machine.transport() == Transport::WebSocket || !state.machine.is_open() {
            return end(lp, self, CloseReason::ForcedClose, closed_by_program());
        }
        state.stage = Stage::Closing;
        state.queue.push(Queued::text(PacketType::Close, ""));
        channel::give_up(lp, self);
        registry::stop_timer(lp, self);
        registry::arm(lp, self);
    }

    /// Whether the server should have shown that it is alive, and has not: the process was suspended, or very busy.
    /// Then the session ends in a tick, as in Node, even if a ping of the server arrives before its timer fires.
    pub(crate) fn ends_overdue(self, lp: &mut Loop) -> bool {
        let now = lp.now();
        let is_overdue = registry::get(lp, self).is_some_and(|state| state.machine.is_overdue(now));
        if is_overdue {
            lp.keyed_tick(self.0, |lp, key| end_overdue(lp, ClientSession(key)));
        }
        is_overdue
    }

    /// Sends a text packet that begins with its type, which is that of a message.
    pub(crate) fn send_text(self, lp: &mut Loop, packet: &str) -> bool {
        let Some(state) = registry::get(lp, self).filter(|state| state.is_open()) else { return false };
        match state.ws.filter(|_| state.machine.transport() == Transport::WebSocket) {
            Some(ws) => ws.send(lp, packet) || self.is_slow(lp),
            None => self.queue(lp, Queued::text(PacketType::Message, packet.get(1..).unwrap_or_default())),
        }
    }

    pub(crate) fn send_binary(self, lp: &mut Loop, bytes: &[u8]) -> bool {
        self.send_packet(lp, Queued::binary(bytes))
    }

    fn send_packet(self, lp: &mut Loop, packet: Queued) -> bool {
        let Some(state) = registry::get(lp, self).filter(|state| state.is_open()) else { return false };
        match state.ws.filter(|_| state.machine.transport() == Transport::WebSocket) {
            Some(ws) => channel::send_frame(lp, self, ws, &packet) || self.is_slow(lp),
            None => self.queue(lp, packet),
        }
    }

    /// Queues a packet for the next POST.
    fn queue(self, lp: &mut Loop, packet: Queued) -> bool {
        let Some(state) = get_mut(lp, self) else { return false };
        state.queue.push(packet);
        let is_low = state.queue.bytes() < HIGH_WATER_MARK;
        state.needs_drain |= !is_low;
        settle_later(lp, self);
        is_low
    }

    /// `on_drain` will be called when everything is sent. Returns `false`.
    #[cold]
    fn is_slow(self, lp: &mut Loop) -> bool {
        if let Some(state) = get_mut(lp, self) {
            state.needs_drain = true;
        }
        false
    }
}

/// The error of a session that the program has closed.
fn closed_by_program() -> Error {
    Error::custom("ABORT_ERR", "the program has closed the session")
}

/// Calls the handler of a session.
fn call(lp: &mut Loop, session: ClientSession, kind: Kind, f: impl FnOnce(&mut dyn ClientHandler, &mut Loop)) {
    let Some(handler) = get_mut(lp, session).map(|state| state.handler.clone()) else { return };
    // It is borrowed only while it runs, and nothing calls back meanwhile.
    if let Ok(mut handler) = handler.try_borrow_mut() {
        lp.in_layer_callback(kind, session.serial(), 0, |lp| f(&mut *handler, lp));
    }
}

/// A packet has arrived on the transport of the session.
fn receive(lp: &mut Loop, session: ClientSession, packet: &Packet<'_>) {
    let now = lp.now();
    let Some(state) = get_mut(lp, session).filter(|state| !state.has_ended()) else { return };
    // A session that the program has closed delivers nothing.
    let is_alive = state.is_alive();
    let message = match state.machine.receive(now, packet) {
        Reaction::None => return,
        Reaction::Opened(open) => return opened(lp, session, open),
        Reaction::Pong(data) => {
            // A server that pings again and again, and reads nothing, must not fill the queue.
            if !std::mem::replace(&mut state.has_pong, true) {
                let is_polling = state.machine.transport() == Transport::Polling;
                let text = if let Data::Text(text) = data { text } else { "" };
                let is_low = session.send_packet(lp, Queued::text(PacketType::Pong, text));
                if let Some(state) = get_mut(lp, session) {
                    state.has_pong = is_polling || !is_low;
                }
            }
            return;
        }
        Reaction::Closed => {
            let error = Error::custom("ECONNRESET", "the server has closed the session");
            return end(lp, session, CloseReason::TransportClose, error);
        }
        Reaction::Refused(reason) => {
            return fail(lp, session, Error::custom("E_BAD_RESPONSE", reason));
        }
        Reaction::Message(Data::Text(text)) => Message::Text(text),
        Reaction::Message(Data::Binary(bytes)) => Message::Binary(bytes),
    };
    if is_alive {
        call(lp, session, Kind::OnEvent, |handler, lp| handler.on_message(lp, session, message));
    }
}

/// The open packet has arrived.
fn opened(lp: &mut Loop, session: ClientSession, open: super::packet::OpenPacket) {
    let now = lp.now();
    let Some(state) = get_mut(lp, session) else { return };
    let offers_websocket = open.upgrades.iter().any(|name| name == Transport::WebSocket.as_str());
    let upgrades = state.machine.transport() == Transport::Polling
        && state.options.upgrade
        && state.transports.contains(&Transport::WebSocket)
        && offers_websocket;
    state.id = open.sid;
    state.max_payload = open.max_payload.unwrap_or(usize::MAX);
    if upgrades {
        state.machine.begin_upgrade(now);
    }
    let is_websocket = state.machine.transport() == Transport::WebSocket;
    note_upgrade(lp, session, is_websocket);
    // The deadline may be later than that of opening.
    registry::stop_timer(lp, session);
    registry::arm(lp, session);
    log::debug!(target: "bucle::engine_io", "{session} is open");
    call(lp, session, Kind::OnOpen, |handler, lp| handler.on_open(lp, session));
    let is_open = get_mut(lp, session).is_some_and(|state| state.is_open());
    if upgrades && is_open && channel::connect(lp, session).is_err() {
        channel::give_up(lp, session);
    }
}

/// The session has changed to its WebSocket connection.
fn upgraded(lp: &mut Loop, session: ClientSession) {
    call(lp, session, Kind::OnUpgrade, |handler, lp| handler.on_upgrade(lp, session));
    settle_later(lp, session);
}

/// Everything is sent.
fn drained(lp: &mut Loop, session: ClientSession) {
    let Some(state) = get_mut(lp, session).filter(|state| state.is_open()) else { return };
    state.has_pong = false;
    if std::mem::take(&mut state.needs_drain) {
        call(lp, session, Kind::OnDrain, |handler, lp| handler.on_drain(lp, session));
    }
}

/// The tick of [`registry::settle_later`].
fn settle(lp: &mut Loop, session: ClientSession) {
    let Some(state) = get_mut(lp, session) else { return };
    state.is_settling = false;
    if state.has_ended() {
        return finish(lp, session);
    }
    if state.machine.is_pausing() {
        return channel::finish_upgrade(lp, session);
    }
    polling::flush(lp, session);
    let Some(state) = get_mut(lp, session).filter(|state| state.queue.is_empty() && state.post.is_none()) else {
        return;
    };
    let is_sent = match (state.machine.transport(), state.ws) {
        // Gathered bytes leave at the end of the phase. Only a connection that the kernel blocks has an event for it.
        (Transport::WebSocket, Some(ws)) => !ws.socket().needs_drain(lp),
        _ => true,
    };
    if is_sent {
        drained(lp, session);
    }
}

/// The session has ended: its last event.
fn finish(lp: &mut Loop, session: ClientSession) {
    let Some(state) = lp.layer_mut::<Registry>().remove(session) else { return };
    let Stage::Closed(reason, error) = state.stage else { return };
    let Ok(mut handler) = state.handler.try_borrow_mut() else { return };
    if state.machine.is_open() {
        lp.in_layer_callback(Kind::OnClose, session.serial(), 0, |lp| handler.on_close(lp, session, reason, &error));
    } else {
        lp.in_layer_callback(Kind::OnError, session.serial(), 0, |lp| handler.on_error(lp, session, &error));
    }
}

/// The session's timer has fired.
fn expire(lp: &mut Loop, session: ClientSession) {
    registry::disarm(lp, session);
    let now = lp.now();
    let Some(state) = get_mut(lp, session) else { return };
    match state.stage {
        Stage::Alive => {}
        Stage::Closing => return end(lp, session, CloseReason::ForcedClose, closed_by_program()),
        Stage::Closed(..) => return,
    }
    while let Some(due) =
        get_mut(lp, session).filter(|state| state.is_alive()).and_then(|state| state.machine.expire(now))
    {
        match due {
            Due::Ping => {
                session.send_packet(lp, Queued::text(PacketType::Ping, ""));
            }
            Due::OpenTimeout => {
                let error = Error::custom("ETIMEDOUT", "timeout: the server has not opened the session in time");
                end(lp, session, CloseReason::TransportError, error);
            }
            Due::PingTimeout => end_overdue(lp, session),
            Due::UpgradeTimeout => channel::give_up(lp, session),
        }
    }
    registry::arm(lp, session);
}

/// The server has not shown that it is alive.
fn end_overdue(lp: &mut Loop, session: ClientSession) {
    let error = Error::custom("ETIMEDOUT", "the server has sent no heartbeat in time");
    end(lp, session, CloseReason::PingTimeout, error);
}

/// `session #7`, as in the log.
impl fmt::Display for ClientSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client session #{}", self.serial())
    }
}

impl fmt::Debug for ClientSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientSession#{}", self.serial())
    }
}
