//! HTTP requests for an engine: they are verified as in Node, open sessions, poll, and become WebSocket connections.

use std::borrow::Cow;

use ::http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};

use super::errors::{ConnectionError, ErrorCode};
use super::packet::{PacketType, Queued, open_packet};
use super::polling::{Serves, respond};
use super::registry::{self, Poll, Registry, get_mut};
use super::send::end;
use super::session::{Machine, Transport};
use super::{Channels, CloseReason, Engine, Handler, Opening, Options, Revision, Session, jsonp, query};
use crate::Loop;
use crate::http::{Exchange, HeaderMap, HeaderValue, Method, Request, Response, StatusCode, compress};
use crate::websocket::{Accept, CloseCode, Endpoint, WebSocket};

/// The parts of the query that belong to the protocol.
struct Query<'a> {
    transport: Option<Transport>,
    sid: Option<Cow<'a, str>>,
    revision: Revision,
    wants_base64: bool,
    /// The client polls with scripts.
    is_jsonp: bool,
    /// The number of the callback function of such a client.
    callback: Option<String>,
}

impl Query<'_> {
    fn of(request: &Request) -> Query<'_> {
        let text = request.query().unwrap_or_default();
        let j = query::get(text, "j");
        Query {
            transport: query::get(text, "transport").and_then(|name| Transport::parse(&name)),
            // Node takes an empty id for none.
            sid: query::get(text, "sid").filter(|sid| !sid.is_empty()),
            revision: Revision::from_query(query::get(text, "EIO").as_deref()),
            wants_base64: query::get(text, "b64").is_some_and(|value| !value.is_empty()),
            is_jsonp: j.is_some(),
            callback: j.and_then(|j| jsonp::callback(&j)),
        }
    }
}

/// A request that is valid.
enum Verified {
    /// It belongs to a session.
    Of(Session),
    /// It opens a session.
    Opens(Revision),
}

impl<H: Handler> Engine<H> {
    /// Whether a request is for this engine: its path is [`Options::path`], or below it.
    pub fn serves(self, lp: &Loop, request: &Request) -> bool {
        let Some(registry) = lp.layer::<Registry>() else { return false };
        let options = registry.options(self.number);
        let path = options.path.trim_end_matches('/');
        request.path().strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The head of a request with a body has arrived. To be called in
    /// [`http::Handler::on_head`](crate::http::Handler::on_head).
    pub fn serve_head(self, lp: &mut Loop, exchange: Exchange, request: &Request) {
        self.channels.with(lp, |channels, lp| channels.head(lp, exchange, request));
    }

    /// A request has arrived. To be called in [`http::Handler::on_request`](crate::http::Handler::on_request).
    #[doc(alias = "handleRequest")]
    pub fn serve_request(self, lp: &mut Loop, exchange: Exchange, request: &Request) {
        self.channels.with(lp, |channels, lp| channels.request(lp, exchange, request));
    }

    /// A request for a WebSocket connection has arrived. To be called in
    /// [`http::Handler::on_upgrade`](crate::http::Handler::on_upgrade).
    #[doc(alias = "handleUpgrade")]
    pub fn serve_upgrade(self, lp: &mut Loop, exchange: Exchange, request: &Request) {
        self.channels.with(lp, |channels, lp| channels.upgrade(lp, self.channels, exchange, request));
    }

    /// A request that this engine serves will not be answered: its connection is gone, its client has ended it, or its
    /// body was refused. To be called in [`http::Handler::on_abort`](crate::http::Handler::on_abort) and
    /// [`http::Handler::on_end`](crate::http::Handler::on_end).
    pub fn abort(self, lp: &mut Loop, exchange: Exchange) {
        self.channels.with(lp, |channels, lp| channels.aborted(lp, exchange));
    }

    /// The server drains: sessions end with [`CloseReason::ServerShuttingDown`](super::CloseReason). To be called in
    /// [`http::Handler::on_going_away`](crate::http::Handler::on_going_away).
    pub fn going_away(self, lp: &mut Loop, exchange: Exchange) {
        self.channels.with(lp, |channels, lp| channels.going_away(lp, exchange));
    }
}

impl<H: Handler> Channels<H> {
    fn options(&self, lp: &mut Loop) -> std::rc::Rc<Options> {
        lp.layer_mut::<Registry>().options(self.engine)
    }

