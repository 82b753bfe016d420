//! HTTP/1.1: a server for small things. It serves a page, answers a few requests, streams events, and upgrades
//! connections to other protocols. The other side is in [`client`].
//!
//! It is not a framework: it has no router, no middleware and no templates. WebSocket, Socket.IO and the pages of the
//! command stand on it.
//!
//! ```text
//!   socket ─▶ head ──────▶ connection ─▶ on_head, on_request, on_upgrade
//!               └─▶ body ─────┘                      │
//!                                                    ▼
//!   socket ◀─────────── respond, begin + write + end, upgrade ◀── Exchange
//! ```
//!
//! [`head`] and [`body`] are pure: bytes in, values out. [`Http`] is the [`net::Handler`](crate::net::Handler) that
//! feeds them and calls *your* [`Handler`]. An [`Exchange`] is the handle of one request; its methods send the answer,
//! in the callback or later. [`listen`] makes a server:
//!
//! ```
//! use bucle::http::{self, Exchange, Request, Response, StatusCode};
//! use bucle::{Loop, net};
//!
//! struct Greeter;
//!
//! impl http::Handler for Greeter {
//!     fn on_request(&mut self, lp: &mut Loop, exchange: Exchange, request: &Request) {
//!         match request.path() {
//!             "/hola" => exchange.respond(lp, Response::new("¡Bienvenido!")),
//!             _ => exchange.respond_text(lp, StatusCode::NOT_FOUND, "not found\n"),
//!         };
//!     }
//! }
//!
//! # let shown = std::rc::Rc::new(std::cell::RefCell::new(String::new()));
//! # let screen = shown.clone();
//! bucle::run(|lp| {
//!     let server = http::listen(lp, ("127.0.0.1", 0), http::Options::default(), Greeter)?;
//!     let client = net::on()
//!         .connect(|lp, socket| socket.end_with(lp, "GET /hola HTTP/1.1\r\nHost: localhost\r\n\r\n"))
//!         .data(move |_, _, chunk| screen.borrow_mut().push_str(&String::from_utf8_lossy(chunk)));
//!     let port = server.port(lp).expect("it is bound");
//!     net::Socket::connect(lp, ("127.0.0.1", port), client)?;
//!     server.unref(lp); // A real server would keep the loop running.
//!     Ok(())
//! })?;
//! let shown = shown.borrow();
//! assert!(shown.starts_with("HTTP/1.1 200 OK\r\n") && shown.ends_with("\r\n\r\n¡Bienvenido!"), "{shown}");
//! # Ok::<(), bucle::Error>(())
//! ```
//!
//! # Order
//!
//! A connection has one request at a time. Requests that a client sends ahead wait until the answer before them is
//! complete, so answers leave in the order of the requests (RFC 9112, 9.3.2). All answers of a phase leave in one
//! system call.
//!
//! # Compression
//!
//! The feature `http-compression` adds the module `compress`, with which a handler compresses its answers.
//!
//! # Strictness
//!
//! A request that two programs may read in two ways is refused, because attackers use such requests to smuggle others
//! past a proxy (RFC 9112, 11.2). [`head`] and [`body`] list the rules. The connection is closed after a refusal.
//!
//! # Bounds
//!
//! | memory or time | limit | when it is reached |
//! |---|---|---|
//! | a head | [`HeadLimits`](head::HeadLimits): 16 KiB, 100 headers | 431, close |
//! | time until a head is complete | [`Options::head_timeout`], 10 s | 408, close |
//! | a body, which is kept in memory | [`Options::max_body`], 1 MiB | 413, close |
//! | time until a body is complete | [`Options::body_timeout`], 30 s | 408, close |
//! | time between two requests | [`Options::keep_alive`], 5 s | close |
//! | requests that are sent ahead | 64 KiB are kept | the connection is not read until the answer is complete |
//! | requests of one connection in one turn | 512 | other connections have their turn |
//! | answers that the client does not read | the high-water mark, 64 KiB with [`server_options`] | no further request is received until they are sent |
//! | a streamed answer that the client does not read | [`OUTBOX_LIMIT`], 1 MiB, with [`server_options`] | the connection is reset |
//! | time in which the client takes no bytes | [`WRITE_TIMEOUT`], 30 s, with [`server_options`] | the connection is reset |
//! | the same in front of the FIN, after the last answer | 30 s | the connection is closed |
//! | time between this side's FIN and the client's | 1 s | the connection is closed |
//!
//! No limit on the time of a request runs while an answer waits for the client, or while this side does not read.

