//! Lesson 13: an orderly shutdown on Ctrl-C or `kill`, with a time limit.
//!
//! By default a signal ends the process immediately: queued bytes are lost, and a client sees half an answer.
//! `process::on_signal` makes the signal a callback. This callback does not stop the loop. It drains the server:
//! clients may finish their lines, and the loop ends when no connection is left.
//!
//! ```text
//!   signal ─┬▶ drain ─▶ on_going_away for every connection; the server stops listening
//!           │   ├─ end each connection that has been quiet for 10 ms, unless is_busy returns true
//!           │   ├─ after the grace period: end the others
//!           │   └─ after the limit: destroy the connections that are left ─▶ the loop ends
//!           └▶ exit_on: a second signal ends the process immediately
//! ```
//!
//! Run: `cargo run --example 13_shutdown_on_signals` (another port as an argument; 0 is any free one), and in another
//! terminal `telnet localhost 8080`; then press Ctrl-C in the first. Also try `yes | nc localhost 8080 | sleep 60`.
//!
//! Expect (the client on the left):
//!
//! ```text
//! hola                                listening on 127.0.0.1:8080
//! hola                                SIGINT: connections to close: 1; a second signal exits immediately
//! shutting down                       #2 closed
//! Connection closed by foreign host.  all connections are closed
//! ```
//!
//! Why: without `is_busy`, a client that has sent half a line would be disconnected before it can send the rest.
//! Without the limit, one client could prevent the shutdown: a client that reads nothing never sees our end, so it
//! never closes.
//!
//! (This lesson needs the feature `process`, which is on by default.)

use bucle::net::{self, Drain, Error, Handler, Socket};
use bucle::process::{self, Signal};
use bucle::{Loop, Result};
use std::{collections::HashSet, time::Duration};

/// How long a client may take to finish its line. The other times are the defaults: the limit is 4.5 s.
const GRACE: Duration = Duration::from_secs(2);

/// The echo of lesson 3. It remembers which clients are in the middle of a line.
#[derive(Default)]
struct Echo {
    unfinished: HashSet<Socket>,
}

impl Handler for Echo {
    fn on_data(&mut self, lp: &mut Loop, socket: Socket, chunk: &[u8]) {
        if chunk.ends_with(b"\n") {
            self.unfinished.remove(&socket);
        } else {
            self.unfinished.insert(socket);
        }
        if !socket.write(lp, chunk) {
            socket.pause(lp);
        }
    }

    fn on_drain(&mut self, lp: &mut Loop, socket: Socket) {
        socket.resume(lp); // The outbox is empty. This event is not about `Server::drain`.
    }

    fn on_going_away(&mut self, lp: &mut Loop, socket: Socket) {
        socket.write(lp, "shutting down\r\n");
    }

    fn is_busy(&self, _: &Loop, socket: Socket) -> bool {
        self.unfinished.contains(&socket)
    }

    fn on_error(&mut self, _: &mut Loop, socket: Socket, error: Error) {
        println!("{socket} failed: {error}");
    }

    fn on_close(&mut self, _: &mut Loop, socket: Socket, _had_error: bool) {
        self.unfinished.remove(&socket);
        println!("{socket} closed");
    }
}

fn main() -> Result<()> {
    let port = std::env::args().nth(1).map_or(Ok(8080), |text| text.parse::<u16>());
    let port = port.map_err(|_| Error::custom("E_USAGE", "usage: 13_shutdown_on_signals [PORT]"))?;
    bucle::run(|lp| {
        let server = net::listen(lp, ("127.0.0.1", port), Echo::default())?;
        // A signal callback does not keep the loop alive. Otherwise this program would never end.
        process::on_signal(lp, &[Signal::Interrupt, Signal::Terminate], move |lp, signal| {
            for again in [Signal::Interrupt, Signal::Terminate] {
                if let Err(error) = process::exit_on(again, 128 + again.number()) {
                    println!("cannot exit on {again}: {error}");
                }
            }
            println!("{signal}: connections to close: {}; a second signal exits immediately", server.connections(lp));
            server.drain(lp, Drain { grace: GRACE, ..Drain::default() });
        })?;
        server.address(lp).inspect(|address| println!("listening on {address}"));
        Ok(())
    })?;
    println!("all connections are closed");
    Ok(())
}
