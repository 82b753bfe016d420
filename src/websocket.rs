//! WebSocket (RFC 6455) with compression (RFC 7692): server and client.
//!
//! A WebSocket connection begins as an HTTP request. From then on both sides send *messages*, each in one or several
//! *frames*. Pure files do the translation, such as `handshake`, `frame` and `receiver`; they do not know sockets:
//!
//! ```text
//!   http ─▶ handshake ─▶ open
//!   socket ─▶ frame ─▶ receiver ─┬─ message ─▶ on_message(ws, "hola")
//!             mask     utf8      ├─ ping ────▶ a pong; on_ping
//!             deflate            └─ close ───▶ a close frame; on_close(ws, 1000, "bye")
//!   socket ◀─ frame ◀─ deflate, mask ◀─ ws.send
//! ```
//!
//! An [`Endpoint`] is a handler with its options, for any number of connections. [`listen`] makes one with a server:
//!
//! ```
//! use bucle::websocket::{self, ClientOptions, CloseCode, Endpoint, Message, Options, WebSocket};
//! use bucle::Loop;
//!
//! /// Sends every message back.
//! struct Echo;
//!
//! impl websocket::Handler for Echo {
//!     fn on_message(&mut self, lp: &mut Loop, ws: WebSocket, message: Message<'_>) {
//!         ws.send(lp, message);
//!     }
//! }
//!
//! /// Says hello and closes when it gets an answer.
//! # #[derive(Default)]
//! struct Client;
//!
//! impl websocket::Handler for Client {
//!     fn on_open(&mut self, lp: &mut Loop, ws: WebSocket) {
//!         ws.send(lp, "hola");
//!     }
//!     fn on_message(&mut self, lp: &mut Loop, ws: WebSocket, message: Message<'_>) {
//!         assert_eq!(message, Message::Text("hola"));
//!         ws.close(lp, CloseCode::NORMAL, "");
//!     }
//!     fn on_close(&mut self, _: &mut Loop, _: WebSocket, code: CloseCode, _reason: &str) {
//!         assert_eq!(code, CloseCode::NORMAL);
//!     }
//! }
//!
//! bucle::run(|lp| {
//!     let server = websocket::listen(lp, ("127.0.0.1", 0), Options::default(), Echo)?;
//!     let port = server.port(lp).expect("it is bound");
//!     let client = Endpoint::new(lp, Options::default(), Client);
//!     client.connect(lp, &format!("ws://127.0.0.1:{port}/"), &ClientOptions::default())?;
//!     server.unref(lp); // A real server would keep the loop running.
//!     Ok(())
//! })?;
//! # Ok::<(), bucle::Error>(())
//! ```
//!
//! # Several endpoints, and a page beside them
//!
//! A server with more than one kind of connection is an [`http::Handler`](crate::http::Handler). It calls
//! [`Endpoint::handshake`] for the paths of an endpoint:
//!
//! ```
//! use bucle::http::{self, Exchange, Request, StatusCode};
//! use bucle::websocket::{self, Endpoint};
//! use bucle::Loop;
//!
//! # struct Chat;
//! # impl websocket::Handler for Chat {}
//! struct Site {
//!     chat: Endpoint<Chat>,
//! }
//!
//! impl http::Handler for Site {
//!     fn on_request(&mut self, lp: &mut Loop, exchange: Exchange, _: &Request) {
//!         exchange.respond_text(lp, StatusCode::NOT_FOUND, "not found\n");
//!     }
//!     fn on_upgrade(&mut self, lp: &mut Loop, exchange: Exchange, request: &Request) {
//!         match request.path() {
//!             "/chat" => {
//!                 if let Some(handshake) = self.chat.handshake(lp, exchange, request) {
//!                     handshake.accept(lp);
//!                 }
//!             }
//!             _ => self.on_request(lp, exchange, request),
//!         }
//!     }
//! }
//! ```
//!
//! # Slow peers
//!
//! [`WebSocket::send`] returns `false` when the peer reads too slowly, and [`Handler::on_drain`] follows. A server
//! stops reading from a client that does not read its answers. A client always reads; otherwise both sides could wait
//! for each other. A subscriber that falls behind too far is disconnected or skipped: [`Options::slow`].
//!
//! # Bounds
//!
//! | memory or time | limit | when it is reached |
//! |---|---|---|
//! | a connection between two messages | 72 bytes and its place in tables; no timer, no buffer | |
//! | a message, over all fragments, and when it is inflated | [`Options::max_message`], 1 MiB | close 1009 |
//! | a message that is not complete | the bytes that have arrived | |
//! | the handshake | [`Options::handshake_timeout`], 10 s; 16 KiB | 408, 431 |
//! | compression | one pair of streams for the loop, about 300 KiB; one for each connection that keeps its context | |
//! | messages that the peer of a server from [`listen`] does not read | [`OUTBOX_LIMIT`], 1 MiB, and the longest message; 30 s | the connection is reset |
//! | a connection from which nothing arrives | [`Options::idle_limit`], 120 s, with pings | disconnected |
//! | the answer to a close frame | [`CLOSE_TIMEOUT`], 5 s | disconnected |

