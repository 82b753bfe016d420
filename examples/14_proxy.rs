//! Lesson 14: a proxy is two pipes, and a rule for connections that break.
//!
//! ```text
//!   client ── pipe ──▶ server      each direction runs at the speed of its slower side;
//!   client ◀── pipe ── server      an end of one side becomes an end of the other side
//! ```
//!
//! A pipe does what lesson 3 does by hand: it writes, pauses when `write` returns `false`, resumes at the drain, and
//! ends its destination when its source has ended. Three things are left for the proxy:
//!
//! * `allow_half_open` on both sides: a side that has ended can still receive an answer (lesson 9).
//! * When one side breaks, reset the other side. An end would make half an answer look complete.
//! * A side that reads nothing rightly stops the other side, but not without limit: set the write timeout of lesson 6.
//!
//! The server is reached by a port, or by a unix path, which is a file on the same machine. A `BlockList` names the
//! networks to refuse. It only answers whether an address is in it; `on_connection` has to refuse the client.
//!
//! Run: `cargo run --example 03_echo`, in another terminal `cargo run --example 14_proxy 8081`, and in a third one
//! `telnet localhost 8081`. All arguments: PORT, the server (a port or a path), networks to refuse (NETWORK/BITS). For
//! example `8081 8080 127.0.0.0/8` or `8081 /tmp/app.sock`.
//!
//! Expect here: two clients; then with the echo stopped; then with 127.0.0.0/8 refused:
//!
//! ```text
//! listening on 127.0.0.1:8081      listening on …             listening on …
//! #2 is forwarded as #3            #2 is forwarded as #3      #2 is refused: 127.0.0.1
//! #4 is forwarded as #5            #3 failed: connect ECONNREFUSED 127.0.0.1:8080
//! ```
//!
//! Why: bytes, ends and resets pass through in both directions, so the client sees what it would see without the proxy.

use bucle::net::{self, BlockList, Error, Family, Handler, Limits, ServerOptions, Socket, SocketOptions, Target};
use bucle::{Loop, Result};
use std::{env, time::Duration};

const LIMITS: Limits = Limits { write_timeout: Duration::from_secs(30), ..Limits::NONE };

struct Proxy {
    server: Target,
    blocked: BlockList,
}

impl Handler for Proxy {
    fn on_connection(&mut self, lp: &mut Loop, client: Socket) {
        let ip = client.remote_address(lp).map(|address| address.ip());
        if let Some(ip) = ip.filter(|ip| self.blocked.check_ip(*ip)) {
            println!("{client} is refused: {ip}");
            return client.destroy(lp);
        }
        let options = SocketOptions { allow_half_open: true, limits: LIMITS, ..SocketOptions::default() };
        match Socket::connect_with(lp, self.server.clone(), options, Side { other: client }) {
            Ok(server) => {
                println!("{client} is forwarded as {server}");
                client.set_handler(lp, Side { other: server });
                client.pipe(lp, server);
                server.pipe(lp, client);
            }
            Err(error) => client.destroy_with(lp, error),
        }
    }
}

/// The handler of one side of the proxy. It knows the socket of the other side.
struct Side {
    other: Socket,
}

impl Handler for Side {
    fn on_error(&mut self, _: &mut Loop, socket: Socket, error: Error) {
        println!("{socket} failed: {error}");
    }

    /// Without an error both directions have ended, and the pipes have forwarded both ends.
    fn on_close(&mut self, lp: &mut Loop, _: Socket, had_error: bool) {
        if had_error && self.other.reset_and_destroy(lp).is_err() {
            self.other.destroy(lp); // A unix socket has no reset.
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
