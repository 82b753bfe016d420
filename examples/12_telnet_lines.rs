//! Lesson 12: a server for people at terminals. Lines, and what telnet says between them.
//!
//! Lessons 4, 6 and 7 by hand: put lines together, bound them, answer the last one without a break, stop listening to who
//! does not read, give up for whom more than a MiB waits. Besides, a telnet client sends commands among its text, which would
//! show up as rubbish. `telnet::listen` does all of that, and calls a handler of its own kind, with lines:
//!
//! ```text
//!   socket ─▶ Telnet: commands out, lines together ─▶ on_line(client, "hola")
//!   socket ◀─ 255 doubled ◀────────────────────────── client.write_line
//! ```
//!
//! A `Client` is a `Socket` that is written to as telnet wants it: as small, and as good as a key. `client.end` takes care
//! of the good-bye: the rest is sent, nothing more is heard, and who does not hang up within 5 seconds is disconnected.
//!
//! Run: `cargo run --example 12_telnet_lines` (another port as an argument; 0 is any free one), and in two terminals
//! `telnet localhost 8080`. Say something, `who`, `quit`; or press Ctrl-C.
//!
//! Expect there:
//!
//! ```text
//! ¡Bienvenido! You are #2             ¡Bienvenido! You are #3
//! #3 is here                          who
//! #3: hola                            here are #2, #3
//! quit                                hola
//! adiós                               #3: hola
//! Connection closed by foreign host.  #2 has left
//! ```

use bucle::telnet::{self, Client, Options, codec::command, lines::printable};
use bucle::{Error, Loop, Result};
use std::collections::BTreeSet;

/// Who is here. Sorted, who came first stands first.
#[derive(Default)]
struct Chat(BTreeSet<Client>);

impl Chat {
    fn leave(&mut self, lp: &mut Loop, client: Client) {
        if self.0.remove(&client) {
            telnet::broadcast(lp, &self.0, format!("{client} has left\r\n"));
        }
    }

    fn see_off(&mut self, lp: &mut Loop, client: Client) {
        client.write_line(lp, "adiós");
        client.end(lp);
        self.leave(lp, client);
    }
}

impl telnet::Handler for Chat {
    fn on_open(&mut self, lp: &mut Loop, client: Client) {
        telnet::broadcast(lp, &self.0, format!("{client} is here\r\n"));
        client.write_line(lp, format!("¡Bienvenido! You are {client}"));
        self.0.insert(client);
    }

    /// A whole line, without its break. Others see it with its control bytes made harmless.
    fn on_line(&mut self, lp: &mut Loop, client: Client, line: &[u8]) {
        match line {
            b"" => {}
            b"quit" => self.see_off(lp, client),
            b"who" => {
                let here: Vec<String> = self.0.iter().map(Client::to_string).collect();
                client.write_line(lp, format!("here are {}", here.join(", ")));
            }
            line => telnet::broadcast(lp, &self.0, format!("{client}: {}\r\n", printable(line))),
        }
    }

    /// "Interrupt process" is what a telnet makes of Ctrl-C.
    fn on_command(&mut self, lp: &mut Loop, client: Client, command: u8) {
        if command == command::IP {
            self.see_off(lp, client);
        }
    }

    /// Their FIN, or Ctrl-D. This side ends by itself after this.
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
