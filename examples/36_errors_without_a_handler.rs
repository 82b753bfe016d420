//! Lesson 36: what happens to an error that the program does not handle.
//!
//! Most errors cannot be returned: the call that caused them has returned already. They are events, `on_error` of a
//! socket and `on_server_error` of a server. In Node an `'error'` event without a listener ends the program. Here the
//! default methods of the handler report the error, and the program goes on: with a logger as a warning in the log,
//! without one as a line on standard error.
//!
//! Run: `cargo run --example 36_errors_without_a_handler`, then with `logger` behind it (after `--`).
//!
//! Expect:
//!
//! ```text
//! nothing handles the errors
//! bucle: server #2: listen EADDRNOTAVAIL: address not available 203.0.113.1:8080; not handled: net::Handler::on_server_error, or net::on().server_error(…)
//! bucle: #1: connect ECONNREFUSED 127.0.0.1:1; not handled: net::Handler::on_error, or net::on().error(…)
//! the program handles them
//! EADDRNOTAVAIL: is this an address of this machine?
//! ECONNREFUSED: is the server running?
//! ```
//!
//! With `logger` the two long lines are warnings of `env_logger`. With `RUST_LOG=error` in front of the command the log
//! has no warnings, so the two lines are left out.
//!
//! Why: the fault of a program that cannot connect, prints nothing and exits with success is hard to find. Handle the
//! errors of every socket: `on_close` follows and is the place to clean up or to connect again (lesson 15).

use bucle::net::{On, ServerId, ServerOptions, Socket, on};
use bucle::{Loop, Result};
use std::env;

/// Connects to a port without a server, and listens on an address of no machine (RFC 5737, TEST-NET-3).
fn fail_twice(lp: &mut Loop, client: On, server: On) -> Result<()> {
    Socket::connect(lp, ("127.0.0.1", 1), client)?;
    let server: ServerId = bucle::net::Server::new(lp, ServerOptions::default(), server).into();
    server.listen(lp, ("203.0.113.1", 8080))
}

fn main() -> Result<()> {
    if env::args().nth(1).as_deref() == Some("logger") {
        env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    }
    eprintln!("nothing handles the errors");
    bucle::run(|lp| fail_twice(lp, on(), on()))?;

    eprintln!("the program handles them");
    bucle::run(|lp| {
        let client = on().error(|_, _, error| eprintln!("{}: is the server running?", error.code()));
        let server = on().server_error(|_, _, error| {
            eprintln!("{}: is this an address of this machine?", error.code());
        });
        fail_twice(lp, client, server)
    })
}
