//! A client of HTTP/1.1 for small things: requests to an API, a health check, a test. Engine.IO's polling stands on it.
//!
//! ```text
//!   Client::request ─▶ a connection of the pool, or a new one ─▶ request ─▶ response ─▶ on_response
//!        │                          ▲                                          │
//!        └─▶ waits, if there are as many connections as allowed                └─▶ back to the pool, for 4 s
//! ```
//!
//! A [`Client`] is Node's [`http.Agent`](https://nodejs.org/docs/latest-v20.x/api/http.html#class-httpagent) and
//! [`http.request`](https://nodejs.org/docs/latest-v20.x/api/http.html#httprequesturl-options-callback) in one. A
//! callback gets the whole response, or the error that has prevented it:
//!
//! ```
//! use bucle::http::{self, Client, ClientOptions, ClientRequest, Exchange, Request, Response};
//! use bucle::Loop;
//!
//! struct Echo;
//!
//! impl http::Handler for Echo {
//!     fn on_request(&mut self, lp: &mut Loop, exchange: Exchange, request: &Request) {
//!         exchange.respond(lp, Response::new(request.body()));
//!     }
//! }
//!
//! # let seen = std::rc::Rc::new(std::cell::Cell::new(false));
//! # let was_called = seen.clone();
//! bucle::run(|lp| {
//!     let server = http::listen(lp, ("127.0.0.1", 0), http::Options::default(), Echo)?;
//!     server.unref(lp); // A real server would keep the loop running.
//!     let url = format!("http://127.0.0.1:{}/", server.port(lp).expect("it is bound"));
//!
//!     let client = Client::new(lp, ClientOptions::default());
//!     client.request(lp, ClientRequest::post(url, "hola"), move |_, result| {
//!         match &result {
//!             Ok(response) => println!("{}: {} bytes", response.status(), response.body.len()),
//!             Err(error) => println!("no response: {error}"),
//!         }
//! #       let response = result.expect("a response");
//! #       assert_eq!((response.status(), response.body.as_slice()), (http::StatusCode::OK, &b"hola"[..]));
//! #       was_called.set(true);
//!     })?;
//!     client.release(lp); // A program that has further requests keeps the client.
//!     Ok(())
//! })?;
//! # assert!(seen.get());
//! # Ok::<(), bucle::Error>(())
//! ```
//!
//! # Connections
//!
//! A connection has one request at a time. When its response is complete, the next request to the same host and port
//! uses it; of several, the one that was used last. An idle connection does not keep the loop running, and is closed
//! after [`ClientOptions::keep_alive`], or a second before the server would close it if it says when
//! (`Keep-Alive: timeout=5`).
//!
//! A server may close an idle connection at the moment at which a request is sent on it. If it was not a new
//! connection, nothing of a response has arrived, and the method is idempotent (RFC 9110, section 9.2.2: GET, HEAD,
//! PUT, DELETE, OPTIONS, TRACE), the request is sent once more, on a new connection, as browsers do. Otherwise the
//! error is reported: the server may have done what a POST has asked for.
//!
//! Redirects are not followed, cookies are not kept, and no proxy is used. A compressed response is not asked for, and
//! is not decompressed. There is no TLS.
//!
//! # Errors
//!
//! | code | what has happened |
//! |---|---|
//! | `ERR_INVALID_URL`, `ERR_INVALID_ARG_VALUE` | the request is refused: the URL is not `http://…`, the method is CONNECT |
//! | `ECONNREFUSED`, `ENOTFOUND`, … | the connection could not be made, or was lost: the errors of [`net`](crate::net) |
//! | `ECONNRESET` | also: the server has closed the connection before its response was complete |
//! | `ETIMEDOUT` | also: [`ClientRequest::timeout`] is over |
//! | `E_BAD_RESPONSE` | the response is malformed; [`head`](super::head) and [`body`](super::body) list the rules |
//! | `E_BODY_TOO_LARGE` | the body is longer than [`ClientOptions::max_body`] |
//!
//! After an error the connection is closed.
//!
//! # Bounds
//!
//! | memory or time | limit | when it is reached |
//! |---|---|---|
//! | the whole exchange | [`ClientRequest::timeout`], 60 s | `ETIMEDOUT` |
//! | the head of a response | [`HeadLimits`](super::head::HeadLimits): 16 KiB, 100 headers | `E_BAD_RESPONSE` |
//! | the body of a response, which is kept in memory | [`ClientOptions::max_body`], 16 MiB | `E_BODY_TOO_LARGE` |
//! | time in which the server takes no bytes of the request | [`WRITE_TIMEOUT`], 30 s | [`Error::TooSlow`] |
//! | connections to a host and port | [`ClientOptions::max_connections`], no limit | requests wait, and are sent in their order |
//! | time for which a connection is idle | [`ClientOptions::keep_alive`], 4 s | closed |
//! | idle connections to a host and port | 256, Node's `maxFreeSockets` | closed |
//!
//! How many requests wait is up to the program.

mod connection;
mod forward;
mod pool;
mod request;
pub(super) mod response;

use std::time::Duration;

use super::url::parse_url;
use super::{Method, WRITE_TIMEOUT};
use crate::net::{Error, Limits, SocketOptions};
use crate::{Loop, Result};
use pool::{Clients, Pending};
pub use request::ClientRequest;
pub use response::ClientResponse;

