//! The chat's door for clients of Socket.IO: each event [`MESSAGE`] with a string is one line, in both directions.

use bucle::Loop;
use bucle::socket_io::{Server, Socket};
use bucle::telnet::lines::printable;

use super::Chat;
use super::members::{MESSAGE, Member};

/// How many bytes a line may need in a packet: JSON escapes a byte with up to six, and the frame is around it.
pub(crate) fn packet_limit(line_limit: usize) -> usize {
    line_limit.saturating_mul(6).saturating_add(64)
}

/// Lets the clients of `io` in.
pub(crate) fn open(lp: &mut Loop, io: Server, chat: Chat, line_limit: usize) {
    io.on_connection(lp, move |lp, socket| {
        chat.enter(lp, Member::SocketIo(socket));
    });
    io.on(lp, MESSAGE, move |lp, socket, event| {
        let arguments = event.arguments();
        match arguments.text(0).filter(|_| arguments.len() == 1) {
            Some(line) if line.len() > line_limit => refuse(lp, socket, "the line is too long"),
            // A line break inside becomes a visible sign: an event can never be two lines for telnet clients.
            Some(line) => chat.receive_line(lp, Member::SocketIo(socket), &printable(line.as_bytes())),
            None => refuse(lp, socket, "this chat takes events with one string"),
        }
        event.ack(lp, ());
    });
    io.on_disconnect(lp, move |lp, socket, _| {
        chat.leave(lp, Member::SocketIo(socket));
    });
}

/// Sends the reason, and disconnects: Socket.IO has no close reasons as WebSocket has.
fn refuse(lp: &mut Loop, socket: Socket, why: &str) {
    log::warn!(target: "bucle::serve", "{socket}: {why}, disconnecting");
    notify(lp, socket, why);
    socket.disconnect(lp, true);
}

/// Sends a line of the chat itself.
pub(crate) fn notify(lp: &mut Loop, socket: Socket, text: &str) {
    socket.emit(lp, MESSAGE, format!("-- {text}"));
}
