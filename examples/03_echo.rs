//! Lesson 3: an echo server that slows down for a slow reader.
//!
//! `write` never blocks and never loses bytes. Bytes that the kernel does not take are queued in the process. The
//! result of `write` is advice: `false` means that enough bytes are queued. A server that ignores it lets one peer,
//! which sends and never reads, fill the memory. So stop reading when you cannot write:
//!
//! ```text
//!   on_data ─▶ write ─ true ──▶ continue
//!                    └ false ─▶ pause ··· the peer reads ···▶ on_drain ─▶ resume
//! ```
//!
//! Run: `cargo run --example 03_echo` (another port as an argument; 0 is any free one), then in another terminal
//! `telnet localhost 8080`. Also try `yes | nc localhost 8080 > /dev/null`, and `yes | nc localhost 8080 | sleep 60`.
//!
//! Expect (the server on the left):
//!
//! ```text
//! listening on 127.0.0.1:8080         $ telnet localhost 8080
//! #2 connected                        hola
//!                                     hola
//! #2 closed                           ^]quit
//! ```
//!
//! With `sleep`, which reads nothing, the transfer stops after a few megabytes, and memory and CPU time stop growing.
//!
//! Why: while the server is paused, the kernel's buffers fill up. Then the peer's own writes block, so the fast sender
//! waits for the slow reader. `socket.pipe(lp, socket)` in `on_connection` does the same in one line.

use bucle::net::{self, Error, Handler, Socket};
use bucle::{Loop, Result};

/// One handler serves all connections. It has no state, so an idle connection costs only its slot in the loop.
struct Echo;

impl Handler for Echo {
    fn on_connection(&mut self, _: &mut Loop, socket: Socket) {
        println!("{socket} connected");
    }

    fn on_data(&mut self, lp: &mut Loop, socket: Socket, chunk: &[u8]) {
        if !socket.write(lp, chunk) {
            socket.pause(lp);
        }
    }

    fn on_drain(&mut self, lp: &mut Loop, socket: Socket) {
        socket.resume(lp);
    }

    // There is no on_end: when the peer ends, the socket sends its queued bytes and then ends too.

    /// A reset by the peer closes this one connection. There is nothing to clean up here: on_close follows.
    fn on_error(&mut self, _: &mut Loop, socket: Socket, error: Error) {
        println!("{socket} failed: {error}");
    }

    fn on_close(&mut self, _: &mut Loop, socket: Socket, _had_error: bool) {
        println!("{socket} closed");
    }
}

fn main() -> Result<()> {
    let port = std::env::args().nth(1).map_or(Ok(8080), |text| text.parse::<u16>());
    let port = port.map_err(|_| Error::custom("E_USAGE", "usage: 03_echo [PORT]"))?;
    bucle::run(|lp| {
        let server = net::listen(lp, ("127.0.0.1", port), Echo).map_err(|error| match error.code() {
            "EADDRINUSE" => Error::custom(
                "EADDRINUSE",
                format!("{error}; give another port, for example: cargo run --example 03_echo 9000"),
            ),
            _ => error,
        })?;
        server.address(lp).inspect(|address| println!("listening on {address}"));
        Ok(())
    })
}
