//! Reading: edge-triggered, without losing and without hogging.
//!
//! The kernel reports once that there is something to read and not again until more comes. So a socket remembers that
//! it is [`READABLE`](flag::READABLE) until a read has found nothing, and whoever leaves something unread (over its
//! budget, paused, stopped after a short read with the FIN still to come) goes on the *ready list*, which the next poll
//! looks at without waiting.
//!
//! ```text
//!   event ─▶ READABLE ─▶ read ─┬─ full buffer ───▶ deliver, read again (up to the budget, then: ready list)
//!                              ├─ short ─────────▶ deliver; drained, unless a FIN is behind it: ready list
//!                              │                   (both directions closed, or an error: read again)
//!                              ├─ 0 ─────────────▶ EOF
//!                              └─ WouldBlock ────▶ drained
//! ```
//!
//! There is one buffer for all sockets. What is read is lent to `on_data` from it; only when nobody wants the data yet
//! (paused, not asked for) does it go to the socket's own inbox, up to the high-water mark and one read.

use std::io;
use std::mem;

use super::state::Writing;
use super::state::flag::{self, *};
use super::utf8::Utf8Decoder;
use super::{Error, NetTick, Socket};
use crate::event_loop::{Kind, Loop};

/// How much room the loop's scratch buffers may keep: one full read.
const SCRATCH: usize = 64 * 1024;

impl Loop {
    /// Reads what there is, within the budget, and delivers it. A boundary after each read.
    #[inline(never)]
    pub(super) fn read_socket(&mut self, socket: Socket, buf: &mut [u8]) {
        let mut reads = 0;
        while self.read_once(socket, buf) {
            reads += 1;
            // One loud peer does not starve the others.
            if reads >= self.net.reads_per_turn(socket) {
                return self.net.put_on_ready_list(socket);
            }
        }
    }

