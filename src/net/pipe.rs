//! Pipes: the bytes that one socket reads are written to other sockets, at the pace of the slowest.
//!
//! ```text
//!   source ── data ──▶ destination.write ── false ──▶ the source pauses and awaits this destination's drain
//!                      destination drains ──────────▶ the source resumes, unless it awaits another one
//!   source ends ─────▶ destination.end()
//!   destination fails, finishes or closes, unpipe ─▶ the pipe is removed, its drain is no longer awaited
//! ```
//!
//! The handlers of both sockets get their events as without a pipe. The rules in detail, all of them Node's but the
//! last:
//!
//! * The list of pipes is copied before the handler gets a chunk or the end. So a pipe that is added inside `on_data`
//!   begins with the next chunk, and a pipe that is removed there still gets this one. A pipe that is added inside
//!   `on_end` or later ends its destination in a tick.
//! * When the last pipe is removed, the source pauses. It does not pause if it was awaiting the drain of that
//!   destination and the program takes its data itself: no drain would ever resume it. If only the pipe took the data
//!   ([`SocketOptions::flowing`](super::SocketOptions::flowing) is `false`), the source stays paused.
//! * When a destination that was awaited before drains, the source resumes, also if the program has paused it.
//! * A destination that has ended or closed refuses writes and never drains. If it is the only one, the source pauses
//!   and stays paused. Node stops the source in any case; here it goes on for its other destinations.
//!
//! Bound: a pipe has no buffer of its own. It stops when a destination has reached its high-water mark, so it exceeds
//! the mark by less than one chunk.

use std::mem;

use super::state::flag::*;
use super::state::{More, Pipe};
use super::{NetTick, Socket};
use crate::event_loop::Loop;