/// The longest time limit that a timer has. A longer one becomes this long, as those of sockets do.
const LONGEST_TIMEOUT: Duration = Duration::from_millis(i32::MAX as u64);

/// The options of a [`Client`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientOptions {
    /// How many bytes the body of a response may have. It is kept in memory. Default: 16 MiB.
    pub max_body: usize,
    /// How many connections there may be to one host and port, at least one. Further requests wait. Default: `None`, no
    /// limit, as in Node.
    #[doc(alias = "maxSockets")]
    pub max_connections: Option<usize>,
    /// How long a connection waits for the next request before it is closed. Zero: each connection is for one request.
    /// Default: 4 s, because the servers of Node and of this crate close idle connections after 5 s.
    #[doc(alias = "keepAlive")]
    pub keep_alive: Duration,
}

impl Default for ClientOptions {
    fn default() -> Self {
        ClientOptions { max_body: 16 * 1024 * 1024, max_connections: None, keep_alive: Duration::from_secs(4) }
    }
}

/// A client with its connections to any number of servers. 8 bytes, `Copy`; it is valid for the loop that has made it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[doc(alias = "Agent")]
pub struct Client(u64);

/// Names a request until its callback is called. 8 bytes, `Copy`. It never names a later request of the same loop.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[doc(alias = "ClientRequest")]
pub struct RequestId(u64);

/// The [`net::Handler`](crate::net::Handler) of every connection of every client. The state of a connection is in the
/// loop's tables.
struct ClientConnection;

impl Client {
    /// Makes a client. It lives until the loop ends, or until [`release`](Self::release).
    pub fn new(lp: &mut Loop, options: ClientOptions) -> Client {
        lp.layer_mut::<Clients>().add(options)
    }

    /// Sends a request. `on_response` is called once: with the response, whatever its status is, or with the error that
    /// has prevented it. It is not called after [`RequestId::abort`], nor if this method returns an error.
    ///
    /// The request keeps the loop running, until [`RequestId::unref`].
    ///
    /// # Errors
    /// `ERR_INVALID_URL`: the URL is not one of an HTTP server. `https://` is refused: there is no TLS.
    /// `ERR_INVALID_ARG_VALUE`: the method is CONNECT. [`Error::Gone`]: the client was released.
    pub fn request(
        self,
        lp: &mut Loop,
        request: ClientRequest,
        on_response: impl FnOnce(&mut Loop, Result<ClientResponse>) + 'static,
    ) -> Result<RequestId> {
        let target = parse_url(&request.url).map_err(|error| Error::custom("ERR_INVALID_URL", error.to_string()))?;
        if request.method == Method::CONNECT {
            return Err(Error::custom("ERR_INVALID_ARG_VALUE", "a tunnel by CONNECT is not supported"));
        }
        let options = lp.layer_mut::<Clients>().options(self).ok_or(Error::Gone)?;
        let head = request.head(&target, options.keep_alive.is_zero());
        let id = lp.layer_mut::<Clients>().next_id();
        // Unreferenced, because the connection keeps the loop running.
        let timer = (!request.timeout.is_zero()).then(|| {
            let timer = lp.set_timeout(request.timeout.min(LONGEST_TIMEOUT), move |lp| connection::timed_out(lp, id));
            lp.unref(timer);
            timer
        });
        let pending = Pending {
            client: self,
            host: target.authority.as_str().into(),
            method: request.method,
            head,
            body: request.body,
            timer,
            connection: None,
            is_unreferenced: false,
            on_response: Box::new(on_response),
        };
        lp.layer_mut::<Clients>().begin(id, pending, target);
        connection::start(lp, id);
        Ok(id)
    }

    /// The client takes no further requests. Those that were made are answered. Idle connections are closed now, and
    /// others after their response.
    pub fn release(self, lp: &mut Loop) {
        for socket in lp.layer_mut::<Clients>().release(self) {
            connection::close(lp, socket);
        }
    }
}

impl RequestId {
    /// Gives the request up: its connection is closed, and its callback is not called. Does nothing if the callback was
    /// called already.
    #[doc(alias = "destroy")]
    pub fn abort(self, lp: &mut Loop) {
        connection::abort(lp, self);
    }

    /// Whether the callback is still to come.
    pub fn is_pending(self, lp: &Loop) -> bool {
        lp.layer::<Clients>().is_some_and(|clients| clients.has(self))
    }

    /// Lets the request keep the loop running. This is the default.
    #[doc(alias = "ref")]
    pub fn ref_(self, lp: &mut Loop) {
        connection::set_referenced(lp, self, true);
    }

    /// Lets the loop end although there is no response yet. While the connection is being made it keeps the loop
    /// running all the same, as in libuv.
    pub fn unref(self, lp: &mut Loop) {
        connection::set_referenced(lp, self, false);
    }
}

/// Whether there is a client or a request.
#[cfg(any(test, fuzzing))]
pub(crate) fn holds_anything(lp: &Loop) -> bool {
    lp.layer::<Clients>().is_some_and(Clients::holds_anything)
}

/// The options of a client's connection. The program decides how much it sends, so the queued bytes have no limit.
fn socket_options() -> SocketOptions {
    SocketOptions {
        no_delay: true,
        high_water_mark: super::HIGH_WATER_MARK,
        limits: Limits { write_timeout: WRITE_TIMEOUT, ..Limits::NONE },
        ..SocketOptions::default()
    }
}
