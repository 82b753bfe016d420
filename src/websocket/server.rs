//! A server of WebSocket connections: an HTTP server that upgrades every request, and the decision about each.

use std::ops::Deref;

use super::deflate::{self, Params};
use super::handshake::{self, Opening, Refused, RequestParts};
use super::send::{OwnStreams, keeps_incoming_context, outgoing};
use super::{Endpoint, Handler, Options, WebSocket, tag};
use crate::http::{self, Exchange, HeaderMap, Http, Request, Response, StatusCode};
use crate::net::{self, Dropped, Error, Listen, ServerId, Socket};
use crate::{Kind, Loop, Result};

/// A request for a WebSocket connection that waits for a decision. `Copy`; it may be kept, to decide later. When the
/// client is gone it refers to nothing, and its methods do nothing.
pub struct Handshake<H> {
    exchange: Exchange,
    endpoint: Endpoint<H>,
}

/// The settled part of a handshake, until the program has decided.
struct Pending {
    opening: Opening,
    protocol: Option<String>,
    deflate: Option<(Params, String)>,
}

/// How a handshake is accepted, for [`Handshake::accept_with`].
#[derive(Clone, Debug, Default)]
pub struct Accept {
    /// The subprotocol. `None`: the first that the client offers and [`Options::protocols`] lists.
    pub protocol: Option<String>,
    /// Further headers of the answer, such as `Set-Cookie`. Those of the handshake itself cannot be set.
    pub headers: HeaderMap,
}

impl<H: Handler> Endpoint<H> {
    /// Checks a request for a WebSocket connection. If it is valid, the program decides with the [`Handshake`], in this
    /// callback or later. If not, it is answered with the right error, and this returns `None`.
    ///
    /// Call this in [`http::Handler::on_upgrade`] for the paths of this endpoint. A request in
    /// [`on_request`](http::Handler::on_request) that should have been an upgrade is answered with 426.
    ///
    /// | the request | the answer |
    /// |---|---|
    /// | is no handshake (RFC 6455, 4.2.1), or has a body | 400; 405 for another method than GET; 426 without an upgrade |
    /// | has another version than 13 | 426, with `Sec-WebSocket-Version: 13` |
    /// | has an origin that [`Options::origins`] does not allow | 403 |
    ///
    /// Node: [`handleUpgrade`](https://github.com/websockets/ws/blob/master/doc/ws.md) of `ws`.
    #[doc(alias = "handleUpgrade")]
    pub fn handshake(self, lp: &mut Loop, exchange: Exchange, request: &Request) -> Option<Handshake<H>> {
        match self.check(lp, request) {
            Ok(pending) => {
                exchange.socket().set_entry(lp, pending);
                Some(Handshake { exchange, endpoint: self })
            }
            Err(refused) => {
                log::debug!(target: "bucle::websocket", "{}: {} {}", exchange.socket(), refused.status, refused.reason);
                refuse(lp, exchange, refused);
                None
            }
        }
    }

    fn check(self, lp: &mut Loop, request: &Request) -> Result<Pending, Refused> {
        let Some(options) = self.options(lp) else { return Err(gone()) };
        let host = request.host();
        let opening = handshake::check_request(RequestParts {
            method: request.method(),
            version: request.version(),
            headers: request.headers(),
            host,
        })?;
        if !request.body().is_empty() {
            let reason = "a WebSocket handshake has no body";
            return Err(Refused { status: StatusCode::BAD_REQUEST, reason, headers: Vec::new() });
        }
        handshake::check_origin(request.headers(), host, &options.origins)?;
        let deflate = options.deflate.as_ref().and_then(|options| deflate::negotiate(request.headers(), options));
        let protocol = handshake::choose_protocol(&opening.protocols, &options.protocols);
        Ok(Pending { opening, protocol, deflate })
    }
}

/// The endpoint was released.
fn gone() -> Refused {
    let reason = "this endpoint takes no further connections";
    Refused { status: StatusCode::SERVICE_UNAVAILABLE, reason, headers: Vec::new() }
}

fn refuse(lp: &mut Loop, exchange: Exchange, refused: Refused) {
    let mut response = Response::new(format!("{}\n", refused.reason));
    *response.status_mut() = refused.status;
    response.headers_mut().extend(refused.headers);
    exchange.respond(lp, response);
}