pub mod close;
mod closing;
pub mod deflate;
mod dial;
pub mod extensions;
mod fields;
mod forward;
pub mod frame;
pub mod handshake;
mod idle;
pub mod mask;
mod masks;
#[cfg(any(test, fuzzing))]
pub(crate) mod properties;
mod publish;
pub mod receiver;
mod registry;
mod send;
mod server;
mod session;
pub mod topics;
pub mod utf8;

use std::any::Any;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

pub use close::{CloseCode, Violation};
pub use closing::{CLOSE_TIMEOUT, MAX_REASON};
pub use deflate::DeflateOptions;
pub use dial::{ClientOptions, connect};
pub use handshake::Origins;
pub use masks::Masks;
pub use publish::{Published, broadcast, broadcast_with};
pub use receiver::Message;
pub use server::{Accept, Handshake, Server, listen};

use crate::http::head::ResponseHead;
use crate::http::{OUTBOX_LIMIT, Request, WRITE_TIMEOUT};
use crate::net::{Dropped, Error, Limits, ServerId, Shared, Socket};
use crate::{Loop, TimerId};
use frame::Role;
use receiver::Settings;
use registry::{EndpointState, Registry};

/// A handle of a connection. 8 bytes, `Copy`; callbacks get it as an argument. It never names another connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WebSocket(Socket);

/// The bits of the socket's tag that this layer uses.
mod tag {
    /// The handshake is complete.
    pub const OPEN: u16 = 1;
    /// This side's close frame was sent: nothing else is sent.
    pub const CLOSE_SENT: u16 = 1 << 1;
    /// The peer's close frame was received, or the peer has broken a rule: nothing else is received.
    pub const CLOSE_RECEIVED: u16 = 1 << 2;
    /// The loop's table has a `Receiver` for this connection: a message is unfinished.
    pub const PARTIAL: u16 = 1 << 3;
    /// `permessage-deflate` was agreed.
    pub const DEFLATE: u16 = 1 << 4;
    /// The loop's table has `OwnStreams` for this connection.
    pub const OWN_STREAMS: u16 = 1 << 5;
    /// Nothing has arrived since the last check of idle connections.
    pub const QUIET: u16 = 1 << 6;
    /// A ping was sent because nothing had arrived, and nothing has arrived since.
    pub const PINGED: u16 = 1 << 7;
    /// This side is the client: it masks its frames.
    pub const CLIENT: u16 = 1 << 8;
    /// This layer has paused the socket, because the peer does not read its answers.
    pub const THROTTLED: u16 = 1 << 9;
    /// The program has paused the connection.
    pub const PAUSED: u16 = 1 << 10;
    /// The connection has, or had, subscriptions.
    pub const HAS_TOPICS: u16 = 1 << 11;
    /// Counted as an open connection of its endpoint.
    pub const COUNTED: u16 = 1 << 12;

    /// The bits with which data does not take the fast path.
    pub const UNUSUAL: u16 = CLOSE_SENT | CLOSE_RECEIVED | PARTIAL;
}

