//! Lesson 7: a chat. State that all connections share, and one slow member who must not spoil it for the others.
//!
//! The state is a struct, the struct is the handler, and the loop lends it to one callback at a time: no lock, no `RefCell`.
//!
//! * Who has ended is written to no more: a refused write would cut off what is still on its way to them.
//! * Who does not read piles up memory on our side, up to a limit; then they have to go (lesson 6).
//! * Who talks and does not read even their own lines is not listened to until they have caught up.
//! * Lines are made printable before others see them: an escape sequence is a command to a terminal.
//!
//! Run: `cargo run --example 07_chat` (or with a port; 0 is any free one), and in two terminals `telnet localhost 8080`.
//!
//! Expect there:
//!
//! ```text
//! ¡Bienvenido! You are #2             ¡Bienvenido! You are #3
//! #3 is here                          #2: hola
//! hola
//! #2: hola
//! #3 has left                         ^]quit
//! ```

use bucle::net::{self, Error, Handler, Limits, ServerOptions, Socket};
use bucle::{Loop, Result, telnet::lines::Lines, telnet::lines::printable};
use std::{collections::BTreeMap, time::Duration};

/// Who is here, each with their unfinished line.
#[derive(Default)]
struct Chat(BTreeMap<Socket, Lines>);

impl Chat {
    fn tell_all(&self, lp: &mut Loop, text: &str) {
        for member in self.0.keys() {
            member.write(lp, text); // Too much for one of them? Then their on_close follows, and removes them.
        }
    }

    fn leave(&mut self, lp: &mut Loop, socket: Socket) {
        if self.0.remove(&socket).is_some() {
            self.tell_all(lp, &format!("{socket} has left\r\n"));
        }
    }
}

impl Handler for Chat {
    fn on_connection(&mut self, lp: &mut Loop, socket: Socket) {
        self.tell_all(lp, &format!("{socket} is here\r\n"));
        socket.write(lp, format!("¡Bienvenido! You are {socket}\r\n"));
        self.0.insert(socket, Lines::default());
    }

    fn on_data(&mut self, lp: &mut Loop, from: Socket, chunk: &[u8]) {
        let Some(lines) = self.0.get_mut(&from) else { return };
        let mut said = String::new();
        let fed = lines.feed(chunk, |line| said += &format!("{from}: {}\r\n", printable(line)));
        self.tell_all(lp, &said);
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
            self.on_data(lp, from, b"\n"); // The last line lacked its break.
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
