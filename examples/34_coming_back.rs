//! Lesson 34: a client that was lost comes back, and has missed nothing.
//!
//! A connection breaks: a tunnel, a laptop that sleeps. With *connection state recovery* the server keeps what the
//! client was, and what it has missed, for two minutes:
//!
//! ```text
//!   server                                      client
//!   40{"sid":"…","pid":"…"}                     pid: the secret with which it can come back
//!   42["news","one","…AAAA"]                    AAAA: the offset, an extra last argument
//!   it notices the loss, and keeps id,    ✗
//!   rooms and data of the client
//!   42["news","two",…]  42["news","three",…]    are kept, because they were for its room
//!                                               40{"pid":"…","offset":"…AAAA"}
//!   40{"sid":"…","pid":"…"}, "two", "three"     the same sid, and what it has missed
//! ```
//!
//! * Clients of Socket.IO 4 do their part without code of the program. `socket.is_recovered` is `false` for a client
//!   that is new, or comes back too late, and must get everything.
//! * Not kept are volatile events, events to be acknowledged, and clients that leave or that the server disconnects.
//!
//! Run: `cargo run --example 34_coming_back`. Both sides are in one loop; the client is made by hand.
//!
//! Expect:
//!
//! ```text
//! server: a new client
//! client: news one
//! server: lost a client: transport close
//! server: a client is back, in the rooms ["readers"]
//! client: news two
//! client: news three
//! server: lost a client: client namespace disconnect
//! ```
//!
//! Why: without recovery, every client must be able to ask for what it has missed, and every server to answer.

use bucle::socket_io::packet::{self, Limits, PacketType};
use bucle::socket_io::{self, Arguments, DisconnectReason, Options, RecoveryOptions};
use bucle::websocket::{ClientOptions, CloseCode, Endpoint, Handler, Message, Options as WebSocketOptions, WebSocket};
use bucle::{Loop, Result};
use serde_json::{Value, json};

/// A client made by hand: it keeps its secret and the last offset, and connects again when the connection is lost.
struct Client {
    endpoint: Option<Endpoint<Client>>,
    url: String,
    credentials: Value,
}

impl Client {
    fn receive(&mut self, lp: &mut Loop, ws: WebSocket, packet: &str) {
        let Ok(packet) = packet::parse(packet, &Limits::default()) else { return };
        let data: Value = serde_json::from_str(packet.data.unwrap_or("null")).unwrap_or_default();
        match packet.kind {
            PacketType::Connect => self.credentials["pid"] = data["pid"].clone(),
            PacketType::Event => {
                let (name, arguments) = Arguments::of_event(&packet, None);
                let Ok((text, offset)) = arguments.parse::<(String, String)>() else { return };
                println!("client: {name} {text}");
                self.credentials["offset"] = offset.into();
                match text.as_str() {
                    "one" => ws.terminate(lp), // The connection breaks.
                    "three" => {
                        ws.send(lp, "41"); // The client leaves: it will not come back.
                        ws.close(lp, CloseCode::NORMAL, "");
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }
}

impl Handler for Client {
    fn on_message(&mut self, lp: &mut Loop, ws: WebSocket, message: Message<'_>) {
        match message {
            Message::Text(text) if text.starts_with('0') => _ = ws.send(lp, &format!("40{}", self.credentials)),
            Message::Text("2") => _ = ws.send(lp, "3"),
            Message::Text(text) => self.receive(lp, ws, text.strip_prefix('4').unwrap_or_default()),
            Message::Binary(_) => {}
        }
    }

    fn on_close(&mut self, lp: &mut Loop, _: WebSocket, code: CloseCode, _reason: &str) {
        if let Some(endpoint) = self.endpoint.filter(|_| code == CloseCode::ABNORMAL) {
            let _ = endpoint.connect(lp, &self.url, &ClientOptions::default());
        }
    }
}

fn main() -> Result<()> {
    bucle::run(|lp| {
        let options = Options { recovery: Some(RecoveryOptions::default()), ..Options::default() };
        let (server, io) = socket_io::listen(lp, ("127.0.0.1", 0), options)?;
        io.on_connection(lp, |lp, socket| {
            if socket.is_recovered(lp) {
                return println!("server: a client is back, in the rooms {:?}", &socket.rooms(lp)[1..]);
            }
            println!("server: a new client");
            socket.join(lp, "readers");
            socket.emit(lp, "news", "one");
        });
        io.on_disconnect(lp, move |lp, _, reason| {
            println!("server: lost a client: {reason}");
            match reason {
                DisconnectReason::ClientNamespaceDisconnect => server.close(lp),
                _ => ["two", "three"].iter().for_each(|text| _ = io.to("readers").emit(lp, "news", *text)),
            }
        });

        let port = server.port(lp).unwrap_or_default();
        let url = format!("ws://127.0.0.1:{port}/socket.io/?EIO=4&transport=websocket");
        let client = Client { endpoint: None, url: url.clone(), credentials: json!({}) };
        let endpoint = Endpoint::new(lp, WebSocketOptions::default(), client);
        endpoint.with(lp, |client, _| client.endpoint = Some(endpoint));
        endpoint.connect(lp, &url, &ClientOptions::default())?;
        Ok(())
    })
}