mod answer;
mod asset;
pub mod body;
pub mod client;
#[cfg(feature = "http-compression")]
pub mod compress;
mod connection;
mod exchange;
mod fields;
mod forward;
pub mod head;
#[cfg(any(test, fuzzing))]
pub(crate) mod properties;
mod refusal;
mod session;
mod syntax;
pub mod url;

use std::any::Any;
use std::time::Duration;

pub use ::http::Response;
pub use asset::Asset;
pub use client::{Client, ClientOptions, ClientRequest, ClientResponse, RequestId};
pub use exchange::Exchange;
pub use head::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Version};
pub use refusal::{Malformed, Refusal};

use crate::net::{Dropped, Error, Limits, Listen, Server, ServerId, ServerOptions, Socket, listen_with};
use crate::{Loop, Result};

/// How many bytes may be queued for one client of a server with [`server_options`]. A client with more is disconnected
/// with [`Error::TooSlow`].
pub const OUTBOX_LIMIT: usize = 1024 * 1024;

/// How long bytes may be queued for a client that takes none of them, with [`server_options`].
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// The high-water mark of connections, with [`server_options`]: one full read of the loop.
const HIGH_WATER_MARK: usize = 64 * 1024;

/// Handles requests. Every method but [`on_request`](Self::on_request) has a default body.
///
/// Source: [Node: `http.Server`](https://nodejs.org/docs/latest-v20.x/api/http.html#class-httpserver), whose events
/// `request`, `upgrade`, `checkContinue` and `close` these are.
#[expect(unused_variables, reason = "the names are for implementors")]
pub trait Handler: Any {
    /// A whole request has arrived, with its body. Answer it with [`Exchange::respond`], now or later.
    fn on_request(&mut self, lp: &mut Loop, exchange: Exchange, request: &Request);
    /// The head of a request that has a body has arrived, and the body has not. An answer in this callback refuses the
    /// request: the body is not received and the connection is closed. Otherwise `100 Continue` is sent if the client
    /// waits for it, and either [`on_request`](Self::on_request) or [`on_abort`](Self::on_abort) follows. An answer
    /// that is sent while the body arrives refuses the request, too, and then neither follows.
    ///
    /// A body whose `Content-Length` is more than [`Options::max_body`] is refused with 413 behind this callback,
    /// unless the callback has answered.
    fn on_head(&mut self, lp: &mut Loop, exchange: Exchange, request: &Request) {}
    /// A request without a body has arrived that asks to change the protocol (`Upgrade`). [`Exchange::upgrade`] does
    /// so, now or later. Until then nothing more is received. The default calls [`on_request`](Self::on_request), which
    /// answers as if the client had not asked (RFC 9110, 7.8).
    fn on_upgrade(&mut self, lp: &mut Loop, exchange: Exchange, request: &Request) {
        self.on_request(lp, exchange, request);
    }
    /// The client has read everything, after a [`Exchange::write`] that returned `false`.
    fn on_drain(&mut self, lp: &mut Loop, exchange: Exchange) {}
    /// The client has closed its side of the connection while this request waits for its answer. It may still read the
    /// answer: `nc -N` does this. A browser that has left the page does it too, so the default ends nothing, but a
    /// server of event streams should call [`Exchange::end`] here.
    fn on_end(&mut self, lp: &mut Loop, exchange: Exchange) {}
    /// The request gets no complete answer from this handler. The exchange refers to nothing from here on. One of these
    /// has happened:
    ///
    /// * The connection is gone before the answer was complete.
    /// * The body of the request is refused after [`on_head`](Self::on_head): it is longer than [`Options::max_body`]
    ///   (413), its chunks are malformed (400), or it did not arrive in time (408). This layer has answered.
    /// * The client has ended its side of the connection before the body was complete.
    fn on_abort(&mut self, lp: &mut Loop, exchange: Exchange) {}
    /// The server drains ([`ServerId::drain`](crate::net::ServerId::drain)) while this request waits for its answer.
    /// The answer will close the connection. End streams here.
    fn on_going_away(&mut self, lp: &mut Loop, exchange: Exchange) {}
    /// A connection has failed. The default logs the error. A connection that was lost is common and logged at level
    /// debug; a client that this side has disconnected is logged as a warning.
    fn on_error(&mut self, lp: &mut Loop, socket: Socket, error: Error) {
        let is_by_this_side = matches!(error, Error::Custom { .. } | Error::TooSlow { .. });
        if is_by_this_side {
            lp.report_unhandled("bucle::http", &socket, &error, "http::Handler::on_error");
        } else {
            log::debug!(target: "bucle::http", "{socket}: {error}");
        }
    }

