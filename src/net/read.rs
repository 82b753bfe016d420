//! Reading from edge-triggered events: no event is lost, and no socket holds up the others.
//!
//! The kernel reports a readable socket once, and again only when more bytes arrive. The flag
//! [`READABLE`] therefore remembers that there may be more to read, until a read finds nothing. A
//! socket that stops reading earlier (its budget is used up, it is paused, or a FIN follows a short read) goes on the
//! *ready list*, which the next poll serves without waiting.
//!
//! ```text
//!   event ─▶ READABLE ─▶ read ─┬─ full buffer ───▶ deliver, read again (budget used up: ready list)
//!                              ├─ short read ────▶ deliver; nothing is left, unless a FIN follows: ready list
//!                              │                   (both directions closed, or an error: read again)
//!                              ├─ 0 ─────────────▶ EOF
//!                              └─ WouldBlock ────▶ nothing is left
//! ```
//!
//! All sockets share one read buffer, and `on_data` gets a slice of it. Only when the program does not take the bytes
//! yet (the socket is paused, or has never been resumed) are they copied to the socket's inbox. The inbox holds at most
//! a high-water mark plus one read; then the socket stops reading and TCP's window slows the peer down.

use std::io;
use std::mem;

use super::state::Writing;
use super::state::flag::{self, *};
use super::utf8::Utf8Decoder;
use super::{Error, NetTick, Socket};
use crate::event_loop::{Kind, Loop};

/// The capacity that the loop's scratch buffers may keep between uses: one full read.
const SCRATCH: usize = 64 * 1024;

impl Loop {
    /// Reads and delivers what the kernel has, within the budget. A boundary follows each read.
    #[inline(never)]
    pub(super) fn read_socket(&mut self, socket: Socket, buf: &mut [u8]) {
        let mut reads = 0;
        while self.read_once(socket, buf) {
            reads += 1;
            // Other sockets get their turn before a peer that sends without a pause goes on.
            if reads >= self.net.reads_per_turn(socket) {
                return self.net.put_on_ready_list(socket);
            }
        }
    }

    /// One read, and its delivery. Returns whether to read again immediately: the buffer was full, or the connection is
    /// closed in both directions and the end follows.
    #[inline(always)]
    fn read_once(&mut self, socket: Socket, buf: &mut [u8]) -> bool {
        let Some(state) = self.net.socket_mut(socket) else { return false };
        if !state.wants_read() || !state.is(READABLE) {
            return false;
        }
        let n = match state.stream.read(buf) {
            Ok(n) if n > 0 => n,
            last => {
                self.read_nothing(socket, last.map(drop));
                return false;
            }
        };
        if log::log_enabled!(target: "bucle::net", log::Level::Trace) {
            log_read(socket, n);
        }
        state.bytes_read += n as u64;
        // Copied: the handler may change or remove the state.
        let (flags, handler, idle_timer) = (state.among(u32::MAX), state.handler, state.idle_timer);
        if flags & URGENT != 0 {
            state.note_urgent_read();
        }
        let mut reads_on = n >= buf.len();
        // A short read has emptied the socket, unless a FIN, an error or urgent data follows the bytes.
        if !reads_on && flags & (HANGUP | URGENT) == 0 {
            state.clear(READABLE);
        } else if !reads_on && flags & BROKEN != 0 {
            // As in Node, the end is reported in the same turn as the data if both directions are closed.
            reads_on = true;
        } else if !reads_on {
            // As in Node, a FIN behind data is read in the next turn: immediates run in between.
            self.net.put_on_ready_list(socket);
        }
        self.counters.bytes_read += n as u64;
        if let Some(timer) = idle_timer {
            self.restart_timer(timer);
        }
        let chunk = &mut buf[..n];
        // Either branch may run user code. It may destroy the socket; then the next `read_once` finds that.
        if flags & (FLOWING | SLOW_DELIVERY) == FLOWING {
            self.net.replying = Some(socket);
            self.emit_to(handler, socket, Kind::OnData, n, |handler, lp| handler.on_read(lp, socket, chunk));
            self.net.replying = None;
            if self.net.outboxes.is_replying() {
                self.send_reply(socket);
            }
        } else {
            self.deliver_slowly(socket, chunk);
        }
        self.boundary();
        reads_on
    }

