//! The members of the chat, and how a line reaches each of them.

use std::fmt;

use bucle::Loop;
use bucle::socket_io;
use bucle::telnet::{self, Client};
use bucle::websocket::{self, CloseCode, WebSocket};

use super::rooms::To;

/// The name of the event of Socket.IO that carries a line.
pub(crate) const MESSAGE: &str = "chat message";

/// A member, by the door through which it has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Member {
    Telnet(Client),
    Web(WebSocket),
    SocketIo(socket_io::Socket),
}

/// Sends one line: with a line break to telnet clients, as a text message to browsers, as an event to clients of
/// Socket.IO. Nothing is allocated per member.
pub(super) fn deliver(lp: &mut Loop, to: To<'_, Member>, line: String) {
    match to {
        To::One(Member::Telnet(client)) => {
            client.write_line(lp, line);
        }
        To::One(Member::Web(ws)) => {
            ws.send(lp, &line);
        }
        To::One(Member::SocketIo(socket)) => {
            socket.emit(lp, MESSAGE, &*line);
        }
        To::Room(members) => {
            let sockets = members.iter().filter_map(|member| match member {
                Member::Web(ws) => Some(*ws),
                Member::Telnet(_) | Member::SocketIo(_) => None,
            });
            websocket::broadcast(lp, sockets, &line);
            for member in members {
                if let Member::SocketIo(socket) = member {
                    socket.emit(lp, MESSAGE, &*line);
                }
            }
            let clients = members.iter().filter_map(|member| match member {
                Member::Telnet(client) => Some(client),
                Member::Web(_) | Member::SocketIo(_) => None,
            });
            telnet::broadcast(lp, clients, line + "\r\n");
        }
    }
}

/// Logs what a call has changed for a member: its nick and room `before` and `after`.
pub(super) fn log_change(member: Member, before: Option<String>, after: Option<String>) {
    if before == after {
        return;
    }
    match (before, after) {
        (None, Some(after)) => log::debug!(target: "bucle::chat", "{member} is {after}"),
        (Some(before), Some(after)) => log::debug!(target: "bucle::chat", "{member} was {before} and is {after}"),
        (Some(before), None) => log::debug!(target: "bucle::chat", "{member}, {before}, has left"),
        (None, None) => {}
    }
}

impl Member {
    /// Reads no more lines from the member until [`resume`](Self::resume). Returns `false` for a client of Socket.IO,
    /// whose events come anyway.
    pub(crate) fn pause(self, lp: &mut Loop) -> bool {
        match self {
            Member::Telnet(client) => client.pause(lp),
            Member::Web(ws) => ws.pause(lp),
            Member::SocketIo(_) => return false,
        }
        true
    }

    /// Reads lines from the member again.
    pub(crate) fn resume(self, lp: &mut Loop) {
        match self {
            Member::Telnet(client) => client.resume(lp),
            Member::Web(ws) => ws.resume(lp),
            Member::SocketIo(_) => {}
        }
    }

    /// Ends the connection of a member who has left the rooms.
    pub(crate) fn end(self, lp: &mut Loop) {
        match self {
            Member::Telnet(client) => {
                client.end(lp);
            }
            Member::Web(ws) => ws.close(lp, CloseCode::NORMAL, "good-bye"),
            Member::SocketIo(socket) => socket.disconnect(lp, true),
        }
    }
}

/// `#41` or `socket #41`, as in the log.
impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Member::Telnet(client) => client.fmt(f),
            Member::Web(ws) => ws.fmt(f),
            Member::SocketIo(socket) => socket.fmt(f),
        }
    }
}