impl<H: Handler> Handshake<H> {
    /// Accepts the connection. [`Handler::on_open`] follows in a tick. `None` if the client is gone, or the endpoint
    /// was released meanwhile; then the client gets a 503.
    pub fn accept(self, lp: &mut Loop) -> Option<WebSocket> {
        self.accept_with(lp, Accept::default())
    }

    /// As [`accept`](Self::accept), with a subprotocol and headers of the program's choice. A subprotocol that the
    /// client has not offered is a mistake of the program (RFC 6455, 4.2.2): the client gets a 500.
    pub fn accept_with(self, lp: &mut Loop, accept: Accept) -> Option<WebSocket> {
        let Pending { opening, protocol, deflate } = self.take_pending(lp)?;
        if !self.endpoint.connections.exists(lp) {
            refuse(lp, self.exchange, gone());
            return None;
        }
        if let Some(protocol) = accept.protocol.as_ref().filter(|protocol| !opening.protocols.contains(protocol)) {
            log::error!(target: "bucle::websocket", "{}: the client has not offered {protocol:?}", self.exchange.socket());
            let reason = "the server has chosen a subprotocol that was not offered";
            let refused = Refused { status: StatusCode::INTERNAL_SERVER_ERROR, reason, headers: Vec::new() };
            refuse(lp, self.exchange, refused);
            return None;
        }
        let protocol = accept.protocol.or(protocol);
        let extensions = deflate.as_ref().map(|(_, extensions)| extensions.as_str());
        let answer = handshake::response(&opening.accept, protocol.as_deref(), extensions, &accept.headers);
        let socket = self.exchange.upgrade_with(lp, &answer, self.endpoint.connections)?;
        let ws = WebSocket(socket);
        socket.change_tag(lp, tag::OPEN, 0);
        if let Some((params, _)) = deflate {
            ws.agree_on_deflate(lp, params);
        }
        if let Some(protocol) = protocol {
            ws.set_protocol(lp, protocol);
        }
        Some(ws)
    }

    /// Refuses the connection with a status, such as 401 or 403, and a text.
    pub fn refuse(self, lp: &mut Loop, status: StatusCode, text: impl AsRef<str>) {
        self.take_pending(lp);
        self.exchange.respond_text(lp, status, text);
    }

    /// Refuses the connection with an answer of the program's own, such as a redirect.
    pub fn refuse_with<B: AsRef<[u8]>>(self, lp: &mut Loop, response: Response<B>) {
        self.take_pending(lp);
        self.exchange.respond(lp, response);
    }

    /// The settled part of the handshake, if it waits for a decision. The entry of a later request on the same
    /// connection is left alone.
    fn take_pending(self, lp: &mut Loop) -> Option<Pending> {
        if !self.is_open(lp) {
            return None;
        }
        self.exchange.socket().take_entry(lp)
    }

    /// The request's exchange. It names the client's connection.
    pub fn exchange(self) -> Exchange {
        self.exchange
    }

    /// The subprotocols that the client offers, in its order of preference.
    pub fn protocols(self, lp: &Loop) -> Vec<String> {
        let pending = self.exchange.socket().entry::<Pending>(lp).filter(|_| self.is_open(lp));
        pending.map_or_else(Vec::new, |pending| pending.opening.protocols.clone())
    }

    /// Whether the program can still decide: the client has not gone.
    pub fn is_open(self, lp: &Loop) -> bool {
        self.exchange.is_open(lp)
    }
}

impl<H> Clone for Handshake<H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<H> Copy for Handshake<H> {}

impl WebSocket {
    /// Both sides compress from now on.
    pub(super) fn agree_on_deflate(self, lp: &mut Loop, params: Params) {
        self.0.change_tag(lp, tag::DEFLATE, 0);
        let is_client = self.is_client(lp);
        // The shared streams have no context and the largest window.
        let is_usual = outgoing(params, is_client) == (false, 15) && !keeps_incoming_context(params, is_client);
        if !is_usual {
            self.0.set_entry(lp, OwnStreams { params, deflater: None, inflater: None });
            self.0.change_tag(lp, tag::OWN_STREAMS, 0);
        }
    }
}

