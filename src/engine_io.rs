//! Engine.IO: sessions of messages over HTTP polling and WebSocket. [`socket_io`](crate::socket_io) stands on it.
//!
//! A session begins with HTTP requests, which pass every proxy, and goes on over a WebSocket connection if the client
//! can open one. The program sees messages, and not how they are carried.
//!
//! ```text
//!   http ──▶ verify ──▶ polling ──▶ payload ─┐
//!               │                            ├─▶ packet ──▶ session ──▶ on_message(session, "hola")
//!               └─────▶ websocket ───────────┘    (type,    (heartbeat,
//!                                                  data)     upgrade)
//!   http ◀── answer of a poll ◀── queue ◀─┐
//!                                         ├── session.send
//!   websocket ◀───────────────────────────┘
//! ```
//!
//! [`packet`], [`payload`], [`session`], [`jsonp`], [`cors`], [`cookie`] and [`query`] are pure. An [`Engine`] is a
//! handler with its options; [`listen`] makes one with a server:
//!
//! ```
//! use bucle::engine_io::{self, Message, Options, Session};
//! use bucle::Loop;
//!
//! /// Sends every message back.
//! struct Echo;
//!
//! impl engine_io::Handler for Echo {
//!     fn on_message(&mut self, lp: &mut Loop, session: Session, message: Message<'_>) {
//!         session.send(lp, message);
//!     }
//! }
//!
//! bucle::run(|lp| {
//!     let server = engine_io::listen(lp, ("127.0.0.1", 0), Options::default(), Echo)?;
//!     server.unref(lp); // A real server would keep the loop running.
//!     Ok(())
//! })?;
//! # Ok::<(), bucle::Error>(())
//! ```
//!
//! # Revisions
//!
//! Revision 4 is that of Socket.IO 3 and 4. With [`Options::allow_eio3`] clients of revision 3 (Socket.IO 2) are
//! served, too. A request without `EIO=4` is one of revision 3, as in Node.
//!
//! # Client
//!
//! [`connect`] opens a session with a server, for a [`ClientHandler`]. It polls first, and changes to a WebSocket
//! connection if the server offers it. A lost session is not opened again:
//! [`socket_io::Client`](crate::socket_io::Client) does that.
//!
//! ```
//! use bucle::engine_io::{self, ClientHandler, ClientOptions, ClientSession, Message};
//! use bucle::Loop;
//! # use bucle::engine_io::{Options, Session};
//! # struct Echo;
//! # impl engine_io::Handler for Echo {
//! #     fn on_message(&mut self, lp: &mut Loop, session: Session, message: Message<'_>) {
//! #         session.send(lp, message);
//! #     }
//! # }
//!
//! struct Greeter;
//!
//! impl ClientHandler for Greeter {
//!     fn on_open(&mut self, lp: &mut Loop, session: ClientSession) {
//!         session.send(lp, "hola");
//!     }
//!     fn on_message(&mut self, lp: &mut Loop, session: ClientSession, message: Message<'_>) {
//!         assert_eq!(message, Message::Text("hola"));
//!         session.close(lp);
//!     }
//! }
//!
//! bucle::run(|lp| {
//! #   let server = engine_io::listen(lp, ("127.0.0.1", 0), Options::default(), Echo)?;
//! #   server.unref(lp);
//! #   let port = server.port(lp).expect("it is bound");
//!     engine_io::connect(lp, &format!("http://127.0.0.1:{port}"), ClientOptions::default(), Greeter)?;
//!     Ok(())
//! })?;
//! # Ok::<(), bucle::Error>(())
//! ```
//!
//! # Bounds
//!
//! | memory or time | limit | when it is reached |
//! |---|---|---|
//! | a message, and the body of a POST | [`Options::max_http_buffer_size`], 1 MB | WebSocket: close 1009; POST: 413. The session ends |
//! | packets that wait for a poll | [`Options::max_queue`], 1 MiB and the longest message | the session ends |
//! | packets in one answer to a poll | [`MAX_PACKETS`](payload::MAX_PACKETS), 16 | the next poll gets the others |
//! | packets of a POST in one turn | 1,024 | other connections have their turn |
//! | the answer to a ping | [`Options::ping_timeout`], 20 s; a packet extends it once | the session ends |
//! | an upgrade | [`Options::upgrade_timeout`], 10 s | its WebSocket connection is closed |
//! | sessions | [`Options::max_sessions`], 1,000,000 | 503 with `Retry-After` |
//! | a session that is closing with packets for polls | 30 s | it ends without them |
//! | a client: a message, and the answer to a poll | [`ClientOptions::max_message`], 16 MiB | the session ends |
//! | a client: packets of a poll, or of a WebSocket connection, in one turn | 1,024 | other connections have their turn |
//! | a client: opening a session, an upgrade | [`ClientOptions::timeout`], 20 s; [`ClientOptions::upgrade_timeout`], 10 s | an error; it stays with polling |

