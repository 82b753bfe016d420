//! The events of a link's connections. Every method of [`net::Handler`] is here, so that no event is lost in this
//! layer; a test compares this file with the trait.
//!
//! | event of `net` | what follows |
//! |---|---|
//! | `on_connect` | the login, the subscriptions, and a ping |
//! | `on_read`, `on_data`, `on_text` | replies and messages |
//! | `on_end`, `on_error`, `on_close` | the connection is lost, and is made again |
//! | all others | nothing, or they do not come |

use std::net::IpAddr;

use super::{LinkConnection, connection};
use crate::Loop;
use crate::net::{self, Dropped, Error, ServerId, Socket};

impl net::Handler for LinkConnection {
    fn on_connection(&mut self, _: &mut Loop, _: Socket) {}

    fn on_lookup(&mut self, _: &mut Loop, _: Socket, _: Result<IpAddr, &Error>) {}

    fn on_connect(&mut self, lp: &mut Loop, socket: Socket) {
        connection::greet(lp, socket);
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
        connection::closed(lp, socket);
    }

    fn on_finish(&mut self, _: &mut Loop, _: Socket) {}

    fn on_timeout(&mut self, _: &mut Loop, _: Socket) {}

    fn on_error(&mut self, lp: &mut Loop, socket: Socket, error: Error) {
        connection::failed(lp, socket, error);
    }

    fn on_close(&mut self, lp: &mut Loop, socket: Socket, _had_error: bool) {
        connection::closed(lp, socket);
    }

    fn on_going_away(&mut self, _: &mut Loop, _: Socket) {}

    fn is_busy(&self, _: &Loop, _: Socket) -> bool {
        false
    }

    fn on_listening(&mut self, _: &mut Loop, _: ServerId) {}

    fn on_drop(&mut self, _: &mut Loop, _: ServerId, _: Dropped) {}

    fn on_server_error(&mut self, _: &mut Loop, _: ServerId, _: Error) {}

    fn on_server_close(&mut self, _: &mut Loop, _: ServerId) {}
}
