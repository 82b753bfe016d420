//! The pending phase: shutdowns and failed connects.
//!
//! libuv does not carry them out inside the call but queues them. Its pending queue runs at the start of each turn and
//! after the poll, so a FIN that a callback of the poll phase asks for leaves before the immediates run.

use super::{Error, Socket};
use crate::event_loop::{Loop, Phase};

/// One entry of the pending queue.
pub(super) enum Pending {
    /// Sends gathered bytes, then the FIN.
    Shutdown(Socket),
    /// Sends the FIN of a socket that was ended before it was connected. Its writing side is open as far as the program
    /// knows.
    EarlyFin(Socket),
    /// Reports a connect to a path that failed immediately.
    ConnectFailed(Socket, Box<Error>),
}

impl Pending {
    pub(super) fn socket(&self) -> Socket {
        match self {
            Pending::Shutdown(socket) | Pending::EarlyFin(socket) | Pending::ConnectFailed(socket, _) => *socket,
        }
    }
}

impl Loop {
    /// Runs the entries that are in the queue now, in order. A boundary follows each one. Entries that they add wait
    /// for the next round.
    pub(crate) fn run_pending(&mut self) {
        if self.net.pending.is_empty() {
            return;
        }
        log::trace!(target: "bucle::loop", "pending: {} shutdowns and failed connects", self.net.pending.len());
        let phase = self.begin_phase(Phase::Pending);
        for _ in 0..self.net.pending.len() {
            let Some((pending, cause)) = self.net.pending.pop_front() else { break };
            let outer = self.act_for(cause);
            match pending {
                Pending::Shutdown(socket) => self.shut_down(socket),
                Pending::EarlyFin(socket) => self.send_fin(socket),
                Pending::ConnectFailed(socket, error) => self.attempt_failed(socket, *error),
            }
            self.boundary();
            self.act_for(outer);
        }
        self.end_phase(phase);
    }
}