mod attach;
mod channel;
mod client;
pub mod cookie;
pub mod cors;
mod error;
mod errors;
mod files;
pub mod id;
pub(crate) mod index;
pub mod jsonp;
pub mod packet;
pub mod payload;
mod polling;
#[cfg(any(test, fuzzing))]
pub(crate) mod properties;
pub mod query;
mod registry;
mod requests;
pub(crate) mod send;
pub mod session;

use std::any::Any;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

pub use attach::{Attached, NotFound};
pub use client::{ClientHandler, ClientOptions, ClientSession, connect};
pub(crate) use client::{SharedJar, check_client_options, connect_with_jar};
#[cfg(any(test, fuzzing))]
pub(crate) use client::{client_holds_anything, cookies::properties::hold_for as cookies_hold_for};
pub use cookie::Cookie;
pub use cors::{Cors, CorsOrigin};
pub use error::{InvalidOption, Malformed};
pub use errors::{ConnectionError, ErrorCode};
pub use files::ClientFiles;
pub use id::Id;
pub use packet::Revision;
pub use session::Transport;

pub use crate::websocket::{DeflateOptions, Message};

use crate::http::{self, HeaderMap, Http, OUTBOX_LIMIT, Request};
use crate::net::{self, Listen, Server};
use crate::websocket::{self, Endpoint};
use crate::{Key, Loop, Result};
use registry::Registry;
use session::Times;

/// A handle of a session. 8 bytes, `Copy`; callbacks get it as an argument. It never names another session.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Session(Key);

/// Why a session has ended. The texts are Node's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CloseReason {
    /// The transport has failed, or the client has broken a rule of it.
    TransportError,
    /// The client has closed the session or its connection.
    TransportClose,
    /// The program has closed the session.
    ForcedClose,
    /// The client has not answered a ping in time.
    PingTimeout,
    /// The client has sent a packet that could not be parsed.
    ParseError,
    /// The server is shutting down.
    ServerShuttingDown,
}

