//! Lesson 14: a proxy is two pipes, and what to do when one of them breaks.
//!
//! ```text
//!   guest ── pipe ──▶ server      at the pace of the slower, in each direction;
//!   guest ◀── pipe ── server      an end on one side is passed on as an end
//! ```
//!
//! A pipe does what lesson 3 does by hand: write, pause at `false`, resume at the drain; and ends its destination when its
//! source has ended. Three things are left to the proxy:
//!
//! * `allow_half_open` on both sides: who has ended may still get an answer (lesson 9).
//! * A side that breaks off breaks the other off too, with a reset: a FIN would pass half an answer for a whole one.
//! * A side that takes nothing holds the other one up, and that is right; but not for ever: the write timeout of lesson 6.
//!
//! The server may be on a port, or on a unix path, which is a file that a server on the same machine listens on. Who may not
//! come in stands in a `BlockList`: it only answers, turning away is up to `on_connection`.
//!
//! Run: `cargo run --example 03_echo`, in another terminal `cargo run --example 14_proxy 8081`, and in a third one `telnet
//! localhost 8081`. All arguments: PORT, where the server is (a port or a path), and NETWORK/BITS not to let in; for
//! example `8081 8080 127.0.0.0/8`, `8081 /tmp/app.sock`.
//!
//! Expect here, when two have come, then with the echo stopped, then with 127.0.0.0/8:
//!
//! ```text
//! listening on 127.0.0.1:8081         listening on …            listening on …
//! #2 is passed on as #3               #2 is passed on as #3     #2 may not come in: 127.0.0.1
//! #4 is passed on as #5               #3 failed: connect ECONNREFUSED 127.0.0.1:8080
//! ```

use bucle::net::{self, BlockList, Error, Family, Handler, Limits, ServerOptions, Socket, SocketOptions, Target};
use bucle::{Loop, Result};
use std::{env, time::Duration};

const LIMITS: Limits = Limits { write_timeout: Duration::from_secs(30), ..Limits::NONE };

struct Proxy {
    server: Target,
    blocked: BlockList,
}

impl Handler for Proxy {
    fn on_connection(&mut self, lp: &mut Loop, guest: Socket) {
        let ip = guest.remote_address(lp).map(|address| address.ip());
        if let Some(ip) = ip.filter(|ip| self.blocked.check_ip(*ip)) {
            println!("{guest} may not come in: {ip}");
            return guest.destroy(lp);
        }
        let options = SocketOptions { allow_half_open: true, limits: LIMITS, ..SocketOptions::default() };
        match Socket::connect_with(lp, self.server.clone(), options, Side { other: guest }) {
            Ok(server) => {
                println!("{guest} is passed on as {server}");
                guest.set_handler(lp, Side { other: server });
                guest.pipe(lp, server);
                server.pipe(lp, guest);
            }
            Err(error) => guest.destroy_with(lp, error),
        }
    }
}

/// The one end of the two pipes, and where the other one is.
struct Side {
    other: Socket,
}

impl Handler for Side {
    fn on_error(&mut self, _: &mut Loop, socket: Socket, error: Error) {
        println!("{socket} failed: {error}");
    }

    /// Without an error both directions have ended in order, and the pipes have passed it on.
    fn on_close(&mut self, lp: &mut Loop, _: Socket, had_error: bool) {
        if had_error && self.other.reset_and_destroy(lp).is_err() {
            self.other.destroy(lp); // A unix path knows no reset.
        }
    }
}

fn usage() -> Error {
    Error::custom("E_USAGE", "usage: 14_proxy [PORT [SERVER_PORT | SERVER_PATH [NETWORK/BITS]…]]")
}

fn main() -> Result<()> {
    let mut args = env::args().skip(1);
    let port: u16 = args.next().map_or(Ok(8081), |text| text.parse()).map_err(|_| usage())?;
    let server = match args.next() {
        Some(path) if path.contains('/') => Target::path(path),
        Some(port) => Target::from(("127.0.0.1", port.parse::<u16>().map_err(|_| usage())?)),
        None => Target::from(("127.0.0.1", 8080)),
    };
    let mut blocked = BlockList::new();
    for network in args {
        let (network, bits) = network.split_once('/').ok_or_else(usage)?;
        blocked.add_subnet(network, bits.parse().map_err(|_| usage())?, Family::V4)?;
    }
    bucle::run(|lp| {
        let options = ServerOptions { allow_half_open: true, limits: LIMITS, ..ServerOptions::default() };
        let proxy = net::listen_with(lp, ("127.0.0.1", port), options, Proxy { server, blocked })?;
        proxy.address(lp).inspect(|address| println!("listening on {address}"));
        Ok(())
    })
}
