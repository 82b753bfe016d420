//! Pipes: what one socket reads, others write, at the pace of the slowest.
//!
//! ```text
//!   source ── data ──▶ destination.write ── false ──▶ source pauses and awaits this destination
//!                      destination drains ──────────▶ source resumes, unless it awaits another
//!   source ends ─────▶ destination.end()
//!   destination errs, finishes or closes, unpipe ─▶ the pipe is gone, and awaited no more
//! ```
//!
//! The handlers of both go on hearing their events. A pipe is one more listener, and stands behind the handler: who gets a
//! chunk, and who is ended, is settled before the handler is called. So a pipe laid inside `on_data` begins with the next
//! chunk, and one taken away there has still got this one; one laid inside `on_end` or later ends its destination in a
//! tick.
//!
//! Without a destination left the source pauses. But if it waited for the drain of that destination, it goes on, for its
//! handler, which would get nothing any more otherwise. Only a source that nobody but a pipe has asked for data stays
//! paused; see [`SocketOptions::flowing`](super::SocketOptions::flowing).
//!
//! The drain of a destination that was once waited for resumes the source, whoever has paused it this time. One that has
//! ended or is gone refuses the write, and will never drain: if it is the only one the source pauses and stays so. All
//! this is Node's; but there a refusal stops the source although it has other destinations, for ever, and here they go on.

use std::mem;

use super::state::flag::*;
use super::state::{More, Pipe};
use super::{NetTick, Socket};
use crate::event_loop::Loop;

impl Loop {
    pub(super) fn pipe_socket(&mut self, from: Socket, to: Socket, ends: bool) {
        let Some(destination) = self.net.socket(to) else { return };
        let is_awaited = destination.is(NEED_DRAIN) && destination.is_writable();
        let Some(state) = self.net.socket_mut(from) else { return };
        state.set(DETOUR);
        let has_ended = state.is(END_EMITTED);
        state.more().pipes.push(Pipe { to, ends, is_awaited, has_waited: is_awaited });
        if let Some(destination) = self.net.socket_mut(to) {
            destination.more().piped_from.push(from);
        }
        if has_ended {
            self.tick(NetTick::EndPipe { from, to, ends });
        }
        if is_awaited {
            self.pause_socket(from);
        } else {
            self.let_flow(from);
        }
    }

    /// Takes one pipe to `to` away.
    pub(super) fn unpipe_socket(&mut self, from: Socket, to: Socket) {
        let Some(state) = self.net.socket_mut(from) else { return };
        let listens = state.is(LISTENS);
        let Some(more) = state.more.as_deref_mut() else { return };
        let Some(place) = more.pipes.iter().position(|pipe| pipe.to == to) else { return };
        let gone = more.pipes.remove(place);
        let is_last = more.pipes.is_empty();
        // It may never drain any more.
        let goes_on = gone.is_awaited && !more.awaits_drain() && (listens || !is_last);
        if is_last {
            self.pause_socket(from);
        }
        if goes_on {
            self.let_flow(from);
        }
        self.forget_source(to, from);
    }

    /// The pipes of a source as they are before its handler hears of a chunk, or of the end.
    ///
    /// In a list that the loop lends, to be given back with [`give_back`](Self::give_back): however many pipes there are, a
    /// chunk costs no allocation.
    pub(super) fn pipes_of(&mut self, from: Socket) -> Vec<Pipe> {
        let mut pipes = mem::take(&mut self.net.pipes_buf);
        if let Some(more) = self.more_of(from) {
            pipes.extend_from_slice(&more.pipes);
        }
        pipes
    }

    pub(super) fn give_back(&mut self, mut pipes: Vec<Pipe>) {
        pipes.clear();
        self.net.pipes_buf = pipes;
    }

    /// Writes a chunk to every destination there was before the handler got it. The slowest rules: one `false` and the
    /// source pauses, if it is still piped there.
    pub(super) fn feed_pipes(&mut self, from: Socket, pipes: Vec<Pipe>, chunk: &[u8]) {
        for pipe in &pipes {
            if !self.write_socket(pipe.to, chunk, None) {
                self.await_drain(from, pipe.to);
            }
        }
        self.give_back(pipes);
    }

