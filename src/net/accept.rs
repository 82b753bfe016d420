//! Accepting: one connection a turn as in Node, or more; turning away; and doing without descriptors.
//!
//! The listener is edge-triggered like every descriptor: it stays on the ready list until an accept has found nobody.
//! Node takes one connection per turn; [`ServerOptions::accepts_per_turn`](super::ServerOptions::accepts_per_turn) takes
//! more, for storms of connects.

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::time::Duration;

use super::listener::set_listener_options;
use super::state::flag;
use super::state::{SocketState, Stream};
use super::{Dropped, Error, ServerId, Socket};
use crate::error_codes;
use crate::event_loop::token::{Key, TokenKind};
use crate::event_loop::{Kind, Loop};

/// How long a server that had no descriptor left waits before it tries again by itself. It also does whenever a
/// connection closes.
const STARVED_RETRY: Duration = Duration::from_millis(50);

impl Loop {
    /// The kernel has connections for a server.
    pub(crate) fn serve_listener(&mut self, key: Key) {
        let server = ServerId(key);
        let Some(state) = self.net.server_mut(server) else { return };
        if !state.is_ready {
            // On the ready list it is served once in this poll, from there.
            self.accept_connections(server);
        }
    }

    pub(crate) fn serve_leftover_listener(&mut self, key: Key) {
        let server = ServerId(key);
        let Some(state) = self.net.server_mut(server) else { return };
        state.is_ready = false;
        self.accept_connections(server);
    }

    /// Accepts within the budget of a turn, a boundary after each. What is left is looked at in the next turn.
    fn accept_connections(&mut self, server: ServerId) {
        let ready = self.note(Kind::Ready, server.0.serial(), 0);
        let outer = self.act_for(ready);
        self.accept_within_budget(server);
        self.act_for(outer);
    }

    fn accept_within_budget(&mut self, server: ServerId) {
        let Some(state) = self.net.server(server) else { return };
        for _ in 0..state.options.accepts_per_turn.max(1) {
            let Some(state) = self.net.server(server) else { return };
            match state.listener.accept() {
                Ok((stream, peer)) => {
                    self.accepted(server, stream, peer);
                    self.boundary();
                }
                Err(error) => match accept_failure(&error) {
                    AcceptFailure::NobodyThere => return,
                    AcceptFailure::TryNext => {}
                    AcceptFailure::NoDescriptor => return self.starve(server, &error),
                    AcceptFailure::Other => {
                        let error = Error::system("accept", &error);
                        self.emit_server(server, Kind::OnServerError, |handler, lp| {
                            handler.on_server_error(lp, server, error)
                        });
                        self.boundary();
                        // Whoever knocked may be waiting still, and the kernel will not say so again.
                        return self.accept_later(server);
                    }
                },
            }
        }
        self.put_listener_on_ready_list(server);
    }

    fn put_listener_on_ready_list(&mut self, server: ServerId) {
        let Some(state) = self.net.server_mut(server) else { return };
        if !state.is_ready && state.listener.is_bound() {
            state.is_ready = true;
            self.net.ready.push(server.0.token(TokenKind::Server));
        }
    }

    fn accepted(&mut self, server: ServerId, mut stream: Stream, peer: Option<SocketAddr>) {
        let Some(state) = self.net.server(server) else { return };
        if state.max_connections > 0 && state.connections as usize >= state.max_connections {
            match peer {
                Some(peer) => log::debug!(target: "bucle::net", "{server} is full: turned away {peer}"),
                None => log::debug!(target: "bucle::net", "{server} is full: turned one away"),
            }
            let dropped = Dropped { local: stream.local_addr(), remote: peer };
            return self.emit_server(server, Kind::OnDrop, |handler, lp| handler.on_drop(lp, server, dropped));
        }
        let (handler, options) = (state.handler, &state.options);
        let high_water_mark = u32::try_from(options.high_water_mark).unwrap_or(u32::MAX);
        let timeout = options.timeout;
        if cfg!(not(target_os = "linux")) {
            set_listener_options(options, |set| stream.with_tcp(set));
        }
        let mut flags = flag::OPENED;
        flags |= if options.allow_half_open { flag::ALLOW_HALF_OPEN } else { 0 };
        flags |= match (options.pause_on_connect, options.flowing) {
            (true, _) => flag::PAUSED,
            (false, true) => flag::READING | flag::FLOWING,
            (false, false) => flag::READING,
        };
        let serial = self.net.take_serial();
        let entry = self.net.sockets.vacant_entry();
        let socket = Socket(Key::new(entry.key(), serial));
        if let Err(error) = stream.register(&self.registry, socket.0.token(TokenKind::Socket)) {
            let error = Error::system("accept", &error);
            return self
                .emit_server(server, Kind::OnServerError, |handler, lp| handler.on_server_error(lp, server, error));
        }
        let mut state = SocketState::new(serial, handler, server.0.index(), high_water_mark);
        state.flags = flags;
        state.stream = stream;
        entry.insert(state);
        self.share_handler(handler);
        if let Some(state) = self.net.server_mut(server) {
            state.connections += 1;
        }
        self.recount(socket);
        match peer {
            Some(peer) => log::debug!(target: "bucle::net", "{socket} accepted from {peer}"),
            None => log::debug!(target: "bucle::net", "{socket} accepted"),
        }
        if !timeout.is_zero() {
            socket.set_timeout(self, timeout);
        }
        let port = peer.map_or(0, |peer| usize::from(peer.port()));
        self.emit(socket, Kind::OnConnection, port, |handler, lp| handler.on_connection(lp, socket));
    }

    /// No descriptor was left for a newcomer, who waits in the kernel's backlog. Those who are connected are served on.
    fn starve(&mut self, server: ServerId, error: &io::Error) {
        log::warn!(target: "bucle::net", "{server}: cannot accept for now: {}", error_codes::message(error.raw_os_error().unwrap_or(0)));
        self.accept_later(server);
    }

    /// The kernel will not report the newcomers again that it has: the server tries when a connection closes, and on a
    /// timer.
    fn accept_later(&mut self, server: ServerId) {
        if self.net.starved.is_empty() {
            let timer = self.set_timeout(STARVED_RETRY, Loop::accept_again);
            self.unref(timer);
        }
        if !self.net.starved.contains(&server) {
            self.net.starved.push(server);
        }
    }

    /// Servers that had no descriptor left try again, in the next poll.
    pub(crate) fn accept_again(&mut self) {
        for server in mem::take(&mut self.net.starved) {
            self.put_listener_on_ready_list(server);
        }
    }
}

enum AcceptFailure {
    NobodyThere,
    /// This newcomer has left already, or its network failed: the next one may be fine (accept(2), "Error handling").
    TryNext,
    NoDescriptor,
    Other,
}

fn accept_failure(error: &io::Error) -> AcceptFailure {
    use error_codes::*;
    match error.kind() {
        io::ErrorKind::WouldBlock => return AcceptFailure::NobodyThere,
        io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset => {
            return AcceptFailure::TryNext;
        }
        _ => {}
    }
    match error.raw_os_error() {
        Some(EMFILE | ENFILE | ENOBUFS | ENOMEM) => AcceptFailure::NoDescriptor,
        Some(errno) => match name(errno) {
            "EPROTO" | "ENETDOWN" | "ENOPROTOOPT" | "EHOSTDOWN" | "ENONET" | "EHOSTUNREACH" | "EOPNOTSUPP"
            | "ENETUNREACH" | "EPERM" => AcceptFailure::TryNext,
            _ => AcceptFailure::Other,
        },
        None => AcceptFailure::Other,
    }
}
