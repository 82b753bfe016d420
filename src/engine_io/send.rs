//! Sending: to a WebSocket connection at once, or into the queue of a session that polls.

use std::rc::Rc;

use super::packet::{Data, PacketType, Queued, Revision};
use super::registry::{self, Registry, SessionState, Stage, get_mut, settle_later};
use super::session::Transport;
use super::{CloseReason, Message, Session};
use crate::Loop;
use crate::websocket::{self, CloseCode, WebSocket};

/// From this many queued bytes on [`Session::send`] returns `false`: one full read of the loop, as for WebSocket.
pub(crate) const HIGH_WATER_MARK: usize = 64 * 1024;

impl Session {
    /// Sends a message: a `&str` as text, bytes as a binary message. Everything that is sent in one phase leaves
    /// together: in one system call, or in one answer to a poll.
    ///
    /// Returns `false` if the client takes messages more slowly than the program sends them. The message is queued all
    /// the same; send on when [`Handler::on_drain`](super::Handler::on_drain) is called. Also returns `false`, and
    /// sends nothing, when the session has ended or is closing.
    pub fn send<'a>(self, lp: &mut Loop, message: impl Into<Message<'a>>) -> bool {
        match message.into() {
            Message::Binary(bytes) => self.send_binary(lp, bytes),
            Message::Text(text) => {
                let mut packet = std::mem::take(&mut lp.layer_mut::<Registry>().packet);
                packet.clear();
                packet.push('4');
                packet.push_str(text);
                let is_low = self.send_packet(lp, &packet);
                give_back(lp, packet);
                is_low
            }
        }
    }

    /// Whether a message would leave now: the last one is on its way, and a client that polls waits for an answer.
    pub fn is_writable(self, lp: &Loop) -> bool {
        let Some(state) = registry::get(lp, self).filter(|state| state.is_open()) else { return false };
        match (state.machine.transport(), state.ws) {
            (Transport::WebSocket, Some(ws)) => ws.is_open(lp) && ws.buffered_amount(lp) == 0,
            _ => state.poll.is_some() && state.queue.len() < super::payload::MAX_PACKETS,
        }
    }

    /// Closes the session behind everything that was sent. [`Handler::on_close`](super::Handler::on_close) follows with
    /// [`CloseReason::ForcedClose`]. A client that polls has 30 s to fetch what is queued, and the close packet with
    /// another poll: as in Node no packet is in front of it, because clients for JavaScript handle it first.
    pub fn close(self, lp: &mut Loop) {
        let Some(state) = get_mut(lp, self).filter(|state| state.is_open()) else { return };
        if state.machine.transport() == Transport::WebSocket {
            return end(lp, self, CloseReason::ForcedClose, "");
        }
        state.stage = Stage::Closing;
        registry::stop_timer(lp, self);
        registry::arm(lp, self);
        settle_later(lp, self);
    }

    /// Sends a text packet that begins with its type.
    #[inline]
    pub(crate) fn send_packet(self, lp: &mut Loop, packet: &str) -> bool {
        match registry::get(lp, self) {
            Some(SessionState { stage: Stage::Open, machine, ws: Some(ws), .. })
                if machine.transport() == Transport::WebSocket =>
            {
                let ws = *ws;
                ws.send(lp, packet) || self.is_slow(lp)
            }
            Some(SessionState { stage: Stage::Open, .. }) => {
                let (kind, text) = split(packet);
                self.queue(lp, Queued::text(kind, text))
            }
            _ => false,
        }
    }

    /// Sends a binary message.
    pub(crate) fn send_binary(self, lp: &mut Loop, bytes: &[u8]) -> bool {
        let Some(state) = registry::get(lp, self).filter(|state| state.is_open()) else { return false };
        match state.ws.filter(|_| state.machine.transport() == Transport::WebSocket) {
            Some(ws) => {
                let (revision, supports_binary) = (state.machine.revision(), state.supports_binary);
                // Most clients take the bytes as they are.
                let is_low = match (revision, supports_binary) {
                    (Revision::V4, true) => ws.send(lp, bytes),
                    _ => send_frame(lp, ws, revision, supports_binary, &Queued::binary(bytes)),
                };
                is_low || self.is_slow(lp)
            }
            None => self.queue(lp, Queued::binary(bytes)),
        }
    }

    /// As [`send_packet`](Self::send_packet) and [`send_binary`](Self::send_binary) for its attachments. WebSocket
    /// messages are sent as they are.
    #[cold]
    pub(crate) fn send_uncompressed(self, lp: &mut Loop, packet: &str, attachments: &[Vec<u8>]) -> bool {
        let Some(state) = registry::get(lp, self).filter(|state| state.is_open()) else { return false };
        let (revision, supports_binary) = (state.machine.revision(), state.supports_binary);
        let Some(ws) = state.ws.filter(|_| state.machine.transport() == Transport::WebSocket) else {
            let is_low = self.send_packet(lp, packet);
            return attachments.iter().fold(is_low, |_, bytes| self.send_binary(lp, bytes));
        };
        let mut is_low = ws.send_uncompressed(lp, packet);
        let mut buffer = std::mem::take(&mut lp.layer_mut::<Registry>().frame);
        for bytes in attachments {
            is_low = match (revision, supports_binary) {
                (Revision::V4, true) => ws.send_uncompressed(lp, bytes),
                _ => match Queued::binary(bytes.as_slice()).frame(revision, supports_binary, &mut buffer) {
                    Data::Text(text) => ws.send_uncompressed(lp, text),
                    Data::Binary(bytes) => ws.send_uncompressed(lp, bytes),
                },
            };
        }
        lp.layer_mut::<Registry>().frame = buffer;
        is_low || self.is_slow(lp)
    }

    /// `on_drain` will be called when everything is sent. Returns `false`.
    #[cold]
    fn is_slow(self, lp: &mut Loop) -> bool {
        if let Some(state) = get_mut(lp, self) {
            state.needs_drain = true;
        }
        false
    }

    /// Queues a packet for the next answer to a poll.
    pub(super) fn queue(self, lp: &mut Loop, packet: Queued) -> bool {
        let registry = lp.layer_mut::<Registry>();
        let Some(engine) = registry.get(self).filter(|state| state.is_open()).map(|state| state.engine) else {
            return false;
        };
        let options = registry.options(engine);
        let Some(state) = registry.get_mut(self) else { return false };
        state.queue.push(packet);
        let bytes = state.queue.bytes();
        let is_low = bytes < HIGH_WATER_MARK;
        state.needs_drain |= !is_low;
        let has_poll = state.poll.is_some();
        if bytes > options.max_queue.saturating_add(options.max_http_buffer_size) {
            log::warn!(target: "bucle::engine_io", "{self} does not fetch its packets, {bytes} bytes wait: closing it");
            end(lp, self, CloseReason::TransportError, "too many packets wait for polls");
            return false;
        }
        if has_poll {
            settle_later(lp, self);
        }
        is_low
    }
}