    /// A read found no bytes: the end, an error, or nothing for now.
    #[cold]
    #[inline(never)]
    fn read_nothing(&mut self, socket: Socket, result: io::Result<()>) {
        let Some(state) = self.net.socket_mut(socket) else { return };
        state.clear(READABLE);
        match result {
            Ok(()) => self.eof(socket),
            // All was read, the urgent data too: later short reads are complete again.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return state.note_urgent_end(),
            Err(error) => self.destroy_socket(socket, Some(Error::system("read", &error))),
        }
        self.boundary();
    }

    /// Bytes that do not go straight to the handler: they go through a decoder or into pipes, or wait in the inbox.
    fn deliver_slowly(&mut self, socket: Socket, chunk: &mut [u8]) {
        let Some(state) = self.net.socket_mut(socket) else { return };
        if state.discards_input() {
            return;
        }
        if state.is(FLOWING) && !state.has_undelivered() {
            return self.deliver(socket, chunk);
        }
        let high_water_mark = state.high_water_mark as usize;
        state.set(SLOW_DELIVERY);
        state.forget_place_of_urgent_byte();
        let inbox = &mut state.more().inbox;
        inbox.push(chunk);
        if inbox.len() >= high_water_mark {
            // The inbox is full. Nothing is read until it is delivered, so the TCP window closes and the peer must
            // wait.
            state.clear(READING);
            self.recount(socket);
        }
    }

    /// Delivers a chunk: to the handler, as text after `set_encoding`, and into the pipes.
    pub(super) fn deliver(&mut self, socket: Socket, chunk: &mut [u8]) {
        let Some(state) = self.net.socket_mut(socket) else { return };
        let Some(mut decoder) = state.more.as_mut().and_then(|more| more.decoder.take()) else {
            return self.deliver_bytes(socket, chunk);
        };
        // Taken out of the loop, because the handler gets the loop while it borrows the text.
        let mut scratch = mem::take(&mut self.net.text_buf);
        let text = decoder.decode(chunk, &mut scratch);
        // Put back before the handler runs: it may call `set_encoding`, which must find the decoder.
        if let Some(state) = self.net.socket_mut(socket) {
            state.more().decoder = Some(decoder);
        }
        if !text.is_empty() {
            self.deliver_text(socket, text);
        }
        scratch.clear();
        scratch.shrink_to(SCRATCH);
        self.net.text_buf = scratch;
    }

    /// Delivers bytes to the handler, then into the pipes. The handler may change its slice, and the pipes must get the
    /// bytes as they arrived. So if there are pipes, the handler gets a copy.
    fn deliver_bytes(&mut self, socket: Socket, chunk: &mut [u8]) {
        // The list is made before the handler runs: a pipe that the handler adds begins with the next chunk.
        let pipes = self.pipes_of(socket);
        if pipes.is_empty() {
            self.emit(socket, Kind::OnData, chunk.len(), |handler, lp| handler.on_read(lp, socket, chunk));
            return self.give_back(pipes);
        }
        let mut copy = mem::take(&mut self.net.copy_buf);
        copy.extend_from_slice(chunk);
        self.emit(socket, Kind::OnData, chunk.len(), |handler, lp| handler.on_read(lp, socket, &mut copy));
        copy.clear();
        copy.shrink_to(SCRATCH);
        self.net.copy_buf = copy;
        self.feed_pipes(socket, pipes, chunk);
    }

    fn deliver_text(&mut self, socket: Socket, text: &str) {
        let pipes = self.pipes_of(socket);
        self.emit(socket, Kind::OnText, text.len(), |handler, lp| handler.on_text(lp, socket, text));
        self.feed_pipes(socket, pipes, text.as_bytes());
    }

