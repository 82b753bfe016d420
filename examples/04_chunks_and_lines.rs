//! Lesson 4: messages are not packets.
//!
//! TCP carries bytes, not messages. What the peer sent with one `write` may come in three chunks, and three writes in
//! one chunk; where the cuts fall depends on the network and changes from run to run. A program that takes a chunk for a
//! message works on its author's machine. So each connection needs a memory for the line that is not finished yet, and
//! here it gets one by getting a handler of its own.
//!
//! Run: `cargo run --example 04_chunks_and_lines` (another port as an argument; 0 is any free one), then in another
//! terminal: `(printf he; sleep 1; printf 'llo\r\nwo'; sleep 1; printf 'rld\none\ntwo\nbye') | nc -N localhost 8080`
//!
//! Expect there the lines, as they were meant, and here how they came:
//!
//! ```text
//! line 1: hello                       listening on 127.0.0.1:8080
//! line 2: world                       #2 chunk: "he"
//! line 3: one                         #2 chunk: "llo\r\nwo"
//! line 4: two                         #2 chunk: "rld\none\ntwo\nbye"
//! line 5: bye                         #2 end
//! ```

use bucle::net::{self, Error, Handler, Socket, on};
use bucle::telnet::lines::{Lines, printable};
use bucle::{Loop, Result};

/// One connection's memory: the unfinished line (of bounded length), and how many there were.
#[derive(Default)]
struct Session {
    lines: Lines,
    count: usize,
}

impl Handler for Session {
    fn on_data(&mut self, lp: &mut Loop, socket: Socket, chunk: &[u8]) {
        if socket.write_refusal(lp).is_some() {
            return; // We have said good-bye below; what still comes is thrown away.
        }
        println!("{socket} chunk: {:?}", String::from_utf8_lossy(chunk));
        let mut is_room = true;
        let fed = self.lines.feed(chunk, |line| is_room = answer(lp, socket, &mut self.count, line));
        if let Err(too_long) = fed {
            socket.end_with(lp, format!("{too_long}: good-bye\r\n"));
        } else if !is_room {
            socket.pause(lp); // Lesson 3. What is owed stays bounded: the answers to one chunk.
        }
    }

    fn on_drain(&mut self, lp: &mut Loop, socket: Socket) {
        socket.resume(lp);
    }

    /// The last line may lack its break. It can still be answered: our own end comes only after this.
    fn on_end(&mut self, lp: &mut Loop, socket: Socket) {
        println!("{socket} end");
        if let Some(line) = self.lines.finish() {
            answer(lp, socket, &mut self.count, line);
        }
    }

    fn on_error(&mut self, _: &mut Loop, socket: Socket, error: Error) {
        println!("{socket} failed: {error}");
    }
}

/// A line is shown with its control bytes made harmless: it goes to a terminal.
fn answer(lp: &mut Loop, socket: Socket, count: &mut usize, line: &[u8]) -> bool {
    *count += 1;
    socket.write(lp, format!("line {count}: {}\r\n", printable(line)))
}

fn main() -> Result<()> {
    let port = std::env::args().nth(1).map_or(Ok(8080), |text| text.parse::<u16>());
    let port = port.map_err(|_| Error::custom("E_USAGE", "usage: 04_chunks_and_lines [PORT]"))?;
    bucle::run(|lp| {
        let server = on().connection(|lp, socket| socket.set_handler(lp, Session::default()));
        let server = net::listen(lp, ("127.0.0.1", port), server)?;
        server.address(lp).inspect(|address| println!("listening on {address}"));
        Ok(())
    })
}
