//! Lesson 34: a client that connects again, and a server that has kept what it missed.
//!
//! A connection breaks, and the client connects again, after a pause that grows with each failure. With *connection
//! state recovery* the server keeps for two minutes what the client was, and what it misses:
//!
//! ```text
//!   server                                      client
//!   40{"sid":"…","pid":"…"}                     pid: the secret with which it can come back
//!   42["news","one","…AAAA"]                    AAAA: the offset, an extra last argument
//!   it keeps id, rooms and data of the client
//!   42["news","two",…]  42["news","three",…]    are kept, because they are for its room
//!                                               40{"pid":"…","offset":"…AAAA"}
//!   "two", "three", 40{"sid":"…","pid":"…"}     what it has missed, and the same sid
//! ```
//!
//! `is_recovered` is `false` on both sides for a client that is new, or comes back too late. Not kept are volatile
//! events, events to be acknowledged, and clients that leave or that the server disconnects.
//!
//! Run: `cargo run --example 34_coming_back`. Server and client are in one loop.
//!
//! Expect:
//!
//! ```text
//! server: a new client
//! client: connected
//! client: news one
//! server: the client is lost: transport close
//! server: the client is back, in the rooms ["readers"]
//! client: news two
//! client: news three
//! client: connected again
//! server: the client is lost: client namespace disconnect
//! ```
//!
//! Why: without recovery every client must be able to ask for what it has missed, and every server to answer.

use bucle::engine_io::{ClientOptions as SessionOptions, Transport};
use bucle::socket_io::{self, ClientOptions, Options, RecoveryOptions, Server};
use bucle::{Loop, Result};
use std::time::Duration;

fn serve(lp: &mut Loop, io: Server) {
    io.on_connection(lp, |lp, socket| {
        if socket.is_recovered(lp) {
            println!("server: the client is back, in the rooms {:?}", &socket.rooms(lp)[1..]);
        } else {
            println!("server: a new client");
            socket.join(lp, "readers");
            socket.emit(lp, "news", "one");
        }
    });
    // For this lesson the connection breaks after the first news.
    io.on(lp, "seen", |lp, socket, _| {
        if let Some(ws) = socket.session(lp).and_then(|session| session.websocket(lp)) {
            ws.terminate(lp);
        }
    });
    io.on_disconnect(lp, move |lp, _, reason| {
        println!("server: the client is lost: {reason}");
        for text in ["two", "three"] {
            io.to("readers").emit(lp, "news", text);
        }
    });
}

fn main() -> Result<()> {
    bucle::run(|lp| {
        let options = Options { recovery: Some(RecoveryOptions::default()), ..Options::default() };
        let (server, io) = socket_io::listen(lp, ("127.0.0.1", 0), options)?;
        serve(lp, io);

        let engine = SessionOptions {
            path: "/socket.io/".to_owned(),
            transports: vec![Transport::WebSocket],
            ..SessionOptions::default()
        };
        // The default is a second. It is varied at random, so that a thousand clients do not come back at once.
        let reconnection_delay = Duration::from_millis(100);
        let url = format!("http://127.0.0.1:{}", server.port(lp).unwrap_or_default());
        let client =
            socket_io::connect(lp, &url, ClientOptions { engine, reconnection_delay, ..ClientOptions::default() })?;
        client.on_connect(lp, |lp, client| match client.is_recovered(lp) {
            true => println!("client: connected again"),
            false => println!("client: connected"),
        });
        client.on(lp, "news", move |lp, client, event| {
            let Ok((text,)) = event.parse::<(String,)>() else { return };
            println!("client: news {text}");
            match text.as_str() {
                "one" => _ = client.emit(lp, "seen", ()),
                // Not here, because `on_connect` follows the events that the client has missed.
                "three" => {
                    _ = lp.set_immediate(move |lp| {
                        client.release(lp);
                        server.close(lp);
                    })
                }
                _ => {}
            }
        });
        Ok(())
    })
}
