//! The ways to an end, and the end.
//!
//! ```text
//!   destroy ──▶ descriptor closed ──▶ a tick: on_error ──▶ close phase: on_close ──▶ slot free
//!                │                                            ▲
//!                └ the server counts one less, a tick: on_server_close
//! ```
//!
//! The descriptor is closed inside the call, the word about it comes later: so a callback that destroys a socket never
//! finds itself called again from inside. Close callbacks run last destroyed first, for libuv keeps them on a stack.

use std::mem;
use std::time::Duration;

use super::outbox::SMALL_TABLE;
use super::send::{Sent, send_with};
use super::state::flag::*;
use super::state::{Life, Link, NO_SERVER, Reset, SocketState, Writing};
use super::stream::Stream;
use super::{Error, NetTick, Pending, Socket, WriteCallback};
use crate::event_loop::{Kind, Loop, Phase};

impl Loop {
    /// `destroy`: everything is dropped now, `on_close` comes in the close phase. Only the first call counts.
    pub(super) fn destroy_socket(&mut self, socket: Socket, error: Option<Error>) {
        if self.net.socket(socket).is_none_or(|state| state.is(DESTROYED)) {
            return;
        }
        // Node would have handed these bytes to the kernel when they were written.
        self.send_last_bytes(socket);
        let Some(state) = self.net.socket(socket) else { return };
        // Writes behind the one in flight, and ends, hear in a tick that they will not happen.
        let has_ends = state.more.as_ref().is_some_and(|more| !more.end_callbacks.is_empty());
        // An empty write has no bytes that wait, but somebody who does.
        let has_queued = self.net.outboxes.of(state).is_some_and(|outbox| {
            let callbacks = if state.is(BLOCKED) { outbox.queued_callbacks() } else { outbox.callbacks() };
            state.bytes_written > outbox.inflight_end || callbacks > 0
        });
        if has_ends || has_queued {
            self.tick(NetTick::FailQueued(socket));
        }
        let Some((state, outboxes)) = self.net.socket_and_outboxes(socket) else { return };
        state.set_life(Life::Destroyed);
        match &error {
            Some(error) => log::trace!(target: "bucle::net", "{socket} destroyed: {error}"),
            None => log::trace!(target: "bucle::net", "{socket} destroyed"),
        }
        if let Some(error) = &error {
            state.set(ERRORED | HAD_ERROR);
            state.more().errored.get_or_insert_with(|| error.clone());
        }
        let idle_timer = state.idle_timer.take();
        let (write_timer, ticket) = match outboxes.of_mut(state) {
            Some(outbox) => (outbox.write_timer.take(), outbox.ticket.take()),
            None => (None, None),
        };
        let was_opened = state.is(OPENED);
        let server = mem::replace(&mut state.server, NO_SERVER);
        // Closing the descriptor takes it off the poll too.
        state.stream = Stream::None;
        let attempt_timer = state.more.as_mut().and_then(|more| more.connecting.as_mut()?.attempt_timer.take());
        if let Some(ticket) = ticket {
            self.net.outboxes.waiting.remove(ticket);
        }
        for timer in [idle_timer, write_timer, attempt_timer].into_iter().flatten() {
            self.timers_clear(timer);
        }
        self.recount(socket);
        let cause = self.note(Kind::Destroy, socket.serial(), 0);
        let outer = self.act_for(cause);
        if let Some(error) = error {
            self.tick(NetTick::Error(socket, Box::new(error)));
        }
        if was_opened {
            self.net.closing.push((socket, cause));
        } else {
            self.tick(NetTick::CloseUnopened(socket));
        }
        if server != NO_SERVER {
            self.connection_gone(server);
        }
        self.act_for(outer);
    }

