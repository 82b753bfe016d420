//! Socket.IO: events with names, arguments and acknowledgements, between a server and its clients. Server and client.
//!
//! Clients of every language speak to it: [socket.io-client](https://socket.io/docs/v4/client-api/) 3 and 4, and with
//! [`Options::allow_eio3`](crate::engine_io::Options::allow_eio3) also 2; python-socketio, and others.
//!
//! ```text
//!   engine_io ──▶ packet ──▶ door ──┬─ CONNECT ──▶ middlewares ──▶ on_connection(socket)
//!   (sessions)    binary            ├─ EVENT ────▶ on("message", …)
//!                                   ├─ ACK ──────▶ the closure of emit_with_ack
//!                                   └─ the end ──▶ on_disconnect(socket, reason)
//!   engine_io ◀── packet ◀── socket.emit
//!                        ◀── rooms ◀── io.to("room").emit ──▶ adapter ──▶ other nodes
//! ```
//!
//! ```
//! use bucle::socket_io::{self, Options};
//!
//! bucle::run(|lp| {
//!     let (server, io) = socket_io::listen(lp, ("127.0.0.1", 0), Options::default())?;
//!     io.on_connection(lp, move |lp, socket| {
//!         socket.emit(lp, "message", "¡Bienvenido!");
//!     });
//!     io.on(lp, "message", move |lp, _socket, event| {
//!         let text = event.arguments().text(0).unwrap_or_default();
//!         io.emit(lp, "message", &*text);
//!         event.ack(lp, "received");
//!     });
//!     server.unref(lp); // A real server would keep the loop running.
//!     Ok(())
//! })?;
//! # Ok::<(), bucle::Error>(())
//! ```
//!
//! # Listeners
//!
//! In Node a program calls `socket.on` for each socket, in `connection`. Here [`Namespace::on`] registers one listener
//! for all sockets, and the socket is its argument: an idle client then costs no listeners. [`Socket::on`] exists for
//! what a single socket does.
//!
//! # Order
//!
//! Methods never call listeners. [`Socket::disconnect`] returns; in the next tick `on_disconnecting` runs, with the
//! socket still in its rooms, then `on_disconnect`, with the socket out of them. Everything that is emitted in one
//! phase leaves in one system call for each client.
//!
//! # Differences from Node
//!
//! The bytes that clients see are those of `socket.io` 4.8, and `tests/interop` compares them. docs/node.md has a table
//! of the names. The behaviour differs in these points:
//!
//! | in Node | here |
//! |---|---|
//! | `socket.disconnect()` calls the listeners of `disconnect` before it returns | they are called in a tick |
//! | listeners of `onAnyOutgoing` are called before the event is sent | in a tick behind the method that sends |
//! | `emit` returns `true`, whatever happens | `false` from the high-water mark on; see [`Socket::emit`] |
//! | events for a client that does not read are queued without a limit | [`engine_io::Options::max_queue`]: then its session ends |
//! | `emitWithAck` of a broadcast rejects when an answer is missing, and does not tell whose | [`Answers`] names the sockets |
//! | `emitWithAck` of a broadcast without `timeout` fails at once | the default timeout is 5 s |
//! | the callback for an acknowledgement of a socket that is disconnected: at its timeout, or never | at once, with [`AckError::Disconnected`] |
//! | `emit` with a reserved name, or with a value that is not JSON, throws | `false`, and a line in the log at level error |
//! | a recovered client gets what it has missed before its middlewares decide | behind them; a client that they refuse gets nothing |
//! | empty namespaces made on demand stay, unless `cleanupEmptyChildNamespaces` | they are removed |
//! | `socket.data` is an object | one value of a type of the program; see [`Socket::set_data`] |
//! | `io.close()` closes the HTTP server | [`Server::close`] closes sessions; the HTTP server's `drain` does both |
//!
//! [`recovery`] and [`packet`] have the details of what is recovered after a loss, and of what is accepted as a packet.
//!
//! # Client
//!
//! [`connect`] makes a [`Client`] of a namespace. It connects again after every kind of loss, with growing delays: the
//! server is gone, its name is not found, it has forgotten the session, it is silent, or this process was suspended. It
//! stays away after [`Client::disconnect`], and after the server has disconnected or refused it.
//!
//! ```
//! use std::time::Duration;
//!
//! use bucle::socket_io::{self, ClientOptions, Options};
//!
//! # let answer = std::rc::Rc::new(std::cell::RefCell::new(String::new()));
//! # let seen = answer.clone();
//! bucle::run(|lp| {
//!     let (server, io) = socket_io::listen(lp, ("127.0.0.1", 0), Options::default())?;
//!     io.on(lp, "greet", |lp, _socket, event| {
//!         let name = event.arguments().text(0).unwrap_or_default();
//!         event.ack(lp, &*format!("¡hola, {name}!"));
//!     });
//!     let url = format!("http://127.0.0.1:{}/", server.port(lp).unwrap_or_default());
//!     server.unref(lp);
//!
//!     let client = socket_io::connect(lp, &url, ClientOptions::default())?;
//!     client.on_connect(lp, |lp, client| println!("connected as {}", client.id(lp).unwrap_or_default()));
//!     client.on_disconnect(lp, |_, _, reason| println!("disconnected: {reason}"));
//!     // The client is not connected yet: the event is kept.
//!     client.emit_with_ack(lp, "greet", "Ana", Duration::from_secs(5), move |lp, client, result| {
//!         if let Ok(arguments) = result {
//!             println!("{}", arguments.text(0).unwrap_or_default());
//! #           seen.borrow_mut().push_str(&arguments.text(0).unwrap_or_default());
//!         }
//!         client.disconnect(lp); // Otherwise it would keep the loop running.
//!     });
//!     Ok(())
//! })?;
//! # assert_eq!(*answer.borrow(), "¡hola, Ana!");
//! # Ok::<(), bucle::Error>(())
//! ```
//!
//! A client that is connected, or wants to be, keeps the loop running. It lives until [`Client::release`].
//!
//! | `socket.io-client` | here |
//! |---|---|
//! | `io(url, options)`; `new Manager(url)` | [`connect`]; each call has a session of its own |
//! | `manager.socket("/admin", { auth })` | [`Client::of`], [`Client::of_with_auth`]: over the same session |
//! | a client of version 2 | [`ClientOptions::engine`]`.revision = Revision::V3` |
//! | `auth: {…}`, `auth: (cb) => …` | [`Auth::new`], [`Auth::with`]; to a server of version 2 in the query |
//! | `extraHeaders`, `path`, `query`, `transports`, `upgrade`, `timeout` | [`engine_io::ClientOptions`] |
//! | `socket.on`, `once`, `off`, `onAny`, `onAnyOutgoing` | [`Client::on`], [`once`](Client::once), [`off`](Client::off), [`on_any`](Client::on_any), [`on_any_outgoing`](Client::on_any_outgoing) |
//! | `socket.on("connect")`, `"connect_error"`, `"disconnect"` | [`Client::on_connect`], [`on_connect_error`](Client::on_connect_error), [`on_disconnect`](Client::on_disconnect) |
//! | `socket.io.on("reconnect_attempt")`, `"reconnect"`, `"reconnect_error"`, `"reconnect_failed"` | [`Client::on_reconnect_attempt`], [`on_reconnect`](Client::on_reconnect), [`on_reconnect_error`](Client::on_reconnect_error), [`on_reconnect_failed`](Client::on_reconnect_failed) |
//! | `socket.emit`; kept without a limit while it is not connected | [`Client::emit`]; kept up to [`ClientOptions::max_buffer`] |
//! | `socket.volatile.emit`; kept if the session is open and the namespace is not joined | [`Client::emit_volatile`]; dropped |
//! | `socket.timeout(ms).emit(…, cb)`, `emitWithAck`, `ackTimeout`, `retries` | [`Client::emit_with_ack`], [`ClientOptions::ack_timeout`], [`ClientOptions::retries`] |
//! | a callback without a timeout is never called after a loss | it gets [`AckError::Disconnected`] |
//! | `tryAllTransports`, `rememberUpgrade`, `withCredentials` | [`engine_io::ClientOptions::try_all_transports`], [`remember_upgrade`](engine_io::ClientOptions::remember_upgrade), [`with_credentials`](engine_io::ClientOptions::with_credentials) |
//! | cookies are forgotten with the session | they are kept for the next one |
//! | `socket.id`, `connected`, `active`, `recovered` | [`Client::id`], [`is_connected`](Client::is_connected), [`is_active`](Client::is_active), [`is_recovered`](Client::is_recovered) |
//! | the offset of a recovery is an argument of listeners | the same; [`Event::parse`] leaves it out |
//! | `disconnect` is also emitted by a socket that was not connected yet | only by one that was connected |
//! | a probe that fails after `3probe` leaves the session without a transport | it goes on with polling |
//! | `socket.disconnect()`, `connect()` | [`Client::disconnect`], [`Client::connect`] |
//!
//! # Clusters
//!
//! Several servers, in one process or on several machines, are one for their clients if an [`Adapter`] joins them. The
//! module `redis_adapter` (feature `redis`) has one for Redis, whose other nodes may run Node.
//!
//! # Bounds
//!
//! Received data is not trusted. These limits are beside those of [`engine_io`]:
//!
//! | | limit | when it is reached |
//! |---|---|---|
//! | attachments of a packet | 10 | `forced close`, and the session is closed |
//! | depth of its JSON | 64 | the same |
//! | number of an acknowledgement | 2^53 − 1 | the same |
//! | name of a namespace | 256 bytes; with the query of a client of version 2: 4096 | the same |
//! | credentials (`auth`) of a client for a namespace | 64 KiB as JSON; in Node `maxHttpBufferSize` | the same |
//! | attachments of a packet together | [`max_http_buffer_size`](engine_io::Options::max_http_buffer_size), 1 MB; in Node: each of them | the same |
//! | namespaces of a client | 32 | the session is closed |
//! | events of a client in one turn | 1,024 | other clients have their turn |
//! | time to join a namespace | [`Options::connect_timeout`], 45 s | the session is closed |
//! | namespaces that exist because clients ask for them | [`Options::max_dynamic_namespaces`], 10,000 | `Invalid namespace` |
//! | packets for clients that may come back | [`RecoveryOptions::max_bytes`], 64 MiB for each namespace | the oldest are dropped; a client that needs them is not recovered |
//! | a client: events while it is not connected | [`ClientOptions::max_buffer`], 1 MiB | [`Client::emit`] returns `false` |
//! | a client: events before the answer to its CONNECT | [`engine_io::ClientOptions::max_message`], 16 MiB together | `parse error`; it connects again |