impl Loop {
    /// `pipe`. With `ends` the destination is ended when the source ends.
    pub(super) fn pipe_socket(&mut self, from: Socket, to: Socket, ends: bool) {
        let Some(destination) = self.net.socket(to) else { return };
        let is_awaited = destination.is(NEED_DRAIN) && destination.is_writable();
        let Some(state) = self.net.socket_mut(from) else { return };
        // Chunks take the slow path from now on: the fast one knows only the handler.
        state.set(SLOW_DELIVERY);
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
            self.start_flowing(from);
        }
    }

    /// Removes one pipe from `from` to `to`.
    pub(super) fn unpipe_socket(&mut self, from: Socket, to: Socket) {
        let Some(state) = self.net.socket_mut(from) else { return };
        let program_reads = state.is(PROGRAM_READS);
        let Some(more) = state.more.as_deref_mut() else { return };
        let Some(place) = more.pipes.iter().position(|pipe| pipe.to == to) else { return };
        let gone = more.pipes.remove(place);
        let is_last = more.pipes.is_empty();
        // The drain that the source awaited may never come. Another destination, or the program, still takes its data.
        let resumes = gone.is_awaited && !more.awaits_drain() && (program_reads || !is_last);
        if is_last {
            self.pause_socket(from);
        }
        if resumes {
            self.start_flowing(from);
        }
        self.forget_source(to, from);
    }

    /// A copy of a source's pipes, made before its handler is called for a chunk or the end.
    ///
    /// The list is the loop's and is used again after [`give_back`](Self::give_back), so that a chunk costs no
    /// allocation.
    pub(super) fn pipes_of(&mut self, from: Socket) -> Vec<Pipe> {
        let mut pipes = mem::take(&mut self.net.pipes_buf);
        if let Some(more) = self.more_of(from) {
            pipes.extend_from_slice(&more.pipes);
        }
        pipes
    }

    /// Returns the list that [`pipes_of`](Self::pipes_of) has lent.
    pub(super) fn give_back(&mut self, mut pipes: Vec<Pipe>) {
        pipes.clear();
        self.net.pipes_buf = pipes;
    }

    /// Writes a chunk to every destination in the list. If one write returns `false`, the source pauses.
    pub(super) fn feed_pipes(&mut self, from: Socket, pipes: Vec<Pipe>, chunk: &[u8]) {
        for pipe in &pipes {
            if !self.write_socket(pipe.to, chunk, None) {
                self.await_drain(from, pipe.to);
            }
        }
        self.give_back(pipes);
    }

    /// A destination has returned `false`: it is at its high-water mark, or accepts no writes at all. In the second
    /// case `NEED_DRAIN` may be left from earlier. That drain never comes, but the source resumes when the pipe is
    /// removed.
    fn await_drain(&mut self, from: Socket, to: Socket) {
        let owes_drain = self.net.socket(to).is_some_and(|destination| destination.is(NEED_DRAIN));
        let Some(more) = self.more_of(from) else { return };
        let is_only_one = more.pipes.len() == 1;
        // The handler may have removed this pipe; then the source need not wait for it.
        let Some(pipe) = more.pipes.iter_mut().find(|pipe| pipe.to == to) else { return };
        pipe.is_awaited = owes_drain;
        pipe.has_waited |= owes_drain;
        if owes_drain || is_only_one {
            self.pause_socket(from);
        }
    }

    /// A destination has drained: its sources resume, unless they await another destination.
    pub(super) fn resume_sources(&mut self, to: Socket) {
        let Some(more) = self.more_of(to).filter(|more| !more.piped_from.is_empty()) else { return };
        // Taken out while other sockets are changed, and put back below. No user code runs in between.
        let sources = mem::take(&mut more.piped_from);
        for &source in &sources {
            let Some(more) = self.more_of(source) else { continue };
            let mut has_waited = false;
            for pipe in more.pipes.iter_mut().filter(|pipe| pipe.to == to) {
                pipe.is_awaited = false;
                has_waited |= pipe.has_waited;
            }
            if has_waited && !more.awaits_drain() {
                self.start_flowing(source);
            }
        }
        if let Some(more) = self.more_of(to) {
            more.piped_from = sources;
        }
    }

    /// The source has ended: ends the destinations in the list, except those of `pipe_without_end`.
    pub(super) fn end_pipes(&mut self, from: Socket, pipes: Vec<Pipe>) {
        for pipe in &pipes {
            self.end_pipe(from, pipe.to, pipe.ends);
        }
        self.give_back(pipes);
    }

    /// Ends one destination, or removes the pipe to it. An ended destination stays piped until it has finished, as in
    /// Node.
    pub(super) fn end_pipe(&mut self, from: Socket, to: Socket, ends: bool) {
        if ends {
            self.end_socket(to, None, None);
        } else {
            self.unpipe_socket(from, to);
        }
    }

    /// A source is closing: removes all its pipes.
    pub(super) fn remove_pipes(&mut self, from: Socket) {
        let pipes = self.more_of(from).map(|more| mem::take(&mut more.pipes)).unwrap_or_default();
        for pipe in &pipes {
            self.forget_source(pipe.to, from);
        }
        // As after `unpipe`. If the program takes the data itself, a new connection of this socket flows from the
        // start.
        if !pipes.is_empty() && self.net.socket(from).is_some_and(|state| !state.is(PROGRAM_READS)) {
            self.pause_socket(from);
        }
    }

    /// A destination has finished or failed: removes all pipes to it.
    pub(super) fn unpipe_sources(&mut self, to: Socket) {
        let sources = self.sources_of(to);
        self.unpipe_each(sources, to);
    }

    /// Takes the list of sources out, for [`unpipe_each`](Self::unpipe_each). In between a handler may run, whose new
    /// pipes are not in the list.
    pub(super) fn sources_of(&mut self, to: Socket) -> Vec<Socket> {
        self.more_of(to).map(|more| mem::take(&mut more.piped_from)).unwrap_or_default()
    }

    /// Removes a pipe to `to` from each source in the list.
    pub(super) fn unpipe_each(&mut self, sources: Vec<Socket>, to: Socket) {
        for source in sources {
            self.unpipe_socket(source, to);
        }
    }

    /// Removes one entry of `source` from the list of those that pipe into `to`.
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
