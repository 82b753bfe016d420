//! Received bytes become messages, and the handler gets them.
//!
//! Most reads contain whole messages. They are unmasked in the loop's read buffer and lent from there, and nothing is
//! kept. A read that ends in the middle of a message leaves a [`Receiver`] in the loop's table until the next read.
//!
//! The handler may stop the delivery in any callback. If it pauses the connection, or upgrades the socket, the rest of
//! the chunk is put back into the socket's inbox. After a close or a destroy the rest is not delivered.

use std::mem;

use super::close::{CloseCode, Violation};
use super::deflate::{InflateError, Inflater};
use super::frame::Opcode;
use super::receiver::{Event, Message, Receiver, whole_message};
use super::registry::Registry;
use super::send::{OwnStreams, give_back, keeps_incoming_context};
use super::{Connections, Handler, WebSocket, closing, tag};
use crate::net::Socket;
use crate::{Kind, Loop};

/// The treatment of the rest of a chunk after a callback.
enum Rest {
    Deliver,
    /// The connection is paused, or the socket was upgraded: the rest is delivered later.
    PutBack,
    /// The connection is gone, or this side has ended it.
    Drop,
}

impl<H: Handler> Connections<H> {
    /// Bytes have arrived on an open connection.
    #[inline]
    pub(super) fn receive(&mut self, lp: &mut Loop, socket: Socket, mut rest: &mut [u8]) {
        let ws = WebSocket(socket);
        let tag = socket.tag(lp);
        if tag & (tag::QUIET | tag::PINGED) != 0 {
            socket.change_tag(lp, 0, tag::QUIET | tag::PINGED);
        }
        if tag & (tag::OPEN | tag::UNUSUAL) == tag::OPEN {
            let settings = self.settings(tag);
            while let Some(message) = whole_message(&settings, &mut rest) {
                match message {
                    Ok(message) => self.call(lp, ws, message),
                    Err(violation) => return closing::fail(lp, ws, &violation),
                }
                if socket.tag_if_ready(lp) & (tag::OPEN | tag::UNUSUAL) != tag::OPEN {
                    match self.rest_of_chunk(lp, ws) {
                        Rest::Deliver => break,
                        Rest::PutBack => return socket.unshift(lp, rest),
                        Rest::Drop => return,
                    }
                }
            }
            if rest.is_empty() {
                return;
            }
        }
        self.receive_slowly(lp, socket, rest);
    }

    #[inline(always)]
    fn call(&mut self, lp: &mut Loop, ws: WebSocket, message: Message<'_>) {
        let size = message.as_bytes().len();
        if log::log_enabled!(target: "bucle::websocket", log::Level::Trace) {
            log_message(ws, message);
        }
        lp.in_layer_callback(Kind::OnMessage, ws.serial(), size, |lp| self.handler.on_message(lp, ws, message));
    }

    /// Bytes that are not whole messages: parts of messages, control frames, compressed messages.
    #[inline(never)]
    fn receive_slowly(&mut self, lp: &mut Loop, socket: Socket, mut rest: &mut [u8]) {
        let ws = WebSocket(socket);
        let tag = socket.tag(lp);
        if tag & (tag::OPEN | tag::CLOSE_RECEIVED) != tag::OPEN {
            return;
        }
        let mut receiver = Receiver::default();
        if tag & tag::PARTIAL != 0 {
            socket.change_tag(lp, 0, tag::PARTIAL);
            receiver = socket.take_entry(lp).unwrap_or_default();
        }
        let settings = self.settings(tag);
        loop {
            match receiver.next(&settings, &mut rest) {
                Ok(Some(event)) => self.receive_event(lp, ws, event),
                Ok(None) => break,
                Err(violation) => return closing::fail(lp, ws, &violation),
            }
            match self.rest_of_chunk(lp, ws) {
                Rest::Deliver => {}
                Rest::PutBack => {
                    socket.unshift(lp, &*rest);
                    break;
                }
                Rest::Drop => return,
            }
        }
        // After an upgrade in a callback the tag is the new protocol's.
        if !receiver.is_idle() && !socket.is_upgrading(lp) && socket.exists(lp) {
            socket.set_entry(lp, receiver);
            socket.change_tag(lp, tag::PARTIAL, 0);
        }
    }

    fn receive_event(&mut self, lp: &mut Loop, ws: WebSocket, event: Event<'_>) {
        // After this side's close frame only the peer's is of interest (RFC 6455, 5.5.1).
        let is_closing = ws.0.tag(lp) & tag::CLOSE_SENT != 0;
        match event {
            Event::Close { code, reason } => self.receive_close(lp, ws, code, reason),
            _ if is_closing => {}
            Event::Message(message) => self.call(lp, ws, message),
            Event::Compressed { opcode, payload } => self.receive_compressed(lp, ws, opcode, payload),
            Event::Ping(payload) => {
                log::trace!(target: "bucle::websocket", "{ws} received a ping of {} bytes", payload.len());
                answer_ping(lp, ws, payload);
                lp.in_layer_callback(Kind::OnPing, ws.serial(), payload.len(), |lp| {
                    self.handler.on_ping(lp, ws, payload);
                });
            }
            Event::Pong(payload) => {
                log::trace!(target: "bucle::websocket", "{ws} received a pong of {} bytes", payload.len());
                lp.in_layer_callback(Kind::OnPong, ws.serial(), payload.len(), |lp| {
                    self.handler.on_pong(lp, ws, payload);
                });
            }
        }
    }

