//! The closing handshake, and the end of the connection below it.
//!
//! ```text
//!   this side closes:   close frame ─▶ … messages are ignored … ─▶ the peer's close frame ─▶ end of the connection
//!   the peer closes:    its close frame ─▶ the same code back ────────────────────────────▶ end of the connection
//!   a violation:        close frame with its code ────────────────────────────────────────▶ end of the connection
//! ```
//!
//! The server ends the TCP connection, and the client waits for that (RFC 6455, 7.1.1). Each of these steps has a time
//! limit of [`CLOSE_TIMEOUT`]. After this side's FIN the peer has a second to send its own; what waits in front of the
//! FIN is sent however slowly the peer reads, as long as it reads. Data that arrives meanwhile is read and discarded: a
//! reset could destroy the close frame before the peer has read it.

use std::time::Duration;

use super::close::{CloseCode, Violation};
use super::frame::Opcode;
use super::{WebSocket, tag};
use crate::net::Socket;
use crate::{Kind, Loop, TimerId};

/// How long a peer may take to answer a close frame, and the server to end the connection.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How many bytes the reason of a close frame may have: a control frame has at most 125 bytes, and the code is two of
/// them (RFC 6455, 5.5).
pub const MAX_REASON: usize = 123;

/// The state of a connection that closes.
#[derive(Default)]
pub(super) struct Closing {
    /// The code for `on_close`. `None`: no close frame was received.
    pub code: Option<CloseCode>,
    pub reason: String,
    timer: Option<TimerId>,
}

impl WebSocket {
    /// Closes the connection in order: sends a close frame with a code and a reason behind everything that was sent,
    /// waits for the peer's close frame, and ends the connection. [`Handler::on_close`](super::Handler::on_close)
    /// follows, after [`CLOSE_TIMEOUT`] at the latest. No message is delivered meanwhile.
    ///
    /// A reason is cut at [`MAX_REASON`] bytes. A code that may not be sent ([`CloseCode::is_sendable`]) becomes
    /// [`CloseCode::NORMAL`]; [`CloseCode::NO_STATUS`] sends a frame without a code. Does nothing on a connection that
    /// is closing already. A client that is not open yet is destroyed.
    pub fn close(self, lp: &mut Loop, code: CloseCode, reason: &str) {
        let tag = self.0.tag(lp);
        if tag & tag::OPEN == 0 {
            return self.terminate(lp);
        }
        if tag & tag::CLOSE_SENT != 0 {
            return;
        }
        send_close(lp, self, code, reason);
        // The peer's close frame may come behind data that a pause or a throttle holds back.
        self.0.change_tag(lp, 0, tag::THROTTLED | tag::PAUSED);
        self.0.resume(lp);
        start_timer(lp, self.0);
    }

    /// Ends the connection now, without a close frame. [`Handler::on_close`](super::Handler::on_close) follows with
    /// [`CloseCode::ABNORMAL`].
    ///
    /// Node: `terminate` of `ws`.
    pub fn terminate(self, lp: &mut Loop) {
        mark_over(lp, self.0);
        self.0.destroy(lp);
    }
}

/// Sends a close frame. From here on nothing else is sent.
fn send_close(lp: &mut Loop, ws: WebSocket, code: CloseCode, reason: &str) {
    let mut payload = Vec::new();
    if code != CloseCode::NO_STATUS {
        let code = if code.is_sendable() { code } else { CloseCode::NORMAL };
        payload.extend_from_slice(&code.0.to_be_bytes());
        payload.extend_from_slice(&reason.as_bytes()[..reason.floor_char_boundary(MAX_REASON)]);
    }
    log::debug!(target: "bucle::websocket", "{ws} sends close {code} {reason:?}");
    lp.note(Kind::CloseSent, ws.serial(), code.0.into());
    ws.send_control(lp, Opcode::Close, &payload);
    ws.0.change_tag(lp, tag::CLOSE_SENT, 0);
}

