//! A connection is established, or has failed: the steps that follow, in Node's order.
//!
//! ```text
//!   writable ──▶ SO_ERROR ─┬─ an error ──▶ the next address, or destroy (connect.rs)
//!                          └─ none ──────▶ on_connect ──▶ early writes, or the shutdown ─▶ on_ready ──▶ reading begins
//! ```
//!
//! A socket whose local address is its remote address is connected to itself. This happens when no server listens on a
//! port and the kernel chooses that port for the client: TCP's simultaneous open (RFC 9293, 3.5) then succeeds with a
//! single socket. Such a socket would read its own writes. It is reset, and reported as refused.
//!
//! An *early write* is one that the program made while the socket was connecting. When the socket is connected it
//! becomes the write in flight, before `on_connect` is called. So writes made in `on_connect` are queued behind it.

use std::io;
use std::time::Duration;

use super::outbox::Outboxes;
use super::state::flag::*;
use super::state::{Link, Reset, SocketState, Writing};
use super::stream::{set_keep_alive, set_urgent_in_line, set_user_timeout};
use super::{Error, Pending, Socket};
use crate::error_codes;
use crate::event_loop::{Kind, Loop};

impl Loop {
    /// The descriptor of a connecting socket is writable or broken. One boundary follows, after all callbacks.
    pub(super) fn finish_connect(&mut self, socket: Socket) {
        let Some(state) = self.net.socket_mut(socket) else { return };
        if state.is(DESTROYED) {
            return; // By an earlier callback of this poll.
        }
        let outcome = match state.stream.take_error() {
            Ok(None) => Ok(()),
            Ok(Some(error)) | Err(error) => Err(error),
        };
        if outcome.is_ok() && state.stream.is_tcp() && state.stream.peer_addr().is_none() {
            return; // Not connected yet: the event was for the descriptor of an earlier address.
        }
        let outcome = match outcome {
            Ok(()) if state.stream.is_connected_to_itself() => {
                // With a FIN the port would stay in TIME-WAIT, and a server could not bind it.
                state.stream.with_tcp(|stream| stream.set_linger(Some(Duration::ZERO)));
                Err(io::Error::from_raw_os_error(error_codes::ECONNREFUSED))
            }
            outcome => outcome,
        };
        match outcome {
            Ok(()) => self.connected(socket),
            Err(error) => {
                let Some(connecting) = self.connecting(socket) else { return };
                let error = connecting.failed(&error);
                self.attempt_failed(socket, error);
            }
        }
        self.boundary();
    }

    /// Connected: `on_connect`, the early writes, `on_ready`. Then reading begins.
    fn connected(&mut self, socket: Socket) {
        let Some((state, outboxes)) = self.net.socket_and_outboxes(socket) else { return };
        // Asked before the link changes, on which the answer depends.
        let has_early_write = state.has_early_write(outboxes);
        state.set_link(Link::Connected);
        if has_early_write {
            // Blocked although the kernel has refused nothing: writes of `on_connect` must queue behind the early ones.
            state.set(BLOCKED);
        }
        let idle_timer = state.idle_timer;
        if let Some(more) = &mut state.more {
            // Options that were set before there was a descriptor are applied now.
            let timer = more.connecting.take().and_then(|connecting| connecting.attempt_timer);
            if more.no_delay {
                state.stream.with_tcp(|stream| stream.set_tcp_nodelay(true));
            }
            if let Some(delay) = more.keep_alive {
                state.stream.with_tcp(|stream| set_keep_alive(&stream, true, delay));
            }
            if !more.user_timeout.is_zero() {
                state.stream.with_tcp(|stream| set_user_timeout(&stream, more.user_timeout));
            }
            if more.urgent_in_line {
                state.stream.with_tcp(|stream| set_urgent_in_line(&stream, true));
            }
            if let Some(timer) = timer {
                self.timers_clear(timer);
            }
        }
        if let Some(timer) = idle_timer {
            self.restart_timer(timer);
        }
        self.recount(socket);
        log::debug!(target: "bucle::net", "{socket} connected");
        // From here on each step may run user code that destroys the socket. The steps check that for themselves,
        // except that `on_ready` is called in any case, as in Node.
        self.emit(socket, Kind::OnConnect, 0, |handler, lp| handler.on_connect(lp, socket));
        self.reset_if_asked_for(socket, Reset::BeforeWrites);
        self.send_early_fin(socket);
        self.send_early_writes(socket, has_early_write);
        self.reset_if_asked_for(socket, Reset::AfterWrites);
        self.emit(socket, Kind::OnReady, 0, |handler, lp| handler.on_ready(lp, socket));
        let Some(state) = self.net.socket_mut(socket) else { return };
        if state.is(READING) {
            // Bytes may have arrived together with the connection, in an event that was used up for it.
            self.net.put_on_ready_list_if_readable(socket);
        } else if !state.is(PAUSED) {
            self.start_reading(socket);
        }
        self.recount(socket);
    }