    /// What was gathered goes to the kernel before the descriptor is closed. What it does not take is lost, as with Node.
    fn send_last_bytes(&mut self, socket: Socket) {
        let Some((state, outboxes)) = self.net.socket_and_outboxes(socket) else { return };
        let is_gathered = !state.is(BLOCKED | CONNECTING | ERRORED) && state.corks == 0;
        let Some(id) = state.outbox.filter(|_| is_gathered) else { return };
        let (outbox, store) = outboxes.open(id);
        let waiting = outbox.len();
        match send_with(socket, &mut state.stream, (&mut *outbox, store), waiting, &[]) {
            Sent::All => {
                state.outbox = None;
                outboxes.take_back(id);
            }
            Sent::Part(_) | Sent::Enough(_) | Sent::Failed(_) => {
                outbox.begin_flight(outbox.first_unsent(state.bytes_written), state.bytes_written);
                state.set(BLOCKED);
            }
        }
    }

    /// The tick of an error: `on_error`, once in a socket's life.
    pub(super) fn emit_error(&mut self, socket: Socket, error: Error) {
        let Some(state) = self.net.socket_mut(socket) else { return };
        if state.is(ERROR_EMITTED) {
            return;
        }
        state.set(ERROR_EMITTED);
        self.unpipe_sources(socket);
        self.emit(socket, Kind::OnError, 0, |handler, lp| handler.on_error(lp, socket, error));
    }

    /// Close phase: the last word of each destroyed socket, last destroyed first.
    ///
    /// Works on the list as it stands now. What an `on_close` destroys in turn waits for the next turn, so two sockets
    /// that keep destroying each other's successors cannot hold the loop here.
    pub(crate) fn run_closing(&mut self) {
        if self.net.closing.is_empty() {
            return;
        }
        let phase = self.begin_phase(Phase::Close);
        let mut list = mem::take(&mut self.net.closing);
        while let Some((socket, cause)) = list.pop() {
            let outer = self.act_for(cause);
            self.give_up_writes(socket);
            let had_error = self.net.socket(socket).is_some_and(|state| state.is(HAD_ERROR));
            self.close_socket(socket, had_error);
            self.boundary();
            self.act_for(outer);
            self.free_socket(socket);
        }
        if self.net.closing.is_empty() {
            self.net.closing = list;
        }
        self.end_phase(phase);
        self.shrink_after_crowd();
        self.accept_again();
    }

    /// When half of a crowd has left, so has what served it.
    fn shrink_after_crowd(&mut self) {
        let net = &mut self.net;
        let (connections, places) = (net.sockets.len(), net.sockets.capacity());
        // The last of a crowd may have sat at the table's far end.
        let is_forsaken = connections <= SMALL_TABLE && places > 8 * SMALL_TABLE;
        if net.outboxes.shrink_if_halved(connections) || is_forsaken {
            net.sockets.shrink_to_fit();
            net.unsent.shrink_to(SMALL_TABLE);
            net.ready.shrink_to(SMALL_TABLE);
            net.pipes_buf.shrink_to(SMALL_TABLE);
            self.ticks.ticks.shrink_to(SMALL_TABLE);
            self.net.pending.shrink_to(SMALL_TABLE);
            self.net.closing.shrink_to(SMALL_TABLE);
        }
    }

    /// The write in flight is told that it went well although it was cut off, those behind it that it did not: libuv
    /// completes the one, Node's streams fail the others.
    fn give_up_writes(&mut self, socket: Socket) {
        let Some(state) = self.net.socket_mut(socket) else { return };
        if !state.is(BLOCKED) {
            return;
        }
        state.clear(BLOCKED);
        let callbacks = self.net.take_inflight_callbacks(socket);
        self.after_write(socket, callbacks);
        self.boundary();
    }

    /// `on_close`, and the callbacks of writes that waited for a connection that never came.
    pub(super) fn close_socket(&mut self, socket: Socket, had_error: bool) {
        let Some(state) = self.net.socket_mut(socket) else { return };
        let was_opened = state.is(OPENED);
        let was_connecting = state.is(CONNECTING);
        // From here on `connect_to` may give the socket a new life.
        state.set_life(Life::Closing);
        let (read, written) = (state.bytes_read, state.bytes_written);
        log::debug!(target: "bucle::net", "{socket} closed: {read} bytes read, {written} written");
        self.remove_pipes(socket);
        // A pipe that is laid to it in its `on_close` is not meant, as in Node: it may be for a new life.
        let sources = self.sources_of(socket);
        self.emit(socket, Kind::OnClose, 0, |handler, lp| handler.on_close(lp, socket, had_error));
        self.unpipe_each(sources, socket);
        let Some(state) = self.net.socket_mut(socket) else { return };
        // Unless `on_close` has begun a new life, whose writes wait for a connection of its own.
        if was_connecting && state.is(CLOSING) {
            state.set_link(Link::Connected);
            if state.outbox.is_some() {
                let first = self.net.take_inflight_callbacks(socket);
                self.connection_never_came(socket, first);
            }
        }
        if !was_opened {
            // It had nothing to close: its tick is all of its close phase. What its end callbacks make runs after it.
            self.free_socket(socket);
        }
    }

