//! Lesson 26: WebSocket by hand, frame by frame.
//!
//! A WebSocket connection begins as an HTTP request (lesson 25). After the answer 101 both sides send *frames*:
//!
//! ```text
//!   81 84    37 fa 21 3d    5f 95 4d 5c
//!   │  │     │              └ payload: "hola", each byte XOR the next byte of the key
//!   │  │     └ masking key, only from clients
//!   │  └ 80: masked; 04: the length (7e: it is in the next two bytes; 7f: in the next eight)
//!   └ 80: the last frame of its message; 01: text, 02: binary, 00: continuation, 08: close, 09: ping, 0a: pong
//! ```
//!
//! A chunk is not a frame, as it was not a line in lesson 4: bytes are kept until their frame is complete. The lesson
//! uses pure files of the library: `http::head`, `websocket::handshake`, `frame` and `receiver`. They take bytes and
//! return values, and know no sockets. Lesson 27 uses `websocket::listen`, which does all this.
//!
//! Run: `cargo run --example 26_websocket_by_hand` (another port as an argument; 0 is any free one), and in another
//! terminal `bucle connect ws://localhost:8080`. Or open about:blank in a browser, and type in its console
//! `w = new WebSocket('ws://localhost:8080'); w.onmessage = e => console.log(e.data)`, then `w.send('hola')` and
//! `w.close(1000, 'bye')`.
//!
//! Expect something like this:
//!
//! ```text
//! #2 asks for /
//! #2 sent [81, 84, 37, fa, 21, 3d, 5f, 95, 4d, 5c]: last frame, Text, 4 bytes: Message(Text("hola"))
//! #2 gets [81, 04, 68, 6f, 6c, 61]
//! #2 sent [88, 85, 37, fa, 21, 3d, 34, 12, 43, 44, 52]: last frame, Close, 5 bytes: Close { code: …, reason: "bye" }
//! #2 gets [88, 02, 03, e8]
//! ```
//!
//! Why: TCP has no messages. Two bytes in front of each add them, and the closing handshake shows that none was lost.

use bucle::http::{HeaderMap, StatusCode, head};
use bucle::net::{self, Handler, Limits, ServerOptions, Socket};
use bucle::websocket::frame::{Header, Opcode, Role};
use bucle::websocket::handshake::{self, RequestParts};
use bucle::websocket::receiver::{Event, Message, Receiver, Settings};
use bucle::websocket::{CloseCode, Violation};
use bucle::{Error, Loop, Result};
use std::{mem, time::Duration};

const SETTINGS: Settings = Settings { role: Role::Server, max_message: 1000, deflate: false };

#[derive(Default)]
struct Connection {
    is_open: bool,
    received: Vec<u8>,
    receiver: Receiver,
}

impl Connection {
    /// Answers the request as soon as it is complete.
    fn open(&mut self, lp: &mut Loop, socket: Socket) -> Result<(), (StatusCode, &'static str)> {
        let parsed = head::parse_request(&self.received, &head::HeadLimits::default());
        let Some((request, _, len)) = parsed.map_err(|bad| (bad.status, bad.reason))? else { return Ok(()) };
        let (method, version, headers, host) = (request.method(), request.version(), request.headers(), request.host());
        let opening = handshake::check_request(RequestParts { method, version, headers, host });
        let accept = opening.map_err(|bad| (bad.status, bad.reason))?.accept;
        println!("{socket} asks for {}", request.target());
        socket.write(lp, handshake::response(&accept, None, None, &HeaderMap::new()));
        self.received.drain(..len); // The bytes behind the request are frames.
        self.is_open = true;
        Ok(())
    }

    /// Answers all whole frames among the received bytes. The error is the code of the close frame that ends it all.
    fn receive(&mut self, lp: &mut Loop, socket: Socket) -> Result<(), Violation> {
        let mut received = mem::take(&mut self.received);
        let mut rest = &mut received[..];
        while let Some((header, len)) = Header::parse(rest, SETTINGS.role, SETTINGS.max_message as u64)? {
            let Some(mut frame) = rest.split_off_mut(..len + header.len as usize) else { break };
            let place = if header.fin { "last frame" } else { "more follow" };
            print!("{socket} sent {frame:02x?}: {place}, {:?}, {} bytes: ", header.opcode, header.len);
            // The receiver unmasks the payload, checks all further rules, and keeps the parts of a message.
            let event = self.receiver.next(&SETTINGS, &mut frame).inspect_err(|violation| println!("{violation}"))?;
            println!("{}", event.map_or("a part".to_owned(), |event| format!("{event:?}")));
            match event {
                Some(Event::Message(Message::Text(text))) => send(lp, socket, Opcode::Text, text.as_bytes()),
                Some(Event::Message(Message::Binary(bytes))) => send(lp, socket, Opcode::Binary, bytes),
                Some(Event::Ping(payload)) => send(lp, socket, Opcode::Pong, payload),
                // This is no violation, but it has the same answer: a close frame with a code.
                Some(Event::Close { code, .. }) => {
                    Err(Violation { code: code.unwrap_or(CloseCode::NORMAL), reason: "" })?
                }
                _ => {}
            }
        }
        self.received = rest.to_vec();
        Ok(())
    }
}

fn send(lp: &mut Loop, socket: Socket, opcode: Opcode, payload: &[u8]) {
    let header = Header { fin: true, rsv1: false, opcode, mask: None, len: payload.len() as u64 };
    let frame = [header.encode().as_ref(), payload].concat();
    println!("{socket} gets {frame:02x?}");
    socket.write(lp, frame);
}

impl Handler for Connection {
    fn on_data(&mut self, lp: &mut Loop, socket: Socket, chunk: &[u8]) {
        self.received.extend_from_slice(chunk);
        if !self.is_open
            && let Err((status, reason)) = self.open(lp, socket)
        {
            let head = format!("HTTP/1.1 {status}\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n");
            socket.end_with(lp, head + reason + "\n");
            socket.set_handler(lp, net::on()); // All further bytes are ignored.
        } else if self.is_open
            && let Err(Violation { code, reason }) = self.receive(lp, socket)
        {
            send(lp, socket, Opcode::Close, &[&code.0.to_be_bytes(), reason.as_bytes()].concat());
            socket.end(lp);
            socket.set_handler(lp, net::on());
        } else if socket.needs_drain(lp) {
            socket.pause(lp); // A client that does not read is not read, as in lesson 3.
        }
    }

    fn on_drain(&mut self, lp: &mut Loop, socket: Socket) {
        socket.resume(lp);
    }
}

fn main() -> Result<()> {
    let port = std::env::args().nth(1).map_or(Ok(8080), |text| text.parse::<u16>());
    let port = port.map_err(|_| Error::custom("E_USAGE", "usage: 26_websocket_by_hand [PORT]"))?;
    bucle::run(|lp| {
        let options = ServerOptions {
            timeout: Duration::from_secs(120),
            idle_message: Some(b"\x88\x02\x03\xe9".to_vec()), // A close frame: 1001, going away.
            limits: Limits { write_timeout: Duration::from_secs(30), ..Limits::NONE },
            ..ServerOptions::default()
        };
        let handler = net::on().connection(|lp, socket| socket.set_handler(lp, Connection::default()));
        let server = net::listen_with(lp, ("127.0.0.1", port), options, handler)?;
        server.address(lp).inspect(|address| println!("listening on {address}"));
        Ok(())
    })
}