    /// Carries out a `reset_and_destroy` that was called while the socket was connecting.
    fn reset_if_asked_for(&mut self, socket: Socket, when: Reset) {
        let Some(state) = self.net.socket(socket) else { return };
        if !state.is(DESTROYED) && state.more.as_ref().is_some_and(|more| more.resets_on_connect == Some(when)) {
            // It fails only on a unix path, and `reset_and_destroy` has checked that.
            let _ = self.reset_socket(socket);
        }
    }

    /// `end` was called before `connect_to`: the FIN is sent now. Writes that were made since come behind it, and fail;
    /// so do those of `on_ready`. Writes of `on_connect` leave before it.
    fn send_early_fin(&mut self, socket: Socket) {
        let Some(state) = self.net.socket_mut(socket) else { return };
        let ends = state.more.as_mut().is_some_and(|more| std::mem::take(&mut more.ends_on_connect));
        if !ends || state.is(DESTROYED) {
            return;
        }
        if state.is(BLOCKED) {
            state.clear(BLOCKED);
            let cause = self.cause();
            self.net.pending.push_back((Pending::EarlyFin(socket), cause));
            let first = self.net.take_inflight_callbacks(socket);
            let error = std::io::Error::from_raw_os_error(error_codes::number_of("EPIPE"));
            return self.report_now(socket, first, Error::system("write", &error));
        }
        self.flush_gathered(socket);
        let Some(state) = self.net.socket_mut(socket).filter(|state| !state.is(DESTROYED)) else { return };
        if state.is_waiting() {
            let cause = self.cause();
            self.net.pending.push_back((Pending::EarlyFin(socket), cause));
        } else {
            // The writing side is open as far as the program knows. The next write is tried at once, and fails.
            state.set(BROKEN);
            self.send_fin(socket);
        }
    }

    /// Sends the early writes. If there are none and the program has ended the socket, queues the shutdown.
    fn send_early_writes(&mut self, socket: Socket, has_early_write: bool) {
        let Some(state) = self.net.socket_mut(socket) else { return };
        let has_early_write = has_early_write && state.is(BLOCKED);
        if has_early_write && state.is(DESTROYED) {
            // Destroyed in `on_connect`: as in Node, the callbacks of the early writes get ERR_SOCKET_CLOSED.
            state.clear(BLOCKED);
            let first = self.net.take_inflight_callbacks(socket);
            self.report_now(socket, first, Error::SocketClosed);
        } else if has_early_write {
            self.send_queued(socket);
        } else if state.writing() == Writing::ShuttingDown && !state.is(DESTROYED) {
            let cause = self.cause();
            self.net.pending.push_back((Pending::Shutdown(socket), cause));
        }
    }
}

impl SocketState {
    /// Whether a write waits for the connection. It may be an empty one, with a callback. Writes that only a cork holds
    /// back do not count.
    pub(super) fn has_early_write(&self, outboxes: &Outboxes) -> bool {
        self.is(CONNECTING) && outboxes.of(self).is_some_and(|outbox| outbox.awaits_connection)
    }
}