    /// The checks of Node's engine.io, in its order.
    fn verify(
        &mut self,
        lp: &mut Loop,
        request: &Request,
        query: &Query<'_>,
        is_upgrade: bool,
    ) -> Result<Verified, ConnectionError> {
        let error = |code, context| Err(ConnectionError::new(code, context));
        let options = self.options(lp);
        let Some(transport) = query.transport.filter(|transport| options.allows(*transport)) else {
            return error(ErrorCode::UnknownTransport, "");
        };
        if let Some(sid) = &query.sid {
            let now = lp.now();
            let registry = lp.layer_mut::<Registry>();
            let Some(session) = registry.find(self.engine, sid) else {
                return error(ErrorCode::UnknownSid, "");
            };
            let Some(state) = registry.get(session) else {
                return error(ErrorCode::UnknownSid, "");
            };
            if state.machine.is_overdue(now) {
                end(lp, session, CloseReason::PingTimeout, "");
                return error(ErrorCode::UnknownSid, "");
            }
            if !is_upgrade && state.machine.transport() != transport {
                return error(ErrorCode::BadRequest, "the session has another transport");
            }
            if state.machine.revision() != query.revision {
                return error(ErrorCode::BadRequest, "the session has another protocol revision");
            }
            return Ok(Verified::Of(session));
        }
        if request.method() != Method::GET {
            return error(ErrorCode::BadHandshakeMethod, "");
        }
        if transport == Transport::WebSocket && !is_upgrade {
            return error(ErrorCode::BadRequest, "a WebSocket session needs an upgrade");
        }
        if let Err(message) = self.handler.allow_request(lp, request) {
            return Err(ConnectionError { code: ErrorCode::Forbidden, message, context: "" });
        }
        if query.revision == Revision::V3 && !options.allow_eio3 {
            return error(ErrorCode::UnsupportedProtocolVersion, "");
        }
        if transport == Transport::Polling && query.is_jsonp && query.callback.is_none() {
            return error(ErrorCode::BadRequest, "the callback of JSONP has no number");
        }
        Ok(Verified::Opens(query.revision))
    }

    /// The head of a request with a body.
    fn head(&mut self, lp: &mut Loop, exchange: Exchange, request: &Request) {
        let query = Query::of(request);
        if request.method() != Method::POST {
            return;
        }
        // Other errors are answered when the body has arrived.
        if let Ok(Verified::Of(session)) = self.verify(lp, request, &query, false) {
            self.begin_post(lp, session, exchange, request);
        } else if request
            .header("content-length")
            .and_then(|length| length.parse().ok())
            .is_some_and(|length: usize| length > self.options(lp).max_http_buffer_size)
        {
            self.request(lp, exchange, request);
        }
    }

    /// A whole request that is no upgrade.
    fn request(&mut self, lp: &mut Loop, exchange: Exchange, request: &Request) {
        let options = self.options(lp);
        if request.method() == Method::OPTIONS && self.preflight(lp, exchange, request) {
            return;
        }
        let name = request.path().strip_prefix(options.path.as_str());
        if let Some(file) = name.and_then(|name| options.client_files.get(name)) {
            let headers = self.cors_headers(lp, request);
            exchange.serve_with(lp, request, file, headers);
            return;
        }
        let query = Query::of(request);
        match self.verify(lp, request, &query, false) {
            Err(error) => self.refuse(lp, exchange, request, &error),
            Ok(Verified::Of(session)) => match *request.method() {
                Method::GET => self.poll(lp, session, exchange, request),
                Method::POST => self.post(lp, session, exchange, request),
                _ => {
                    let headers = self.cors_headers(lp, request);
                    respond(lp, exchange, StatusCode::INTERNAL_SERVER_ERROR, headers, None, b"");
                }
            },
            Ok(Verified::Opens(revision)) => self.open_polling(lp, exchange, request, &query, revision),
        }
    }