    /// A destination has no room, or takes no more writes at all. One of those owes a drain too, if it had no room before;
    /// it never comes, but when the pipe is taken away the source goes on.
    fn await_drain(&mut self, from: Socket, to: Socket) {
        let owes_drain = self.net.socket(to).is_some_and(|destination| destination.is(NEED_DRAIN));
        let Some(more) = self.more_of(from) else { return };
        let is_only_one = more.pipes.len() == 1;
        let Some(pipe) = more.pipes.iter_mut().find(|pipe| pipe.to == to) else { return };
        pipe.is_awaited = owes_drain;
        pipe.has_waited |= owes_drain;
        if owes_drain || is_only_one {
            self.pause_socket(from);
        }
    }

    /// A destination has drained: those who wait for no other go on.
    pub(super) fn drained(&mut self, to: Socket) {
        let Some(more) = self.more_of(to).filter(|more| !more.piped_from.is_empty()) else { return };
        let sources = mem::take(&mut more.piped_from);
        for &source in &sources {
            let Some(more) = self.more_of(source) else { continue };
            let mut has_waited = false;
            for pipe in more.pipes.iter_mut().filter(|pipe| pipe.to == to) {
                pipe.is_awaited = false;
                has_waited |= pipe.has_waited;
            }
            if has_waited && !more.awaits_drain() {
                self.let_flow(source);
            }
        }
        if let Some(more) = self.more_of(to) {
            more.piped_from = sources;
        }
    }

    /// The source has ended: so do the destinations it had then, unless they are to stay.
    pub(super) fn end_pipes(&mut self, from: Socket, pipes: Vec<Pipe>) {
        for pipe in &pipes {
            self.end_pipe(from, pipe.to, pipe.ends);
        }
        self.give_back(pipes);
    }

    /// One that is ended stays piped until it has finished: it may have much to send.
    pub(super) fn end_pipe(&mut self, from: Socket, to: Socket, ends: bool) {
        if ends {
            self.end_socket(to, None, None);
        } else {
            self.unpipe_socket(from, to);
        }
    }

    /// A socket is closing, and a source no more.
    pub(super) fn take_pipes(&mut self, from: Socket) {
        let pipes = self.more_of(from).map(|more| mem::take(&mut more.pipes)).unwrap_or_default();
        for pipe in &pipes {
            self.forget_source(pipe.to, from);
        }
        // Who wants the data itself hears it in a next life, too.
        if !pipes.is_empty() && self.net.socket(from).is_some_and(|state| !state.is(LISTENS)) {
            self.pause_socket(from);
        }
    }

    /// Nobody pipes into a socket any more, for it has finished, or failed.
    pub(super) fn unpipe_sources(&mut self, to: Socket) {
        let sources = self.sources_of(to);
        self.unpipe_each(sources, to);
    }

    /// For [`unpipe_each`](Self::unpipe_each), after a handler has been called that may lay new pipes.
    pub(super) fn sources_of(&mut self, to: Socket) -> Vec<Socket> {
        self.more_of(to).map(|more| mem::take(&mut more.piped_from)).unwrap_or_default()
    }

    pub(super) fn unpipe_each(&mut self, sources: Vec<Socket>, to: Socket) {
        for source in sources {
            self.unpipe_socket(source, to);
        }
    }

    /// One pipe from `source` is gone.
    fn forget_source(&mut self, to: Socket, source: Socket) {
        let Some(more) = self.more_of(to) else { return };
        if let Some(place) = more.piped_from.iter().position(|&other| other == source) {
            more.piped_from.remove(place);
        }
        if let Some(state) = self.net.socket_mut(to) {
            state.free_more_if_empty();
        }
    }

    fn more_of(&mut self, socket: Socket) -> Option<&mut More> {
        self.net.socket_mut(socket)?.more.as_deref_mut()
    }
}

impl More {
    /// Whether a destination of this source has yet to drain.
    fn awaits_drain(&self) -> bool {
        self.pipes.iter().any(|pipe| pipe.is_awaited)
    }
}
