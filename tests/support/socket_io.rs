//! Clients of Socket.IO that speak its frames: over WebSocket, and by polling.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use tungstenite::{Message, WebSocket, client::client};

/// How long a test waits for something that must come. Only a failing test waits this long.
const LIMIT: Duration = Duration::from_secs(60);

fn stream(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    stream.set_read_timeout(Some(LIMIT)).expect("a socket");
    stream.set_write_timeout(Some(LIMIT)).expect("a socket");
    stream
}

/// A client over WebSocket.
pub struct Client {
    ws: WebSocket<TcpStream>,
    /// Events that have come before the answer to CONNECT: what a recovered client has missed.
    early: VecDeque<String>,
    /// The id of the socket.
    pub id: String,
}

impl Client {
    /// Connects to the main namespace, as a client of version 4.
    pub fn connect(port: u16) -> Client {
        let mut client = Client::open(port, 4);
        client.send("40");
        let answer = client.next();
        client.id = value_of(&answer, "sid").unwrap_or_else(|| panic!("CONNECT was answered: {answer}"));
        client
    }

    /// Connects to the main namespace with credentials, which are JSON. Also returns the answer. What has come before
    /// it is read next.
    #[allow(dead_code, reason = "not all tests that share this file need it")]
    pub fn connect_with(port: u16, auth: &str) -> (Client, String) {
        let mut client = Client::open(port, 4);
        client.send(&format!("40{auth}"));
        let mut early = VecDeque::new();
        let answer = loop {
            match client.next() {
                answer if answer.starts_with("40") || answer.starts_with("44") => break answer,
                event => early.push_back(event),
            }
        };
        client.early = early;
        client.id = value_of(&answer, "sid").unwrap_or_else(|| panic!("CONNECT was answered: {answer}"));
        (client, answer)
    }

    /// Connects as a client of version 2, which is in the main namespace without asking.
    pub fn connect_version_2(port: u16) -> Client {
        let mut client = Client::open(port, 3);
        assert_eq!(client.next(), "40");
        client
    }

    /// Opens a session. `eio` is the revision of Engine.IO.
    fn open(port: u16, eio: u8) -> Client {
        let url = format!("ws://127.0.0.1:{port}/socket.io/?EIO={eio}&transport=websocket");
        let (ws, _) = client(url, stream(port)).expect("a correct handshake");
        let mut client = Client { ws, early: VecDeque::new(), id: String::new() };
        let open = client.next();
        assert!(open.starts_with("0{"), "{open}");
        client.id = value_of(&open, "sid").expect("a session has an id");
        client
    }

    /// The next message. Pings are answered.
    pub fn next(&mut self) -> String {
        if let Some(event) = self.early.pop_front() {
            return event;
        }
        loop {
            match self.ws.read().expect("a message") {
                Message::Text(text) if text.as_str() == "2" => self.send("3"),
                Message::Text(text) => return text.to_string(),
                Message::Close(frame) => panic!("a message instead of {frame:?}"),
                _ => {}
            }
        }
    }

    pub fn send(&mut self, text: &str) {
        self.ws.send(Message::text(text)).expect("it reads");
    }

    pub fn send_binary(&mut self, bytes: &[u8]) {
        self.ws.send(Message::binary(bytes.to_vec())).expect("it reads");
    }

    /// Reads messages up to the end of the connection, and returns the code of the close frame: 1005 if it has none,
    /// and 1006 if there is no frame (RFC 6455, 7.1.5).
    #[allow(dead_code, reason = "not all tests that share this file need it")]
    pub fn close_code(&mut self) -> u16 {
        loop {
            match self.ws.read() {
                Ok(Message::Close(frame)) => return frame.map_or(1005, |frame| frame.code.into()),
                Ok(_) => {}
                Err(_) => return 1006,
            }
        }
    }
}

/// A client that polls, as one of version 4. Each request has a connection of its own.
#[allow(dead_code, reason = "not all tests that share this file need it")]
pub struct Poller {
    port: u16,
    query: String,
    packets: VecDeque<String>,
}

#[allow(dead_code, reason = "not all tests that share this file need it")]
impl Poller {
    /// Connects to the main namespace.
    pub fn connect(port: u16) -> Poller {
        let mut poller = Poller { port, query: "EIO=4&transport=polling".to_owned(), packets: VecDeque::new() };
        let open = poller.next();
        poller.query += &format!("&sid={}", value_of(&open, "sid").expect("a session has an id"));
        poller.send("40");
        let answer = poller.next();
        assert!(answer.starts_with("40{"), "{answer}");
        poller
    }

    /// The next packet. Pings are answered.
    pub fn next(&mut self) -> String {
        loop {
            match self.packets.pop_front() {
                Some(ping) if ping == "2" => self.send("3"),
                Some(packet) => return packet,
                None => {
                    let (status, body) = self.request("GET", "");
                    assert_eq!(status, 200, "{body}");
                    self.packets.extend(body.split('\u{1e}').map(str::to_owned));
                }
            }
        }
    }

    pub fn send(&mut self, payload: &str) {
        assert_eq!(self.request("POST", payload), (200, "ok".to_owned()));
    }

    /// The status of the answer, and its body.
    pub fn request(&self, method: &str, body: &str) -> (u16, String) {
        self.begin(method, body).answer()
    }

    /// Sends a request. Its bytes are in the kernel of the server when this returns.
    pub fn begin(&self, method: &str, body: &str) -> Pending {
        let Poller { port, query, .. } = self;
        let length = body.len();
        begin(
            *port,
            &format!(
                "{method} /socket.io/?{query} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\
                 Content-Length: {length}\r\n\r\n{body}"
            ),
        )
    }
}

/// A request that was sent.
pub struct Pending(TcpStream);

impl Pending {
    /// The status of the answer, and its body.
    pub fn answer(mut self) -> (u16, String) {
        let mut answer = String::new();
        self.0.read_to_string(&mut answer).expect("an answer, and the end");
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
        (status.unwrap_or_else(|| panic!("a status: {answer}")), body.expect("a head ends"))
    }
}

fn begin(port: u16, request: &str) -> Pending {
    let mut stream = stream(port);
    stream.write_all(request.as_bytes()).expect("it reads");
    Pending(stream)
}

/// Sends a request that asks for the end of the connection. Returns the status of the answer, and its body.
#[allow(dead_code, reason = "not all tests that share this file need it")]
pub fn request(port: u16, request: &str) -> (u16, String) {
    begin(port, request).answer()
}

/// The text of a field of a JSON object in a packet.
fn value_of(packet: &str, field: &str) -> Option<String> {
    let (_, rest) = packet.split_once(&format!("\"{field}\":\""))?;
    rest.split_once('"').map(|(value, _)| value.to_owned())
}