    /// Answers a preflight of a browser (Fetch, 4.8). Returns `false` if pages of other origins may not poll: then it
    /// is a request like others.
    fn preflight(&mut self, lp: &mut Loop, exchange: Exchange, request: &Request) -> bool {
        let options = self.options(lp);
        let Some(cors) = &options.cors else { return false };
        let mut headers = HeaderMap::new();
        headers.extend(cors.preflight(request.header("origin"), request.header("access-control-request-headers")));
        headers.remove(CONTENT_LENGTH);
        respond(lp, exchange, StatusCode::NO_CONTENT, headers, None, b"");
        true
    }

    /// Answers a request that is refused.
    fn refuse(&mut self, lp: &mut Loop, exchange: Exchange, request: &Request, error: &ConnectionError) {
        // Its session may have ended while its body was on the way.
        exchange.socket().take_entry::<Serves>(lp);
        self.handler.on_connection_error(lp, error, request);
        let mut headers = self.cors_headers(lp, request);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        respond(lp, exchange, error.status(), headers, None, error.body().as_bytes());
    }

    /// Adds a session, if there is room.
    fn add(
        &mut self,
        lp: &mut Loop,
        exchange: Exchange,
        request: &Request,
        revision: Revision,
        transport: Transport,
    ) -> Option<Session> {
        let options = self.options(lp);
        let now = lp.now();
        let registry = lp.layer_mut::<Registry>();
        let added = match registry.count(self.engine) < options.max_sessions {
            true => registry.add(self.engine, Machine::new(now, revision, transport, &options.times())),
            false => Err(crate::Error::custom("E_FULL", "there are too many sessions")),
        };
        match added {
            Ok(session) => Some(session),
            Err(error) => {
                log::warn!(target: "bucle::engine_io", "{}: {error}", exchange.socket());
                let mut headers = self.cors_headers(lp, request);
                headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
                respond(lp, exchange, StatusCode::SERVICE_UNAVAILABLE, headers, None, b"");
                None
            }
        }
    }

    /// The text of the open packet, without its type.
    fn open_packet(&self, lp: &mut Loop, session: Session, transport: Transport) -> String {
        let registry = lp.layer_mut::<Registry>();
        let options = registry.options(self.engine);
        let Some(state) = registry.get(session) else { return String::new() };
        let can_upgrade = transport == Transport::Polling && options.allow_upgrades && options.allow_websocket;
        let upgrades: &[&str] = if can_upgrade { &["websocket"] } else { &[] };
        let millis = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        open_packet(
            state.id.as_str(),
            upgrades,
            millis(options.ping_interval),
            millis(options.ping_timeout),
            Some(options.max_http_buffer_size),
        )
    }

    /// Opens a session that polls. The request is its first poll.
    fn open_polling(
        &mut self,
        lp: &mut Loop,
        exchange: Exchange,
        request: &Request,
        query: &Query<'_>,
        revision: Revision,
    ) {
        let Some(session) = self.add(lp, exchange, request, revision, Transport::Polling) else { return };
        if let Some(state) = get_mut(lp, session) {
            state.supports_binary = !query.wants_base64 && !query.is_jsonp;
            state.jsonp = query.callback.as_deref().map(Box::from);
        }
        let headers = self.headers(lp, request, Some(session));
        let open = Queued::text(PacketType::Open, self.open_packet(lp, session, Transport::Polling));
        let encoding = compress::negotiate(request.headers());
        // As in Node, the first answer has nothing but the open packet.
        self.answer(lp, session, Poll { exchange, headers, encoding }, &[open]);
        self.opened(lp, session, exchange, request);
    }

