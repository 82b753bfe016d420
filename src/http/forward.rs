//! The events of a socket or a server, forwarded to the HTTP handler. Every method of [`net::Handler`] is here, so that
//! no event is lost in this layer; a test compares this file with the trait.
//!
//! | event of `net` | event of [`http::Handler`](Handler) |
//! |---|---|
//! | `on_connection`, `on_connect`, `on_upgrade` | none: the connection waits for its first request |
//! | `on_read`, `on_data`, `on_text` | `on_head`, `on_request`, `on_upgrade` |
//! | `on_drain`, `on_end`, `on_going_away` | the same, if a request is being answered |
//! | `on_close` | `on_abort`, if the body of a request is being received, or the request is being answered |
//! | `on_lookup`, `on_ready`, `on_finish`, `on_timeout` | none: they are of no use to a server of requests |
//! | all others | the event of the same name |

use std::net::IpAddr;

use super::connection::Connection;
use super::{Handler, Http};
use crate::Loop;
use crate::net::{self, Dropped, Error, ServerId, Socket};

impl<H: Handler> net::Handler for Http<H> {
    fn on_connection(&mut self, lp: &mut Loop, socket: Socket) {
        self.begin(lp, socket);
    }

    fn on_lookup(&mut self, _: &mut Loop, _: Socket, _: Result<IpAddr, &Error>) {}

    fn on_connect(&mut self, lp: &mut Loop, socket: Socket) {
        self.begin(lp, socket);
    }

    fn on_ready(&mut self, _: &mut Loop, _: Socket) {}

    fn on_upgrade(&mut self, lp: &mut Loop, socket: Socket) {
        self.begin_again(lp, socket);
    }

    fn on_read(&mut self, lp: &mut Loop, socket: Socket, buf: &mut [u8]) {
        self.receive(lp, socket, buf);
    }

    /// The loop calls `on_read`. This is for a program that calls an `Http` itself.
    fn on_data(&mut self, lp: &mut Loop, socket: Socket, chunk: &[u8]) {
        self.receive(lp, socket, chunk);
    }

    fn on_text(&mut self, lp: &mut Loop, socket: Socket, text: &str) {
        self.receive(lp, socket, text.as_bytes());
    }

    fn on_drain(&mut self, lp: &mut Loop, socket: Socket) {
        self.drained(lp, socket);
    }

    fn on_end(&mut self, lp: &mut Loop, socket: Socket) {
        self.end(lp, socket);
    }

    fn on_finish(&mut self, _: &mut Loop, _: Socket) {}

    fn on_timeout(&mut self, _: &mut Loop, _: Socket) {}

    fn on_error(&mut self, lp: &mut Loop, socket: Socket, error: Error) {
        self.handler.on_error(lp, socket, error);
    }

    fn on_close(&mut self, lp: &mut Loop, socket: Socket, _had_error: bool) {
        self.closed(lp, socket);
    }

    fn on_going_away(&mut self, lp: &mut Loop, socket: Socket) {
        self.going_away(lp, socket);
    }

    /// A connection is busy while a request is being received or answered.
    fn is_busy(&self, lp: &Loop, socket: Socket) -> bool {
        socket.entry::<Connection>(lp).is_some_and(|connection| !connection.is_idle() && !connection.is_closing())
    }

    fn on_listening(&mut self, lp: &mut Loop, server: ServerId) {
        self.handler.on_listening(lp, server);
    }

    fn on_drop(&mut self, lp: &mut Loop, server: ServerId, dropped: Dropped) {
        self.handler.on_drop(lp, server, dropped);
    }

    fn on_server_error(&mut self, lp: &mut Loop, server: ServerId, error: Error) {
        self.handler.on_server_error(lp, server, error);
    }

    fn on_server_close(&mut self, lp: &mut Loop, server: ServerId) {
        self.handler.on_server_close(lp, server);
    }
}
