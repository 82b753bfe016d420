//! Refusing: a full server accepts a connection, sends it a message if there is one, and closes it.
//!
//! ```text
//!   accept ─▶ full ─┬─ no full_message ───────────▶ closed
//!                   ├─ 16 refused ones are open ──▶ full_message, closed
//!                   └─ otherwise ─────────────────▶ full_message, FIN; closed at the peer's FIN or after a second
//!                        in every case: on_drop
//! ```
//!
//! A connection must be accepted before it can be refused: the kernel completes connects without the program, and a
//! client that stays in the backlog would wait without any answer. A refused connection is a socket of the loop, but
//! not one of the server's connections: it has a handler of its own, which does nothing.

use std::net::SocketAddr;

use super::state::{Link, NO_SERVER, SocketState, flag};
use super::stream::Stream;
use super::tally::Tallied;
use super::{Dropped, Error, HIGH_WATER_MARK, Handler, ServerId, Socket};
use crate::event_loop::token::TokenKind;
use crate::event_loop::{Kind, Loop, TimerId};

/// How many refused connections of a loop may be open at a time. Each has a descriptor in addition to those of the
/// servers' limits; `bucle serve` reserves 32 descriptors.
const LEAVING_AT_ONCE: usize = 16;

/// Refused connections that are still open, with the timers that destroy them after
/// [`LEAVE_LIMIT`](super::leave::LEAVE_LIMIT).
pub(super) type Leaving = Vec<(Socket, TimerId)>;

impl Loop {
    /// Refuses a connection because the server is full, and calls `on_drop`.
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

    /// Sends `message`, then a FIN, and keeps the connection open until the peer's FIN or for a second.
    fn refuse_with(&mut self, mut stream: Stream, message: &[u8]) {
        self.remove_closed_refused();
        if self.net.refused.len() >= LEAVING_AT_ONCE {
            // Dropping `stream` closes it. If the peer has sent data, the kernel sends a reset, and the message may be
            // lost.
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
        // NO_SERVER: it does not count against the server's limit. Unreferenced: it does not keep the loop alive.
        let mut state = SocketState::new(serial, handler, NO_SERVER, HIGH_WATER_MARK as u32);
        state.stream = stream;
        state.set_link(Link::Connected);
        state.set(flag::READING | flag::FLOWING | flag::PROGRAM_READS | flag::UNREFERENCED);
        self.net.sockets.insert(state);
        let timer = self.close_with_message(socket, message);
        self.net.refused.push((socket, timer));
    }

    /// Removes refused connections that are closed from the list, and clears their timers. Otherwise a server that
    /// refuses thousands of connections a second would have thousands of timers.
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
