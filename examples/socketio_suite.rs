//! The server that the test suite of the Socket.IO protocol, revision 5, runs against.
//!
//!     PORT=3000 cargo run --example socketio_suite --features socket-io
//!
//! | variable | default | meaning |
//! |---|---|---|
//! | `PORT` | 3000 | the port; 0 takes a free one |
//! | `PING_INTERVAL`, `PING_TIMEOUT` | 300, 200 | in milliseconds |
//! | `CONNECT_TIMEOUT` | 1000 | the time to join a namespace, in milliseconds |
//!
//! In `/` and `/custom` a client gets `auth` with the data of its CONNECT. In `/` the arguments of `message` are sent
//! back as `message-back`, and those of `message-with-ack` in the acknowledgement.

use std::env;
use std::time::Duration;

use bucle::engine_io::Cors;
use bucle::socket_io::{self, Namespace, Options};
use bucle::{Loop, Result};
use serde_json::{Value, json};

/// The number in a variable, or `default`.
fn number(name: &str, default: u64) -> u64 {
    env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// A client gets what it has sent to be let in.
fn tell_auth(lp: &mut Loop, namespace: Namespace) {
    namespace.on_connection(lp, |lp, socket| {
        let auth = socket.auth::<Value>(lp).unwrap_or_else(|| json!({}));
        socket.emit(lp, "auth", auth);
    });
}

fn main() -> Result<()> {
    env_logger::init();
    bucle::run(|lp| {
        let millis = |name, default| Duration::from_millis(number(name, default));
        let mut options = Options { connect_timeout: millis("CONNECT_TIMEOUT", 1000), ..Options::default() };
        options.engine.ping_interval = millis("PING_INTERVAL", 300);
        options.engine.ping_timeout = millis("PING_TIMEOUT", 200);
        // The suite runs in browsers, too.
        options.engine.cors = Some(Cors::default());
        let port = u16::try_from(number("PORT", 3000)).unwrap_or(3000);
        let (server, io) = socket_io::listen(lp, ("127.0.0.1", port), options)?;
        tell_auth(lp, io.main());
        let custom = io.of(lp, "/custom");
        tell_auth(lp, custom);
        io.on(lp, "message", |lp, socket, event| {
            socket.emit(lp, "message-back", event.arguments());
        });
        io.on(lp, "message-with-ack", |lp, _, event| {
            let arguments = event.arguments();
            event.ack(lp, arguments);
        });
        println!("listening on 127.0.0.1:{}", server.port(lp).unwrap_or_default());
        Ok(())
    })
}
