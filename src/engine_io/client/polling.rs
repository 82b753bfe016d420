//! Polling: a GET that waits for the packets of the server, and a POST with those of the client.
//!
//! Both are under way at the same time, one of each. A failed one ends the session: its packets may be lost, and the
//! order of the others with them.

use std::time::Duration;

use serde_json::Value;

use super::ClientSession;
use super::registry::{Registry, SessionState, Stage, end, fail, get_mut, settle_later};
use crate::engine_io::CloseReason;
use crate::engine_io::packet::PacketType;
use crate::engine_io::payload::{self, PayloadDecoder};
use crate::engine_io::session::Transport;
use crate::http::{Client, ClientOptions, ClientRequest, ClientResponse, HeaderValue, Method, RequestId, StatusCode};
use crate::{Error, Key, Loop, Result};

/// How many packets of an answer are delivered in one turn. Then other connections have their turn.
const PACKETS_AT_ONCE: usize = 1024;

/// How much of a server's refusal goes into an error.
const MAX_TEXT: usize = 200;

/// Makes a GET, unless one is under way or the session does not poll.
pub(super) fn poll(lp: &mut Loop, session: ClientSession) {
    let Some(state) = get_mut(lp, session) else { return };
    let is_waiting = state.poll.is_some() || state.reading.is_some() || state.is_paused;
    if is_waiting || !state.is_alive() || !state.machine.may_poll() {
        return;
    }
    if let Some(id) = send(lp, session, Method::GET, Vec::new(), None, polled)
        && let Some(state) = get_mut(lp, session)
    {
        state.poll = Some(id);
    }
}

/// Posts the packets that wait, unless a POST is under way or the session does not poll.
pub(super) fn flush(lp: &mut Loop, session: ClientSession) {
    let Some(state) = get_mut(lp, session) else { return };
    let is_open = state.machine.is_open() && state.machine.may_poll() && !state.has_ended();
    if !is_open || state.post.is_some() || state.queue.is_empty() {
        return;
    }
    let revision = state.machine.revision();
    let count = payload::count_within(revision, state.queue.iter(), true, state.max_payload);
    let packets = state.queue.take(count);
    state.has_pong &= packets.iter().all(|packet| packet.kind != PacketType::Pong);
    let encoded = payload::encode(revision, &packets, true);
    let content_type = if encoded.is_binary() { "application/octet-stream" } else { "text/plain;charset=UTF-8" };
    let content_type = HeaderValue::from_static(content_type);
    if let Some(id) = send(lp, session, Method::POST, encoded.into_bytes(), Some(content_type), posted)
        && let Some(state) = get_mut(lp, session)
    {
        state.post = Some(id);
    }
}

/// Makes a request. It has no time limit: the heartbeat ends the session.
fn send(
    lp: &mut Loop,
    session: ClientSession,
    method: Method,
    body: Vec<u8>,
    content_type: Option<HeaderValue>,
    on_response: fn(&mut Loop, ClientSession, Result<ClientResponse>),
) -> Option<RequestId> {
    let registry = lp.layer_mut::<Registry>();
    let unique = match registry.random.random::<8>() {
        Ok(bytes) => format!("{:x}", u64::from_le_bytes(bytes)),
        Err(error) => {
            end(lp, session, CloseReason::TransportError, error);
            return None;
        }
    };
    let state = registry.get_mut(session)?;
    let url = state.location.of_polling(state.machine.revision(), &state.id, &unique);
    let mut headers = state.headers();
    if let Some(content_type) = content_type {
        headers.insert("content-type", content_type);
    }
    let request = ClientRequest { method, headers, body, timeout: Duration::ZERO, ..ClientRequest::get(url) };
    let max_body = state.options.max_message;
    let http = match state.http {
        Some(http) => http,
        None => {
            let http = Client::new(lp, ClientOptions { max_body, ..ClientOptions::default() });
            get_mut(lp, session)?.http = Some(http);
            http
        }
    };
    match http.request(lp, request, move |lp, result| on_response(lp, session, result)) {
        Ok(id) => Some(id),
        Err(error) => {
            end(lp, session, CloseReason::TransportError, error);
            None
        }
    }
}

