//! Connections that this side wants gone, but that shall still read why.
//!
//! ```text
//!   send_away ─▶ last bytes, FIN ──┬── the peer's FIN ──▶ closed
//!                what still comes  └── LEAVE_LIMIT ─────▶ destroyed
//!                is discarded
//! ```
//!
//! Destroying the socket right after the last bytes would often lose them: the kernel answers data for a closed socket
//! with a reset, and a reset makes the peer's kernel throw away what its program has not read yet. So the connection is
//! half closed, and whatever the peer still sends is read and discarded until its FIN comes.
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

/// How long a peer may take to answer our FIN with its own when this side wants it gone. A program that reads at all
/// answers within a round trip.
pub(super) const LEAVE_LIMIT: Duration = Duration::from_secs(1);

impl Loop {
    /// Writes `last`, ends, discards what the peer still sends, and destroys the socket after [`LEAVE_LIMIT`].
    pub(super) fn send_away(&mut self, socket: Socket, last: &[u8]) -> TimerId {
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
        // A socket that its `on_close` has connected again is in a new life, and has not ended in it.
        if self.net.socket(socket).is_some_and(|state| state.is(ENDED)) {
            self.destroy_socket(socket, None);
        }
    }

    /// From now on no data of this socket is delivered: it is read and thrown away, and so is what waits in the inbox.
    /// `on_end` still comes. Pausing has no effect any more.
    pub(super) fn discard_input(&mut self, socket: Socket) {
        let Some(state) = self.net.socket_mut(socket) else { return };
        if state.is(DESTROYED | END_EMITTED) {
            return;
        }
        // All data takes the detour, where it is thrown away; the direct way to the handler need not look.
        state.set(SLOW_DELIVERY);
        let more = state.more();
        more.discards_input = true;
        more.inbox = Default::default();
        more.decoder = None;
        // It may have been paused, or its inbox was full. The FIN stands behind what is unread.
        self.start_reading(socket);
    }

    /// A connection has been idle for its limit, and `on_timeout` has been called. If the server has an idle message,
    /// it is ended here.
    pub(super) fn send_idle_away(&mut self, socket: Socket) {
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
        // Once is enough: it has a second to leave, and is idle meanwhile.
        socket.set_timeout(self, Duration::ZERO);
        self.send_away(socket, &message);
    }
}
