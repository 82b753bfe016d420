//! Ending a connection with a last message that the peer can still read.
//!
//! ```text
//!   close_with_message ─▶ last bytes, FIN ─▶ input is read and discarded ─┬─ the peer's FIN ─▶ closed
//!                                                                         └─ LEAVE_LIMIT ────▶ destroyed
//! ```
//!
//! Destroying the socket right after the last bytes would often lose them: the kernel answers data for a closed socket
//! with a reset, and a reset makes the peer's kernel discard bytes that its program has not read yet. So only this side
//! of the connection is closed, and data that the peer still sends is read and discarded until its FIN arrives.
//!
//! A full server ([`refuse`](super::refuse)) and an idle limit
//! ([`ServerOptions::idle_message`](super::ServerOptions::idle_message)) end connections this way. A
//! [drain](super::drain) discards input, too, and has time limits of its own.

use std::time::Duration;

use super::state::flag::*;
use super::tally::Tallied;
use super::write::refusal;
use super::{NetTimer, Socket};
use crate::event_loop::{Loop, TimerId};

/// How long a peer may take to answer the FIN with its own. A program that reads at all answers within a round trip.
pub(super) const LEAVE_LIMIT: Duration = Duration::from_secs(1);

impl Loop {
    /// Writes `last`, ends, discards further input, and destroys the socket after [`LEAVE_LIMIT`]. Returns the timer.
    pub(crate) fn close_with_message(&mut self, socket: Socket, last: &[u8]) -> TimerId {
        if !last.is_empty() && self.net.socket(socket).is_some_and(|state| refusal(state).is_none()) {
            self.write_socket(socket, last, None);
        }
        self.end_socket(socket, None, None);
        self.discard_input(socket);
        self.start_leave_timer(socket, LEAVE_LIMIT)
    }

    /// Destroys a socket after `limit`, if this side has ended it. Clear the timer when the socket closes earlier.
    pub(crate) fn start_leave_timer(&mut self, socket: Socket, limit: Duration) -> TimerId {
        self.start_net_timer(limit, NetTimer::Leave(socket))
    }

    /// The timer of [`start_leave_timer`](Self::start_leave_timer).
    pub(super) fn leave_limit_reached(&mut self, socket: Socket) {
        // `on_close` may have connected the socket again. The new connection has not ended and stays open.
        if self.net.socket(socket).is_some_and(|state| state.is(ENDED)) {
            self.destroy_socket(socket, None);
        }
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