    /// As [`net::Handler::on_listening`](crate::net::Handler::on_listening).
    fn on_listening(&mut self, lp: &mut Loop, server: ServerId) {}
    /// As [`net::Handler::on_drop`](crate::net::Handler::on_drop).
    fn on_drop(&mut self, lp: &mut Loop, server: ServerId, dropped: Dropped) {}
    /// As [`net::Handler::on_server_error`](crate::net::Handler::on_server_error).
    fn on_server_error(&mut self, lp: &mut Loop, server: ServerId, error: Error) {
        lp.report_unhandled("bucle::http", &server, &error, "http::Handler::on_server_error");
    }
    /// As [`net::Handler::on_server_close`](crate::net::Handler::on_server_close).
    fn on_server_close(&mut self, lp: &mut Loop, server: ServerId) {}
}

/// Limits on requests. A time of zero means no limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Limits on the head of a request. Default: 16 KiB and 100 headers.
    pub head: head::HeadLimits,
    /// How many bytes a body may have. It is kept in memory. Default: 1 MiB.
    pub max_body: usize,
    /// How long a head may take, from the connect or the head's first byte to its end. Default: 10 s.
    #[doc(alias = "headersTimeout")]
    pub head_timeout: Duration,
    /// How long a body may take, from the end of the head. Default: 30 s.
    #[doc(alias = "requestTimeout")]
    pub body_timeout: Duration,
    /// How long a connection may stay open between two requests. Default: 5 s, as in Node.
    #[doc(alias = "keepAliveTimeout")]
    pub keep_alive: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            head: head::HeadLimits::default(),
            max_body: 1024 * 1024,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            keep_alive: Duration::from_secs(5),
        }
    }
}

/// Makes an HTTP server that listens. It is bound when this returns, as with [`net::listen`](crate::net::listen).
///
/// For other options than [`server_options`], pass an [`Http::new`] to [`Server::new`].
///
/// # Errors
/// As [`net::listen`](crate::net::listen).
pub fn listen<H: Handler>(
    lp: &mut Loop,
    on: impl Into<Listen>,
    options: Options,
    handler: H,
) -> Result<Server<Http<H>>> {
    listen_with(lp, on, server_options(), Http::new(options, handler))
}

/// The options of an HTTP server. `no_delay` is set: the loop gathers small writes already, so the kernel should not
/// delay them again. `allow_half_open` is set: a client that has sent its FIN still gets its answer. A full server
/// answers 503 with `Retry-After`. At most [`OUTBOX_LIMIT`] bytes may be queued for one client, for [`WRITE_TIMEOUT`].
pub fn server_options() -> ServerOptions {
    let limits = Limits { outbox_bytes: Some(OUTBOX_LIMIT), write_timeout: WRITE_TIMEOUT, ..Limits::NONE };
    ServerOptions {
        allow_half_open: true,
        no_delay: true,
        high_water_mark: HIGH_WATER_MARK,
        full_message: Some(full_message()),
        limits,
        ..ServerOptions::default()
    }
}

/// The answer of a full server, for [`ServerOptions::full_message`]: 503 with `Retry-After`.
pub fn full_message() -> Vec<u8> {
    const TEXT: &str = "the server is full, try again later\n";
    format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
         Retry-After: 5\r\nConnection: close\r\n\r\n{TEXT}",
        TEXT.len(),
    )
    .into_bytes()
}

/// A [`net::Handler`](crate::net::Handler) that speaks HTTP/1.1 to its sockets, and calls `H` with requests.
///
/// For a server ([`Server::new`]), or for a socket that is upgraded to HTTP
/// ([`Socket::upgrade`]).
#[derive(Debug)]
pub struct Http<H> {
    handler: H,
    options: Options,
}

impl<H: Handler> Http<H> {
    /// Wraps `handler`.
    pub fn new(options: Options, handler: H) -> Self {
        Http { handler, options }
    }

    /// The handler inside, for [`Server::with`].
    pub fn handler(&mut self) -> &mut H {
        &mut self.handler
    }
}
