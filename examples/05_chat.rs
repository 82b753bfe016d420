//! Lesson 5: a chat. State that all connections share, and one slow member who must not spoil it for the others.
//!
//! The state is a struct, and that struct is the handler: the loop lends it to one callback at a time, so it needs no
//! lock and no `RefCell`. The room's rules are what makes it correct:
//!
//! * Who has ended is written to no more: a refused write would cut off what is still on its way to them.
//! * Who reads too slowly piles up memory on our side, up to a limit, and then has to go.
//! * Who talks without reading even their own lines is not listened to until they have caught up.
//! * A line is made printable before others see it: escape sequences are commands to their terminals.
//!
//! Run: `cargo run --example 05_chat` (another port as an argument; 0 is any free one), then in two other terminals
//! `telnet localhost 8080`.
//!
//! Expect:
//!
//! ```text
//! ¡Bienvenido! You are #2             ¡Bienvenido! You are #3
//! #3 is here
//! hola                                #2: hola
//! #2: hola
//! #3 has left                         ^]quit
//! ```

use bucle::net::{self, Error, HIGH_WATER_MARK, Handler, Socket};
use bucle::telnet::lines::{Lines, printable};
use bucle::{Loop, Result};
use std::collections::BTreeMap;

/// How many bytes may wait for one member, besides those in the kernel.
const TOO_SLOW: usize = 1024 * 1024;

#[derive(Default)]
struct Chat {
    members: BTreeMap<Socket, Lines>,
}

impl Chat {
    fn tell_all(&self, lp: &mut Loop, text: &str) {
        for member in self.members.keys() {
            if !member.write(lp, text) && member.writable_length(lp) > TOO_SLOW {
                member.destroy(lp); // Their on_close follows, and removes them.
            }
        }
    }

    fn leave(&mut self, lp: &mut Loop, socket: Socket) {
        if self.members.remove(&socket).is_some() {
            self.tell_all(lp, &format!("{socket} has left\r\n"));
        }
    }
}

impl Handler for Chat {
    fn on_connection(&mut self, lp: &mut Loop, socket: Socket) {
        self.tell_all(lp, &format!("{socket} is here\r\n"));
        socket.write(lp, format!("¡Bienvenido! You are {socket}\r\n"));
        self.members.insert(socket, Lines::default());
    }

    fn on_data(&mut self, lp: &mut Loop, from: Socket, chunk: &[u8]) {
        let Some(lines) = self.members.get_mut(&from) else { return };
        let mut said = String::new();
        let fed = lines.feed(chunk, |line| said += &format!("{from}: {}\r\n", printable(line)));
        self.tell_all(lp, &said);
        if let Err(too_long) = fed {
            from.end_with(lp, format!("{too_long}\r\n"));
            self.leave(lp, from);
        } else if from.writable_length(lp) >= HIGH_WATER_MARK {
            from.pause(lp);
        }
    }

    fn on_drain(&mut self, lp: &mut Loop, socket: Socket) {
        socket.resume(lp);
    }

    fn on_end(&mut self, lp: &mut Loop, socket: Socket) {
        self.leave(lp, socket);
    }

    fn on_error(&mut self, _: &mut Loop, socket: Socket, error: Error) {
        println!("{socket} failed: {error}");
    }

    fn on_close(&mut self, lp: &mut Loop, socket: Socket, _had_error: bool) {
        self.leave(lp, socket);
    }
}

fn main() -> Result<()> {
    let port = match std::env::args().nth(1) {
        Some(text) => text.parse::<u16>().map_err(|_| Error::custom("E_USAGE", format!("not a port: {text}")))?,
        None => 8080,
    };
    bucle::run(|lp| {
        let server = net::listen(lp, ("127.0.0.1", port), Chat::default())?;
        server.id().address(lp).inspect(|address| println!("listening on {address}"));
        Ok(())
    })
}
