//! The WebSocket connection of a client's session: from the start, or after an upgrade.

use std::time::Duration;

use super::machine::ProbeReaction;
use super::registry::{Registry, end, fail, get_mut, note_upgrade};
use super::{ClientSession, polling};
use crate::engine_io::CloseReason;
use crate::engine_io::packet::{self, Queued};
use crate::engine_io::session::Transport;
use crate::http::head::ResponseHead;
use crate::websocket::{self, ClientOptions, CloseCode, Endpoint, Message, WebSocket};
use crate::{Error, Loop, Result};

/// How many packets of a session are delivered in one turn. Then other connections have their turn.
const PACKETS_AT_ONCE: u32 = 1024;

/// The handler of a session's WebSocket connection.
struct Channel {
    session: ClientSession,
}

/// Makes the WebSocket connection of a session.
///
/// # Errors
/// The URL is not valid, or the system has no random source.
pub(super) fn connect(lp: &mut Loop, session: ClientSession) -> Result<()> {
    let Some(state) = get_mut(lp, session) else { return Ok(()) };
    let url = state.location.of_websocket(state.machine.revision(), &state.id);
    let (options, headers) = (state.options.clone(), state.headers());
    let endpoint_options = websocket::Options {
        max_message: options.max_message,
        // The protocol has pings of its own, and time limits, too.
        idle_limit: Duration::ZERO,
        handshake_timeout: Duration::ZERO,
        deflate: options.per_message_deflate.clone(),
        ..websocket::Options::default()
    };
    let endpoint = Endpoint::new(lp, endpoint_options, Channel { session });
    let client_options = ClientOptions { headers, ..ClientOptions::default() };
    let ws = endpoint.connect(lp, &url, &client_options);
    endpoint.release(lp);
    if let Some(state) = get_mut(lp, session) {
        state.ws = Some(ws?);
        state.ws_error = None;
    }
    Ok(())
}

impl websocket::Handler for Channel {
    fn on_upgrade(&mut self, lp: &mut Loop, ws: WebSocket, response: &ResponseHead) {
        if let Some(state) = get_mut(lp, self.session).filter(|state| state.ws == Some(ws)) {
            state.take_cookies(response.headers());
        }
    }

    fn on_open(&mut self, lp: &mut Loop, ws: WebSocket) {
        let Some(state) = get_mut(lp, self.session).filter(|state| state.ws == Some(ws)) else { return };
        if state.machine.transport() == Transport::Polling {
            ws.send(lp, "2probe");
        }
    }

    fn on_message(&mut self, lp: &mut Loop, ws: WebSocket, message: Message<'_>) {
        let (session, turn) = (self.session, lp.turn_number());
        let registry = lp.layer_mut::<Registry>();
        let mut decoded = std::mem::take(&mut registry.decoded);
        let Some(state) = registry.get_mut(session).filter(|state| state.ws == Some(ws)) else { return };
        let burst = &mut state.burst;
        burst.packets = if burst.turn == turn { burst.packets + 1 } else { 0 };
        burst.turn = turn;
        let is_burst = burst.packets >= PACKETS_AT_ONCE;
        let revision = state.machine.revision();
        let packet = match message {
            Message::Text(text) => packet::parse_text(revision, text, &mut decoded),
            Message::Binary(bytes) => packet::parse_binary(revision, bytes),
        };
        if state.machine.transport() == Transport::WebSocket {
            match packet {
                Ok(packet) => super::receive(lp, session, &packet),
                Err(malformed) => {
                    let error = Error::custom("E_BAD_RESPONSE", malformed.to_string());
                    fail(lp, session, error);
                }
            }
        } else {
            match packet.map_or(ProbeReaction::Fail, |packet| state.machine.receive_probe(&packet)) {
                ProbeReaction::Pause => {
                    note_upgrade(lp, session, true);
                    finish_upgrade(lp, session);
                }
                ProbeReaction::Fail => give_up(lp, session),
            }
        }
        lp.layer_mut::<Registry>().decoded = decoded;
        if is_burst && ws.is_open(lp) {
            ws.pause(lp);
            lp.set_immediate(move |lp| go_on(lp, session, ws));
        }
    }

    fn on_drain(&mut self, lp: &mut Loop, ws: WebSocket) {
        let Some(state) = get_mut(lp, self.session).filter(|state| state.ws == Some(ws)) else { return };
        if state.machine.transport() == Transport::WebSocket {
            super::drained(lp, self.session);
        }
    }