mod acks;
pub mod adapter;
pub mod answers;
pub mod arguments;
pub mod binary;
mod broadcast;
mod client;
mod cluster;
mod deliver;
mod door;
mod encode;
mod event;
mod handshake;
pub mod json;
mod listeners;
mod malformed;
mod middlewares;
pub mod names;
mod namespace;
pub mod packet;
#[cfg(any(test, fuzzing))]
pub(crate) mod properties;
mod reasons;
mod recover;
pub mod recovery;
#[cfg(feature = "redis")]
pub mod redis_adapter;
mod registry;
pub mod rooms;
mod send;
mod sessions;
mod socket;
mod socket_id;
mod texts;
mod unicast;

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

pub use adapter::{Adapter, RemoteSocket, RequestId};
pub use arguments::{ArgumentError, Arguments, EncodeError, IntoArguments, OwnedArguments, Raw};
pub use binary::Binary;
pub use broadcast::{Broadcast, RoomNames};
#[cfg(any(test, fuzzing))]
pub(crate) use client::client_holds_anything;
pub use client::{Auth, Client, ClientOptions, ConnectError, connect};
pub use deliver::Sent;
pub use door::Door;
pub use event::{Ack, Event, EventError, ServerAnswer};
pub use handshake::Handshake;
pub use malformed::Malformed;
pub use middlewares::Next;
pub use namespace::Namespace;
pub use reasons::DisconnectReason;
pub use socket::Socket;
pub use socket_id::SocketId;
pub use unicast::Unicast;