    fn connection_never_came(&mut self, socket: Socket, first: Vec<WriteCallback>) {
        let Some(state) = self.net.socket_mut(socket) else { return };
        state.set(ERRORED);
        state.more().errored.get_or_insert(Error::ClosedBeforeConnection);
        for callback in first {
            self.run_write_callback(socket, callback, Err(Error::ClosedBeforeConnection));
        }
        self.fail_queued(socket);
    }

    /// Gives the slot back, unless `on_close` connected the socket again: then a new life has begun, which may be over
    /// already, but has yet to hear its own `on_close`.
    fn free_socket(&mut self, socket: Socket) {
        let Some(state) = self.net.socket_mut(socket) else { return };
        if !state.is(CLOSING) {
            return;
        }
        let handler = state.handler;
        if let Some(outbox) = state.outbox.take() {
            self.net.outboxes.take_back(outbox);
        }
        let state = self.net.sockets.remove(socket.0);
        self.release_handler(handler);
        if let Some(state) = &state {
            self.net.tables.forget(socket, state.tag);
        }
        // Last, for dropping what callbacks own may run code of the program.
        drop(state);
    }

    /// `destroy_soon`: end, and destroy when that is through.
    pub(super) fn destroy_socket_soon(&mut self, socket: Socket) {
        let Some(state) = self.net.socket_mut(socket) else { return };
        if state.writing() == Writing::Finished {
            return self.destroy_socket(socket, None);
        }
        state.set(DESTROY_ON_FINISH);
        if state.is_writable() {
            self.end_socket(socket, None, None);
        }
    }

    /// `reset_and_destroy`: closes with a RST. While connecting it waits for the connection.
    pub(super) fn reset_socket(&mut self, socket: Socket) -> crate::Result<()> {
        let Some((state, outboxes)) = self.net.socket_and_outboxes(socket) else { return Ok(()) };
        if !state.is(OPENED) || state.is(DESTROYED) {
            self.destroy_socket(socket, Some(Error::SocketClosed));
            return Ok(());
        }
        if state.is_unix() {
            return Err(Error::InvalidHandleType);
        }
        if state.is(CONNECTING) {
            let reset = if state.has_early_write(outboxes) { Reset::AfterWrites } else { Reset::BeforeWrites };
            state.more().resets_on_connect.get_or_insert(reset);
            return Ok(());
        }
        // Closing the descriptor now sends a RST instead of a FIN.
        state.stream.with_tcp(|stream| stream.set_linger(Some(Duration::ZERO)));
        self.destroy_socket(socket, None);
        Ok(())
    }

    /// The loop is dropped: what is unsent goes to the kernel, as far as it takes it, and nobody is called any more.
    pub(crate) fn send_what_is_left(&mut self) {
        self.flush_without_callbacks();
        while let Some((pending, _)) = self.net.pending.pop_front() {
            match pending {
                Pending::Shutdown(socket) => self.shut_down(socket),
                Pending::EarlyFin(socket) => self.send_fin(socket),
                Pending::ConnectFailed(..) => {}
            }
        }
    }
}

impl SocketState {
    /// Whether it is, or is about to be, a unix socket.
    fn is_unix(&self) -> bool {
        matches!(self.stream, Stream::Unix(_))
            || self
                .more
                .as_ref()
                .is_some_and(|more| more.connecting.as_ref().is_some_and(|connecting| connecting.is_path()))
    }
}
