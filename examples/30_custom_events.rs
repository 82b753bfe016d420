//! Lesson 30: events with names and arguments: Socket.IO.
//!
//! WebSocket carries messages (lesson 27). Socket.IO carries *events*: a name and arguments, which may be any JSON and
//! binary values. Two protocols do that. Engine.IO keeps a session alive, over a WebSocket connection or over HTTP
//! requests (polling). Socket.IO sends its packets as messages of that session. The first digit of a packet is the
//! type of Engine.IO (0 open, 2 ping, 3 pong, 4 message), and the second one the type of Socket.IO (0 connect, 1
//! disconnect, 2 event, 3 acknowledgement):
//!
//! ```text
//!   client                              server
//!                                       0{"sid":"…","pingInterval":25000,…}   the session is open
//!   40                                                                        join the namespace `/`
//!                                       40{"sid":"…"}                         joined
//!                                       42["messageClient","¡Bienvenido!"]    an event
//!   421["messageServer","hola"]                                               an event, to be acknowledged as 1
//!                                       431["received"]                       the acknowledgement
//! ```
//!
//! Run: `cargo run --example 30_custom_events` (another port as an argument; 0 is any free one). Then be a client by
//! hand: `bucle connect 'ws://localhost:8080/socket.io/?EIO=4&transport=websocket'`, and type `40`,
//! `421["messageServer","hola"]` and `41`. Type `3` when the server sends `2`, every 25 seconds; otherwise it closes
//! the session 20 seconds later. Every client of Socket.IO 3 and 4 can connect, too.
//!
//! Expect of the server:
//!
//! ```text
//! socket #2 is connected
//! socket #2: hola
//! socket #2 is disconnected: client namespace disconnect
//! ```
//!
//! Why: a listener gets the arguments of its event as Rust values, and no code of the program looks at packets.

use bucle::socket_io::{self, Options};
use bucle::telnet::lines::printable;
use bucle::{Error, Result};

fn main() -> Result<()> {
    let port = std::env::args().nth(1).map_or(Ok(8080), |text| text.parse::<u16>());
    let port = port.map_err(|_| Error::custom("E_USAGE", "usage: 30_custom_events [PORT]"))?;
    bucle::run(|lp| {
        let (server, io) = socket_io::listen(lp, ("127.0.0.1", port), Options::default())?;
        server.address(lp).inspect(|address| println!("listening on {address}"));
        io.on_connection(lp, |lp, socket| {
            println!("{socket} is connected");
            socket.emit(lp, "messageClient", "¡Bienvenido!");
        });
        // One listener for all sockets: an idle client costs none.
        io.on(lp, "messageServer", |lp, socket, event| match event.parse::<(String,)>() {
            Ok((text,)) => {
                println!("{socket}: {}", printable(text.as_bytes()));
                if text == "bye" {
                    socket.broadcast(lp).emit(lp, "event", "Bye everybody"); // To all other sockets.
                }
                event.ack(lp, "received"); // Does nothing if the client has not asked for it.
            }
            // A client can send anything. Here the arguments are not one string.
            Err(error) => println!("{socket}: {error}"),
        });
        io.on_disconnect(lp, |_, socket, reason| println!("{socket} is disconnected: {reason}"));
        Ok(())
    })
}
