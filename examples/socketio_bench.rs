//! A server for measurements: `echo` with an acknowledgement, `join`, and `say` to a room, and nothing else. It is to
//! be compared with servers of other libraries that do the same.
//!
//!     PORT=3000 cargo run --release --example socketio_bench --features socket-io
//!
//! `PORT=0`, the default, takes a free port. The address is printed when the server listens.

use bucle::socket_io::{self, Options};

fn main() -> bucle::Result<()> {
    let port: u16 = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(0);
    bucle::run(|lp| {
        let (server, io) = socket_io::listen(lp, ("127.0.0.1", port), Options::default())?;
        io.on(lp, "echo", |lp, _, event| {
            let arguments = event.arguments();
            event.ack(lp, arguments);
        });
        io.on(lp, "join", |lp, socket, event| {
            if let Some(room) = event.arguments().text(0) {
                socket.join(lp, &*room);
            }
            event.ack(lp, ());
        });
        io.on(lp, "say", move |lp, socket, event| {
            let arguments = event.arguments();
            let (Some(room), Some(message)) = (arguments.text(0), arguments.text(1)) else { return };
            let Some(id) = socket.id(lp) else { return };
            io.to(&*room).emit(lp, "said", (&*room, &*message, id.as_str()));
            event.ack(lp, ());
        });
        println!("listening on 127.0.0.1:{}", server.port(lp).unwrap_or_default());
        Ok(())
    })
}
