//! The transport of messages: a WebSocket connection, or a session of Socket.IO that polls.

use bucle::Loop;
use bucle::engine_io::ClientSession;
use bucle::net::Error;
use bucle::websocket::{CloseCode, WebSocket};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::cli::connect) enum Link {
    WebSocket(WebSocket),
    Polling(ClientSession),
}

impl Link {
    pub(super) fn is_open(self, lp: &Loop) -> bool {
        match self {
            Link::WebSocket(ws) => ws.is_open(lp),
            Link::Polling(session) => session.is_open(lp),
        }
    }

    /// Sends a message; by polling it is a packet of Socket.IO.
    pub(super) fn send(self, lp: &mut Loop, message: &str) -> bool {
        match self {
            Link::WebSocket(ws) => ws.send(lp, message),
            // The session adds the digit of a message itself.
            Link::Polling(session) => session.send(lp, message.strip_prefix('4').unwrap_or(message)),
        }
    }

    /// Whether messages wait to be sent.
    pub(super) fn has_unsent(self, lp: &Loop) -> bool {
        match self {
            Link::WebSocket(ws) => ws.buffered_amount(lp) > 0,
            Link::Polling(session) => !session.is_writable(lp),
        }
    }

    pub(super) fn needs_drain(self, lp: &Loop) -> bool {
        match self {
            Link::WebSocket(ws) => ws.socket().needs_drain(lp),
            Link::Polling(session) => session.needs_drain(lp),
        }
    }

    pub(super) fn pause(self, lp: &mut Loop) {
        match self {
            Link::WebSocket(ws) => ws.pause(lp),
            Link::Polling(session) => session.pause(lp),
        }
    }

    pub(super) fn resume(self, lp: &mut Loop) {
        match self {
            Link::WebSocket(ws) => ws.resume(lp),
            Link::Polling(session) => session.resume(lp),
        }
    }

    /// Closes it after the sent messages. Code and reason are for a WebSocket connection.
    pub(super) fn close(self, lp: &mut Loop, code: CloseCode, reason: &str) {
        match self {
            Link::WebSocket(ws) => ws.close(lp, code, reason),
            Link::Polling(session) => session.close(lp),
        }
    }

    pub(super) fn terminate(self, lp: &mut Loop) {
        match self {
            Link::WebSocket(ws) => ws.terminate(lp),
            Link::Polling(session) => session.close(lp),
        }
    }
}

/// A failure of the WebSocket handshake, which is reported if polling fails, too: what has happened, and commands to
/// try.
pub(super) type Failure = (String, Vec<String>);

/// Whether polling may succeed after this error of a handshake: a server or a proxy has answered and not accepted it.
pub(super) fn is_of_handshake(error: &Error) -> bool {
    matches!(error, Error::Custom { .. }) || matches!(error.code(), "ECONNRESET" | "EPIPE")
}