impl CloseReason {
    /// Node's text.
    pub fn as_str(self) -> &'static str {
        match self {
            CloseReason::TransportError => "transport error",
            CloseReason::TransportClose => "transport close",
            CloseReason::ForcedClose => "forced close",
            CloseReason::PingTimeout => "ping timeout",
            CloseReason::ParseError => "parse error",
            CloseReason::ServerShuttingDown => "server shutting down",
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A session that has just been opened.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    /// The request that has opened it.
    pub request: &'a Request,
    /// The client's address; `None` on a unix path.
    pub address: Option<SocketAddr>,
}

/// Handles the events of the sessions of an engine. Every method has a default body.
///
/// The names are those of [`engine.io`](https://socket.io/docs/v4/engine-io-protocol/) for Node.
#[expect(unused_variables, reason = "the names are for implementors")]
pub trait Handler: Any {
    /// A client asks for a session, and its request is valid. An error refuses it with 403 and this message.
    ///
    /// A browser sends the page's origin in `Origin`. WebSocket connections are not subject to CORS, so a server whose
    /// sessions belong to users should check it here.
    ///
    /// # Errors
    /// The session is refused.
    #[doc(alias = "allowRequest")]
    fn allow_request(&mut self, lp: &mut Loop, request: &Request) -> Result<(), String> {
        Ok(())
    }
    /// The headers of an answer to a valid request, also those of an upgrade: `is_initial` for the one that opens a
    /// session. Those for pages of other origins, the cookie and `Cache-Control` are there already, and can be changed.
    /// Headers that describe the body follow later.
    #[doc(alias = "initial_headers")]
    #[doc(alias = "headers")]
    fn on_headers(&mut self, lp: &mut Loop, headers: &mut HeaderMap, request: &Request, is_initial: bool) {}
    /// A session is open.
    fn on_open(&mut self, lp: &mut Loop, session: Session, opening: Opening<'_>) {}
    /// A message has arrived. Text is valid UTF-8.
    fn on_message(&mut self, lp: &mut Loop, session: Session, message: Message<'_>) {}
    /// The session has changed from polling to a WebSocket connection.
    fn on_upgrade(&mut self, lp: &mut Loop, session: Session) {}
    /// All queued messages are sent, after [`Session::send`] has returned `false`.
    fn on_drain(&mut self, lp: &mut Loop, session: Session) {}
    /// The session has ended: its last event. `description` says more than the reason, for a log; it may be empty.
    fn on_close(&mut self, lp: &mut Loop, session: Session, reason: CloseReason, description: &'static str) {}
    /// A request was refused. This helps to find out why a client cannot connect. The default logs it at level debug.
    #[doc(alias = "connection_error")]
    fn on_connection_error(&mut self, lp: &mut Loop, error: &ConnectionError, request: &Request) {
        log::debug!(target: "bucle::engine_io", "{} {}: {error}", request.method(), request.target());
    }
}

/// The options of an engine. The names and defaults are Node's.
#[derive(Clone, Debug)]
pub struct Options {
    /// The path of the requests, with or without a slash at its end; everything below it belongs to the engine.
    /// Default: `/engine.io/`.
    pub path: String,
    /// The pause between two pings. Default: 25 s.
    #[doc(alias = "pingInterval")]
    pub ping_interval: Duration,
    /// How long a client may take to answer a ping. Default: 20 s.
    #[doc(alias = "pingTimeout")]
    pub ping_timeout: Duration,
    /// How long an upgrade may take. Default: 10 s.
    #[doc(alias = "upgradeTimeout")]
    pub upgrade_timeout: Duration,
    /// How many bytes a message, and the body of a POST, may have. Default: 1,000,000.
    #[doc(alias = "maxHttpBufferSize")]
    pub max_http_buffer_size: usize,
    /// Whether sessions may poll. Default: `true`.
    pub allow_polling: bool,
    /// Whether sessions may use WebSocket connections. Default: `true`.
    pub allow_websocket: bool,
    /// Whether a session that polls may change to a WebSocket connection. Default: `true`.
    #[doc(alias = "allowUpgrades")]
    pub allow_upgrades: bool,
    /// Whether clients of revision 3 (Socket.IO 2) are served. Default: `false`.
    #[doc(alias = "allowEIO3")]
    pub allow_eio3: bool,
    /// Answers to polls of at least this many bytes are compressed if the client accepts it. `None`: never. Default:
    /// 1024.
    #[doc(alias = "httpCompression")]
    pub http_compression: Option<usize>,
    /// Compression of WebSocket messages. Default: `None`.
    #[doc(alias = "perMessageDeflate")]
    pub per_message_deflate: Option<DeflateOptions>,
    /// The pages of other origins that may poll. Default: `None`, only pages of the same origin.
    pub cors: Option<Cors>,
    /// A cookie with the session's id, for load balancers. Default: `None`.
    pub cookie: Option<Cookie>,
    /// The scripts of the client, served below [`path`](Self::path). Default: none.
    #[doc(alias = "serveClient")]
    pub client_files: ClientFiles,
    /// How many bytes may wait for the polls of one session, in addition to one message of
    /// [`max_http_buffer_size`](Self::max_http_buffer_size). Default: [`OUTBOX_LIMIT`], 1 MiB.
    pub max_queue: usize,
    /// How many sessions may exist. Default: 1,000,000.
    pub max_sessions: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            path: "/engine.io/".to_owned(),
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            upgrade_timeout: Duration::from_secs(10),
            max_http_buffer_size: 1_000_000,
            allow_polling: true,
            allow_websocket: true,
            allow_upgrades: true,
            allow_eio3: false,
            http_compression: Some(1024),
            per_message_deflate: None,
            cors: None,
            cookie: None,
            client_files: ClientFiles::default(),
            max_queue: OUTBOX_LIMIT,
            max_sessions: 1_000_000,
        }
    }
}

impl Options {
    /// Checks that the headers of [`cors`](Self::cors) and [`cookie`](Self::cookie) can be sent.
    ///
    /// # Errors
    /// One of them has an invalid value.
    pub fn check(&self) -> Result<(), InvalidOption> {
        if let Some(cors) = &self.cors {
            cors.check()?;
        }
        self.cookie.as_ref().map_or(Ok(()), |cookie| cookie.set_cookie("").map(drop))
    }