/// Handles the events of the connections of an endpoint. Every method has a default body.
///
/// The names are those of [`ws`](https://github.com/websockets/ws/blob/master/doc/ws.md) for Node.
#[expect(unused_variables, reason = "the names are for implementors")]
pub trait Handler: Any {
    /// A client asks for a connection, on a server from [`listen`]. The request is valid, and its origin is allowed.
    /// Accept or refuse it, now or later: from a timer, or when another socket has answered. The default accepts it.
    fn on_handshake(&mut self, lp: &mut Loop, handshake: Handshake<Self>, request: &Request)
    where
        Self: Sized,
    {
        handshake.accept(lp);
    }
    /// The connection is open.
    fn on_open(&mut self, lp: &mut Loop, ws: WebSocket) {}
    /// A whole message has arrived. Text is valid UTF-8.
    ///
    /// After [`WebSocket::pause`] no further message is delivered until [`WebSocket::resume`]; after
    /// [`WebSocket::close`] none at all.
    fn on_message(&mut self, lp: &mut Loop, ws: WebSocket, message: Message<'_>) {}
    /// A ping has arrived. It was answered already; a client whose messages wait to be sent answers the latest one
    /// behind them.
    fn on_ping(&mut self, lp: &mut Loop, ws: WebSocket, payload: &[u8]) {}
    /// A pong has arrived: the answer to a [`WebSocket::ping`], or to one that this layer has sent (its payload is
    /// empty).
    fn on_pong(&mut self, lp: &mut Loop, ws: WebSocket, payload: &[u8]) {}
    /// All queued messages are sent, after [`WebSocket::send`] has returned `false`.
    fn on_drain(&mut self, lp: &mut Loop, ws: WebSocket) {}
    /// The connection is closed. The last event of a connection, and the only one if a client could not connect.
    ///
    /// The code is that of the peer's close frame; [`CloseCode::NO_STATUS`] if the frame had none;
    /// [`CloseCode::ABNORMAL`] if the connection ended without one. If the peer has broken a rule, the code is the one
    /// that was sent to it, and `reason` names the rule.
    fn on_close(&mut self, lp: &mut Loop, ws: WebSocket, code: CloseCode, reason: &str) {}
    /// Something failed; `on_close` follows. After the peer's close frame a loss of the connection is not reported:
    /// peers may close the connection without reading the answer, which resets it.
    ///
    /// The default logs the error. A connection that was lost is common and logged at level debug; a peer that this
    /// side has disconnected, and a client that could not connect, are logged as warnings.
    fn on_error(&mut self, lp: &mut Loop, ws: WebSocket, error: Error) {
        let was_open = ws.0.tag(lp) & tag::OPEN != 0;
        if is_by_this_side(&error) || !was_open {
            lp.report_unhandled("bucle::websocket", &ws, &error, "websocket::Handler::on_error");
        } else {
            log::debug!(target: "bucle::websocket", "{ws}: {error}");
        }
    }
    /// The server of the connection has begun to drain ([`ServerId::drain`](crate::net::ServerId::drain)). The default
    /// closes with [`CloseCode::GOING_AWAY`].
    fn on_going_away(&mut self, lp: &mut Loop, ws: WebSocket) {
        ws.close(lp, CloseCode::GOING_AWAY, "");
    }
    /// As [`net::Handler::is_busy`](crate::net::Handler::is_busy): whether an answer is still being prepared.
    fn is_busy(&self, lp: &Loop, ws: WebSocket) -> bool {
        false
    }

    /// Client: as [`net::Handler::on_lookup`](crate::net::Handler::on_lookup).
    fn on_lookup(&mut self, lp: &mut Loop, ws: WebSocket, result: Result<IpAddr, &Error>) {}
    /// Client: the server has accepted the connection with this response, whose headers may have cookies. `on_open`
    /// follows.
    #[doc(alias = "upgrade")]
    fn on_upgrade(&mut self, lp: &mut Loop, ws: WebSocket, response: &ResponseHead) {}
    /// Client: the server has refused the connection with this response. `body` is its beginning, at most 4 KiB.
    /// `on_error` and `on_close` follow.
    #[doc(alias = "unexpected-response")]
    fn on_unexpected_response(&mut self, lp: &mut Loop, ws: WebSocket, response: &ResponseHead, body: &[u8]) {}

    /// As [`net::Handler::on_listening`](crate::net::Handler::on_listening), on a server from [`listen`].
    fn on_listening(&mut self, lp: &mut Loop, server: ServerId) {}
    /// As [`net::Handler::on_drop`](crate::net::Handler::on_drop), on a server from [`listen`].
    fn on_drop(&mut self, lp: &mut Loop, server: ServerId, dropped: Dropped) {}
    /// As [`net::Handler::on_server_error`](crate::net::Handler::on_server_error), on a server from [`listen`].
    fn on_server_error(&mut self, lp: &mut Loop, server: ServerId, error: Error) {
        lp.report_unhandled("bucle::websocket", &server, &error, "websocket::Handler::on_server_error");
    }
    /// As [`net::Handler::on_server_close`](crate::net::Handler::on_server_close), on a server from [`listen`].
    fn on_server_close(&mut self, lp: &mut Loop, server: ServerId) {}
}

/// Whether this side has disconnected the peer, for a reason of its own.
fn is_by_this_side(error: &Error) -> bool {
    matches!(error, Error::Custom { .. } | Error::TooSlow { .. })
}

/// The high-water mark of a client's connection, as that of an HTTP server: one full read of the loop.
const HIGH_WATER_MARK: usize = 64 * 1024;

/// The limits of a client's connection. The program decides how much it sends, so the queued bytes have no limit.
const CLIENT_LIMITS: Limits = Limits { write_timeout: WRITE_TIMEOUT, ..Limits::NONE };

/// The reaction to a subscriber for which too many bytes wait when a message is published.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SlowReceiver {
    /// It is disconnected: a subscriber gets all messages or learns that it has missed some.
    #[default]
    Close,
    /// The message is not sent to it: for topics where only the newest message matters.
    Skip,
}

