//! The two requests of a session that polls: a GET waits for packets, and a POST brings some.

use ::http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_TYPE, SET_COOKIE, VARY};

use super::packet::{PacketType, Queued};
use super::payload::{self, MAX_PACKETS, PayloadDecoder};
use super::registry::{Poll, Post, Registry, SessionState, Stage, get_mut, settle_later};
use super::send::end;
use super::session::Transport;
use super::{Channels, CloseReason, Handler, Options, Revision, Session, jsonp};
use crate::Loop;
use crate::http::compress::{self, Encoding};
use crate::http::{Exchange, HeaderMap, HeaderValue, Request, Response, StatusCode};

/// The session whose request a connection serves, stored with the connection.
pub(super) struct Serves(pub Session);

/// How many packets of a POST are delivered at a time. Then other connections have their turn.
const PACKETS_AT_ONCE: usize = 1024;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=UTF-8");
const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");
const HTML: HeaderValue = HeaderValue::from_static("text/html");

impl<H: Handler> Channels<H> {
    /// A GET of a session has arrived.
    pub(super) fn poll(&mut self, lp: &mut Loop, session: Session, exchange: Exchange, request: &Request) {
        if get_mut(lp, session).is_some_and(|state| state.poll.is_some()) {
            end(lp, session, CloseReason::TransportError, "two polls at a time");
            return self.refuse_with(lp, exchange, request, StatusCode::BAD_REQUEST);
        }
        let headers = self.headers(lp, request, None);
        let Some(state) = get_mut(lp, session) else { return };
        state.poll = Some(Box::new(Poll { exchange, headers, encoding: compress::negotiate(request.headers()) }));
        exchange.socket().set_entry(lp, Serves(session));
        if get_mut(lp, session).is_some_and(|state| !state.queue.is_empty() || state.stage == Stage::Closing) {
            // Packets of this phase may still follow.
            settle_later(lp, session);
        }
    }

    /// Answers a waiting poll with the packets that are queued.
    pub(super) fn answer_poll(&mut self, lp: &mut Loop, session: Session) {
        let Some(state) = get_mut(lp, session).filter(|state| !state.queue.is_empty()) else { return };
        let Some(poll) = state.poll.take() else { return };
        let packets = state.queue.take(MAX_PACKETS);
        self.answer(lp, session, *poll, &packets);
    }

    /// Answers a waiting poll with a packet of no consequence, so that the client can go on with its upgrade.
    pub(super) fn release_poll(&mut self, lp: &mut Loop, session: Session) {
        let Some(state) = get_mut(lp, session) else { return };
        if !state.queue.is_empty() {
            return self.answer_poll(lp, session);
        }
        if let Some(poll) = state.poll.take() {
            self.answer(lp, session, *poll, &[Queued::text(PacketType::Noop, "")]);
        }
    }

    /// The session has ended: answers a waiting poll for the last time.
    pub(super) fn answer_last_poll(&mut self, lp: &mut Loop, session: Session, reason: CloseReason) {
        let Some(state) = get_mut(lp, session) else { return };
        let Some(poll) = state.poll.take() else { return };
        let mut packets = match reason {
            // Packets that were queued before the end are sent. The next poll is refused.
            CloseReason::ForcedClose | CloseReason::ServerShuttingDown => state.queue.take(MAX_PACKETS),
            _ => Vec::new(),
        };
        if packets.is_empty() {
            let is_of_client = reason == CloseReason::TransportClose;
            packets.push(Queued::text(if is_of_client { PacketType::Noop } else { PacketType::Close }, ""));
        }
        self.answer(lp, session, *poll, &packets);
    }

    /// The session has ended: answers a POST whose packets are not all delivered.
    pub(super) fn answer_last_post(&mut self, lp: &mut Loop, session: Session) {
        let Some(state) = get_mut(lp, session) else { return };
        // One whose body is still to come is answered then: there is no such session any more.
        if let Some(Post::Reading { exchange, headers, .. }) = state.post.take().map(|post| *post) {
            exchange.socket().take_entry::<Serves>(lp);
            respond(lp, exchange, StatusCode::BAD_REQUEST, headers, None, b"");
        }
    }

    pub(super) fn answer(&mut self, lp: &mut Loop, session: Session, poll: Poll, packets: &[Queued]) {
        let Poll { exchange, headers, encoding } = poll;
        exchange.socket().take_entry::<Serves>(lp);
        let registry = lp.layer_mut::<Registry>();
        let Some(state) = registry.get(session) else { return };
        let options = registry.options(state.engine);
        let (content_type, body) = payload_of(state, packets);
        let mut headers = headers;
        headers.insert(CONTENT_TYPE, content_type);
        respond(lp, exchange, StatusCode::OK, headers, compression(&options, encoding, body.len()), &body);
    }

