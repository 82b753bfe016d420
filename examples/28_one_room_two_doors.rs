//! Lesson 28: one room, two doors. A chat whose members come by telnet and by browser.
//!
//! Each protocol has a server and a handler, its *door*. Both reach one room, which is no handler but a value in the
//! loop: a `Shared`. A door borrows it with `with`, and needs no lock, because the loop runs one callback at a time:
//!
//! ```text
//!   telnet ─▶ TelnetDoor ─ on_line ────┐                       ┌─▶ telnet::broadcast: a line
//!                                      ├─▶ Shared<Room>: say ──┤
//!   page ───▶ WebDoor ──── on_message ─┘                       └─▶ websocket::broadcast: a text message
//!      └────▶ Site: GET / is the page, and /ws is upgraded to the WebDoor
//! ```
//!
//! Where two protocols meet, one must not mean more than the other: `printable` makes a line break in a message a
//! visible sign, so that a browser cannot send telnet users a line that seems to come from someone else. The endpoint
//! accepts only pages of this server; otherwise every site that a user visits could talk here in the user's name.
//!
//! Run: `cargo run --example 28_one_room_two_doors` (or with two ports), then `telnet localhost 8080`, and open
//! http://localhost:8081 in a browser.
//!
//! Expect in the terminal and on the page:
//!
//! ```text
//! ¡Bienvenido! You are #3
//! #4 has joined                       ¡Bienvenido! You are #4
//! hola
//! #3: hola                            #3: hola
//! #4: buenas                          #4: buenas
//! #4 has left
//! ```
//!
//! Why: the room knows what is said, and the doors know how. A third door would change no line of the room's.

use bucle::http::{self, Asset, Exchange, Request, StatusCode};
use bucle::telnet::{self, Client, lines::printable};
use bucle::websocket::{self, CloseCode, Endpoint, Message, Options, WebSocket};
use bucle::{Error, Loop, Result, net::Shared};
use std::{collections::BTreeSet, env};

#[derive(Default)]
struct Room {
    clients: BTreeSet<Client>,
    browsers: BTreeSet<WebSocket>,
}

impl Room {
    fn say(&self, lp: &mut Loop, text: &str) {
        telnet::broadcast(lp, &self.clients, format!("{text}\r\n"));
        websocket::broadcast(lp, self.browsers.iter().copied(), text);
    }
}

struct TelnetDoor(Shared<Room>);

impl telnet::Handler for TelnetDoor {
    fn on_open(&mut self, lp: &mut Loop, client: Client) {
        client.write_line(lp, format!("¡Bienvenido! You are {client}"));
        self.0.with(lp, |room, lp| {
            room.say(lp, &format!("{client} has joined"));
            room.clients.insert(client);
        });
    }

    fn on_line(&mut self, lp: &mut Loop, client: Client, line: &[u8]) {
        self.0.with(lp, |room, lp| room.say(lp, &format!("{client}: {}", printable(line))));
    }

    fn on_end(&mut self, lp: &mut Loop, client: Client) {
        self.on_close(lp, client, false);
    }

    fn on_close(&mut self, lp: &mut Loop, client: Client, _had_error: bool) {
        self.0.with(lp, |room, lp| room.clients.remove(&client).then(|| room.say(lp, &format!("{client} has left"))));
    }
}

struct WebDoor(Shared<Room>);

impl websocket::Handler for WebDoor {
    fn on_open(&mut self, lp: &mut Loop, ws: WebSocket) {
        ws.send(lp, &format!("¡Bienvenido! You are {ws}"));
        self.0.with(lp, |room, lp| {
            room.say(lp, &format!("{ws} has joined"));
            room.browsers.insert(ws);
        });
    }

    fn on_message(&mut self, lp: &mut Loop, ws: WebSocket, message: Message<'_>) {
        let text = printable(message.as_bytes());
        self.0.with(lp, |room, lp| room.say(lp, &format!("{ws}: {text}")));
    }

    fn on_close(&mut self, lp: &mut Loop, ws: WebSocket, _code: CloseCode, _reason: &str) {
        self.0.with(lp, |room, lp| room.browsers.remove(&ws).then(|| room.say(lp, &format!("{ws} has left"))));
    }
}

struct Site {
    page: Asset,
    door: Endpoint<WebDoor>,
}

impl http::Handler for Site {
    fn on_request(&mut self, lp: &mut Loop, exchange: Exchange, request: &Request) {
        match request.path() {
            "/" => _ = exchange.serve(lp, request, &self.page),
            "/ws" => _ = self.door.handshake(lp, exchange, request).and_then(|handshake| handshake.accept(lp)),
            _ => _ = exchange.respond_text(lp, StatusCode::NOT_FOUND, "the room is at /\n"),
        }
    }
}

fn main() -> Result<()> {
    let mut ports = env::args().skip(1).map(|text| text.parse::<u16>());
    let usage = |_| Error::custom("E_USAGE", "usage: 28_one_room_two_doors [TELNET_PORT [HTTP_PORT]]");
    let mut port = |default| ports.next().unwrap_or(Ok(default)).map_err(usage);
    bucle::run(|lp| {
        let room = Shared::new(lp, Room::default());
        let server = telnet::listen(lp, ("127.0.0.1", port(8080)?), Default::default(), TelnetDoor(room))?;
        server.address(lp).inspect(|address| println!("listening on {address}"));
        let door = Endpoint::new(lp, Options { max_message: 1000, ..Options::default() }, WebDoor(room));
        let page = Asset::new("text/html; charset=utf-8", include_str!("28_room.html"));
        let server = http::listen(lp, ("127.0.0.1", port(8081)?), http::Options::default(), Site { page, door })?;
        server.address(lp).inspect(|address| println!("listening on http://{address}"));
        Ok(())
    })
}
