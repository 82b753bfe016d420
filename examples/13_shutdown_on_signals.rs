//! Lesson 13: an orderly shutdown on Ctrl-C or `kill`, with a deadline.
//!
//! By default a signal ends the process immediately: queued bytes are lost, and a client sees half an answer.
//! `process::on_signal` makes the signal a callback. This callback does not stop the loop. It closes everything that
//! keeps the loop alive, and the loop ends when nothing is left:
//!
//! ```text
//!   signal ─▶ server.close: accept no more ─▶ end every connection ─▶ the last one closes ─▶ the loop ends
//!          ├▶ deadline: destroy the connections that are left
//!          └▶ exit_on: a second signal ends the process immediately
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
//! Why: without the deadline one client could prevent the shutdown: a client that reads nothing never receives our end,
//! so it never closes.
//!
//! (This lesson needs the feature `process`, which is on by default.)

use bucle::net::{self, Error, Handler, Server, Socket};
use bucle::process::{self, Signal};
use bucle::{Loop, Result};
use std::time::Duration;

/// How long the clients may take to close.
const DEADLINE: Duration = Duration::from_secs(2);

/// The echo of lesson 3. It stops answering when the shutdown has ended the connection.
struct Echo;

impl Handler for Echo {
    fn on_data(&mut self, lp: &mut Loop, socket: Socket, chunk: &[u8]) {
        if socket.write_refusal(lp).is_none() && !socket.write(lp, chunk) {
            socket.pause(lp);
        }
    }

    fn on_drain(&mut self, lp: &mut Loop, socket: Socket) {
        socket.resume(lp);
    }

    fn on_error(&mut self, _: &mut Loop, socket: Socket, error: Error) {
        println!("{socket} failed: {error}");
    }

    fn on_close(&mut self, _: &mut Loop, socket: Socket, _had_error: bool) {
        println!("{socket} closed");
    }
}

fn shut_down(lp: &mut Loop, server: Server<Echo>) {
    server.close(lp);
    for socket in server.sockets(lp) {
        if socket.write_refusal(lp).is_none() {
            socket.end_with(lp, "shutting down\r\n");
        }
        socket.resume(lp); // The client's FIN comes after all its data, so read the rest. The echo drops it.
    }
    let deadline = lp.set_timeout(DEADLINE, move |lp| {
        for socket in server.sockets(lp) {
            println!("{socket} did not close in time");
            socket.destroy(lp);
        }
    });
    lp.unref(deadline); // If all connections close earlier, the loop does not wait for the deadline.
}

fn main() -> Result<()> {
    let port = std::env::args().nth(1).map_or(Ok(8080), |text| text.parse::<u16>());
    let port = port.map_err(|_| Error::custom("E_USAGE", "usage: 13_shutdown_on_signals [PORT]"))?;
    bucle::run(|lp| {
        let server = net::listen(lp, ("127.0.0.1", port), Echo)?;
        // A signal callback does not keep the loop alive. Otherwise this program would never end.
        process::on_signal(lp, &[Signal::Interrupt, Signal::Terminate], move |lp, signal| {
            for again in [Signal::Interrupt, Signal::Terminate] {
                if let Err(error) = process::exit_on(again, 128 + again.number()) {
                    println!("cannot exit on {again}: {error}");
                }
            }
            println!("{signal}: connections to close: {}; a second signal exits immediately", server.connections(lp));
            shut_down(lp, server);
        })?;
        server.address(lp).inspect(|address| println!("listening on {address}"));
        Ok(())
    })?;
    println!("all connections are closed");
    Ok(())
}
