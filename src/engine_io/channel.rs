//! WebSocket connections of sessions, and what an engine does in ticks and timers.

use super::packet::{self, Data, Packet, PacketType, Queued};
use super::registry::{self, Registry, Stage, get_mut};
use super::send::{end, send_frame};
use super::session::{Due, ProbeReaction, Reaction, Transport};
use super::{Channels, CloseReason, Handler, Message, Session};
use crate::net::Error;
use crate::websocket::{self, CloseCode, WebSocket};
use crate::{Kind, Loop};

/// A buffer of up to this size is used again.
const SCRATCH: usize = 64 * 1024;

impl<H: Handler> websocket::Handler for Channels<H> {
    #[inline]
    fn on_message(&mut self, lp: &mut Loop, ws: WebSocket, message: Message<'_>) {
        let registry = lp.layer_mut::<Registry>();
        let Some(session) = registry.session_of(ws) else { return };
        let Some(state) = registry.get_mut(session) else { return };
        if state.machine.transport() == Transport::WebSocket
            && state.is_open()
            && !state.machine.awaits_pong()
            && let Message::Text(text) = message
            && let Some(text) = text.strip_prefix('4')
        {
            return self.call(lp, session, Message::Text(text));
        }
        self.receive_frame(lp, ws, session, message);
    }

    fn on_drain(&mut self, lp: &mut Loop, ws: WebSocket) {
        if let Some(session) = lp.layer_mut::<Registry>().session_of(ws) {
            self.drained(lp, session);
        }
    }

    fn on_error(&mut self, lp: &mut Loop, ws: WebSocket, error: Error) {
        log::debug!(target: "bucle::engine_io", "{ws}: {error}");
        self.lost(lp, ws, CloseReason::TransportError);
    }

    fn on_close(&mut self, lp: &mut Loop, ws: WebSocket, code: CloseCode, _reason: &str) {
        let reason = match code {
            // A rule was broken.
            CloseCode::PROTOCOL_ERROR
            | CloseCode::UNSUPPORTED_DATA
            | CloseCode::INVALID_PAYLOAD
            | CloseCode::MESSAGE_TOO_BIG => CloseReason::TransportError,
            _ => CloseReason::TransportClose,
        };
        self.lost(lp, ws, reason);
    }

    fn on_going_away(&mut self, lp: &mut Loop, ws: WebSocket) {
        match lp.layer_mut::<Registry>().session_of(ws) {
            Some(session) => end(lp, session, CloseReason::ServerShuttingDown, ""),
            None => ws.close(lp, CloseCode::GOING_AWAY, ""),
        }
    }
}

impl<H: Handler> Channels<H> {
    /// A message for the program.
    #[inline(always)]
    pub(super) fn call(&mut self, lp: &mut Loop, session: Session, message: Message<'_>) {
        self.handler.on_message(lp, session, message);
    }

    /// A packet that is no text message, or does not come on the session's transport.
    #[inline(never)]
    fn receive_frame(&mut self, lp: &mut Loop, ws: WebSocket, session: Session, message: Message<'_>) {
        let mut decoded = std::mem::take(&mut lp.layer_mut::<Registry>().decoded);
        self.receive_decoded(lp, ws, session, message, &mut decoded);
        if decoded.capacity() <= SCRATCH {
            lp.layer_mut::<Registry>().decoded = decoded;
        }
    }

    fn receive_decoded(
        &mut self,
        lp: &mut Loop,
        ws: WebSocket,
        session: Session,
        message: Message<'_>,
        decoded: &mut Vec<u8>,
    ) {
        let now = lp.now();
        let Some(state) = get_mut(lp, session) else { return };
        let revision = state.machine.revision();
        let packet = match message {
            Message::Text(text) => packet::parse_text(revision, text, decoded),
            Message::Binary(bytes) => packet::parse_binary(revision, bytes),
        };
        if state.machine.transport() == Transport::WebSocket {
            return match packet {
                Ok(packet) => self.receive(lp, session, &packet),
                Err(error) => end(lp, session, CloseReason::ParseError, error.reason),
            };
        }
        let reaction = match packet {
            Ok(packet) => state.machine.receive_probe(now, &packet),
            Err(_) => {
                state.machine.end_upgrade();
                ProbeReaction::Close
            }
        };
        match reaction {
            ProbeReaction::Answer => {
                ws.send(lp, "3probe");
                self.release_poll(lp, session);
                registry::arm(lp, session);
            }
            ProbeReaction::Upgraded => self.upgraded(lp, session, ws),
            ProbeReaction::Close => close_probe(lp, session),
        }
    }

    /// A packet that has come on the session's transport.
    pub(super) fn receive(&mut self, lp: &mut Loop, session: Session, packet: &Packet<'_>) {
        let now = lp.now();
        let registry = lp.layer_mut::<Registry>();
        let Some(state) = registry.get(session).filter(|state| !state.has_ended()) else { return };
        let times = registry.options(state.engine).times();
        let Some(state) = registry.get_mut(session) else { return };
        let is_open = state.is_open();
        match state.machine.receive(now, packet, &times) {
            Reaction::None => {}
            // A session that the program has closed delivers nothing.
            Reaction::Message(_) if !is_open => {}
            Reaction::Message(Data::Text(text)) => self.call(lp, session, Message::Text(text)),
            Reaction::Message(Data::Binary(bytes)) => self.call(lp, session, Message::Binary(bytes)),
            Reaction::Pong(data) => {
                let text = if let Data::Text(text) = data { text } else { "" };
                send_control(lp, session, PacketType::Pong, text);
            }
            Reaction::Closed => end(lp, session, CloseReason::TransportClose, "the client has sent a close packet"),
            Reaction::Refused(reason) => end(lp, session, CloseReason::TransportError, reason),
        }
    }