    fn on_unexpected_response(&mut self, lp: &mut Loop, ws: WebSocket, response: &ResponseHead, body: &[u8]) {
        if let Some(state) = get_mut(lp, self.session).filter(|state| state.ws == Some(ws)) {
            state.take_cookies(response.headers());
            let what = format!("the server has answered the WebSocket handshake with {}", response.status());
            state.ws_error = Some(polling::refused(&what, body));
        }
    }

    fn on_error(&mut self, lp: &mut Loop, ws: WebSocket, error: Error) {
        log::debug!(target: "bucle::engine_io", "{ws}: {error}");
        if let Some(state) = get_mut(lp, self.session).filter(|state| state.ws == Some(ws)) {
            state.ws_error.get_or_insert(error);
        }
    }

    fn on_close(&mut self, lp: &mut Loop, ws: WebSocket, code: CloseCode, reason: &str) {
        let Some(state) = get_mut(lp, self.session).filter(|state| state.ws == Some(ws)) else { return };
        state.ws = None;
        if state.machine.transport() == Transport::Polling {
            state.machine.end_upgrade();
            return polling_goes_on(lp, self.session);
        }
        let is_violation = matches!(
            code,
            CloseCode::PROTOCOL_ERROR
                | CloseCode::UNSUPPORTED_DATA
                | CloseCode::INVALID_PAYLOAD
                | CloseCode::MESSAGE_TOO_BIG
        );
        let was_broken = state.ws_error.is_some() || is_violation;
        let error = state.ws_error.take().unwrap_or_else(|| {
            let message = format!("the WebSocket connection was closed: {code} {reason}");
            Error::custom("ECONNRESET", message.trim_end())
        });
        match was_broken {
            true => fail(lp, self.session, error),
            false => end(lp, self.session, CloseReason::TransportClose, error),
        }
    }
}

/// Other connections have had their turn.
fn go_on(lp: &mut Loop, session: ClientSession, ws: WebSocket) {
    if get_mut(lp, session).is_none_or(|state| !state.is_paused) {
        ws.resume(lp);
    }
}

/// Changes to the WebSocket connection of an upgrade, if no request is under way.
pub(super) fn finish_upgrade(lp: &mut Loop, session: ClientSession) {
    let Some(state) = get_mut(lp, session) else { return };
    let is_ready = state.machine.is_pausing()
        && state.is_alive()
        && state.poll.is_none()
        && state.post.is_none()
        && state.reading.is_none();
    let Some(ws) = state.ws.filter(|_| is_ready) else { return };
    state.machine.finish_upgrade();
    state.has_pong = false;
    let (queued, http, is_paused) = (state.queue.take(usize::MAX), state.http.take(), state.is_paused);
    ws.send(lp, "5");
    for packet in &queued {
        send_frame(lp, session, ws, packet);
    }
    if let Some(http) = http {
        http.release(lp);
    }
    if is_paused {
        ws.pause(lp);
    }
    log::debug!(target: "bucle::engine_io", "{session} has changed to {ws}");
    super::upgraded(lp, session);
}

/// Closes the WebSocket connection of an upgrade. The session goes on with polling.
pub(super) fn give_up(lp: &mut Loop, session: ClientSession) {
    let Some(state) = get_mut(lp, session) else { return };
    state.machine.end_upgrade();
    if let Some(ws) = state.ws.take() {
        log::debug!(target: "bucle::engine_io", "{session} goes on with polling, {ws} was not accepted");
        ws.close(lp, CloseCode::NORMAL, "");
    }
    polling_goes_on(lp, session);
}

fn polling_goes_on(lp: &mut Loop, session: ClientSession) {
    polling::poll(lp, session);
    polling::flush(lp, session);
}

/// Sends a packet to a WebSocket connection.
pub(super) fn send_frame(lp: &mut Loop, session: ClientSession, ws: WebSocket, packet: &Queued) -> bool {
    let registry = lp.layer_mut::<Registry>();
    let Some(revision) = registry.get(session).map(|state| state.machine.revision()) else { return false };
    let mut buffer = std::mem::take(&mut registry.frame);
    let is_low = match packet.frame(revision, true, &mut buffer) {
        packet::Data::Text(text) => ws.send(lp, text),
        packet::Data::Binary(bytes) => ws.send(lp, bytes),
    };
    lp.layer_mut::<Registry>().frame = buffer;
    is_low
}
