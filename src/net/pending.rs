//! The pending phase: shutdowns and failed connects, which libuv puts off to the next pass of its pending queue.

use super::{Error, Socket};
use crate::event_loop::{Loop, Phase};

/// What waits for the pending phase.
pub(super) enum Pending {
    /// Send what is left, then the FIN.
    Shutdown(Socket),
    /// A connect that failed at once.
    ConnectFailed(Socket, Box<Error>),
}

impl Pending {
    pub(super) fn socket(&self) -> Socket {
        match self {
            Pending::Shutdown(socket) | Pending::ConnectFailed(socket, _) => *socket,
        }
    }
}

impl Loop {
    /// Pending phase: shutdowns and failed connects, in the order they were asked for.
    pub(crate) fn run_pending(&mut self) {
        if self.net.pending.is_empty() {
            return;
        }
        let phase = self.begin_phase(Phase::Pending);
        for _ in 0..self.net.pending.len() {
            let Some((pending, cause)) = self.net.pending.pop_front() else { break };
            let outer = self.act_for(cause);
            match pending {
                Pending::Shutdown(socket) => self.shut_down(socket),
                Pending::ConnectFailed(socket, error) => self.attempt_failed(socket, *error),
            }
            self.boundary();
            self.act_for(outer);
        }
        self.end_phase(phase);
    }
}
