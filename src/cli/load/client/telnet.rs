//! `--telnet`: the refusals of a connection, from the decoder to the socket.

use bucle::Loop;
use bucle::net::Socket;

use super::conn::Wire;
use super::run::Run;
use crate::cli::load::telnet::{Decoded, Telnet};

impl Run {
    /// Removes telnet commands from the chunk and refuses every option that the server negotiates.
    pub(super) fn decode(
        &mut self,
        lp: &mut Loop,
        at: usize,
        socket: Socket,
        telnet: &mut Telnet,
        chunk: &[u8],
        now: u64,
    ) -> Vec<u8> {
        let Decoded { data, answers } = telnet.decode(chunk, socket.unsent_length(lp) > 0);
        self.write_refusals(lp, at, socket, &answers, now);
        data
    }

    /// The socket has sent everything: writes the refusals that had to wait.
    pub(super) fn send_kept_refusals(&mut self, lp: &mut Loop, at: usize, now: u64) {
        let conn = &mut self.conns[at];
        let (Wire::Telnet(telnet), Some(socket)) = (&mut conn.wire, conn.socket) else { return };
        let answers = telnet.take_kept();
        self.write_refusals(lp, at, socket, &answers, now);
    }

    fn write_refusals(&mut self, lp: &mut Loop, at: usize, socket: Socket, answers: &[u8], now: u64) {
        let conn = &mut self.conns[at];
        if answers.is_empty() || !conn.is_living() {
            return;
        }
        conn.written += answers.len() as u64;
        socket.write(lp, answers);
        self.update_taken(lp, at, now);
    }
}