    fn times(&self) -> Times {
        Times {
            ping_interval: self.ping_interval,
            ping_timeout: self.ping_timeout,
            upgrade_timeout: self.upgrade_timeout,
        }
    }

    fn allows(&self, transport: Transport) -> bool {
        match transport {
            Transport::Polling => self.allow_polling,
            Transport::WebSocket => self.allow_websocket,
        }
    }
}

/// A handler and its options, for any number of sessions. `Copy`.
pub struct Engine<H> {
    channels: Endpoint<Channels<H>>,
    number: u32,
}

/// The handler of an engine, and of its WebSocket connections.
struct Channels<H> {
    handler: H,
    engine: u32,
}

impl<H: Handler> Engine<H> {
    /// Moves `handler` into the loop. If [`Options::check`] refuses the options, that is logged as an error, and the
    /// headers with an invalid value are not sent.
    pub fn new(lp: &mut Loop, options: Options, handler: H) -> Engine<H> {
        if let Err(error) = options.check() {
            log::error!(target: "bucle::engine_io", "{error}: the header is left out");
        }
        let endpoint_options = websocket::Options {
            max_message: options.max_http_buffer_size,
            // The protocol has pings of its own.
            idle_limit: Duration::ZERO,
            // As in Node: requests are judged by `allow_request`.
            origins: websocket::Origins::Any,
            deflate: options.per_message_deflate.clone(),
            ..websocket::Options::default()
        };
        let number = lp.layer_mut::<Registry>().add_engine(options);
        let channels = Endpoint::new(lp, endpoint_options, Channels { handler, engine: number });
        lp.layer_mut::<Registry>().set_settle(number, registry::Settle::of(channels));
        Engine { channels, number }
    }

    /// Lends the handler and the loop to `f` and returns what `f` returns. `None` inside the handler's own callbacks,
    /// where it is `self`.
    pub fn with<R>(self, lp: &mut Loop, f: impl FnOnce(&mut H, &mut Loop) -> R) -> Option<R> {
        self.channels.with(lp, |channels, lp| f(&mut channels.handler, lp))
    }

    /// An HTTP handler that serves the engine below [`Options::path`], and gives all other requests to `handler`.
    pub fn attach<F: http::Handler>(self, handler: F) -> Attached<H, F> {
        Attached::new(self, handler)
    }

    /// The sessions that are open.
    pub fn sessions(self, lp: &Loop) -> Vec<Session> {
        lp.layer::<Registry>().map_or_else(Vec::new, |registry| registry.sessions_of(self.number).collect())
    }

    /// How many sessions are open.
    #[doc(alias = "clientsCount")]
    pub fn session_count(self, lp: &Loop) -> usize {
        lp.layer::<Registry>().map_or(0, |registry| registry.count(self.number))
    }

    /// Drops the handler. Only for tests that check what a loop holds at the end.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn release(self, lp: &mut Loop) {
        self.channels.release(lp);
    }

