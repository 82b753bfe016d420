//! Sends everything back: every byte over TCP (RFC 862), the smallest server that is correct; and every message over
//! WebSocket.
//!
//! The difficult case is a peer that sends and does not read the answers. They would pile up in this process as fast as
//! the peer can send. So nothing more is read from that peer until its answers are sent. The WebSocket layer does this
//! itself.

use bucle::Loop;
use bucle::http::{self, Exchange, Request, StatusCode};
use bucle::net::{Error, Handler, Socket};
use bucle::websocket::{self, Endpoint, Message, WebSocket};

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

/// The echo of WebSocket messages: text as text, binary as binary.
pub(crate) struct MessageEcho;

impl websocket::Handler for MessageEcho {
    fn on_message(&mut self, lp: &mut Loop, ws: WebSocket, message: Message<'_>) {
        ws.send(lp, message);
    }

    fn on_error(&mut self, _: &mut Loop, ws: WebSocket, error: Error) {
        log_error(ws.socket(), &error);
    }
}

/// The HTTP server of `serve echo --http`: any path becomes a WebSocket.
pub(crate) struct EchoSite {
    pub(crate) endpoint: Endpoint<MessageEcho>,
}

impl http::Handler for EchoSite {
    fn on_request(&mut self, lp: &mut Loop, exchange: Exchange, request: &Request) {
        // No upgrade was asked for: this answers 426.
        self.endpoint.handshake(lp, exchange, request);
    }

    /// No request with a body is of use here, so the body is not received.
    fn on_head(&mut self, lp: &mut Loop, exchange: Exchange, _: &Request) {
        exchange.respond_text(lp, StatusCode::BAD_REQUEST, "a handshake has no body\n");
    }

    fn on_upgrade(&mut self, lp: &mut Loop, exchange: Exchange, request: &Request) {
        if let Some(handshake) = self.endpoint.handshake(lp, exchange, request) {
            handshake.accept(lp);
        }
    }

    fn on_error(&mut self, _: &mut Loop, socket: Socket, error: Error) {
        log_error(socket, &error);
    }
}
