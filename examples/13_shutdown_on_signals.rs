//! Lesson 13: ending in order. Ctrl-C, `kill`, and guests who do not leave.
//!
//! A signal that nobody listens to ends the process where it stands: what waits for the guests is lost, and they see half
//! an answer. `process::on_signal` makes it a callback like any other. Nothing in it ends the program. It takes away what
//! keeps the loop going, and the loop ends when nothing is left:
//!
//! ```text
//!   signal ─▶ server.close: nobody comes in ─▶ a good-bye and a FIN to everybody ─▶ the last has left ─▶ the loop ends
//!          ├▶ a deadline: who has not left by then is left behind
//!          └▶ exit_on: the next signal ends the process at once
//! ```
//!
//! The deadline is what makes the end sure: a guest who reads nothing never gets to our good-bye, and never leaves.
//!
//! Run: `cargo run --example 13_shutdown_on_signals` (another port as an argument; 0 is any free one), and in another
//! terminal `telnet localhost 8080`; then press Ctrl-C in the first. Also try `yes | nc localhost 8080 | sleep 60`.
//! (It needs the feature `process`, which is on by default.)
//!
//! Expect, on the left what the guest sees:
//!
//! ```text
//! hola                                listening on 127.0.0.1:8080
//! hola                                SIGINT: 1 to see off; once more ends it at once
//! good-bye                            #2 has left
//! Connection closed by foreign host.  all have left
//! ```

use bucle::net::{self, Error, Handler, Server, Socket};
use bucle::process::{self, Signal};
use bucle::{Loop, Result};
use std::time::Duration;

/// How long the guests may take to leave.
const DEADLINE: Duration = Duration::from_secs(2);

/// Lesson 3, and it stops answering once it has said good-bye.
struct Echo;

impl Handler for Echo {
    fn on_data(&mut self, lp: &mut Loop, guest: Socket, chunk: &[u8]) {
        if guest.write_refusal(lp).is_none() && !guest.write(lp, chunk) {
            guest.pause(lp);
        }
    }

    fn on_drain(&mut self, lp: &mut Loop, guest: Socket) {
        guest.resume(lp);
    }

    fn on_error(&mut self, _: &mut Loop, guest: Socket, error: Error) {
        println!("{guest} failed: {error}");
    }

    fn on_close(&mut self, _: &mut Loop, guest: Socket, _had_error: bool) {
        println!("{guest} has left");
    }
}

fn shut_down(lp: &mut Loop, server: Server<Echo>) {
    server.close(lp);
    for guest in server.sockets(lp) {
        if guest.write_refusal(lp).is_none() {
            guest.end_with(lp, "good-bye\r\n");
        }
        guest.resume(lp); // Their FIN stands behind all that they have sent.
    }
    let deadline = lp.set_timeout(DEADLINE, move |lp| {
        for guest in server.sockets(lp) {
            println!("{guest} is left behind");
            guest.destroy(lp);
        }
    });
    lp.unref(deadline); // Who waits for nobody need not wait for the deadline.
}

fn main() -> Result<()> {
    let port = std::env::args().nth(1).map_or(Ok(8080), |text| text.parse::<u16>());
    let port = port.map_err(|_| Error::custom("E_USAGE", "usage: 13_shutdown_on_signals [PORT]"))?;
    bucle::run(|lp| {
        let server = net::listen(lp, ("127.0.0.1", port), Echo)?;
        // A listener keeps nothing alive, or no program that listens to signals would ever end.
        process::on_signal(lp, &[Signal::Interrupt, Signal::Terminate], move |lp, signal| {
            for again in [Signal::Interrupt, Signal::Terminate] {
                if let Err(error) = process::exit_on(again, 128 + again.number()) {
                    println!("{again} will not: {error}");
                }
            }
            println!("{signal}: {} to see off; once more ends it at once", server.connections(lp));
            shut_down(lp, server);
        })?;
        server.address(lp).inspect(|address| println!("listening on {address}"));
        Ok(())
    })?;
    println!("all have left");
    Ok(())
}