/// The options of an endpoint.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many bytes a message may have, over all its fragments; of a compressed message also inflated. Default: 1
    /// MiB.
    #[doc(alias = "maxPayload")]
    pub max_message: usize,
    /// A connection from which nothing has arrived for a third of this time gets a ping, and one from which nothing has
    /// arrived for two thirds to all of this time is disconnected. Zero: never. Default: 120 s.
    pub idle_limit: Duration,
    /// Quiet connections get pings. Without them a connection is closed when it has been quiet for the idle limit, and
    /// for half as long again at the latest. Default: `true`.
    pub sends_pings: bool,
    /// Servers from [`listen`], and clients: how long the handshake may take. Default: 10 s.
    #[doc(alias = "handshakeTimeout")]
    pub handshake_timeout: Duration,
    /// The subprotocols that this side speaks, for servers. Default: none.
    pub protocols: Vec<String>,
    /// Which pages may connect, for servers. A client that is no browser sends no origin and may always connect.
    /// Default: [`Origins::SameHost`].
    pub origins: Origins,
    /// Compression with `permessage-deflate`. Default: `None`, because it costs more CPU than it saves in a local
    /// network.
    #[doc(alias = "perMessageDeflate")]
    pub deflate: Option<DeflateOptions>,
    /// The reaction to subscribers that read too slowly. Default: [`SlowReceiver::Close`].
    pub slow: SlowReceiver,
    /// How many bytes may wait for a subscriber before it is skipped, with [`SlowReceiver::Skip`]. Default: half of
    /// [`OUTBOX_LIMIT`], at which the connection is reset.
    pub skip_above: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            max_message: 1024 * 1024,
            idle_limit: Duration::from_secs(120),
            sends_pings: true,
            handshake_timeout: Duration::from_secs(10),
            protocols: Vec::new(),
            origins: Origins::SameHost,
            deflate: None,
            slow: SlowReceiver::default(),
            skip_above: OUTBOX_LIMIT / 2,
        }
    }
}

/// A handler and its options, for any number of connections. 8 bytes, `Copy`.
pub struct Endpoint<H> {
    connections: Shared<Connections<H>>,
}

/// The [`net::Handler`](crate::net::Handler) of all connections of an endpoint.
struct Connections<H> {
    handler: H,
    options: Rc<Options>,
    /// How many are open.
    open: usize,
    /// Checks for idle connections, while there are open ones.
    idle_timer: Option<TimerId>,
    /// Tells the loop's registry that the endpoint exists.
    _alive: Rc<()>,
}

impl<H: Handler> Endpoint<H> {
    /// Moves `handler` into the loop.
    pub fn new(lp: &mut Loop, options: Options, handler: H) -> Endpoint<H> {
        let (options, alive) = (Rc::new(options), Rc::new(()));
        let connections =
            Connections { handler, options: options.clone(), open: 0, idle_timer: None, _alive: alive.clone() };
        let connections = Shared::new(lp, connections);
        lp.layer_mut::<Registry>().add(connections.handler_slot(), options, &alive);
        Endpoint { connections }
    }

    /// Lends the handler and the loop to `f` and returns what `f` returns. `None` inside the handler's own callbacks,
    /// where it is `self`, and after [`release`](Self::release).
    pub fn with<R>(self, lp: &mut Loop, f: impl FnOnce(&mut H, &mut Loop) -> R) -> Option<R> {
        self.connections.with(lp, |connections, lp| f(&mut connections.handler, lp))
    }

    fn with_all<R>(self, lp: &mut Loop, f: impl FnOnce(&mut Connections<H>, &mut Loop) -> R) -> Option<R> {
        self.connections.with(lp, f)
    }

    /// The endpoint takes no further connections. Its handler is dropped when the last one has closed.
    pub fn release(self, lp: &mut Loop) {
        self.connections.release(lp);
    }

    fn state(self, lp: &Loop) -> Option<&EndpointState> {
        lp.layer::<Registry>()?.endpoint(self.connections.handler_slot())
    }

    /// The options. Also while the handler runs. `None` after [`release`](Self::release).
    fn options(self, lp: &Loop) -> Option<Rc<Options>> {
        self.state(lp).filter(|_| self.connections.exists(lp)).map(|state| state.options.clone())
    }
}

