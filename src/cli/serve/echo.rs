//! Sends every byte back (RFC 862): the smallest server that is correct.
//!
//! The difficult case is a peer that sends and does not read the answers. They would pile up in this process as fast as
//! the peer can send. So nothing more is read from that peer until its answers are sent.

use bucle::Loop;
use bucle::net::{Error, Handler, Socket};

use super::errors::log_error;

pub(crate) struct Echo;

impl Handler for Echo {
    fn on_data(&mut self, lp: &mut Loop, socket: Socket, chunk: &[u8]) {
        if !socket.write(lp, chunk) {
            socket.pause(lp);
        }
    }

    fn on_drain(&mut self, lp: &mut Loop, socket: Socket) {
        socket.resume(lp);
    }

    fn on_error(&mut self, _: &mut Loop, socket: Socket, error: Error) {
        log_error(socket, &error);
    }
}
