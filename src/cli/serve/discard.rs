//! Reads and sends nothing (RFC 863).
//!
//! It has to read although it has no use for the bytes: unread bytes would fill the kernel's buffer, and the peer's
//! writes would block.

use bucle::Loop;
use bucle::net::{Error, Handler, Socket};

use super::errors::log_error;

pub(crate) struct Discard;

impl Handler for Discard {
    fn on_error(&mut self, _: &mut Loop, socket: Socket, error: Error) {
        log_error(socket, &error);
    }
}
