//! The events of a socket or a server, forwarded to the telnet handler. Every method of [`net::Handler`] is here, so
//! that no event is lost in this layer; a test compares this file with the trait.
//!
//! | event of `net` | event of [`telnet::Handler`](Handler) |
//! |---|---|
//! | `on_connection`, `on_connect`, `on_upgrade` | `on_open`: a client is connected, in whichever way |
//! | `on_read`, `on_data`, `on_text` | `on_line`, `on_long_line`, `on_command`, `on_option`, `on_subnegotiation`; `on_end` for Ctrl-D |
//! | `on_end` | `on_line` for a last line without a line break, then `on_end`; neither after this side's own end |
//! | all others | the event of the same name |

use std::net::IpAddr;

use super::session::Session;
use super::{Client, Handler, Telnet};
use crate::Kind;
use crate::Loop;
use crate::net::{self, Dropped, Error, ServerId, Socket};

impl<H: Handler> net::Handler for Telnet<H> {
    fn on_connection(&mut self, lp: &mut Loop, socket: Socket) {
        socket.ensure_urgent_in_line(lp);
        self.handler.on_open(lp, Client(socket));
    }

    fn on_lookup(&mut self, lp: &mut Loop, socket: Socket, result: Result<IpAddr, &Error>) {
        self.handler.on_lookup(lp, Client(socket), result);
    }

    fn on_connect(&mut self, lp: &mut Loop, socket: Socket) {
        socket.ensure_urgent_in_line(lp);
        self.handler.on_open(lp, Client(socket));
    }

    fn on_ready(&mut self, lp: &mut Loop, socket: Socket) {
        self.handler.on_ready(lp, Client(socket));
    }

    /// For a socket that is still connecting, `on_open` is called in `on_connect`.
    fn on_upgrade(&mut self, lp: &mut Loop, socket: Socket) {
        Session::adopt(lp, socket, &self.options);
        if socket.was_connected(lp) {
            socket.ensure_urgent_in_line(lp);
            self.handler.on_open(lp, Client(socket));
        }
    }

    fn on_read(&mut self, lp: &mut Loop, socket: Socket, buf: &mut [u8]) {
        self.receive(lp, socket, buf);
    }

    /// The loop calls `on_read`. This is for a program that calls a `Telnet` itself.
    fn on_data(&mut self, lp: &mut Loop, socket: Socket, chunk: &[u8]) {
        self.receive(lp, socket, chunk);
    }

    /// After [`Socket::set_encoding`]. Text has lost the bytes of telnet's commands, but its lines are delivered.
    fn on_text(&mut self, lp: &mut Loop, socket: Socket, text: &str) {
        self.receive(lp, socket, text.as_bytes());
    }

    fn on_drain(&mut self, lp: &mut Loop, socket: Socket) {
        let client = Client(socket);
        client.end_throttle(lp);
        self.handler.on_drain(lp, client);
    }

    /// The FIN. A last line without a line break is delivered first.
    fn on_end(&mut self, lp: &mut Loop, socket: Socket) {
        let client = Client(socket);
        if client.is_leaving(lp) {
            return;
        }
        if let Some(mut session) = Session::take(lp, socket)
            && let Some(line) = session.last_line()
        {
            lp.in_layer_callback(Kind::OnLine, socket.serial(), line.len(), |lp| {
                self.handler.on_line(lp, client, line);
            });
        }
        // `on_line` may have ended the connection. If it has upgraded the socket, the new handler gets an `on_end` of
        // its own.
        if !client.is_leaving(lp) && !socket.is_upgrading(lp) {
            self.handler.on_end(lp, client);
        }
    }

    fn on_finish(&mut self, lp: &mut Loop, socket: Socket) {
        self.handler.on_finish(lp, Client(socket));
    }

    fn on_timeout(&mut self, lp: &mut Loop, socket: Socket) {
        self.handler.on_timeout(lp, Client(socket));
    }

    fn on_error(&mut self, lp: &mut Loop, socket: Socket, error: Error) {
        self.handler.on_error(lp, Client(socket), error);
    }

    fn on_close(&mut self, lp: &mut Loop, socket: Socket, had_error: bool) {
        let client = Client(socket);
        client.forget(lp);
        self.handler.on_close(lp, client, had_error);
    }

    fn on_going_away(&mut self, lp: &mut Loop, socket: Socket) {
        self.handler.on_going_away(lp, Client(socket));
    }

    fn is_busy(&self, lp: &Loop, socket: Socket) -> bool {
        self.handler.is_busy(lp, Client(socket))
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