    /// A whole message that is compressed. Its limit is checked while it is inflated.
    fn receive_compressed(&mut self, lp: &mut Loop, ws: WebSocket, opcode: Opcode, payload: &[u8]) {
        let mut inflated = mem::take(&mut lp.layer_mut::<Registry>().incoming);
        inflated.clear();
        let limit = self.options.max_message;
        let result = inflate(lp, ws, payload, &mut inflated, limit);
        let message = result.and_then(|()| {
            if opcode == Opcode::Binary {
                return Ok(Message::Binary(&inflated));
            }
            let text = super::utf8::check(&inflated);
            text.map(Message::Text)
                .map_err(|_| Violation { code: CloseCode::INVALID_PAYLOAD, reason: "the text is not UTF-8" })
        });
        match message {
            Ok(message) => self.call(lp, ws, message),
            Err(violation) => closing::fail(lp, ws, &violation),
        }
        give_back(&mut lp.layer_mut::<Registry>().incoming, inflated);
    }

    /// Decides about the rest of a chunk after a callback.
    fn rest_of_chunk(&mut self, lp: &mut Loop, ws: WebSocket) -> Rest {
        let socket = ws.0;
        if socket.is_ready_for_more(lp) {
            return if socket.tag(lp) & tag::CLOSE_RECEIVED == 0 { Rest::Deliver } else { Rest::Drop };
        }
        if socket.is_upgrading(lp) {
            self.forget(lp, ws);
            return Rest::PutBack;
        }
        if socket.write_refusal(lp).is_some() {
            // A broken connection still delivers what was read. Without the rest of this chunk that makes no sense.
            socket.change_tag(lp, tag::CLOSE_RECEIVED, 0);
            return Rest::Drop;
        }
        if socket.is_paused(lp) {
            return Rest::PutBack;
        }
        // A client is not throttled: it decides itself how much it sends, and if both sides waited for each other to
        // read, neither would go on.
        if socket.needs_drain(lp) && !ws.is_client(lp) {
            // A peer that does not read its answers: nothing more is read from it until they are sent.
            log::trace!(target: "bucle::websocket", "{ws} does not read its answers: no reading from it until they are sent");
            socket.change_tag(lp, tag::THROTTLED, 0);
            socket.pause(lp);
            return Rest::PutBack;
        }
        Rest::Deliver
    }

    /// A callback has upgraded the socket to another protocol, so `on_close` will not be called for it here.
    #[cold]
    pub(super) fn forget(&mut self, lp: &mut Loop, ws: WebSocket) {
        closing::stop_timer(lp, ws.0);
        // The tag is the new protocol's. All connections with a callback were counted.
        self.count_down(lp);
        lp.layer_mut::<Registry>().leave_all_topics(ws);
    }

    /// The peer's close frame: it is answered, unless it is the answer.
    fn receive_close(&mut self, lp: &mut Loop, ws: WebSocket, code: Option<CloseCode>, reason: &str) {
        let code = code.unwrap_or(CloseCode::NO_STATUS);
        log::debug!(target: "bucle::websocket", "{ws} received close {code} {reason:?}");
        lp.note(Kind::CloseReceived, ws.serial(), code.0.into());
        ws.0.change_tag(lp, tag::CLOSE_RECEIVED, 0);
        closing::remember(lp, ws, code, reason);
        closing::answer(lp, ws, code);
    }
}

/// The payload of a ping that is answered when the queued bytes are sent.
struct LatePong(Vec<u8>);

/// Answers a ping. While the server does not read what a client has sent, only the latest ping is answered, later, as
/// RFC 6455, 5.5.3 allows: otherwise pongs would pile up. A client that does not read is not read itself, so a server
/// needs no such rule.
fn answer_ping(lp: &mut Loop, ws: WebSocket, payload: &[u8]) {
    if ws.is_client(lp) && ws.0.needs_drain(lp) {
        return ws.0.set_entry(lp, LatePong(payload.to_vec()));
    }
    ws.send_control(lp, Opcode::Pong, payload);
}

/// The queued bytes are sent: answers a ping that arrived meanwhile.
pub(super) fn send_late_pong(lp: &mut Loop, ws: WebSocket) {
    if let Some(LatePong(payload)) = ws.0.take_entry(lp)
        && ws.0.tag(lp) & tag::CLOSE_SENT == 0
    {
        ws.send_control(lp, Opcode::Pong, &payload);
    }
}

/// Inflates a message, with the stream of this connection or the shared one.
fn inflate(lp: &mut Loop, ws: WebSocket, payload: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<(), Violation> {
    let is_client = ws.is_client(lp);
    if ws.0.tag(lp) & tag::OWN_STREAMS != 0
        && let Some(streams) = ws.0.entry_mut::<OwnStreams>(lp)
        && keeps_incoming_context(streams.params, is_client)
    {
        let inflater = streams.inflater.get_or_insert_with(Inflater::new);
        return inflater.inflate(payload, out, limit, true).map_err(violation_of);
    }
    lp.layer_mut::<Registry>().inflater().inflate(payload, out, limit, false).map_err(violation_of)
}

fn violation_of(error: InflateError) -> Violation {
    match error {
        InflateError::TooLarge => {
            Violation { code: CloseCode::MESSAGE_TOO_BIG, reason: "the inflated message is too large" }
        }
        _ => Violation { code: CloseCode::INVALID_PAYLOAD, reason: "the compressed message is corrupt" },
    }
}

#[cold]
#[inline(never)]
fn log_message(ws: WebSocket, message: Message<'_>) {
    let kind = if matches!(message, Message::Text(_)) { "text" } else { "binary" };
    log::trace!(target: "bucle::websocket", "{ws} received a {kind} message of {} bytes", message.as_bytes().len());
}