    /// Closes all sessions at once with [`CloseReason::ForcedClose`]. Unlike [`Session::close`] it does not wait for
    /// the next poll of clients that have none: a poll that waits is answered, a later one is refused.
    pub fn close(self, lp: &mut Loop) {
        for session in self.sessions(lp) {
            send::end(lp, session, CloseReason::ForcedClose, "");
        }
    }
}

impl<H> Clone for Engine<H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<H> Copy for Engine<H> {}

/// The options of an HTTP server for an engine with these options: bodies as large as its messages, answers as large as
/// its queue.
pub fn http_options(options: &Options) -> http::Options {
    // The engine refuses larger bodies itself, because their sessions end, too. This bounds those that state no length.
    http::Options { max_body: options.max_http_buffer_size.saturating_mul(2), ..http::Options::default() }
}

/// The options of a server for an engine with these options.
pub fn server_options(options: &Options) -> net::ServerOptions {
    let mut server_options = http::server_options();
    let room = options.max_queue.saturating_add(options.max_http_buffer_size.saturating_mul(2));
    server_options.limits.outbox_bytes = Some(room.max(OUTBOX_LIMIT));
    server_options
}

/// Makes a server of sessions, which answers all other paths with 404. It is bound when this returns.
///
/// For a page beside it, or for other options, see [`Engine::attach`].
///
/// # Errors
/// As [`net::listen`], or as [`Options::check`].
pub fn listen<H: Handler>(
    lp: &mut Loop,
    on: impl Into<Listen>,
    options: Options,
    handler: H,
) -> Result<Server<Http<Attached<H, NotFound>>>> {
    options.check()?;
    let (http_options, server_options) = (http_options(&options), server_options(&options));
    let engine = Engine::new(lp, options, handler);
    net::listen_with(lp, on, server_options, Http::new(http_options, engine.attach(NotFound)))
}

/// Whether there is a session.
#[cfg(any(test, fuzzing))]
pub(crate) fn holds_anything(lp: &Loop) -> bool {
    lp.layer::<Registry>().is_some_and(Registry::holds_anything)
}

impl Session {
    /// The id that the client sends with its requests. It is a secret between client and server: a program that knows
    /// it can take over the session. `None` when the session is gone.
    pub fn id(self, lp: &Loop) -> Option<Id> {
        registry::get(lp, self).map(|state| state.id)
    }

    /// The number of the session, for logs.
    pub fn serial(self) -> u32 {
        self.0.serial()
    }

    /// Whether messages can be sent.
    pub fn is_open(self, lp: &Loop) -> bool {
        registry::get(lp, self).is_some_and(|state| state.is_open())
    }

    /// The transport that messages are sent on. `None` when the session is gone.
    pub fn transport(self, lp: &Loop) -> Option<Transport> {
        registry::get(lp, self).map(|state| state.machine.transport())
    }

    /// The protocol revision of the client. `None` when the session is gone.
    #[doc(alias = "protocol")]
    pub fn revision(self, lp: &Loop) -> Option<Revision> {
        registry::get(lp, self).map(|state| state.machine.revision())
    }

    /// Its WebSocket connection, if that is its transport.
    pub fn websocket(self, lp: &Loop) -> Option<websocket::WebSocket> {
        let state = registry::get(lp, self)?;
        state.ws.filter(|_| state.machine.transport() == Transport::WebSocket)
    }

    /// How many bytes wait in the process because the client does not take them.
    pub fn buffered_amount(self, lp: &Loop) -> usize {
        let queued = registry::get(lp, self).map_or(0, |state| state.queue.bytes());
        queued + self.websocket(lp).map_or(0, |ws| ws.buffered_amount(lp))
    }

    /// The key of the session, for the timers and tables of the layer above.
    #[inline]
    pub(crate) fn key(self) -> Key {
        self.0
    }

    /// The session of a key.
    #[inline]
    pub(crate) fn of_key(key: Key) -> Session {
        Session(key)
    }
}

/// `session #41`, as in the log.
impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "session #{}", self.serial())
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session#{}", self.serial())
    }
}