pub use crate::backoff;
pub use crate::engine_io::ClientFiles;

use crate::engine_io::{self, Attached, ConnectionError, Engine, Id, NotFound};
use crate::http::{self, HeaderMap, Http, Request};
use crate::net::{self, Listen};
use crate::{Loop, Result};
use names::Names;
use registry::{Listeners, Registry, ServerState};

/// The options of a server. The names and defaults are Node's.
#[derive(Clone, Debug)]
pub struct Options {
    /// The options of the sessions. Default: Node's, with the path `/socket.io/`.
    pub engine: engine_io::Options,
    /// How long a client may take to join its first namespace. Default: 45 s.
    #[doc(alias = "connectTimeout")]
    pub connect_timeout: Duration,
    /// Connection state recovery, and its limits. Default: `None`, a client that comes back is a new one.
    #[doc(alias = "connectionStateRecovery")]
    pub recovery: Option<RecoveryOptions>,
    /// How many namespaces may exist because clients have asked for them ([`Server::of_matching`]). One without sockets
    /// is removed. Default: 10,000.
    #[doc(alias = "cleanupEmptyChildNamespaces")]
    pub max_dynamic_namespaces: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            engine: engine_io::Options { path: "/socket.io/".to_owned(), ..engine_io::Options::default() },
            connect_timeout: Duration::from_secs(45),
            recovery: None,
            max_dynamic_namespaces: 10_000,
        }
    }
}

