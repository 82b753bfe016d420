//! The events of a socket, forwarded to the WebSocket handler. Every method of [`net::Handler`] is here, so that no
//! event is lost in this layer; a test compares this file with the trait.
//!
//! | event of `net` | event of [`websocket::Handler`](Handler) |
//! |---|---|
//! | `on_upgrade` of a server's socket | `on_open` |
//! | `on_connect` of a client's | none: the handshake is sent |
//! | `on_read`, `on_data`, `on_text` | `on_message`, `on_ping`, `on_pong`; of a client before it is open: `on_upgrade`, `on_open`, `on_unexpected_response` |
//! | `on_end` | none: the connection is closed |
//! | `on_close` | `on_close`, with a code and a reason |
//! | `on_connection`, `on_ready`, `on_finish`, `on_timeout` | none |
//! | events of a server | none: they go to the handler of the server, which upgrades its sockets |
//! | all others | the event of the same name |

use std::net::IpAddr;

use super::close::CloseCode;
use super::closing::{self, Closing};
use super::{Connections, Handler, WebSocket, dial, is_by_this_side, session, tag};
use crate::net::{self, Dropped, Error, ServerId, Socket};
use crate::{Kind, Loop};

impl<H: Handler> net::Handler for Connections<H> {
    fn on_connection(&mut self, _: &mut Loop, _: Socket) {}

    fn on_lookup(&mut self, lp: &mut Loop, socket: Socket, result: Result<IpAddr, &Error>) {
        self.handler.on_lookup(lp, WebSocket(socket), result);
    }

    fn on_connect(&mut self, lp: &mut Loop, socket: Socket) {
        dial::connected(lp, socket);
    }

    fn on_ready(&mut self, _: &mut Loop, _: Socket) {}

    fn on_upgrade(&mut self, lp: &mut Loop, socket: Socket) {
        self.opened(lp, socket);
    }

    #[inline]
    fn on_read(&mut self, lp: &mut Loop, socket: Socket, buf: &mut [u8]) {
        if socket.tag(lp) & tag::OPEN == 0 {
            return self.receive_answer(lp, socket, buf);
        }
        self.receive(lp, socket, buf);
    }

    /// The loop calls `on_read`. This is for a program that calls the handler itself.
    fn on_data(&mut self, lp: &mut Loop, socket: Socket, chunk: &[u8]) {
        self.on_read(lp, socket, &mut chunk.to_vec());
    }

    /// After [`Socket::set_encoding`], which has no use here: frames are not text.
    fn on_text(&mut self, lp: &mut Loop, socket: Socket, text: &str) {
        self.on_data(lp, socket, text.as_bytes());
    }

    fn on_drain(&mut self, lp: &mut Loop, socket: Socket) {
        let ws = WebSocket(socket);
        ws.end_throttle(lp);
        session::send_late_pong(lp, ws);
        if ws.is_open(lp) {
            self.handler.on_drain(lp, ws);
        }
    }

    fn on_end(&mut self, lp: &mut Loop, socket: Socket) {
        if socket.tag(lp) & tag::OPEN == 0 {
            return self.answer_ended(lp, socket);
        }
        closing::peer_ended(lp, socket);
    }

    fn on_finish(&mut self, _: &mut Loop, _: Socket) {}

    fn on_timeout(&mut self, _: &mut Loop, _: Socket) {}

    fn on_error(&mut self, lp: &mut Loop, socket: Socket, error: Error) {
        let ws = WebSocket(socket);
        if closing::is_after_close_frame(lp, socket) && !is_by_this_side(&error) {
            log::debug!(target: "bucle::websocket", "{ws} has failed after the close frame: {error}");
            return;
        }
        self.handler.on_error(lp, ws, error);
    }

    fn on_close(&mut self, lp: &mut Loop, socket: Socket, _had_error: bool) {
        let ws = WebSocket(socket);
        closing::stop_timer(lp, socket);
        dial::stop_timer(lp, socket);
        ws.leave_topics(lp);
        self.count_closed(lp, socket);
        let closing = socket.take_entry::<Closing>(lp).unwrap_or_default();
        let code = closing.code.unwrap_or(CloseCode::ABNORMAL);
        self.handler.on_close(lp, ws, code, &closing.reason);
    }

    fn on_going_away(&mut self, lp: &mut Loop, socket: Socket) {
        let ws = WebSocket(socket);
        if ws.is_open(lp) {
            self.handler.on_going_away(lp, ws);
        }
    }

    /// A connection is busy while it waits for the peer's close frame: a drain would end it before.
    fn is_busy(&self, lp: &Loop, socket: Socket) -> bool {
        let is_closing = socket.tag(lp) & (tag::CLOSE_SENT | tag::CLOSE_RECEIVED) == tag::CLOSE_SENT;
        is_closing || self.handler.is_busy(lp, WebSocket(socket))
    }

    fn on_listening(&mut self, _: &mut Loop, _: ServerId) {}

    fn on_drop(&mut self, _: &mut Loop, _: ServerId, _: Dropped) {}

    fn on_server_error(&mut self, _: &mut Loop, _: ServerId, _: Error) {}

    fn on_server_close(&mut self, _: &mut Loop, _: ServerId) {}
}

impl<H: Handler> Connections<H> {
    /// A connection is open.
    pub(super) fn opened(&mut self, lp: &mut Loop, socket: Socket) {
        let ws = WebSocket(socket);
        // The program may have closed it between the accept and now.
        if socket.tag(lp) & tag::OPEN == 0 {
            return;
        }
        self.count_opened(lp, socket);
        log::debug!(target: "bucle::websocket", "{ws} is open");
        lp.in_layer_callback(Kind::OnOpen, ws.serial(), 0, |lp| self.handler.on_open(lp, ws));
        if socket.is_upgrading(lp) {
            self.forget(lp, ws);
        } else if ws.is_open(lp) && socket.server(lp).is_some_and(|server| server.is_draining(lp)) {
            // The drain began before the handshake was accepted, and the HTTP handler got the event.
            self.handler.on_going_away(lp, ws);
        }
    }
}
