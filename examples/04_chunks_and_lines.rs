//! Lesson 4: a chunk is not a message, so each connection needs its own line buffer.
//!
//! TCP carries bytes, not messages. One `write` of the peer may arrive as three chunks, and three writes as one chunk.
//! The cuts depend on the network and change from run to run, so a program that takes each chunk for a message works
//! only on its author's machine. A server of lines has to keep the unfinished line until its end arrives. Here each
//! connection has a handler of its own, and the unfinished line is stored in it.
//!
//! Run: `cargo run --example 04_chunks_and_lines` (another port as an argument; 0 is any free one), then in another
//! terminal: `(printf he; sleep 1; printf 'llo\r\nwo'; sleep 1; printf 'rld\none\ntwo\nbye') | nc -N localhost 8080`
//!
//! Expect (the client on the left receives lines, the server on the right received chunks):
//!
//! ```text
//! line 1: hello                       listening on 127.0.0.1:8080
//! line 2: world                       #2 chunk: "he"
//! line 3: one                         #2 chunk: "llo\r\nwo"
//! line 4: two                         #2 chunk: "rld\none\ntwo\nbye"
//! line 5: bye                         #2 end
//! ```
//!
//! Why: three chunks became five lines. A line may end with `\r\n` (telnet) or `\n` (nc), and the last one may have no
//! line break at all. The buffer has a limit of 64 KiB, so a peer that never sends a line break cannot fill the memory.

use bucle::net::{self, Error, Handler, Socket, on};
use bucle::telnet::lines::{Lines, printable};
use bucle::{Loop, Result};

/// The state of one connection: its unfinished line, of limited length, and how many lines it has sent.
#[derive(Default)]
struct Session {
    lines: Lines,
    count: usize,
}

impl Handler for Session {
    fn on_data(&mut self, lp: &mut Loop, socket: Socket, chunk: &[u8]) {
        if socket.write_refusal(lp).is_some() {
            return; // This side has ended, see below. Later chunks are ignored.
        }
        println!("{socket} chunk: {:?}", String::from_utf8_lossy(chunk));
        let mut may_continue = true;
        let fed = self.lines.feed(chunk, |line| may_continue = answer(lp, socket, &mut self.count, line));
        if let Err(too_long) = fed {
            socket.end_with(lp, format!("{too_long}: closing\r\n"));
        } else if !may_continue {
            socket.pause(lp); // As in lesson 3. At most the answers to one chunk are queued above the high-water mark.
        }
    }

    fn on_drain(&mut self, lp: &mut Loop, socket: Socket) {
        socket.resume(lp);
    }

    /// The last line may have no line break. It can still be answered: the socket ends its own side after this
    /// callback.
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

/// Sends a line back. `printable` replaces control bytes, because the line will be shown in a terminal.
fn answer(lp: &mut Loop, socket: Socket, count: &mut usize, line: &[u8]) -> bool {
    *count += 1;
    socket.write(lp, format!("line {count}: {}\r\n", printable(line)))
}

fn main() -> Result<()> {
    let port = std::env::args().nth(1).map_or(Ok(8080), |text| text.parse::<u16>());
    let port = port.map_err(|_| Error::custom("E_USAGE", "usage: 04_chunks_and_lines [PORT]"))?;
    bucle::run(|lp| {
        let handler = on().connection(|lp, socket| socket.set_handler(lp, Session::default()));
        let server = net::listen(lp, ("127.0.0.1", port), handler)?;
        server.address(lp).inspect(|address| println!("listening on {address}"));
        Ok(())
    })
}
