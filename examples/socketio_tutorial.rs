//! The Socket.IO server of the tutorial that bucle began with, for clients of version 2, 3 and 4.
//!
//!     PORT=8080 cargo run --example socketio_tutorial
//!
//! `PORT=0` takes a free port. The address is printed when the server listens.
//!
//! | event | sender | what it does |
//! |---|---|---|
//! | `messageClient` | server | greets each client: `Welcome` |
//! | `messageServer` | client | a text, or its bytes: printed; `bye` is announced to the other clients |
//! | `event` | server | the announcement: `Bye everybody` |

use std::borrow::Cow;

use bucle::socket_io::{self, Event, Options};
use bucle::telnet::lines::printable;

/// The text of the first argument, which may be binary: the tutorial's client sends what it has read from its terminal.
fn text<'a>(event: &Event<'a>) -> Cow<'a, str> {
    let arguments = event.arguments();
    match arguments.binary(0) {
        Some(bytes) => String::from_utf8_lossy(bytes),
        // A number is printed as it was sent.
        None => arguments.text(0).or_else(|| arguments.raw(0).map(Cow::from)).unwrap_or_default(),
    }
}

fn main() -> bucle::Result<()> {
    env_logger::init();
    let port: u16 = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(8080);
    bucle::run(|lp| {
        let mut options = Options::default();
        options.engine.allow_eio3 = true;
        let (server, io) = socket_io::listen(lp, ("127.0.0.1", port), options)?;
        io.on_connection(lp, |lp, socket| {
            socket.emit(lp, "messageClient", "Welcome");
        });
        io.on(lp, "messageServer", |lp, socket, event| {
            let text = text(event);
            match (text.trim(), socket.id(lp)) {
                ("bye", _) => drop(socket.broadcast(lp).emit(lp, "event", "Bye everybody")),
                // Control bytes would be commands for the terminal.
                (text, Some(id)) => println!("client{id}: {}", printable(text.as_bytes())),
                (_, None) => {}
            }
        });
        println!("listening on 127.0.0.1:{}", server.port(lp).unwrap_or_default());
        Ok(())
    })
}