    /// The FIN was read.
    fn eof(&mut self, socket: Socket) {
        let cause = self.note(Kind::Eof, socket.serial(), 0);
        let Some(state) = self.net.socket_mut(socket) else { return };
        state.set(EOF);
        log::debug!(target: "bucle::net", "{socket} was ended by its peer: FIN read");
        let idle_timer = state.idle_timer;
        self.recount(socket);
        if let Some(timer) = idle_timer {
            self.restart_timer(timer);
        }
        let outer = self.act_for(cause);
        self.deliver_inbox(socket);
        self.act_for(outer);
    }

    /// Delivers the inbox, chunk by chunk while the socket is flowing. After a FIN it queues the end tick, too, when
    /// nothing but the last chunk is left.
    pub(super) fn deliver_inbox(&mut self, socket: Socket) {
        let mut is_end_queued = false;
        loop {
            // Looked up for each chunk: the handler may have paused, upgraded or destroyed the socket.
            let Some(state) = self.net.socket_mut(socket) else { return };
            // A destroyed socket delivers its inbox for a while, as in Node. A handler that has just been replaced gets
            // `on_upgrade` before any data.
            if !state.may_deliver() || state.is(UPGRADING) {
                return;
            }
            let is_flowing = state.is(FLOWING);
            // One chunk at a time: a handler that pauses does not get the next one.
            let chunk = match &mut state.more {
                Some(more) if is_flowing => more.inbox.pop(),
                _ => None,
            };
            let is_last = if state.is(FLOWING) { state.inbox_len() == 0 } else { !state.has_undelivered() };
            if state.is(EOF) && is_last && !mem::replace(&mut is_end_queued, true) {
                // Queued before the last chunk is delivered: as in Node, ticks that its handler makes run after
                // `on_end`.
                self.tick(NetTick::End(socket));
            }
            let Some(mut chunk) = chunk else { break };
            self.deliver(socket, &mut chunk);
        }
        // A character that the FIN cut off becomes one replacement character. The end tick, already queued, runs after
        // it.
        let Some(state) = self.net.socket_mut(socket) else { return };
        let takes_tail = state.may_deliver() && state.among(FLOWING | EOF) == FLOWING | EOF;
        let more = state.more.as_mut().filter(|more| !more.drops_tail);
        let decoder = more.and_then(|more| more.decoder.as_mut());
        if takes_tail && let Some(text) = decoder.and_then(Utf8Decoder::finish) {
            self.deliver_text(socket, text);
        }
    }

    pub(super) fn pause_socket(&mut self, socket: Socket) {
        self.note(Kind::Pause, socket.serial(), 0);
        let Some(state) = self.net.socket_mut(socket) else { return };
        state.clear(FLOWING);
        state.set(PAUSED);
        log::trace!(target: "bucle::net", "{socket} paused");
    }

    /// `resume`: the program, and not only a pipe, takes the data from now on.
    pub(super) fn resume_socket(&mut self, socket: Socket) {
        if let Some(state) = self.net.socket_mut(socket) {
            state.set(PROGRAM_READS);
        }
        self.start_flowing(socket);
    }

    /// The program or a pipe takes the data. As in Node, delivery begins in a tick.
    pub(super) fn start_flowing(&mut self, socket: Socket) {
        self.note(Kind::Resume, socket.serial(), 0);
        let Some(state) = self.net.socket_mut(socket) else { return };
        state.clear(PAUSED);
        if state.is(FLOWING) {
            return;
        }
        state.set(FLOWING);
        log::trace!(target: "bucle::net", "{socket} resumed");
        if !state.is(RESUMING) {
            state.set(RESUMING);
            self.tick(NetTick::Resume(socket));
        }
    }

    pub(super) fn unshift_socket(&mut self, socket: Socket, bytes: &[u8]) {
        let Some(state) = self.net.socket_mut(socket) else { return };
        if bytes.is_empty() || state.is(DESTROYED | END_EMITTED) || state.discards_input() {
            return;
        }
        state.set(SLOW_DELIVERY);
        state.more().inbox.unshift(bytes);
        if state.is(FLOWING) && !state.is(RESUMING) {
            state.set(RESUMING);
            self.tick(NetTick::Resume(socket));
        }
    }