/// Stores the code and the reason for `on_close`.
pub(super) fn remember(lp: &mut Loop, ws: WebSocket, code: CloseCode, reason: &str) {
    change(lp, ws.0, |closing| {
        closing.code = Some(code);
        reason.clone_into(&mut closing.reason);
    });
}

/// Whether the code for `on_close` is known: the peer's close frame was received, or the peer has broken a rule. How
/// the connection below then ends does not matter. Many peers close it without reading the answer, which resets it.
pub(super) fn is_after_close_frame(lp: &mut Loop, socket: Socket) -> bool {
    socket.entry_mut::<Closing>(lp).is_some_and(|closing| closing.code.is_some())
}

/// The peer's close frame was received: sends this side's, unless that was sent before, and ends the connection.
pub(super) fn answer(lp: &mut Loop, ws: WebSocket, code: CloseCode) {
    if ws.0.tag(lp) & tag::CLOSE_SENT == 0 {
        send_close(lp, ws, code, "");
    }
    if ws.is_client(lp) {
        // The server ends the connection.
        return start_timer(lp, ws.0);
    }
    end(lp, ws.0);
}

/// The peer has broken a rule: sends a close frame with the code of the rule, and ends the connection.
#[cold]
pub(super) fn fail(lp: &mut Loop, ws: WebSocket, violation: &Violation) {
    log::debug!(target: "bucle::websocket", "{ws}: {violation}");
    remember(lp, ws, violation.code, violation.reason);
    if ws.0.tag(lp) & tag::CLOSE_SENT == 0 {
        send_close(lp, ws, violation.code, violation.reason);
    }
    ws.0.change_tag(lp, tag::CLOSE_RECEIVED, 0);
    end(lp, ws.0);
}

/// The peer has sent its FIN.
pub(super) fn peer_ended(lp: &mut Loop, socket: Socket) {
    end(lp, socket);
}

/// Ends the connection: the queued bytes, then the FIN. Data that still arrives is discarded, and the connection is
/// destroyed after the time limit.
fn end(lp: &mut Loop, socket: Socket) {
    if socket.write_refusal(lp).is_some() {
        return;
    }
    mark_over(lp, socket);
    stop_timer(lp, socket);
    if let Some(timer) = lp.close_when_sent(socket, &[]) {
        change(lp, socket, |closing| closing.timer = Some(timer));
    }
}

/// Nothing else is sent, not even to a peer that has ended without a close frame: a write would be an error. Nothing
/// else is delivered.
fn mark_over(lp: &mut Loop, socket: Socket) {
    socket.change_tag(lp, tag::CLOSE_SENT | tag::CLOSE_RECEIVED, 0);
}

/// Changes the state of a connection that closes. Does nothing for a socket that is gone.
fn change(lp: &mut Loop, socket: Socket, f: impl FnOnce(&mut Closing)) {
    let mut closing = socket.take_entry::<Closing>(lp).unwrap_or_default();
    f(&mut closing);
    socket.set_entry(lp, closing);
}

/// Starts the time limit of the next step.
fn start_timer(lp: &mut Loop, socket: Socket) {
    if !socket.exists(lp) {
        return;
    }
    stop_timer(lp, socket);
    let timer = socket.start_layer_timer(lp, CLOSE_TIMEOUT, timed_out);
    change(lp, socket, |closing| closing.timer = Some(timer));
}

pub(super) fn stop_timer(lp: &mut Loop, socket: Socket) {
    if let Some(timer) = socket.entry_mut::<Closing>(lp).and_then(|closing| closing.timer.take()) {
        lp.clear(timer);
    }
}

fn timed_out(lp: &mut Loop, socket: Socket) {
    if socket.unsent_length(lp) > 0 {
        // The peer cannot have seen the close frame yet. It gets what waits, and its time begins behind that.
        return end(lp, socket);
    }
    log::debug!(target: "bucle::websocket", "{socket} has not closed in {CLOSE_TIMEOUT:?}, disconnecting");
    socket.destroy(lp);
}
