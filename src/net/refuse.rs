//! Refusing: what a full server does with a connection that it has no room for.
//!
//! ```text
//!   accept ─▶ full ─▶ on_drop
//!               ├── no full_message ────────▶ closed
//!               ├── 16 are leaving already ─▶ full_message, closed
//!               └── otherwise ──────────────▶ full_message, FIN, a second to read it ─▶ closed
//! ```
//!
//! A connection can only be refused politely after it was accepted: the kernel completes connects on its own, and
//! leaving the peer in the backlog would let it wait without a word. A refused connection is a socket of the loop, but
//! not one of the server's connections: it has a handler of its own, which does nothing.

use std::net::SocketAddr;

use super::state::{Link, NO_SERVER, SocketState, flag};
use super::stream::Stream;
use super::tally::Tallied;
use super::{Dropped, Error, HIGH_WATER_MARK, Handler, ServerId, Socket};
use crate::event_loop::token::TokenKind;
use crate::event_loop::{Kind, Loop, TimerId};

/// How many refused connections of a loop may be open at a time. Each is a descriptor, beyond what the servers' limits
/// count on; `bucle serve` keeps 32 back.
const LEAVING_AT_ONCE: usize = 16;

/// Refused connections that are still open, with the timers that destroy them after
/// [`LEAVE_LIMIT`](super::leave::LEAVE_LIMIT).
pub(super) type Leaving = Vec<(Socket, TimerId)>;

impl Loop {
    /// A connection that its full server does not take.
    pub(super) fn refuse(&mut self, server: ServerId, stream: Stream, peer: Option<SocketAddr>) {
        let Some(state) = self.net.server(server) else { return };
        let message = state.options.full_message.clone();
        let connections = state.connections;
        let from = peer.map_or_else(|| "a connection".to_owned(), |peer| peer.to_string());
        log::debug!(target: "bucle::net", "{server} is full: {from} is refused");
        if self.tally(server, Tallied::Refused) {
            log::warn!(target: "bucle::net", "{server} is full with {connections} connections: {from} is refused");
        }
        let dropped = Dropped { local: stream.local_addr(), remote: peer };
        match message {
            Some(message) => self.refuse_with(stream, &message),
            None => drop(stream),
        }
        self.emit_server(server, Kind::OnDrop, |handler, lp| handler.on_drop(lp, server, dropped));
    }

    fn refuse_with(&mut self, mut stream: Stream, message: &[u8]) {
        self.remove_closed_refused();
        if self.net.refused.len() >= LEAVING_AT_ONCE {
            // As much as the kernel takes. If the peer has sent something, the close is a reset.
            let _ = stream.write(message);
            let _ = stream.shutdown();
            return;
        }
        let serial = self.net.take_serial();
        let socket = Socket(self.net.sockets.next_key(serial));
        if let Err(error) = stream.register(&self.registry, socket.0.token(TokenKind::Socket)) {
            return log::debug!(target: "bucle::net", "{socket}, refused: {error}");
        }
        let handler = self.add_handler(Box::new(Refused));
        let mut state = SocketState::new(serial, handler, NO_SERVER, HIGH_WATER_MARK as u32);
        state.stream = stream;
        state.set_link(Link::Connected);
        state.set(flag::READING | flag::FLOWING | flag::PROGRAM_READS | flag::UNREFERENCED);
        self.net.sockets.insert(state);
        let timer = self.send_away(socket, message);
        self.net.refused.push((socket, timer));
    }

    /// Forgets refused connections that are gone, and clears their timers: in a storm of thousands a second there shall
    /// not be thousands of timers.
    fn remove_closed_refused(&mut self) {
        let mut refused = std::mem::take(&mut self.net.refused);
        refused.retain(|&(socket, timer)| {
            let exists = self.net.socket(socket).is_some();
            if !exists {
                self.clear(timer);
            }
            exists
        });
        self.net.refused = refused;
    }
}

/// The handler of a refused connection.
struct Refused;

impl Handler for Refused {
    fn on_error(&mut self, _: &mut Loop, socket: Socket, error: Error) {
        log::debug!(target: "bucle::net", "{socket}, refused: {error}");
    }
}
