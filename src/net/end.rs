//! Ending: no further writes are accepted, and a FIN follows the last queued byte.
//!
//! ```text
//!   end ─▶ Ending ── no bytes wait ─▶ ShuttingDown ── pending phase ─┬─ sent: FIN ─▶ a tick: Finished, on_finish
//!             ▲                                                      │
//!             └────────────────── wait until they are sent ◀─────────┴─ the kernel refuses bytes
//! ```
//!
//! The names are those of [`Writing`]. As in Node, the FIN is never sent inside `end()` but in the pending phase: at
//! the start of a turn, or after the poll.

use std::mem;

use super::state::flag::*;
use super::state::{Link, Writing};
use super::write::refusal;
use super::{Error, NetTick, Pending, Socket, WriteCallback};
use crate::event_loop::{Kind, Loop};

impl Loop {
    /// `end`: writes `bytes` if there are some, then accepts no further writes. The FIN follows when all bytes are
    /// sent.
    pub(super) fn end_socket(&mut self, socket: Socket, bytes: Option<&[u8]>, callback: Option<WriteCallback>) {
        let Some(state) = self.net.socket_mut(socket) else {
            return self.call_back(socket, callback, Err(Error::Destroyed { action: "end" }));
        };
        // If the write of `bytes` is refused, the end fails with the same error.
        let mut failed = None;
        if let Some(bytes) = bytes {
            failed = refusal(state);
            match &failed {
                Some(error) => self.destroy_socket(socket, Some(error.clone())),
                None => drop(self.write_socket(socket, bytes, None)),
            }
        }
        // The end takes off every cork, as in Node.
        self.uncork_socket(socket, u16::MAX);
        // Looked up again: the write or the uncork may have failed the socket.
        let Some(state) = self.net.socket_mut(socket) else { return };
        match failed {
            Some(_) => {}
            None if !state.is(ERRORED | ENDED) => {
                state.set_writing(Writing::Ending);
                self.finish_if_done(socket);
            }
            // A second `end` is harmless, but its callback gets an error when there is no FIN left to wait for.
            None if state.writing() == Writing::Finished => failed = Some(Error::AlreadyFinished),
            None if state.is(DESTROYED) => failed = Some(Error::Destroyed { action: "end" }),
            None => {}
        }
        let Some(callback) = callback else { return };
        // Callbacks with a known result run in a tick, the others when the FIN is sent. A peer that reads nothing could
        // make a program queue callbacks without end, so they count against the limits.
        let Some(state) = self.net.socket_mut(socket) else { return };
        let errored = state.more.as_ref().and_then(|more| more.errored.clone());
        match failed.or(errored) {
            Some(error) => self.call_back(socket, Some(callback), Err(error)),
            None if state.writing() == Writing::Finished => self.call_back(socket, Some(callback), Ok(())),
            None => match self.overrun(socket, 0, 1) {
                Some(error) => self.refuse_overrun(socket, Some(callback), error),
                None => self.net.socket_mut(socket).map_or((), |state| state.more().end_callbacks.push(callback)),
            },
        }
    }

    /// Queues the shutdown for the pending phase if the socket is ending and no bytes wait. Gathered bytes do not
    /// count: the shutdown sends them. Called after every event that can make this true.
    pub(super) fn finish_if_done(&mut self, socket: Socket) {
        let Some((state, outboxes)) = self.net.socket_and_outboxes(socket) else { return };
        if state.writing() != Writing::Ending
            || state.is(DESTROYED | ERRORED | ERROR_EMITTED | BLOCKED)
            || outboxes.writable_length(state) > 0
            || state.has_early_write(outboxes)
        {
            return;
        }
        state.set_writing(Writing::ShuttingDown);
        // A socket that is still connecting queues its shutdown in `send_early_writes`.
        if state.link() == Link::Connected {
            let cause = self.note(Kind::End, socket.serial(), 0);
            self.net.pending.push_back((Pending::Shutdown(socket), cause));
        }
    }

    /// Pending phase: sends the gathered bytes, then the FIN.
    pub(super) fn shut_down(&mut self, socket: Socket) {
        self.flush_before_end(socket);
        // A failed send runs user code and destroys the socket.
        let Some(state) = self.net.socket_mut(socket) else { return };
        if state.is(DESTROYED) {
            return;
        }
        if state.is(BLOCKED) {
            // The kernel refused bytes. `finish_if_done` queues the shutdown again when the outbox is empty.
            state.set_writing(Writing::Ending);
            return;
        }
        self.send_fin(socket);
        self.tick(NetTick::Finish(socket));
    }

    /// Sends the FIN.
    pub(super) fn send_fin(&mut self, socket: Socket) {
        let Some(state) = self.net.socket(socket) else { return };
        // Fails if the peer is gone already. The reading side reports that, with a better error.
        let _ = state.stream.shutdown();
        self.note_fin(socket);
        self.note(Kind::Shutdown, socket.serial(), 0);
        log::debug!(target: "bucle::net", "{socket} has ended: FIN sent");
    }

    /// The tick after the shutdown: end callbacks, then `on_finish`. Both sides have ended if `on_end` was called
    /// before; then the socket destroys itself.
    pub(super) fn finished(&mut self, socket: Socket) {
        let Some(state) = self.net.socket_mut(socket) else { return };
        if state.is(DESTROYED | ERRORED) || state.writing() == Writing::Finished {
            return;
        }
        state.set_writing(Writing::Finished);
        let callbacks = state.more.as_mut().map(|more| mem::take(&mut more.end_callbacks)).unwrap_or_default();
        for callback in callbacks {
            self.run_write_callback(socket, callback, Ok(()));
        }
        // A pipe that `on_finish` lays to this socket stays until the close, as in Node.
        let sources = self.sources_of(socket);
        self.emit(socket, Kind::OnFinish, 0, |handler, lp| handler.on_finish(lp, socket));
        // As in Node's `pipe`, a destination that has finished is removed from its sources.
        self.unpipe_each(sources, socket);
        let Some(state) = self.net.socket_mut(socket) else { return };
        if state.is(DESTROY_ON_FINISH | END_EMITTED) {
            state.clear(DESTROY_ON_FINISH);
            self.destroy_socket(socket, None);
        }
    }
}
