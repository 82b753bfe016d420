//! Lesson 12: a telnet server. It receives lines, and the telnet commands between them do no harm.
//!
//! `telnet::listen` does what lessons 4, 6 and 7 did by hand. It puts lines together and bounds their length, accepts a
//! last line without a line break, pauses a client that does not read, and disconnects a client for which more than
//! 1 MiB is queued. It also removes the commands that a telnet client sends in the middle of its text, and edits the
//! lines of clients that send each key: a Backspace removes a character. Its handler gets lines:
//!
//! ```text
//!   socket ─▶ Telnet: removes commands, joins lines ─▶ on_line(client, "hola")
//!   socket ◀─ Telnet: doubles the byte 255 ◀────────── client.write_line
//! ```
//!
//! A `Client` is a `Socket` with telnet's write methods. It is as small, and can be the key of a map. `client.end`
//! sends the queued bytes and then the end, and ignores further lines. A client that does not end within 5 seconds is
//! disconnected.
//!
//! Run: `cargo run --example 12_telnet_lines` (another port as an argument; 0 is any free one), and in two terminals
//! `telnet localhost 8080`. Type a line, `who`, `quit`; or press Ctrl-C.
//!
//! Expect in the two terminals:
//!
//! ```text
//! ¡Bienvenido! You are #2             ¡Bienvenido! You are #3
//! #3 has joined                       who
//! #3: hola                            connected: #2, #3
//! quit                                hola
//! adiós                               #3: hola
//! Connection closed by foreign host.  #2 has left
//! ```
//!
//! Why: without telnet's codec, Ctrl-C would appear as unreadable bytes in a line. Here it arrives as a command.

use bucle::telnet::{self, Client, Options, codec::command, lines::printable};
use bucle::{Error, Loop, Result};
use std::collections::BTreeSet;

/// The clients, sorted by age.
#[derive(Default)]
struct Chat(BTreeSet<Client>);

impl Chat {
    fn leave(&mut self, lp: &mut Loop, client: Client) {
        if self.0.remove(&client) {
            telnet::broadcast(lp, &self.0, format!("{client} has left\r\n"));
        }
    }

    fn quit(&mut self, lp: &mut Loop, client: Client) {
        client.write_line(lp, "adiós");
        client.end(lp);
        self.leave(lp, client);
    }
}

impl telnet::Handler for Chat {
    fn on_open(&mut self, lp: &mut Loop, client: Client) {
        telnet::broadcast(lp, &self.0, format!("{client} has joined\r\n"));
        client.write_line(lp, format!("¡Bienvenido! You are {client}"));
        self.0.insert(client);
    }

    /// A whole line, without its line break. `printable` replaces control bytes before other terminals show them.
    fn on_line(&mut self, lp: &mut Loop, client: Client, line: &[u8]) {
        match line {
            b"" => {}
            b"quit" => self.quit(lp, client),
            b"who" => {
                let clients: Vec<String> = self.0.iter().map(Client::to_string).collect();
                client.write_line(lp, format!("connected: {}", clients.join(", ")));
            }
            line => telnet::broadcast(lp, &self.0, format!("{client}: {}\r\n", printable(line))),
        }
    }

    /// At Ctrl-C a telnet client sends the command "interrupt process".
    fn on_command(&mut self, lp: &mut Loop, client: Client, command: u8) {
        if command == command::IP {
            self.quit(lp, client);
        }
    }

    /// The client has ended. After this callback the loop ends this side.
    fn on_end(&mut self, lp: &mut Loop, client: Client) {
        self.leave(lp, client);
    }

    fn on_error(&mut self, _: &mut Loop, client: Client, error: Error) {
        println!("{client} failed: {error}");
    }

    fn on_close(&mut self, lp: &mut Loop, client: Client, _had_error: bool) {
        self.leave(lp, client);
    }
}

fn main() -> Result<()> {
    let port = std::env::args().nth(1).map_or(Ok(8080), |text| text.parse::<u16>());
    let port = port.map_err(|_| Error::custom("E_USAGE", "usage: 12_telnet_lines [PORT]"))?;
    bucle::run(|lp| {
        let options = Options { max_line: 1000, ..Options::default() };
        let server = telnet::listen(lp, ("127.0.0.1", port), options, Chat::default())?;
        server.address(lp).inspect(|address| println!("listening on {address}"));
        Ok(())
    })
}
