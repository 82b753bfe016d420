//! Lesson 7: a chat. All connections share one state, and a slow member does not harm the others.
//!
//! The state is a struct, and the struct is the server's handler. The loop lends it to one callback at a time, so it
//! needs no lock and no `RefCell`. Four rules keep the chat healthy:
//!
//! * A member that has ended is removed before the next message: a write after the end would destroy the socket and
//!   lose the bytes that are still queued for it.
//! * Messages for a member that does not read are queued up to a limit, then the member is disconnected (lesson 6).
//! * A member that sends, but does not even read its own messages, is paused until it has read them.
//! * Messages are made printable before they are sent: an escape sequence is a command to the reader's terminal.
//!
//! Run: `cargo run --example 07_chat` (or with a port; 0 is any free one), and in two terminals
//! `telnet localhost 8080`.
//!
//! Expect in the two terminals:
//!
//! ```text
//! ¡Bienvenido! You are #2             ¡Bienvenido! You are #3
//! #3 has joined                       #2: hola
//! hola
//! #2: hola
//! #3 has left                         ^]quit
//! ```
//!
//! Why: `on_connection`, `on_data` and `on_close` run one after the other, never at the same time. The list of members
//! is the same for the whole callback, so each message goes to all members in the same order.

use bucle::net::{self, Error, Handler, Limits, ServerOptions, Socket};
use bucle::{Loop, Result, telnet::lines::Lines, telnet::lines::printable};
use std::{collections::BTreeMap, time::Duration};

/// The members, each with its unfinished line.
#[derive(Default)]
struct Chat(BTreeMap<Socket, Lines>);

impl Chat {
    fn send_to_all(&self, lp: &mut Loop, text: &str) {
        for member in self.0.keys() {
            member.write(lp, text); // If this exceeds a limit, on_close follows and removes the member.
        }
    }

    fn leave(&mut self, lp: &mut Loop, socket: Socket) {
        if self.0.remove(&socket).is_some() {
            self.send_to_all(lp, &format!("{socket} has left\r\n"));
        }
    }
}

impl Handler for Chat {
    fn on_connection(&mut self, lp: &mut Loop, socket: Socket) {
        self.send_to_all(lp, &format!("{socket} has joined\r\n"));
        socket.write(lp, format!("¡Bienvenido! You are {socket}\r\n"));
        self.0.insert(socket, Lines::default());
    }

    fn on_data(&mut self, lp: &mut Loop, from: Socket, chunk: &[u8]) {
        let Some(lines) = self.0.get_mut(&from) else { return };
        let mut messages = String::new();
        let fed = lines.feed(chunk, |line| messages += &format!("{from}: {}\r\n", printable(line)));
        self.send_to_all(lp, &messages);
        if let Err(too_long) = fed {
            from.end_with(lp, format!("{too_long}\r\n"));
            self.leave(lp, from);
        } else if from.needs_drain(lp) {
            from.pause(lp);
        }
    }

    fn on_drain(&mut self, lp: &mut Loop, socket: Socket) {
        socket.resume(lp);
    }

    fn on_end(&mut self, lp: &mut Loop, from: Socket) {
        if self.0.get(&from).is_some_and(|lines| !lines.unfinished().is_empty()) {
            self.on_data(lp, from, b"\n"); // The last line had no line break.
        }
        self.leave(lp, from);
    }

    fn on_error(&mut self, _: &mut Loop, socket: Socket, error: Error) {
        println!("{socket} failed: {error}");
    }

    fn on_close(&mut self, lp: &mut Loop, socket: Socket, _had_error: bool) {
        self.leave(lp, socket);
    }
}

fn main() -> Result<()> {
    let port = std::env::args().nth(1).map_or(Ok(8080), |text| text.parse::<u16>());
    let port = port.map_err(|_| Error::custom("E_USAGE", "usage: 07_chat [PORT]"))?;
    bucle::run(|lp| {
        let limits = Limits { outbox_bytes: Some(1024 * 1024), write_timeout: Duration::from_secs(30), ..Limits::NONE };
        let options = ServerOptions { limits, ..ServerOptions::default() };
        let server = net::listen_with(lp, ("127.0.0.1", port), options, Chat::default())?;
        server.address(lp).inspect(|address| println!("listening on {address}"));
        Ok(())
    })
}