/// A server of WebSocket connections; from [`listen`](super::listen()). A [`ServerId`] and an [`Endpoint`].
pub struct Server<H> {
    pub(super) id: ServerId,
    pub(super) endpoint: Endpoint<H>,
}

impl<H> Server<H> {
    /// The handle of the server below.
    pub fn id(self) -> ServerId {
        self.id
    }

    /// The endpoint: its handler and its connections.
    pub fn endpoint(self) -> Endpoint<H> {
        self.endpoint
    }
}

impl<H> Deref for Server<H> {
    type Target = ServerId;

    fn deref(&self) -> &ServerId {
        &self.id
    }
}

impl<H> Clone for Server<H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<H> Copy for Server<H> {}

/// The HTTP handler of [`listen`](super::listen()): every path leads to the endpoint.
struct Door<H> {
    endpoint: Endpoint<H>,
}

impl<H: Handler> http::Handler for Door<H> {
    fn on_request(&mut self, lp: &mut Loop, exchange: Exchange, request: &Request) {
        // No upgrade was asked for, or the request has a body, so this answers with an error.
        self.endpoint.handshake(lp, exchange, request);
    }

    fn on_head(&mut self, lp: &mut Loop, exchange: Exchange, _: &Request) {
        exchange.respond_text(lp, StatusCode::BAD_REQUEST, "a handshake has no body\n");
    }

    fn on_upgrade(&mut self, lp: &mut Loop, exchange: Exchange, request: &Request) {
        let Some(handshake) = self.endpoint.handshake(lp, exchange, request) else { return };
        let socket = exchange.socket();
        lp.in_layer_callback(Kind::OnHandshake, socket.serial(), 0, |lp| {
            let called =
                self.endpoint.with_all(lp, |connections, lp| connections.handler.on_handshake(lp, handshake, request));
            // The callback has panicked, and the loop catches panics: nothing will decide about this handshake.
            if called.is_none() {
                socket.destroy(lp);
            }
        });
    }

    fn on_error(&mut self, _: &mut Loop, socket: Socket, error: Error) {
        log::debug!(target: "bucle::websocket", "{socket}: {error}, before the handshake");
    }

    fn on_listening(&mut self, lp: &mut Loop, server: ServerId) {
        self.endpoint.with_all(lp, |connections, lp| connections.handler.on_listening(lp, server));
    }

    fn on_drop(&mut self, lp: &mut Loop, server: ServerId, dropped: Dropped) {
        self.endpoint.with_all(lp, |connections, lp| connections.handler.on_drop(lp, server, dropped));
    }

    fn on_server_error(&mut self, lp: &mut Loop, server: ServerId, error: Error) {
        self.endpoint.with_all(lp, |connections, lp| connections.handler.on_server_error(lp, server, error));
    }

    fn on_server_close(&mut self, lp: &mut Loop, server: ServerId) {
        self.endpoint.with_all(lp, |connections, lp| connections.handler.on_server_close(lp, server));
    }
}

/// Makes a server that upgrades every request to a WebSocket connection of `handler`. It is bound when this returns.
///
/// For several endpoints on one server, or a page beside them, write an [`http::Handler`] that calls
/// [`Endpoint::handshake`] for some paths.
///
/// # Errors
/// As [`net::listen`](crate::net::listen).
#[doc(alias = "WebSocketServer")]
pub fn listen<H: Handler>(lp: &mut Loop, on: impl Into<Listen>, options: Options, handler: H) -> Result<Server<H>> {
    let http_options = http::Options { head_timeout: options.handshake_timeout, ..http::Options::default() };
    let mut server_options = http::server_options();
    // The answer to the largest message must have room, too.
    server_options.limits.outbox_bytes = Some(http::OUTBOX_LIMIT.saturating_add(options.max_message));
    let endpoint = Endpoint::new(lp, options, handler);
    match net::listen_with(lp, on, server_options, Http::new(http_options, Door { endpoint })) {
        Ok(server) => Ok(Server { id: server.id(), endpoint }),
        Err(error) => {
            endpoint.release(lp);
            Err(error)
        }
    }
}