/// Puts the scratch buffer of packets back, unless it has become large.
fn give_back(lp: &mut Loop, mut packet: String) {
    if packet.capacity() <= HIGH_WATER_MARK {
        packet.clear();
        lp.layer_mut::<Registry>().packet = packet;
    }
}

/// Sends one packet, and its attachments, to many sessions. Each frame is made once. `packet` begins with its type.
/// Without `compress` WebSocket messages are sent as they are.
pub(crate) fn broadcast(lp: &mut Loop, sessions: &[Session], packet: &str, attachments: &[Rc<[u8]>], compress: bool) {
    let mut receivers = std::mem::take(&mut lp.layer_mut::<Registry>().receivers);
    receivers.clear();
    let mut shared = None;
    for &session in sessions {
        let Some(state) = registry::get(lp, session).filter(|state| state.is_open()) else { continue };
        match state.ws {
            Some(ws) if state.machine.transport() == Transport::WebSocket => {
                if attachments.is_empty() || (state.machine.revision() == Revision::V4 && state.supports_binary) {
                    receivers.push(ws);
                } else {
                    session.send_packet(lp, packet);
                    for bytes in attachments {
                        session.send_binary(lp, bytes);
                    }
                }
            }
            _ => {
                let (kind, text) = split(packet);
                let text: &Rc<str> = shared.get_or_insert_with(|| Rc::from(text));
                session.queue(lp, Queued::text(kind, text.clone()));
                for bytes in attachments {
                    session.queue(lp, Queued::binary(bytes.clone()));
                }
            }
        }
    }
    websocket::broadcast_with(lp, receivers.iter().copied(), packet.into(), compress);
    for bytes in attachments {
        websocket::broadcast_with(lp, receivers.iter().copied(), (&**bytes).into(), compress);
    }
    receivers.clear();
    lp.layer_mut::<Registry>().receivers = receivers;
}

/// The type and the data of a text packet that this crate has made.
fn split(packet: &str) -> (PacketType, &str) {
    debug_assert!(packet.starts_with('4'), "only messages are sent this way");
    (PacketType::Message, packet.get(1..).unwrap_or_default())
}

/// Sends a packet to the WebSocket connection of a session.
pub(super) fn send_frame(
    lp: &mut Loop,
    ws: WebSocket,
    revision: Revision,
    supports_binary: bool,
    packet: &Queued,
) -> bool {
    let mut buffer = std::mem::take(&mut lp.layer_mut::<Registry>().frame);
    let is_low = match packet.frame(revision, supports_binary, &mut buffer) {
        Data::Text(text) => ws.send(lp, text),
        Data::Binary(bytes) => ws.send(lp, bytes),
    };
    lp.layer_mut::<Registry>().frame = buffer;
    is_low
}

/// Ends a session now. `on_close` follows in a tick.
pub(crate) fn end(lp: &mut Loop, session: Session, reason: CloseReason, description: &'static str) {
    let registry = lp.layer_mut::<Registry>();
    let Some(state) = registry.get_mut(session).filter(|state| !state.has_ended()) else { return };
    state.stage = Stage::Closed(reason, description);
    let ws = state.ws.take();
    registry.forget_id(session);
    log::debug!(target: "bucle::engine_io", "{session} ends: {reason} {description}");
    registry::stop_timer(lp, session);
    if let Some(ws) = ws {
        lp.layer_mut::<Registry>().forget_session_of(ws);
        let code = match reason {
            CloseReason::ServerShuttingDown => CloseCode::GOING_AWAY,
            // As in Node.
            _ => CloseCode::NO_STATUS,
        };
        ws.close(lp, code, "");
    }
    settle_later(lp, session);
}