/// A GET was answered, or has failed.
fn polled(lp: &mut Loop, session: ClientSession, result: Result<ClientResponse>) {
    let Some(state) = get_mut(lp, session) else { return };
    state.poll = None;
    let revision = state.machine.revision();
    if let Ok(response) = &result {
        state.take_cookies(response.head.headers());
    }
    match result {
        Ok(response) if response.status() == StatusCode::OK => {
            let content_type = response.head.header("content-type").unwrap_or_default();
            let is_binary = content_type.eq_ignore_ascii_case("application/octet-stream");
            state.reading = Some(PayloadDecoder::new(revision, response.body, is_binary));
            read_on(lp, session);
        }
        Ok(response) => fail(lp, session, refusal("poll", &response)),
        Err(error) => fail(lp, session, error),
    }
}

/// Delivers the packets of an answer. The next GET follows when all are delivered.
pub(super) fn read_on(lp: &mut Loop, session: ClientSession) {
    for _ in 0..PACKETS_AT_ONCE {
        // A callback may have ended or paused the session.
        let Some(state) = get_mut(lp, session).filter(|state| !state.is_paused) else { return };
        let Some(mut decoder) = state.reading.take() else { return poll(lp, session) };
        match decoder.next() {
            None => {
                poll(lp, session);
                return settle_later(lp, session);
            }
            Some(Ok(packet)) => {
                if !lp.guarded(|lp| super::receive(lp, session, &packet)) {
                    // As with a WebSocket connection, whose callback has panicked.
                    let error = Error::custom("ABORT_ERR", "a callback of the program has panicked");
                    return end(lp, session, CloseReason::TransportError, error);
                }
            }
            Some(Err(malformed)) => {
                let error = Error::custom("E_BAD_RESPONSE", malformed.to_string());
                return fail(lp, session, error);
            }
        }
        // A broken rule may have ended the session, or its first transport.
        let reads_on = |state: &SessionState| !state.has_ended() && state.machine.transport() == Transport::Polling;
        let Some(state) = get_mut(lp, session).filter(|state| reads_on(state)) else { return };
        state.reading = Some(decoder);
    }
    lp.set_immediate(move |lp| lp.keyed_tick(session.0, |lp, key: Key| read_on(lp, ClientSession(key))));
}

/// A POST was answered, or has failed.
fn posted(lp: &mut Loop, session: ClientSession, result: Result<ClientResponse>) {
    let Some(state) = get_mut(lp, session) else { return };
    state.post = None;
    if let Ok(response) = &result {
        state.take_cookies(response.head.headers());
    }
    match result {
        // Node does not look at the body, either.
        Ok(response) if response.status() == StatusCode::OK => {
            if matches!(state.stage, Stage::Closing) && state.queue.is_empty() {
                return end(lp, session, CloseReason::ForcedClose, super::closed_by_program());
            }
            flush(lp, session);
            settle_later(lp, session);
        }
        Ok(response) => fail(lp, session, refusal("post", &response)),
        Err(error) => fail(lp, session, error),
    }
}

/// The error for an answer with another status than 200.
fn refusal(what: &str, response: &ClientResponse) -> Error {
    refused(&format!("the server has answered a {what} with {}", response.status()), &response.body)
}

/// An error whose message ends with that of the server. `body` is JSON with a `message`, or text.
pub(super) fn refused(what: &str, body: &[u8]) -> Error {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = String::from_utf8_lossy(body);
    let text = json["message"].as_str().unwrap_or(text.trim());
    let text: String = text.chars().take(MAX_TEXT).flat_map(char::escape_debug).collect();
    let message = if text.is_empty() { what.to_owned() } else { format!("{what}: {text}") };
    Error::custom("E_UNEXPECTED_RESPONSE", message)
}