    /// The client has confirmed the upgrade: the WebSocket connection is the transport from now on.
    fn upgraded(&mut self, lp: &mut Loop, session: Session, ws: WebSocket) {
        self.release_poll(lp, session);
        let Some(state) = get_mut(lp, session) else { return };
        let (revision, supports_binary) = (state.machine.revision(), state.supports_binary);
        let is_closing = state.stage == Stage::Closing;
        let queued = state.queue.take(usize::MAX);
        for packet in &queued {
            send_frame(lp, ws, revision, supports_binary, packet);
        }
        if is_closing {
            return end(lp, session, CloseReason::ForcedClose, "");
        }
        log::debug!(target: "bucle::engine_io", "{session} has changed to {ws}");
        self.handler.on_upgrade(lp, session);
        // If the kernel has not taken all of it, the connection's own event follows.
        if !ws.socket().needs_drain(lp) {
            self.drained(lp, session);
        }
    }

    /// A connection of a session is gone.
    fn lost(&mut self, lp: &mut Loop, ws: WebSocket, reason: CloseReason) {
        let registry = lp.layer_mut::<Registry>();
        let Some(session) = registry.session_of(ws) else { return };
        registry.forget_session_of(ws);
        let Some(state) = registry.get_mut(session) else { return };
        state.ws = None;
        if state.machine.transport() == Transport::WebSocket {
            return end(lp, session, reason, "");
        }
        state.machine.end_upgrade();
    }

    /// Everything is sent.
    fn drained(&mut self, lp: &mut Loop, session: Session) {
        let Some(state) = get_mut(lp, session).filter(|state| state.is_open()) else { return };
        if std::mem::take(&mut state.needs_drain) {
            self.handler.on_drain(lp, session);
        }
    }

    /// The tick of [`registry::settle_later`].
    pub(super) fn settle(&mut self, lp: &mut Loop, session: Session) {
        let Some(state) = get_mut(lp, session) else { return };
        state.is_settling = false;
        if let Stage::Closed(reason, description) = state.stage {
            self.answer_last_poll(lp, session, reason);
            self.answer_last_post(lp, session);
            lp.in_guarded_callback(Kind::OnClose, session.serial(), 0, |lp| {
                self.handler.on_close(lp, session, reason, description);
            });
            return lp.layer_mut::<Registry>().remove(session);
        }
        self.answer_poll(lp, session);
        let Some(state) = get_mut(lp, session).filter(|state| state.queue.is_empty()) else { return };
        if state.stage == Stage::Closing {
            if state.poll.is_some() {
                end(lp, session, CloseReason::ForcedClose, "");
            }
            return;
        }
        if state.machine.transport() == Transport::Polling {
            self.drained(lp, session);
        }
    }

    /// The session's timer has fired.
    pub(super) fn expire(&mut self, lp: &mut Loop, session: Session) {
        registry::disarm(lp, session);
        let now = lp.now();
        let registry = lp.layer_mut::<Registry>();
        let Some(state) = registry.get(session) else { return };
        match state.stage {
            Stage::Open => {}
            Stage::Closing => {
                return end(lp, session, CloseReason::ForcedClose, "the client has not fetched its packets");
            }
            Stage::Closed(..) => return,
        }
        let times = registry.options(state.engine).times();
        while let Some(due) =
            get_mut(lp, session).filter(|state| state.is_open()).and_then(|state| state.machine.expire(now, &times))
        {
            match due {
                Due::Ping => send_control(lp, session, PacketType::Ping, ""),
                Due::PingTimeout => end(lp, session, CloseReason::PingTimeout, ""),
                Due::UpgradeTimeout => close_probe(lp, session),
                Due::ReleasePoll => self.release_poll(lp, session),
            }
        }
        registry::arm(lp, session);
    }
}

/// Sends a packet of the engine itself.
fn send_control(lp: &mut Loop, session: Session, kind: PacketType, text: &str) {
    let packet = Queued::text(kind, text);
    let Some(state) = get_mut(lp, session) else { return };
    match state.ws.filter(|_| state.machine.transport() == Transport::WebSocket) {
        Some(ws) => {
            let (revision, supports_binary) = (state.machine.revision(), state.supports_binary);
            send_frame(lp, ws, revision, supports_binary, &packet);
        }
        None => {
            session.queue(lp, packet);
        }
    }
}

/// Closes the WebSocket connection of an upgrade. The session goes on with polling.
fn close_probe(lp: &mut Loop, session: Session) {
    let registry = lp.layer_mut::<Registry>();
    if let Some(ws) = registry.get_mut(session).and_then(|state| state.ws.take()) {
        registry.forget_session_of(ws);
        ws.close(lp, CloseCode::NO_STATUS, "");
    }
}