    /// The tick of `resume`: what waits is delivered, and reading goes on.
    pub(super) fn resume_now(&mut self, socket: Socket) {
        let Some(state) = self.net.socket_mut(socket) else { return };
        state.clear(RESUMING);
        self.start_reading(socket);
        self.deliver_inbox(socket);
        // Once more: if the inbox was full the first call did nothing, and now there is room.
        self.start_reading(socket);
        // Looked up again, because delivering ran user code.
        let Some(state) = self.net.socket_mut(socket) else { return };
        let needs_detour = state.more.as_ref().is_some_and(|more| {
            !more.inbox.is_empty() || more.decoder.is_some() || !more.pipes.is_empty() || more.discards_input
        });
        if !needs_detour {
            state.clear(SLOW_DELIVERY);
        }
        state.free_more_if_empty();
    }

    /// Lets the loop read the descriptor, unless the inbox is full.
    pub(super) fn start_reading(&mut self, socket: Socket) {
        let Some(state) = self.net.socket_mut(socket) else { return };
        if state.is(CONNECTING) || !state.is(OPENED) {
            // Not connected yet: reading begins with the connection, even if the socket is paused by then.
            return state.set(READING);
        }
        let may_read = !state.is(DESTROYED | EOF | READING);
        if !may_read || state.inbox_len() >= state.high_water_mark.max(1) as usize {
            return;
        }
        state.set(READING);
        let is_readable = state.is(READABLE);
        self.recount(socket);
        // The kernel has reported these bytes already and will not do so again.
        if is_readable {
            self.net.put_on_ready_list(socket);
        }
    }

    /// The end tick: everything has been delivered and the peer has sent its FIN.
    pub(super) fn end_reached(&mut self, socket: Socket) {
        let Some(state) = self.net.socket_mut(socket) else { return };
        // The last chunk's handler may have put bytes back (`unshift`). Then the end is queued again behind them. As in
        // Node the end comes also after a destroy, unless that was an error.
        if state.is(ERRORED | END_EMITTED) || !state.may_deliver() || state.has_undelivered() {
            return;
        }
        state.set(END_EMITTED);
        let pipes = self.pipes_of(socket);
        self.emit(socket, Kind::OnEnd, 0, |handler, lp| handler.on_end(lp, socket));
        self.end_pipes(socket, pipes);
        // `on_end` may have ended or destroyed the socket.
        let Some(state) = self.net.socket_mut(socket) else { return };
        // After an upgrade in `on_end` the new handler gets `on_end` too, and this side ends after that one.
        if !state.is(END_EMITTED) {
            return;
        }
        if state.is_writable() && !state.is(ALLOW_HALF_OPEN) {
            // A tick later, as in Node: what `on_end` and its ticks write still goes out.
            self.tick(NetTick::AnswerEnd(socket));
        } else if state.writing() == Writing::Finished {
            self.destroy_socket(socket, None);
        }
    }

    /// The tick after `on_end`: this side ends, too.
    pub(super) fn answer_end(&mut self, socket: Socket) {
        if self.net.socket(socket).is_some_and(|state| state.is(END_EMITTED) && state.is_writable()) {
            self.end_socket(socket, None, None);
        }
    }

    /// `set_encoding`.
    pub(super) fn decode_socket(&mut self, socket: Socket) {
        let Some(state) = self.net.socket_mut(socket) else { return };
        if !state.discards_input() && state.more().decoder.is_none() {
            state.set(flag::SLOW_DELIVERY);
            state.more().decoder = Some(Utf8Decoder::default());
            state.more().drops_tail = state.is(EOF);
            // As in Node, the chunks that wait become one text.
            state.more().inbox.join();
        }
    }
}

/// A function of its own, so that the usual read does not carry the code of formatting.
#[cold]
#[inline(never)]
fn log_read(socket: Socket, n: usize) {
    log::trace!(target: "bucle::net", "{socket} read {n} bytes");
}