    /// A POST of a session has begun, and its body is still to come.
    pub(super) fn begin_post(&mut self, lp: &mut Loop, session: Session, exchange: Exchange, request: &Request) {
        let registry = lp.layer_mut::<Registry>();
        let Some(state) = registry.get(session) else { return };
        let limit = registry.options(state.engine).max_http_buffer_size;
        if state.post.is_some() {
            end(lp, session, CloseReason::TransportError, "two posts at a time");
            return self.refuse_with(lp, exchange, request, StatusCode::BAD_REQUEST);
        }
        let length = request.header("content-length").and_then(|length| length.parse::<usize>().ok());
        if length.is_some_and(|length| length > limit) {
            end(lp, session, CloseReason::TransportError, "the body is too large");
            return self.refuse_with(lp, exchange, request, StatusCode::PAYLOAD_TOO_LARGE);
        }
        let Some(state) = registry.get_mut(session) else { return };
        state.post = Some(Box::new(Post::Receiving(exchange)));
        exchange.socket().set_entry(lp, Serves(session));
    }

    /// A POST of a session has arrived, with its body.
    pub(super) fn post(&mut self, lp: &mut Loop, session: Session, exchange: Exchange, request: &Request) {
        let registry = lp.layer_mut::<Registry>();
        let Some(state) = registry.get(session) else { return };
        let is_expected = match state.post.as_deref() {
            None => true,
            Some(Post::Receiving(expected)) => *expected == exchange,
            Some(Post::Reading { .. }) => false,
        };
        let (revision, is_jsonp) = (state.machine.revision(), state.jsonp.is_some());
        let limit = registry.options(state.engine).max_http_buffer_size;
        let is_binary = request.header("content-type") == Some("application/octet-stream");
        let refused = if !is_expected {
            Some((StatusCode::BAD_REQUEST, "two posts at a time"))
        } else if request.body().len() > limit {
            Some((StatusCode::PAYLOAD_TOO_LARGE, "the body is too large"))
        } else if is_binary && revision == Revision::V4 {
            Some((StatusCode::BAD_REQUEST, "a binary payload in revision 4"))
        } else {
            None
        };
        let body = match is_jsonp {
            false => Ok(request.body().to_vec()),
            true => jsonp::unwrap_form(request.body()).map(String::into_bytes),
        };
        let (status, reason, description) = match (refused, body) {
            (None, Ok(body)) => {
                let decoder = PayloadDecoder::new(revision, body, is_binary);
                let headers = self.headers(lp, request, None);
                if let Some(state) = get_mut(lp, session) {
                    state.post = Some(Box::new(Post::Reading { exchange, headers, decoder }));
                }
                exchange.socket().set_entry(lp, Serves(session));
                return self.read_on(lp, session);
            }
            (Some((status, description)), _) => (status, CloseReason::TransportError, description),
            (None, Err(error)) => (StatusCode::BAD_REQUEST, CloseReason::ParseError, error.reason),
        };
        exchange.socket().take_entry::<Serves>(lp);
        end(lp, session, reason, description);
        self.refuse_with(lp, exchange, request, status);
    }

    /// Delivers packets of a POST, and answers it behind the last one.
    pub(super) fn read_on(&mut self, lp: &mut Loop, session: Session) {
        let Some(state) = get_mut(lp, session) else { return };
        let Some(Post::Reading { exchange, headers, mut decoder }) = state.post.take().map(|post| *post) else {
            return;
        };
        let mut status = StatusCode::OK;
        for _ in 0..PACKETS_AT_ONCE {
            let is_open = get_mut(lp, session).is_some_and(|state| !state.has_ended());
            match decoder.next().filter(|_| is_open) {
                None => {
                    exchange.socket().take_entry::<Serves>(lp);
                    let mut headers = headers;
                    headers.insert(CONTENT_TYPE, HTML);
                    let body: &[u8] = if status == StatusCode::OK { b"ok" } else { b"" };
                    return respond(lp, exchange, status, headers, None, body);
                }
                Some(Ok(packet)) => self.receive(lp, session, &packet),
                Some(Err(error)) => {
                    status = StatusCode::BAD_REQUEST;
                    end(lp, session, CloseReason::ParseError, error.reason);
                }
            }
        }
        let registry = lp.layer_mut::<Registry>();
        let Some(state) = registry.get_mut(session) else { return };
        let engine = state.engine;
        state.post = Some(Box::new(Post::Reading { exchange, headers, decoder }));
        if let Some(read_on) = registry.settle(engine).map(|settle| settle.read_on) {
            lp.set_immediate(move |lp| lp.keyed_tick(session.0, read_on));
        }
    }