/// Connection state recovery: a client that was lost and comes back in time has its id, rooms and data again, and gets
/// the events that it has missed.
///
/// As in Node each event that wants no acknowledgement gets a further last argument, its offset. A volatile event,
/// which is not kept, gets one only if its last argument is a string, or it has none: without it clients would take
/// that string for an offset.
///
/// A client may come back before the server has noticed that its connection is broken. Then the old socket is
/// disconnected first, with `transport close`. In Node such a client is not recovered.
///
/// A client comes back to its node, which keeps events in memory. With an adapter that keeps sessions, such as that
/// over a stream of Redis (`redis_adapter::StreamsAdapter`), it comes back to any node of the cluster.
///
/// Source: [Node: connection state recovery](https://socket.io/docs/v4/connection-state-recovery).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveryOptions {
    /// How long a client may be away. Default: 2 minutes.
    #[doc(alias = "maxDisconnectionDuration")]
    pub max_disconnection: Duration,
    /// Whether middlewares are not called for a client that has come back. Default: `true`.
    #[doc(alias = "skipMiddlewares")]
    pub skip_middlewares: bool,
    /// How many bytes of events each namespace keeps in memory. Default: 64 MiB.
    pub max_bytes: usize,
}

impl Default for RecoveryOptions {
    fn default() -> Self {
        RecoveryOptions {
            max_disconnection: Duration::from_secs(120),
            skip_middlewares: true,
            max_bytes: 64 * 1024 * 1024,
        }
    }
}

/// A Socket.IO server: namespaces, and the engine below. `Copy`. It has the methods of its main namespace `/`.
///
/// Node: [`Server`](https://socket.io/docs/v4/server-api/#server).
#[derive(Clone, Copy)]
pub struct Server {
    number: u32,
    main: Namespace,
    engine: Engine<Door>,
}

impl Server {
    /// Makes a server that is not reachable yet: see [`attach`](Self::attach).
    pub fn new(lp: &mut Loop, options: Options) -> Server {
        let engine_options = options.engine.clone();
        let registry = lp.layer_mut::<Registry>();
        let number = registry.servers.len() as u32;
        registry.servers.push(ServerState {
            options: Rc::new(options),
            names: Names::default(),
            dynamic_count: 0,
            allow_request: None,
            on_headers: None,
            on_connection_error: None,
            adapters: None,
        });
        let max_attached = engine_options.max_http_buffer_size;
        let engine = Engine::new(lp, engine_options, Door { server: number, max_attached });
        let main = named(lp, number, "/");
        Server { number, main, engine }
    }

