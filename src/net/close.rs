//! Destroying and closing: the descriptor is closed immediately, `on_close` is called later, then the slot is freed.
//!
//! ```text
//!   destroy ──▶ descriptor closed ──▶ a tick: on_error ──▶ close phase: on_close ──▶ slot free
//!                │
//!                └▶ the server has one connection less; after the last one, a tick: on_server_close
//! ```
//!
//! Only the loop calls user code: a callback that destroys a socket, even its own, is not called again before it has
//! returned. Close callbacks run in reverse order, the last destroyed socket first, because libuv keeps closing handles
//! on a stack. Until then a destroyed socket costs its slot, but no descriptor.

use std::mem;
use std::time::Duration;

use super::outbox::SMALL_TABLE;
use super::send::{Sent, send_with};
use super::state::flag::*;
use super::state::{Life, Link, NO_SERVER, Reset, SocketState, Writing};
use super::stream::Stream;
use super::{Error, NetTick, Pending, Socket, WriteCallback};
use crate::event_loop::memory::{shrink_queue, shrink_vec};
use crate::event_loop::{Kind, Loop, Phase};

impl Loop {
    /// `destroy`: closes the descriptor and drops what waits; `on_close` follows in the close phase. Only the first
    /// call has an effect.
    pub(super) fn destroy_socket(&mut self, socket: Socket, error: Option<Error>) {
        if self.net.socket(socket).is_none_or(|state| state.is(DESTROYED)) {
            return;
        }
        // Gathered bytes: Node would have given them to the kernel when they were written.
        self.send_last_bytes(socket);
        let Some(state) = self.net.socket(socket) else { return };
        // The callbacks of queued writes and of ends get an error in a tick. The write in flight is not among them: it
        // is completed in the close phase.
        let has_ends = state.more.as_ref().is_some_and(|more| !more.end_callbacks.is_empty());
        // An empty write has a callback but no bytes, so the offsets alone do not show it.
        let has_queued = self.net.outboxes.of(state).is_some_and(|outbox| {
            let callbacks = if state.is(BLOCKED) { outbox.queued_callbacks() } else { outbox.callbacks() };
            state.bytes_written > outbox.inflight_end || callbacks > 0
        });
        if has_ends || has_queued {
            // Queued before the tick of the error: write callbacks run before `on_error`, as in Node.
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
        let (was_opened, has_undelivered) = (state.is(OPENED), state.has_undelivered());
        // From here on the socket is not one of its server's connections, as in Node.
        let server = mem::replace(&mut state.server, NO_SERVER);
        // Closing the descriptor also removes it from the poll.
        state.stream = Stream::None;
        let attempt_timer = state.more.as_mut().and_then(|more| more.connecting.as_mut()?.attempt_timer.take());
        if let Some(ticket) = ticket {
            self.net.outboxes.waiting.remove(ticket);
        }
        for timer in [idle_timer, write_timer, attempt_timer].into_iter().flatten() {
            self.timers_clear(timer);
        }
        self.recount(socket);
        // What follows (ticks, `on_close`) is caused by this record.
        let cause = self.note(Kind::Destroy, socket.serial(), 0);
        let outer = self.act_for(cause);
        match error {
            Some(error) => self.tick(NetTick::Error(socket, Box::new(error))),
            None if has_undelivered => self.tick(NetTick::StopDelivery(socket)),
            None => {}
        }
        if was_opened {
            self.net.closing.push((socket, cause));
        } else {
            // It never had a handle that libuv could close. As in Node, its `on_close` comes in a tick.
            self.tick(NetTick::CloseUnopened(socket));
        }
        // May queue the tick of `on_server_close`: always after that of `on_error`.
        if server != NO_SERVER {
            self.connection_gone(server);
        }
        self.act_for(outer);
    }

    /// Sends the gathered bytes before the descriptor is closed. Bytes that the kernel does not take are lost, as in
    /// Node.
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
                // As if the kernel had refused them in an earlier `write`: they are a write in flight, which
                // `complete_inflight_write` completes.
                outbox.begin_flight(outbox.first_unsent(state.bytes_written), state.bytes_written);
                state.set(BLOCKED);
            }
        }
    }

    /// The tick after a destroy without an error, of a socket with an inbox: it is not delivered from here on.
    pub(super) fn stop_delivery(&mut self, socket: Socket) {
        if let Some(state) = self.net.socket_mut(socket).filter(|state| state.is(DESTROYED) && !state.is_closing()) {
            state.set_life(Life::Silent);
        }
    }

    /// The tick of an error: `on_error`, once in a socket's life.
    pub(super) fn emit_error(&mut self, socket: Socket, error: Error) {
        let Some(state) = self.net.socket_mut(socket) else { return };
        if state.is(ERROR_EMITTED) {
            return;
        }
        state.set(ERROR_EMITTED);
        // As in Node's `pipe`, a destination that has failed is removed from its sources first.
        self.unpipe_sources(socket);
        self.emit(socket, Kind::OnError, 0, |handler, lp| handler.on_error(lp, socket, error));
    }

    /// Close phase: `on_close` of each destroyed socket, the last destroyed first.
    ///
    /// Only sockets that were destroyed before the phase began. A socket that an `on_close` destroys is closed in the
    /// next turn, so sockets that keep replacing and destroying each other cannot hold the loop in this phase.
    pub(crate) fn run_closing(&mut self) {
        if self.net.closing.is_empty() {
            return;
        }
        log::trace!(target: "bucle::loop", "close: {} sockets", self.net.closing.len());
        let before = self.net.sockets.len();
        let phase = self.begin_phase(Phase::Close);
        let mut list = mem::take(&mut self.net.closing);
        while let Some((socket, cause)) = list.pop() {
            self.net.closing_left = list.len();
            let outer = self.act_for(cause);
            self.complete_inflight_write(socket);
            let had_error = self.net.socket(socket).is_some_and(|state| state.is(HAD_ERROR));
            self.close_socket(socket, had_error);
            // Ticks of `on_close` may still use the handle. The slot is freed after them.
            self.boundary();
            self.act_for(outer);
            self.free_socket(socket);
        }
        if self.net.closing.is_empty() {
            // The list is empty, too. Its memory is used again.
            self.net.closing = list;
        }
        self.end_phase(phase);
        self.shrink_tables(before);
        // Descriptors have been freed: servers that had none can accept.
        self.accept_again();
    }

    /// Frees memory of the loop's tables when the number of connections has fallen to half of its peak. `before` is the
    /// number before the close phase: the highest since the last one.
    fn shrink_tables(&mut self, before: usize) {
        let net = &mut self.net;
        let (connections, places) = (net.sockets.len(), net.sockets.capacity());
        // The table of sockets can only be cut behind its last used slot. If the last connection of many was there, the
        // table could not shrink when the number halved; it can when few connections are left.
        let is_sparse = connections <= SMALL_TABLE && places > 8 * SMALL_TABLE;
        if net.outboxes.shrink_if_halved(before, connections) || is_sparse {
            // Without connections no room is kept: even a small block at the end of the heap holds what is free below.
            let room = if connections == 0 { 0 } else { SMALL_TABLE };
            net.sockets.shrink_to_fit();
            shrink_vec(&mut net.unsent, room);
            net.ready.shrink_to(room);
            shrink_vec(&mut net.pipes_buf, room);
            shrink_queue(&mut self.ticks.ticks, room);
            shrink_queue(&mut self.net.pending, room);
            shrink_vec(&mut self.net.closing, room);
            self.shrink_timers();
        }
    }

    /// Calls the callbacks of the write in flight with success although it was cut off, as in Node. The writes behind
    /// it have failed already ([`NetTick::FailQueued`]).
    fn complete_inflight_write(&mut self, socket: Socket) {
        let Some(state) = self.net.socket_mut(socket) else { return };
        if !state.is(BLOCKED) {
            return;
        }
        state.clear(BLOCKED);
        let callbacks = self.net.take_inflight_callbacks(socket);
        self.after_write(socket, callbacks);
        self.boundary();
    }

    /// Calls `on_close`, and fails the writes that waited for a connection that was never established.
    pub(super) fn close_socket(&mut self, socket: Socket, had_error: bool) {
        let Some(state) = self.net.socket_mut(socket) else { return };
        let was_opened = state.is(OPENED);
        let was_connecting = state.is(CONNECTING);
        // From here on `connect_to` may connect the socket again. Then the same slot is used for a new connection.
        state.set_life(Life::Closing);
        let (read, written) = (state.bytes_read, state.bytes_written);
        log::debug!(target: "bucle::net", "{socket} closed: {read} bytes read, {written} written");
        self.remove_pipes(socket);
        // Taken out before `on_close`: a pipe to this socket that `on_close` adds is kept, as in Node, because it may
        // be for a new connection.
        let sources = self.sources_of(socket);
        self.emit(socket, Kind::OnClose, 0, |handler, lp| handler.on_close(lp, socket, had_error));
        self.unpipe_each(sources, socket);
        let Some(state) = self.net.socket_mut(socket) else { return };
        // It is not closing any more if `on_close` has connected the socket again. Then the outbox belongs to the new
        // connection.
        if was_connecting && state.is_closing() {
            state.set_link(Link::Connected);
            if state.outbox.is_some() {
                let first = self.net.take_inflight_callbacks(socket);
                self.fail_early_writes(socket, first);
            }
        }
        if !was_opened {
            // This runs in a tick, not in the close phase, so the slot is freed here.
            self.free_socket(socket);
        }
    }

    /// Fails the writes that were made before the connection: `first`, the callbacks of the oldest one, then the
    /// others.
    fn fail_early_writes(&mut self, socket: Socket, first: Vec<WriteCallback>) {
        let Some(state) = self.net.socket_mut(socket) else { return };
        state.set(ERRORED);
        state.more().errored.get_or_insert(Error::ClosedBeforeConnection);
        for callback in first {
            self.run_write_callback(socket, callback, Err(Error::ClosedBeforeConnection));
        }
        self.fail_queued(socket);
    }

    /// Frees the slot, unless `on_close` has connected the socket again. The new connection may even be destroyed
    /// already; its own `on_close` is still to come, and frees the slot.
    fn free_socket(&mut self, socket: Socket) {
        let Some(state) = self.net.socket_mut(socket) else { return };
        if !state.is_closing() {
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
        // Last: dropping the callbacks drops what they own, which may run user code (`Drop`).
        drop(state);
    }

    /// `destroy_soon`: ends, and destroys when the FIN is sent.
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

    /// `reset_and_destroy`: closes with a RST. A socket that is connecting does so when it is connected.
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
        // With a linger time of zero, closing the descriptor sends a RST instead of a FIN.
        state.stream.with_tcp(|stream| stream.set_linger(Some(Duration::ZERO)));
        self.destroy_socket(socket, None);
        Ok(())
    }

    /// The loop is dropped: sends unsent bytes as far as the kernel takes them, and FINs. No user code is called.
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
