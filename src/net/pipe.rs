//! Pipes: what one socket reads, others write, at the pace of the slowest.
//!
//! ```text
//!   source ── data ──▶ destination.write ── false ──▶ source pauses and awaits this destination
//!                      destination drains ──────────▶ source resumes, unless it awaits another
//!   source ends ─────▶ destination.end()
//!   destination finishes or closes, unpipe ─▶ the pipe is gone, and awaited no more
//! ```
//!
//! Without a destination left the source pauses. The handlers of both go on hearing their events.

use std::mem;

use super::Socket;
use super::state::flag::*;
use super::state::{More, Pipe};
use crate::event_loop::Loop;

impl Loop {
    pub(crate) fn pipe_socket(&mut self, from: Socket, to: Socket, ends: bool) {
        let Some(destination) = self.net.socket(to) else { return };
        let is_awaited = destination.is(NEED_DRAIN) && destination.is_writable();
        let Some(state) = self.net.socket_mut(from) else { return };
        state.set(DETOUR);
        let has_ended = state.is(END_EMITTED);
        let more = state.more();
        more.pipes.push(Pipe { to, ends, is_awaited });
        let must_wait = more.awaits_drain();
        if let Some(destination) = self.net.socket_mut(to) {
            destination.more().piped_from.push(from);
        }
        if has_ended && ends {
            self.end_pipes(from);
        } else if must_wait {
            self.pause_socket(from);
        } else {
            self.resume_socket(from);
        }
    }

    /// Takes one pipe to `to` away. Whoever waited for that destination alone goes on, for it may never drain.
    pub(crate) fn unpipe_socket(&mut self, from: Socket, to: Socket) {
        let Some(more) = self.more_of(from) else { return };
        let Some(place) = more.pipes.iter().position(|pipe| pipe.to == to) else { return };
        let gone = more.pipes.remove(place);
        let goes_on = gone.is_awaited && !more.awaits_drain();
        if more.pipes.is_empty() {
            self.pause_socket(from);
        } else if goes_on {
            self.resume_socket(from);
        }
        self.forget_source(to, from);
    }

    /// Writes a chunk to every destination. The slowest rules: one `false` and the source pauses.
    pub(crate) fn feed_pipes(&mut self, from: Socket, chunk: &[u8]) {
        let mut place = 0;
        while let Some(pipe) = self.pipe_at(from, place) {
            let has_room = self.write_socket(pipe.to, chunk, None);
            // One that takes no more writes at all will not drain either.
            if !has_room && self.net.socket(pipe.to).is_some_and(|destination| destination.is_writable()) {
                if let Some(pipe) = self.more_of(from).and_then(|more| more.pipes.get_mut(place)) {
                    pipe.is_awaited = true;
                }
                self.pause_socket(from);
            }
            place += 1;
        }
    }

    /// By place, for the loop is needed for the write.
    fn pipe_at(&self, from: Socket, place: usize) -> Option<Pipe> {
        self.net.socket(from)?.more.as_ref()?.pipes.get(place).copied()
    }

    /// A destination has drained: those who waited for it alone go on.
    pub(crate) fn drained(&mut self, to: Socket) {
        let Some(more) = self.more_of(to).filter(|more| !more.piped_from.is_empty()) else { return };
        let sources = mem::take(&mut more.piped_from);
        for &source in &sources {
            let Some(more) = self.more_of(source) else { continue };
            let mut was_awaited = false;
            for pipe in more.pipes.iter_mut().filter(|pipe| pipe.to == to) {
                was_awaited |= mem::take(&mut pipe.is_awaited);
            }
            if was_awaited && !more.awaits_drain() {
                self.resume_socket(source);
            }
        }
        if let Some(more) = self.more_of(to) {
            more.piped_from = sources;
        }
    }

    /// The source has ended: its destinations do too, unless they are to stay.
    pub(crate) fn end_pipes(&mut self, from: Socket) {
        for pipe in self.take_pipes(from) {
            if pipe.ends {
                self.end_socket(pipe.to, None, None);
            }
        }
    }

    /// A socket is closing: it is at neither end of a pipe any more.
    pub(crate) fn detach_pipes(&mut self, socket: Socket) {
        self.unpipe_sources(socket);
        if !self.take_pipes(socket).is_empty() {
            self.pause_socket(socket);
        }
    }

    /// Nobody pipes into a socket any more, for it has finished or is closing.
    pub(crate) fn unpipe_sources(&mut self, to: Socket) {
        let sources = self.more_of(to).map(|more| mem::take(&mut more.piped_from)).unwrap_or_default();
        for source in sources {
            self.unpipe_socket(source, to);
        }
    }

    fn take_pipes(&mut self, from: Socket) -> Vec<Pipe> {
        let pipes = self.more_of(from).map(|more| mem::take(&mut more.pipes)).unwrap_or_default();
        for pipe in &pipes {
            self.forget_source(pipe.to, from);
        }
        pipes
    }

    /// One pipe from `source` is gone.
    fn forget_source(&mut self, to: Socket, source: Socket) {
        let Some(more) = self.more_of(to) else { return };
        if let Some(place) = more.piped_from.iter().position(|&other| other == source) {
            more.piped_from.remove(place);
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