    fn state(self, lp: &mut Loop) -> &mut ServerState {
        &mut lp.layer_mut::<Registry>().servers[self.number as usize]
    }

    /// The namespace of this name, which exists from now on. A missing slash in front is added.
    #[doc(alias = "io.of")]
    pub fn of(self, lp: &mut Loop, name: &str) -> Namespace {
        named(lp, self.number, &names::with_slash(name))
    }

    /// All namespaces whose names `accepts` returns `true` for: each exists when a client asks for it, and has the
    /// listeners of the result. The result itself has no sockets.
    ///
    /// Node: `io.of(/^\/tenant-\d+$/)`, which is a closure here.
    #[doc(alias = "ParentNamespace")]
    pub fn of_matching(self, lp: &mut Loop, accepts: impl Fn(&str) -> bool + 'static) -> Namespace {
        let registry = lp.layer_mut::<Registry>();
        let list = add_list(registry);
        let parent = door::add_namespace(registry, self.number, "", list, None);
        registry.servers[self.number as usize].names.insert_matching(accepts, parent);
        parent
    }

    /// The main namespace, `/`.
    #[doc(alias = "io.sockets")]
    pub fn main(self) -> Namespace {
        self.main
    }

    /// The engine: sessions below the sockets.
    #[doc(alias = "io.engine")]
    pub fn engine(self) -> Engine<Door> {
        self.engine
    }

    /// Sets the function that is called when a client asks for a session with a valid request. An error refuses it with
    /// 403 and this message. There is one function: another call replaces it.
    ///
    /// WebSocket connections are not subject to CORS. A server whose clients are users of a site should check the
    /// header `Origin` here, because a browser sends their cookies from pages of every other site, too.
    #[doc(alias = "allowRequest")]
    pub fn allow_request(
        self,
        lp: &mut Loop,
        f: impl FnMut(&mut Loop, &Request) -> std::result::Result<(), String> + 'static,
    ) {
        self.state(lp).allow_request = Some(Rc::new(RefCell::new(f)));
    }

    /// Sets the function that can change the headers of an answer. Its last argument is `true` for an answer that opens
    /// a session. There is one function: another call replaces it.
    #[doc(alias = "initial_headers")]
    #[doc(alias = "headers")]
    pub fn on_headers(self, lp: &mut Loop, f: impl FnMut(&mut Loop, &mut HeaderMap, &Request, bool) + 'static) {
        self.state(lp).on_headers = Some(Rc::new(RefCell::new(f)));
    }

    /// Sets the function that is called when a request was refused: it helps to find out why a client cannot connect.
    /// There is one function: another call replaces it.
    #[doc(alias = "connection_error")]
    pub fn on_connection_error(self, lp: &mut Loop, f: impl FnMut(&mut Loop, &ConnectionError, &Request) + 'static) {
        self.state(lp).on_connection_error = Some(Rc::new(RefCell::new(f)));
    }

    /// Gives each namespace an adapter, also those that exist already.
    #[doc(alias = "io.adapter")]
    pub fn set_adapter(self, lp: &mut Loop, make: impl Fn(&mut Loop, &str) -> Box<dyn Adapter> + 'static) {
        self.state(lp).adapters = Some(Rc::new(make));
        for namespace in cluster::namespaces(lp, self.number) {
            cluster::install(lp, namespace);
        }
    }

    /// An HTTP handler that serves this server below its path, and gives all other requests to `handler`.
    #[doc(alias = "io.attach")]
    pub fn attach<F: http::Handler>(self, handler: F) -> Attached<Door, F> {
        self.engine.attach(handler)
    }

