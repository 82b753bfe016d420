//! Lesson 3: an echo server that minds the slow reader.
//!
//! `write` never blocks and never loses anything: what the kernel does not take waits in the process. Its answer is advice:
//! `false` means that enough is waiting. Whoever goes on writing all the same lets a peer that sends and never reads fill
//! the memory. So stop taking in what you cannot give out:
//!
//! ```text
//!   data ─▶ write ─ true ─▶ go on
//!                 └ false ─▶ pause ··· the peer reads ···▶ drain ─▶ resume
//! ```
//!
//! While we are paused the kernel's buffers fill up, and then the peer's `write` has to wait: the pressure has gone back
//! to the one who makes it. `socket.pipe(lp, socket)` in `on_connection` would do all of this in one line; a pipe is
//! just these two callbacks.
//!
//! Run: `cargo run --example 03_echo` (another port as an argument; 0 is any free one), then in another terminal
//! `telnet localhost 8080`. Also try `yes | nc localhost 8080 > /dev/null`, and `yes | nc localhost 8080 | sleep 60`.
//!
//! Expect:
//!
//! ```text
//! listening on 127.0.0.1:8080         $ telnet localhost 8080
//! #2 is here                          hola
//!                                     hola
//! #2 is gone                          ^]quit
//! ```

use bucle::net::{self, Error, Handler, Socket};
use bucle::{Loop, Result};

/// One handler answers for all connections. It has no state, and an idle connection costs nothing but its slot.
struct Echo;

impl Handler for Echo {
    fn on_connection(&mut self, _: &mut Loop, socket: Socket) {
        println!("{socket} is here");
    }

    fn on_data(&mut self, lp: &mut Loop, socket: Socket, chunk: &[u8]) {
        if !socket.write(lp, chunk) {
            socket.pause(lp);
        }
    }

    fn on_drain(&mut self, lp: &mut Loop, socket: Socket) {
        socket.resume(lp);
    }

    // There is no on_end: when the peer has ended, the socket sends what is left and ends too.

    /// A reset costs the one connection it comes from. Nothing to do: on_close follows.
    fn on_error(&mut self, _: &mut Loop, socket: Socket, error: Error) {
        println!("{socket} failed: {error}");
    }

    fn on_close(&mut self, _: &mut Loop, socket: Socket, _had_error: bool) {
        println!("{socket} is gone");
    }
}

fn main() -> Result<()> {
    let port = std::env::args().nth(1).map_or(Ok(8080), |text| text.parse::<u16>());
    let port = port.map_err(|_| Error::custom("E_USAGE", "usage: 03_echo [PORT]"))?;
    bucle::run(|lp| {
        let server = net::listen(lp, ("127.0.0.1", port), Echo)?;
        server.address(lp).inspect(|address| println!("listening on {address}"));
        Ok(())
    })
}
