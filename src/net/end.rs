//! Ending: no further writes, and a FIN when everything is out.
//!
//! ```text
//!   end ─▶ ENDING ── nothing waits ──▶ SHUTTING ── pending phase: send what is gathered, FIN ──▶ a tick: FINISHED, on_finish
//!            └ what waits goes out first: send_queued asks again            └ refused: back to waiting
//! ```

use std::mem;

use super::state::flag::*;
use super::state::{Link, Writing};
use super::write::refusal;
use super::{Error, NetTick, Pending, Socket, WriteCallback};
use crate::event_loop::{Kind, Loop};

impl Loop {
    /// `end`: no further writes; the FIN follows when everything is out.
    pub(super) fn end_socket(&mut self, socket: Socket, bytes: Option<&[u8]>, callback: Option<WriteCallback>) {
        let Some(state) = self.net.socket_mut(socket) else {
            return self.call_back(socket, callback, Err(Error::Destroyed { action: "end" }));
        };
        let mut failed = None;
        if let Some(bytes) = bytes {
            failed = refusal(state);
            match &failed {
                Some(error) => self.destroy_socket(socket, Some(error.clone())),
                None => drop(self.write_socket(socket, bytes, None)),
            }
        }
        self.uncork_socket(socket, u16::MAX);
        let Some(state) = self.net.socket_mut(socket) else { return };
        match failed {
            Some(_) => {}
            None if !state.is(ERRORED | ENDED) => {
                state.set_writing(Writing::Ending);
                self.finish_if_done(socket);
            }
            None if state.writing() == Writing::Finished => failed = Some(Error::AlreadyFinished),
            None if state.is(DESTROYED) => failed = Some(Error::Destroyed { action: "end" }),
            None => {}
        }
        let Some(callback) = callback else { return };
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

    /// Asks for the shutdown once nothing waits any more. Gathered bytes are no hindrance: the shutdown sends them.
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
        if state.link() == Link::Connected {
            let cause = self.note(Kind::End, socket.serial(), 0);
            self.net.pending.push_back((Pending::Shutdown(socket), cause));
        }
    }

    /// Pending phase: what was gathered, then the FIN.
    pub(super) fn shut_down(&mut self, socket: Socket) {
        self.flush_before_end(socket);
        let Some(state) = self.net.socket_mut(socket) else { return };
        if state.is(DESTROYED) {
            return;
        }
        if state.is(BLOCKED) {
            // The kernel refused: the shutdown is asked for again when the outbox is empty.
            state.set_writing(Writing::Ending);
            return;
        }
        // A peer that is gone already makes this fail; the reading side says so, with the better error.
        let _ = state.stream.shutdown();
        self.note(Kind::Shutdown, socket.serial(), 0);
        log::debug!(target: "bucle::net", "{socket} has ended: FIN sent");
        self.tick(NetTick::Finish(socket));
    }

    /// The tick after the shutdown.
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
        self.emit(socket, Kind::OnFinish, 0, |handler, lp| handler.on_finish(lp, socket));
        self.unpipe_sources(socket);
        let Some(state) = self.net.socket_mut(socket) else { return };
        if state.is(DESTROY_ON_FINISH | END_EMITTED) {
            self.destroy_socket(socket, None);
        }
    }
}
