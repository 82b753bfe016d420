//! The events of a client's connection. Every method of [`net::Handler`] is here, so that no event is lost in this
//! layer; a test compares this file with the trait.
//!
//! | event of `net` | what follows |
//! |---|---|
//! | `on_connect` | the request is sent |
//! | `on_read`, `on_data`, `on_text` | the response is received |
//! | `on_end`, `on_error`, `on_close` | the response is complete, or the request has failed or is sent once more |
//! | `on_drain`, `on_finish`, `on_lookup`, `on_ready`, `on_timeout` | nothing: the request is written at once, and an idle connection has a timer of its own |
//! | events of a server, `on_upgrade` | they do not come |

use std::net::IpAddr;

use super::{ClientConnection, connection};
use crate::Loop;
use crate::net::{self, Dropped, Error, ServerId, Socket};

impl net::Handler for ClientConnection {
    fn on_connection(&mut self, _: &mut Loop, _: Socket) {}

    fn on_lookup(&mut self, _: &mut Loop, _: Socket, _: Result<IpAddr, &Error>) {}

    fn on_connect(&mut self, lp: &mut Loop, socket: Socket) {
        connection::send(lp, socket);
    }

    fn on_ready(&mut self, _: &mut Loop, _: Socket) {}

    fn on_upgrade(&mut self, _: &mut Loop, _: Socket) {}

    fn on_read(&mut self, lp: &mut Loop, socket: Socket, buf: &mut [u8]) {
        connection::receive(lp, socket, buf);
    }

    /// The loop calls `on_read`.
    fn on_data(&mut self, lp: &mut Loop, socket: Socket, chunk: &[u8]) {
        connection::receive(lp, socket, chunk);
    }

    fn on_text(&mut self, lp: &mut Loop, socket: Socket, text: &str) {
        connection::receive(lp, socket, text.as_bytes());
    }

    fn on_drain(&mut self, _: &mut Loop, _: Socket) {}

    fn on_end(&mut self, lp: &mut Loop, socket: Socket) {
        connection::ended(lp, socket);
    }

    fn on_finish(&mut self, _: &mut Loop, _: Socket) {}

    fn on_timeout(&mut self, _: &mut Loop, _: Socket) {}

    fn on_error(&mut self, lp: &mut Loop, socket: Socket, error: Error) {
        connection::lost(lp, socket, error);
    }

    fn on_close(&mut self, lp: &mut Loop, socket: Socket, _had_error: bool) {
        connection::closed(lp, socket);
    }

    fn on_going_away(&mut self, _: &mut Loop, _: Socket) {}

    fn is_busy(&self, lp: &Loop, socket: Socket) -> bool {
        connection::is_busy(lp, socket)
    }

    fn on_listening(&mut self, _: &mut Loop, _: ServerId) {}

    fn on_drop(&mut self, _: &mut Loop, _: ServerId, _: Dropped) {}

    fn on_server_error(&mut self, _: &mut Loop, _: ServerId, _: Error) {}

    fn on_server_close(&mut self, _: &mut Loop, _: ServerId) {}
}
