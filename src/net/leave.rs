//! Ending a connection with a last message that the peer can still read.
//!
//! ```text
//!   close_with_message ─▶ last bytes, FIN ─▶ input is read and discarded ─┬─ the peer's FIN ─▶ closed
//!                                                                         └─ LEAVE_LIMIT ────▶ destroyed
//! ```
//!
//! A protocol that ends a connection in order ([`close_when_sent`](Loop::close_when_sent)) may have answers in the
//! outbox that a slow peer has not taken. Then the limit begins behind the FIN, and the peer may take its time as long
//! as it takes some bytes every [`STUCK_LIMIT`]. A peer that has been idle for long, or is refused, has only the limit.
//!
//! Destroying the socket right after the last bytes would often lose them: the kernel answers data for a closed socket
//! with a reset, and a reset makes the peer's kernel discard bytes that its program has not read yet. So only this side
//! of the connection is closed, and data that the peer still sends is read and discarded until its FIN arrives.
//!
//! A full server ([`refuse`](super::refuse)) and an idle limit
//! ([`ServerOptions::idle_message`](super::ServerOptions::idle_message)) end connections this way. A
//! [drain](super::drain) discards input, too, and has time limits of its own.

use std::time::{Duration, Instant};

use super::state::flag::*;
use super::tally::Tallied;
use super::write::refusal;
use super::{NetTimer, Socket};
use crate::event_loop::{Loop, TimerId};

/// How long a peer may take to answer the FIN with its own. A program that reads at all answers within a round trip.
pub(super) const LEAVE_LIMIT: Duration = Duration::from_secs(1);

/// How long a peer may take no bytes of what waits for it in front of the FIN. A shorter
/// [`Limits::write_timeout`](super::Limits::write_timeout) comes first.
const STUCK_LIMIT: Duration = Duration::from_secs(30);

/// A peer that leaves and has its time behind the FIN.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaving {
    limit: Duration,
    /// The FIN was sent, or this many bytes waited in front of it when that was last looked at.
    unsent: Option<usize>,
    /// Since then: the FIN, or the last look at which the peer had taken bytes.
    since: Instant,
}

impl Loop {
    /// Writes `last`, ends, discards further input, and destroys the socket after [`LEAVE_LIMIT`]. Returns the timer.
    pub(crate) fn close_with_message(&mut self, socket: Socket, last: &[u8]) -> TimerId {
        self.end_with_message(socket, last);
        self.start_net_timer(LEAVE_LIMIT, NetTimer::Leave(socket))
    }

    /// As [`close_with_message`](Self::close_with_message), but the limit begins when the FIN is sent. No timer is
    /// needed if the peer has ended and nothing waits for it: this side's FIN is then the last step.
    #[cfg(feature = "http")]
    pub(crate) fn close_when_sent(&mut self, socket: Socket, last: &[u8]) -> Option<TimerId> {
        self.end_with_message(socket, last);
        let peer_has_ended = self.net.socket(socket).is_some_and(|state| state.is(END_EMITTED));
        if peer_has_ended && socket.unsent_length(self) == 0 {
            return None;
        }
        Some(self.start_leave_timer(socket, LEAVE_LIMIT))
    }

    fn end_with_message(&mut self, socket: Socket, last: &[u8]) {
        if !last.is_empty() && self.net.socket(socket).is_some_and(|state| refusal(state).is_none()) {
            self.write_socket(socket, last, None);
        }
        self.end_socket(socket, None, None);
        self.discard_input(socket);
    }

    /// Destroys a socket that this side has ended: `limit` after its FIN, or when the peer has taken no bytes for
    /// [`STUCK_LIMIT`]. Clear the timer when the socket closes earlier.
    pub(crate) fn start_leave_timer(&mut self, socket: Socket, limit: Duration) -> TimerId {
        let leaving = Leaving { limit, unsent: Some(usize::MAX), since: self.now() };
        if let Some(state) = self.net.socket_mut(socket) {
            state.more().leaving = Some(leaving);
        }
        self.start_net_timer(limit, NetTimer::LeaveWhenSent(socket))
    }

    /// The FIN is sent: the time of a peer that leaves begins.
    pub(super) fn note_fin(&mut self, socket: Socket) {
        let now = self.now();
        let leaving = self.net.socket_mut(socket).and_then(|state| state.more.as_mut()?.leaving.as_mut());
        if let Some(leaving) = leaving {
            (leaving.unsent, leaving.since) = (None, now);
        }
    }

    /// The timer of [`close_with_message`](Self::close_with_message).
    pub(super) fn leave_limit_reached(&mut self, socket: Socket, id: TimerId) {
        self.clear(id);
        // `on_close` may have connected the socket again. The new connection has not ended and stays open.
        if self.net.socket(socket).is_some_and(|state| state.is(ENDED)) {
            self.destroy_socket(socket, None);
        }
    }

    /// The timer of [`start_leave_timer`](Self::start_leave_timer).
    pub(super) fn leave_limit_of_sender_reached(&mut self, socket: Socket, id: TimerId) {
        let (now, unsent) = (self.now(), socket.unsent_length(self));
        let state = self.net.socket_mut(socket).filter(|state| state.is(ENDED));
        let Some(leaving) = state.and_then(|state| state.more.as_mut()?.leaving.as_mut()) else {
            return self.clear(id);
        };
        if leaving.unsent.is_some_and(|seen| unsent < seen) {
            (leaving.unsent, leaving.since) = (Some(unsent), now);
        }
        let limit = if leaving.unsent.is_some_and(|unsent| unsent > 0) { STUCK_LIMIT } else { leaving.limit };
        // The FIN is sent a moment after the timer was started, and the timer is not to run a second time for that.
        if now.saturating_duration_since(leaving.since) >= limit - limit / 8 {
            return self.leave_limit_reached(socket, id);
        }
        self.restart_timer(id);
    }

    /// From now on data of this socket is read and discarded, and so is the contents of the inbox. `on_end` is still
    /// called. Pausing no longer has an effect.
    pub(super) fn discard_input(&mut self, socket: Socket) {
        let Some(state) = self.net.socket_mut(socket) else { return };
        if state.is(DESTROYED | END_EMITTED) {
            return;
        }
        // All data is delivered by the slow path, which discards it. The fast path need not check for this.
        state.set(SLOW_DELIVERY);
        let more = state.more();
        more.discards_input = true;
        more.inbox = Default::default();
        more.decoder = None;
        // The socket may not be reading, because it was paused or its inbox was full. The FIN comes behind unread data.
        self.start_reading(socket);
    }

    /// A connection has reached its idle limit, and `on_timeout` has been called. Ends it if its server has an idle
    /// message.
    pub(super) fn close_idle(&mut self, socket: Socket) {
        let Some(server) = socket.server(self) else { return };
        let Some(message) = self.net.server(server).and_then(|state| state.options.idle_message.clone()) else {
            return;
        };
        let Some(state) = self.net.socket(socket).filter(|state| state.is_writable()) else { return };
        let limit_ms = state.idle_limit_ms;
        let limit = Duration::from_millis(limit_ms.into());
        log::debug!(target: "bucle::net", "{socket} was idle for {limit:?}, closing");
        if self.tally(server, Tallied::Idle { limit_ms }) {
            log::info!(target: "bucle::net", "idle for {limit:?}: {socket} is closed");
        }
        // No second idle limit: the connection is destroyed after `LEAVE_LIMIT`.
        socket.set_timeout(self, Duration::ZERO);
        self.close_with_message(socket, &message);
    }
}