    /// Closes all sessions. Sockets are disconnected with `server shutting down`. Adapters are closed in a tick, and
    /// the server has none from then on. The HTTP server is not closed: its [`drain`](net::ServerId::drain) does both.
    #[doc(alias = "io.close")]
    pub fn close(self, lp: &mut Loop) {
        for session in self.engine.sessions(lp) {
            door::end_all(lp, session, DisconnectReason::ServerShuttingDown);
        }
        self.engine.close(lp);
        cluster::close_all(lp, self.number);
    }
}

impl std::ops::Deref for Server {
    type Target = Namespace;

    fn deref(&self) -> &Namespace {
        &self.main
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server#{}", self.number)
    }
}

fn add_list(registry: &mut Registry) -> u32 {
    registry.lists.push(Listeners::default());
    registry.lists.len() as u32 - 1
}

/// The namespace of a name, which is made if it does not exist. One that a client has asked for becomes one of its own.
fn named(lp: &mut Loop, server: u32, name: &str) -> Namespace {
    let registry = lp.layer_mut::<Registry>();
    if let Some(names::Found::Named(namespace)) = registry.servers[server as usize].names.find(name) {
        return *namespace;
    }
    let list = add_list(registry);
    let namespace = door::add_namespace(registry, server, name, list, None);
    registry.servers[server as usize].names.insert(name, namespace);
    cluster::install(lp, namespace);
    namespace
}

/// Whether there is a client, or something that was left by one.
#[cfg(any(test, fuzzing))]
pub(crate) fn holds_anything(lp: &Loop) -> bool {
    lp.layer::<Registry>().is_some_and(Registry::holds_anything)
}

/// The HTTP server of [`listen`].
pub type HttpServer = net::Server<Http<Attached<Door, NotFound>>>;

/// Makes a server that listens, which answers all other paths with 404. It is bound when this returns.
///
/// For a page beside it, or for other options, see [`Server::attach`].
///
/// # Errors
/// As [`net::listen`], or as [`engine_io::Options::check`].
pub fn listen(lp: &mut Loop, on: impl Into<Listen>, options: Options) -> Result<(HttpServer, Server)> {
    options.engine.check()?;
    let io = Server::new(lp, options.clone());
    let http = listen_with(lp, on, &options, io.attach(NotFound))?;
    Ok((http, io))
}

/// As [`listen`], with the handler of [`Server::attach`].
///
/// # Errors
/// As [`net::listen`].
pub fn listen_with<F: http::Handler>(
    lp: &mut Loop,
    on: impl Into<Listen>,
    options: &Options,
    handler: Attached<Door, F>,
) -> Result<net::Server<Http<Attached<Door, F>>>> {
    let (http_options, server_options) =
        (engine_io::http_options(&options.engine), engine_io::server_options(&options.engine));
    net::listen_with(lp, on, server_options, Http::new(http_options, handler))
}

/// The answer to an event: its arguments, or why there is none.
pub type AckResult<'a> = std::result::Result<Arguments<'a>, AckError>;

/// Why an event was not acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AckError {
    /// The time is over. Node: `operation has timed out`.
    Timeout,
    /// The socket was disconnected.
    Disconnected,
}

impl fmt::Display for AckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AckError::Timeout => "operation has timed out",
            AckError::Disconnected => "the socket was disconnected before it answered",
        })
    }
}

impl std::error::Error for AckError {}

/// The answers to a broadcast.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// The sockets that have answered, in the order of their answers. The id is not known for a socket of a node that
    /// runs Node.
    pub answered: Vec<(Option<SocketId>, OwnedArguments)>,
    /// The sockets of this node that have not answered: they are slow, or were disconnected.
    pub missing: Vec<SocketId>,
    /// All sockets have answered, and all nodes.
    pub is_complete: bool,
}

/// The answers of other nodes to [`Namespace::server_side_emit_with_ack`].
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ServerAnswers {
    /// The answers of the nodes, in the order in which they arrived.
    pub answers: Vec<serde_json::Value>,
    /// All nodes have answered.
    pub is_complete: bool,
}