    /// A connection with a request of a session is gone, or its client has ended it.
    pub(super) fn aborted(&mut self, lp: &mut Loop, exchange: Exchange) {
        let Some(Serves(session)) = exchange.socket().take_entry::<Serves>(lp) else { return };
        let Some(state) = get_mut(lp, session) else { return };
        let description = if state.poll.as_ref().is_some_and(|poll| poll.exchange == exchange) {
            state.poll = None;
            "the connection of a poll was lost"
        } else {
            state.post = None;
            "the connection of a post was lost"
        };
        // After an upgrade the connections of polls are of no consequence.
        if state.machine.transport() == Transport::Polling {
            end(lp, session, CloseReason::TransportError, description);
        }
    }

    /// The server drains while a request of a session waits.
    pub(super) fn going_away(&mut self, lp: &mut Loop, exchange: Exchange) {
        if let Some(Serves(session)) = exchange.socket().entry::<Serves>(lp) {
            let session = *session;
            end(lp, session, CloseReason::ServerShuttingDown, "");
        }
    }

    /// The headers of an answer for pages of other origins. Every answer has them.
    pub(super) fn cors_headers(&self, lp: &mut Loop, request: &Request) -> HeaderMap {
        let options = lp.layer_mut::<Registry>().options(self.engine);
        let cors = options.cors.as_ref().map(|cors| cors.headers(request.header("origin")));
        cors.into_iter().flatten().collect()
    }

    /// The headers of an answer to a valid request beside those of its body. `opens` is the session that it opens.
    pub(super) fn headers(&mut self, lp: &mut Loop, request: &Request, opens: Option<Session>) -> HeaderMap {
        let mut headers = self.cors_headers(lp, request);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let options = lp.layer_mut::<Registry>().options(self.engine);
        if let Some(id) = opens.and_then(|session| session.id(lp))
            && let Some(cookie) = &options.cookie
            && let Ok(cookie) = cookie.set_cookie(id.as_str())
        {
            headers.insert(SET_COOKIE, cookie);
        }
        self.handler.on_headers(lp, &mut headers, request, opens.is_some());
        headers
    }

    /// Answers a request of a session with a status and no body.
    fn refuse_with(&mut self, lp: &mut Loop, exchange: Exchange, request: &Request, status: StatusCode) {
        let mut response = Response::new(b"");
        *response.status_mut() = status;
        *response.headers_mut() = self.cors_headers(lp, request);
        if status == StatusCode::PAYLOAD_TOO_LARGE {
            // The body may never come.
            exchange.respond_and_close(lp, response);
        } else {
            exchange.respond(lp, response);
        }
    }
}

/// The content type and the body of an answer to a poll.
fn payload_of(state: &SessionState, packets: &[Queued]) -> (HeaderValue, Vec<u8>) {
    let encoded = payload::encode(state.machine.revision(), packets, state.supports_binary);
    match &state.jsonp {
        // The payload of such a session is always text.
        Some(number) => (TEXT, jsonp::wrap(number, &String::from_utf8_lossy(&encoded.into_bytes())).into_bytes()),
        None => (if encoded.is_binary() { OCTETS } else { TEXT }, encoded.into_bytes()),
    }
}

/// The compression for a body of this length.
fn compression(options: &Options, accepted: Option<Encoding>, len: usize) -> Option<Encoding> {
    options.http_compression.filter(|least| len >= *least).and(accepted)
}

/// Sends a whole answer.
pub(super) fn respond(
    lp: &mut Loop,
    exchange: Exchange,
    status: StatusCode,
    mut headers: HeaderMap,
    encoding: Option<Encoding>,
    body: &[u8],
) {
    let compressed = encoding.map(|encoding| compress::compress(encoding, body));
    if let Some(encoding) = encoding {
        headers.insert(::http::header::CONTENT_ENCODING, HeaderValue::from_static(encoding.as_str()));
        headers.append(VARY, HeaderValue::from_name(ACCEPT_ENCODING));
    }
    let mut response = Response::new(compressed.as_deref().unwrap_or(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    exchange.respond(lp, response);
}