    /// The session is open.
    fn opened(&mut self, lp: &mut Loop, session: Session, exchange: Exchange, request: &Request) {
        registry::arm(lp, session);
        let address = exchange.socket().remote_address(lp);
        log::debug!(target: "bucle::engine_io", "{session} is open");
        self.handler.on_open(lp, session, Opening { request, address });
    }

    /// A request for a WebSocket connection.
    fn upgrade(&mut self, lp: &mut Loop, endpoint: Endpoint<Channels<H>>, exchange: Exchange, request: &Request) {
        let query = Query::of(request);
        let verified = match self.verify(lp, request, &query, true) {
            Ok(verified) if query.transport == Some(Transport::WebSocket) => verified,
            Ok(_) => {
                let error = ConnectionError::new(ErrorCode::BadRequest, "polling does not use an upgrade");
                return self.refuse_upgrade(lp, exchange, request, &error);
            }
            Err(error) => return self.refuse_upgrade(lp, exchange, request, &error),
        };
        match verified {
            Verified::Of(session) => {
                let Some(ws) = self.accept(lp, endpoint, exchange, request, false) else { return };
                let options = self.options(lp);
                let now = lp.now();
                let registry = lp.layer_mut::<Registry>();
                let begins = registry.get_mut(session).is_some_and(|state| {
                    options.allow_upgrades && state.is_open() && state.machine.begin_upgrade(now, &options.times())
                });
                if !begins {
                    return ws.close(lp, CloseCode::NO_STATUS, "");
                }
                if let Some(state) = registry.get_mut(session) {
                    state.ws = Some(ws);
                }
                registry.set_session_of(ws, session);
                registry::arm(lp, session);
            }
            Verified::Opens(revision) => {
                let Some(session) = self.add(lp, exchange, request, revision, Transport::WebSocket) else { return };
                let Some(ws) = self.accept(lp, endpoint, exchange, request, true) else {
                    return self.remove_unopened(lp, session);
                };
                let registry = lp.layer_mut::<Registry>();
                registry.set_session_of(ws, session);
                if let Some(state) = registry.get_mut(session) {
                    state.ws = Some(ws);
                    state.supports_binary = !query.wants_base64;
                }
                let open = self.open_packet(lp, session, Transport::WebSocket);
                ws.send(lp, &format!("0{open}"));
                self.opened(lp, session, exchange, request);
            }
        }
    }

    /// The handshake of the connection was refused, so there is no session.
    fn remove_unopened(&self, lp: &mut Loop, session: Session) {
        let registry = lp.layer_mut::<Registry>();
        registry.forget_id(session);
        registry.remove(session);
    }

    /// Accepts a WebSocket connection. `None` if its handshake is not valid; then it is answered.
    fn accept(
        &mut self,
        lp: &mut Loop,
        endpoint: Endpoint<Channels<H>>,
        exchange: Exchange,
        request: &Request,
        is_initial: bool,
    ) -> Option<WebSocket> {
        let handshake = endpoint.handshake(lp, exchange, request)?;
        let mut headers = self.cors_headers(lp, request);
        self.handler.on_headers(lp, &mut headers, request, is_initial);
        handshake.accept_with(lp, Accept { headers, ..Accept::default() })
    }

    /// Answers an upgrade that is refused as Node does: with 400 and the message, and closes the connection.
    fn refuse_upgrade(&mut self, lp: &mut Loop, exchange: Exchange, request: &Request, error: &ConnectionError) {
        self.handler.on_connection_error(lp, error, request);
        let mut response = Response::new(error.message.as_bytes());
        *response.status_mut() = StatusCode::BAD_REQUEST;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
        exchange.respond_and_close(lp, response);
    }
}
