//! Pipes: what one socket reads, another writes, at the pace of the slower.
//!
//! ```text
//!   source ── data ──▶ destination.write ── false ──▶ source pauses
//!                      destination drains ──────────▶ source resumes
//!   source ends ─────▶ destination.end()
//!   destination closes ─▶ the pipe is gone
//! ```
//!
//! The handlers of both go on hearing their events.

use std::mem;

use super::Socket;
use super::state::Pipe;
use super::state::flag::*;
use crate::event_loop::Loop;

impl Loop {
    pub(crate) fn pipe_socket(&mut self, from: Socket, to: Socket, ends: bool) {
        if self.net.socket(to).is_none() {
            return;
        }
        let Some(state) = self.net.socket_mut(from) else { return };
        state.set(DETOUR);
        state.more().pipes.push(Pipe { to, ends });
        let has_ended = state.is(END_EMITTED);
        let is_paused = state.is(PAUSED);
        if let Some(state) = self.net.socket_mut(to) {
            state.more().piped_from.push(from);
        }
        if has_ended && ends {
            self.end_pipes(from);
        } else if !is_paused {
            self.resume_socket(from);
        }
    }

    pub(crate) fn unpipe_socket(&mut self, from: Socket, to: Option<Socket>) {
        let Some(state) = self.net.socket_mut(from) else { return };
        let Some(more) = &mut state.more else { return };
        let goes = |pipe: &Pipe| to.is_none_or(|to| to == pipe.to);
        let gone: Vec<Pipe> = more.pipes.extract_if(.., |pipe| goes(pipe)).collect();
        let is_last = more.pipes.is_empty();
        if is_last && !gone.is_empty() {
            self.pause_socket(from);
        }
        for pipe in gone {
            if let Some(more) = self.net.socket_mut(pipe.to).and_then(|state| state.more.as_mut()) {
                more.piped_from.retain(|&source| source != from);
                more.waiting_sources.retain(|&source| source != from);
            }
        }
    }

    /// Writes a chunk to every destination. The slowest rules: one `false` and the source pauses.
    pub(crate) fn feed_pipes(&mut self, from: Socket, chunk: &[u8]) {
        let mut place = 0;
        while let Some(pipe) = self.pipe_at(from, place) {
            place += 1;
            if self.write_socket(pipe.to, chunk, None) {
                continue;
            }
            let Some(destination) = self.net.socket_mut(pipe.to) else { continue };
            if destination.is_writable() {
                let waiting = &mut destination.more().waiting_sources;
                if !waiting.contains(&from) {
                    waiting.push(from);
                }
                self.pause_socket(from);
            }
        }
    }

    /// By place, for writing may add or remove pipes.
    fn pipe_at(&self, from: Socket, place: usize) -> Option<Pipe> {
        self.net.socket(from)?.more.as_ref()?.pipes.get(place).copied()
    }

    /// A destination has drained: those who waited for it go on.
    pub(crate) fn drained(&mut self, to: Socket) {
        let Some(more) = self.net.socket_mut(to).and_then(|state| state.more.as_mut()) else { return };
        for source in mem::take(&mut more.waiting_sources) {
            self.resume_socket(source);
        }
    }

    /// The source has ended: its destinations do too, unless they are to stay.
    pub(crate) fn end_pipes(&mut self, from: Socket) {
        let Some(more) = self.net.socket_mut(from).and_then(|state| state.more.as_mut()) else { return };
        for pipe in mem::take(&mut more.pipes) {
            if let Some(more) = self.net.socket_mut(pipe.to).and_then(|state| state.more.as_mut()) {
                more.piped_from.retain(|&source| source != from);
            }
            if pipe.ends {
                self.end_socket(pipe.to, None, None);
            }
        }
    }

    /// A socket is closing: nobody pipes into it or waits for it any more.
    pub(crate) fn detach_pipes(&mut self, socket: Socket) {
        let Some(more) = self.net.socket_mut(socket).and_then(|state| state.more.as_mut()) else { return };
        let sources = mem::take(&mut more.piped_from);
        more.waiting_sources.clear();
        for source in sources {
            self.unpipe_socket(source, Some(socket));
        }
        self.unpipe_socket(socket, None);
    }
}