impl<H: Handler> Connections<H> {
    /// The settings of the receiver for a connection with this tag.
    #[inline]
    fn settings(&self, tag: u16) -> Settings {
        Settings {
            role: if tag & tag::CLIENT == 0 { Role::Server } else { Role::Client },
            max_message: self.options.max_message,
            deflate: tag & tag::DEFLATE != 0,
        }
    }

    /// A connection is open: it is checked for idleness.
    fn count_opened(&mut self, lp: &mut Loop, socket: Socket) {
        socket.change_tag(lp, tag::COUNTED, 0);
        self.open += 1;
        if self.idle_timer.is_none()
            && !self.options.idle_limit.is_zero()
            && let Some(slot) = socket.handler_slot(lp)
        {
            self.idle_timer = Some(idle::start(lp, slot, self.options.idle_limit, self.options.sends_pings));
        }
    }

    fn count_closed(&mut self, lp: &mut Loop, socket: Socket) {
        if socket.tag(lp) & tag::COUNTED != 0 {
            self.count_down(lp);
        }
    }

    fn count_down(&mut self, lp: &mut Loop) {
        self.open -= 1;
        if self.open == 0
            && let Some(timer) = self.idle_timer.take()
        {
            lp.clear(timer);
        }
    }
}

impl WebSocket {
    /// The connection below. Bytes that are written to it directly would be taken for frames.
    pub fn socket(self) -> Socket {
        self.0
    }

    /// The number of the connection, as in the log.
    pub fn serial(self) -> u32 {
        self.0.serial()
    }

    /// Whether messages can be sent: the handshake is complete, and neither side has closed.
    pub fn is_open(self, lp: &Loop) -> bool {
        self.0.tag(lp) & (tag::OPEN | tag::CLOSE_SENT | tag::CLOSE_RECEIVED) == tag::OPEN
            && self.0.write_refusal(lp).is_none()
    }

    /// No message is delivered after this until [`resume`](Self::resume), not even the next one of the same read. The
    /// peer's TCP window closes when it goes on sending. A close frame and a lost connection are not noticed meanwhile.
    pub fn pause(self, lp: &mut Loop) {
        self.0.change_tag(lp, tag::PAUSED, 0);
        self.0.pause(lp);
    }

    /// Messages are delivered again, beginning in the next tick. If the peer has not read its answers, they are
    /// delivered when it has.
    pub fn resume(self, lp: &mut Loop) {
        self.0.change_tag(lp, 0, tag::PAUSED);
        if self.0.tag(lp) & tag::THROTTLED == 0 {
            self.0.resume(lp);
        }
    }

    /// The peer has read its answers.
    fn end_throttle(self, lp: &mut Loop) {
        let tag = self.0.tag(lp);
        if tag & tag::THROTTLED != 0 {
            self.0.change_tag(lp, 0, tag::THROTTLED);
            if tag & tag::PAUSED == 0 {
                self.0.resume(lp);
            }
        }
    }

    /// How many bytes wait in the process because the peer reads too slowly.
    #[doc(alias = "bufferedAmount")]
    pub fn buffered_amount(self, lp: &Loop) -> usize {
        self.0.unsent_length(lp)
    }

    /// The subprotocol that both sides have agreed on.
    pub fn protocol(self, lp: &Loop) -> Option<&str> {
        self.0.entry::<Protocol>(lp).map(|protocol| protocol.0.as_str())
    }

    /// Whether messages may be compressed: both sides have agreed on `permessage-deflate`.
    #[doc(alias = "extensions")]
    pub fn is_compressing(self, lp: &Loop) -> bool {
        self.0.tag(lp) & tag::DEFLATE != 0
    }

    /// The peer's address; `None` on a unix path.
    pub fn remote_address(self, lp: &Loop) -> Option<SocketAddr> {
        self.0.remote_address(lp)
    }

    fn is_client(self, lp: &Loop) -> bool {
        self.0.tag(lp) & tag::CLIENT != 0
    }

    fn set_protocol(self, lp: &mut Loop, protocol: String) {
        self.0.set_entry(lp, Protocol(protocol));
    }

    fn endpoint(self, lp: &Loop) -> Option<&EndpointState> {
        lp.layer::<Registry>()?.endpoint(self.0.handler_slot(lp)?)
    }
}

/// The subprotocol of a connection that has one.
struct Protocol(String);

/// `#41`, as in the log.
impl fmt::Display for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebSocket#{}", self.serial())
    }
}

impl<H> Clone for Endpoint<H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<H> Copy for Endpoint<H> {}
