//! Every byte back (RFC 862): the smallest server that is right.
//!
//! What makes it right is what it does about a peer that sends and does not read its answers: it reads no more from that
//! one until they are out. Without that the answers would pile up here, as fast as the peer can send.

use bucle::Loop;
use bucle::net::{Handler, Socket};

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
}