    /// One read, and its delivery. Whether to look for more at once: the buffer was full, or nobody is there any more who
    /// could send, and the end stands right behind.
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
        let (flags, handler, idle_timer) = (state.among(u32::MAX), state.handler, state.idle_timer);
        let mut goes_on = n >= buf.len();
        // A short read has drained the socket, unless a FIN, an error or urgent data stands behind it.
        if !goes_on && flags & (HANGUP | URGENT) == 0 {
            state.clear(READABLE);
        } else if !goes_on && flags & BROKEN != 0 {
            // As in Node: the end is reported in the same turn as the data if both directions are closed.
            goes_on = true;
        } else if !goes_on {
            self.net.put_on_ready_list(socket);
        }
        self.counters.bytes_read += n as u64;
        if let Some(timer) = idle_timer {
            self.restart_timer(timer);
        }
        let chunk = &mut buf[..n];
        if flags & (FLOWING | DETOUR) == FLOWING {
            self.emit_to(handler, socket, Kind::OnData, n, |handler, lp| handler.on_read(lp, socket, chunk));
        } else {
            self.deliver_by_detour(socket, chunk);
        }
        self.boundary();
        goes_on
    }

    /// A read found no bytes: the end, an error, or nothing for now.
    #[cold]
    #[inline(never)]
    fn read_nothing(&mut self, socket: Socket, result: io::Result<()>) {
        let Some(state) = self.net.socket_mut(socket) else { return };
        state.clear(READABLE);
        match result {
            Ok(()) => self.eof(socket),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return state.clear(URGENT),
            Err(error) => self.destroy_socket(socket, Some(Error::system("read", &error))),
        }
        self.boundary();
    }

    /// Bytes have come that do not go straight to the handler: to the inbox when nobody takes them now.
    fn deliver_by_detour(&mut self, socket: Socket, chunk: &mut [u8]) {
        let Some(state) = self.net.socket_mut(socket) else { return };
        if state.discards_input() {
            return;
        }
        if state.is(FLOWING) && !state.has_undelivered() {
            return self.hand_over(socket, chunk);
        }
        let high_water_mark = state.high_water_mark as usize;
        state.set(DETOUR);
        let inbox = &mut state.more().inbox;
        inbox.push(chunk);
        if inbox.len() >= high_water_mark {
            // Full: stop reading, the window closes, the peer feels it.
            state.clear(READING);
            self.recount(socket);
        }
    }

    /// Gives a chunk to the program: decoded if it asked for text, and into the pipes.
    pub(super) fn hand_over(&mut self, socket: Socket, chunk: &mut [u8]) {
        let Some(state) = self.net.socket_mut(socket) else { return };
        let Some(mut decoder) = state.more.as_mut().and_then(|more| more.decoder.take()) else {
            return self.hand_over_bytes(socket, chunk);
        };
        let mut scratch = mem::take(&mut self.net.text_buf);
        let text = decoder.decode(chunk, &mut scratch);
        // Back before the handler runs, which may change the encoding.
        if let Some(state) = self.net.socket_mut(socket) {
            state.more().decoder = Some(decoder);
        }
        if !text.is_empty() {
            self.hand_over_text(socket, text);
        }
        scratch.clear();
        scratch.shrink_to(SCRATCH);
        self.net.text_buf = scratch;
    }

    /// The pipes get the bytes as they arrived. They are fed after the handler, which may change its buffer, so with pipes
    /// the handler gets a copy.
    fn hand_over_bytes(&mut self, socket: Socket, chunk: &mut [u8]) {
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

    fn hand_over_text(&mut self, socket: Socket, text: &str) {
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
        self.flow(socket);
        self.act_for(outer);
    }

    /// Hands over what the inbox holds, chunk by chunk as long as somebody takes it, and queues the end once it is empty.
    pub(super) fn flow(&mut self, socket: Socket) {
        let mut is_end_queued = false;
        loop {
            let Some(state) = self.net.socket_mut(socket) else { return };
            // A handler that has just been replaced gets `on_upgrade` before any data.
            if state.is(DESTROYED | UPGRADING) {
                return;
            }
            let is_flowing = state.is(FLOWING);
            let chunk = match &mut state.more {
                Some(more) if is_flowing => more.inbox.pop(),
                _ => None,
            };
            let is_last = if state.is(FLOWING) { state.inbox_len() == 0 } else { !state.has_undelivered() };
            if state.is(EOF) && is_last && !mem::replace(&mut is_end_queued, true) {
                // Before the last chunk is delivered: ticks that its handler makes come after the end, as in Node.
                self.tick(NetTick::End(socket));
            }
            let Some(mut chunk) = chunk else { break };
            self.hand_over(socket, &mut chunk);
        }
        // A character that the FIN cut in two becomes one replacement character, before the end.
        let Some(state) = self.net.socket_mut(socket) else { return };
        let takes_tail = state.among(FLOWING | EOF | DESTROYED) == FLOWING | EOF;
        let decoder = state.more.as_mut().and_then(|more| more.decoder.as_mut());
        if takes_tail && let Some(text) = decoder.and_then(Utf8Decoder::finish) {
            self.hand_over_text(socket, text);
        }
    }

    pub(super) fn pause_socket(&mut self, socket: Socket) {
        self.note(Kind::Pause, socket.serial(), 0);
        let Some(state) = self.net.socket_mut(socket) else { return };
        state.clear(FLOWING);
        state.set(PAUSED);
        log::trace!(target: "bucle::net", "{socket} paused");
    }

    /// `resume`: the program wants the data.
    pub(super) fn resume_socket(&mut self, socket: Socket) {
        if let Some(state) = self.net.socket_mut(socket) {
            state.set(LISTENS);
        }
        self.let_flow(socket);
    }

    /// Somebody wants the data: the program, or a pipe.
    pub(super) fn let_flow(&mut self, socket: Socket) {
        self.note(Kind::Resume, socket.serial(), 0);
        let Some(state) = self.net.socket_mut(socket) else { return };
        state.clear(PAUSED);
        if state.is(FLOWING) || state.is(DESTROYED) {
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
        state.set(DETOUR);
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
        self.flow(socket);
        self.start_reading(socket);
        let Some(state) = self.net.socket_mut(socket) else { return };
        let needs_detour = state.more.as_ref().is_some_and(|more| {
            !more.inbox.is_empty() || more.decoder.is_some() || !more.pipes.is_empty() || more.discards_input
        });
        if !needs_detour {
            state.clear(DETOUR);
        }
        state.free_more_if_empty();
    }

    /// Has the descriptor read when there is something, unless the inbox is full.
    pub(super) fn start_reading(&mut self, socket: Socket) {
        let Some(state) = self.net.socket_mut(socket) else { return };
        if state.is(CONNECTING) || !state.is(OPENED) {
            // Asked for before there was anything: reading begins with the connection, even if it is paused by then.
            return state.set(READING);
        }
        let may_read = !state.is(DESTROYED | EOF | READING);
        if !may_read || state.inbox_len() >= state.high_water_mark.max(1) as usize {
            return;
        }
        state.set(READING);
        let is_readable = state.is(READABLE);
        self.recount(socket);
        if is_readable {
            self.net.put_on_ready_list(socket);
        }
    }

    /// The end tick: everything has been delivered and the peer sends no more.
    pub(super) fn end_reached(&mut self, socket: Socket) {
        let Some(state) = self.net.socket_mut(socket) else { return };
        if state.is(DESTROYED | ERRORED | END_EMITTED) || state.has_undelivered() {
            return;
        }
        state.set(END_EMITTED);
        let pipes = self.pipes_of(socket);
        self.emit(socket, Kind::OnEnd, 0, |handler, lp| handler.on_end(lp, socket));
        self.end_pipes(socket, pipes);
        let Some(state) = self.net.socket_mut(socket) else { return };
        // After an upgrade in `on_end` the new handler gets `on_end` too, and this side ends after that one.
        if !state.is(END_EMITTED) {
            return;
        }
        if state.is_writable() && !state.is(ALLOW_HALF_OPEN) {
            self.tick(NetTick::AnswerEnd(socket));
        } else if state.writing() == Writing::Finished {
            self.destroy_socket(socket, None);
        }
    }

    /// The tick after `on_end`: this side ends too.
    pub(super) fn answer_end(&mut self, socket: Socket) {
        if self.net.socket(socket).is_some_and(|state| state.is(END_EMITTED) && state.is_writable()) {
            self.end_socket(socket, None, None);
        }
    }

    pub(super) fn decode_socket(&mut self, socket: Socket) {
        let Some(state) = self.net.socket_mut(socket) else { return };
        if !state.discards_input() && state.more().decoder.is_none() {
            state.set(flag::DETOUR);
            state.more().decoder = Some(Utf8Decoder::default());
            // As in Node, what waits becomes one text.
            state.more().inbox.join();
        }
    }
}

/// Out of the way of a read that nobody wants to see.
#[cold]
#[inline(never)]
fn log_read(socket: Socket, n: usize) {
    log::trace!(target: "bucle::net", "{socket} read {n} bytes");
}
