//! WebSocket clients that check every byte, masked on the way there, plain on the way back: binary messages, or events
//! of Socket.IO and their acknowledgements.

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use bucle::websocket::frame::{Header, Opcode};
use bucle::websocket::mask::apply_mask;
use mio::net::TcpStream;
use mio::{Events, Poll, Token};

use super::super::contest::Load;
use super::{BOTH, LIMIT, Tape, connect, read_all};

/// The headers of the handshake, with the key of RFC 6455, 1.3.
const HEADERS: &str = "HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// The kind of the messages.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Binary messages, which come back.
    Binary,
    /// Events `echo` of Socket.IO with one string, which comes back in the acknowledgement.
    Events,
}

impl Kind {
    fn path(self) -> &'static str {
        match self {
            Kind::Binary => "/",
            Kind::Events => "/socket.io/?EIO=4&transport=websocket",
        }
    }

    fn opcode(self) -> Opcode {
        match self {
            Kind::Binary => Opcode::Binary,
            Kind::Events => Opcode::Text,
        }
    }

    /// The message with this payload, and its answer. All messages of a tape have the same length.
    fn message(self, number: u32, payload: &[u8]) -> (Vec<u8>, Vec<u8>) {
        match self {
            Kind::Binary => (payload.to_vec(), payload.to_vec()),
            Kind::Events => {
                let number = 10_000 + number;
                let text = String::from_utf8_lossy(payload).replace('\n', ".");
                let event = format!("42{number}[\"echo\",\"{text}\"]");
                (event.into_bytes(), format!("43{number}[\"{text}\"]").into_bytes())
            }
        }
    }
}

/// How long a server may take for the handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The messages of a tape as frames: what is sent, and what must come back.
struct Frames {
    sent: Vec<u8>,
    received: Vec<u8>,
    /// The lengths of a frame in both directions.
    sent_len: usize,
    received_len: usize,
}

impl Frames {
    fn new(kind: Kind, message: usize) -> Frames {
        let tape = Tape::new(message);
        let (mut sent, mut received) = (Vec::new(), Vec::new());
        let (mut sent_len, mut received_len) = (0, 0);
        for (number, payload) in (0_u32..).zip(tape.bytes.chunks(message)) {
            // Different masks, all without a zero byte.
            let mask = (number.wrapping_mul(0x9E37_79B9) | 0x0101_0101).to_be_bytes();
            let (message, answer) = kind.message(number, payload);
            sent.extend_from_slice(&masked_frame(kind.opcode(), mask, message));
            let len = answer.len() as u64;
            let header = Header { fin: true, rsv1: false, opcode: kind.opcode(), mask: None, len };
            received.extend_from_slice(header.encode().as_ref());
            received.extend_from_slice(&answer);
            (sent_len, received_len) = (sent.len() / (number as usize + 1), received.len() / (number as usize + 1));
        }
        Frames { sent, received, sent_len, received_len }
    }
}

fn masked_frame(opcode: Opcode, mask: [u8; 4], mut payload: Vec<u8>) -> Vec<u8> {
    let header = Header { fin: true, rsv1: false, opcode, mask: Some(mask), len: payload.len() as u64 };
    apply_mask(&mut payload, mask, 0);
    [header.encode().as_ref(), &payload].concat()
}

/// Opens a session of Socket.IO and joins the namespace `/`.
fn join(mut stream: &std::net::TcpStream) {
    let read_frame = |mut stream: &std::net::TcpStream, start: &str| {
        let mut header = [0; 2];
        stream.read_exact(&mut header).expect("the server sends a packet");
        let mut payload = match header[1] {
            126 => {
                let mut len = [0; 2];
                stream.read_exact(&mut len).expect("the header is complete");
                vec![0; u16::from_be_bytes(len).into()]
            }
            len => vec![0; len.into()],
        };
        stream.read_exact(&mut payload).expect("the packet is complete");
        assert!(payload.starts_with(start.as_bytes()), "{}", String::from_utf8_lossy(&payload));
    };
    read_frame(stream, "0{");
    stream.write_all(&masked_frame(Opcode::Text, [1, 2, 3, 4], b"40".to_vec())).expect("the server reads");
    read_frame(stream, "40{");
}

/// One client. Positions are bytes of the endless streams of frames.
struct Client {
    stream: TcpStream,
    sent: u64,
    received: u64,
    /// The number of messages that it sends in all.
    messages: u64,
}

/// Every connection sends messages and receives them back, several in flight at a time.
pub struct Messages {
    poll: Poll,
    events: Events,
    buf: Vec<u8>,
    frames: Frames,
    clients: Vec<Client>,
    in_flight: u64,
}

impl Messages {
    /// `message` is the number of bytes of the payload.
    pub fn new(port: u16, kind: Kind, connections: usize, message: usize, in_flight: u64) -> Messages {
        let poll = Poll::new().expect("a poll");
        let client = |nth| {
            let mut stream = connect(port, nth).expect("the server listens");
            stream.set_nodelay(true).expect("a socket");
            stream.set_read_timeout(Some(HANDSHAKE)).expect("a socket");
            stream.write_all(format!("GET {} {HEADERS}", kind.path()).as_bytes()).expect("the server reads");
            let mut answer = Vec::new();
            while !answer.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).expect("the server answers");
                answer.push(byte[0]);
            }
            assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&answer));
            if kind == Kind::Events {
                join(&stream);
            }
            stream.set_nonblocking(true).expect("a socket");
            let mut stream = TcpStream::from_std(stream);
            poll.registry().register(&mut stream, Token(nth), BOTH).expect("it is new");
            Client { stream, sent: 0, received: 0, messages: 0 }
        };
        let clients = (0..connections).map(client).collect();
        let (events, buf) = (Events::with_capacity(1024), vec![0; 128 * 1024]);
        Messages { poll, events, buf, frames: Frames::new(kind, message), clients, in_flight }
    }
}

/// The part of an endless repetition of `bytes` that begins at `at`, at most up to `limit` and the end of `bytes`.
fn part(bytes: &[u8], at: u64, limit: u64) -> &[u8] {
    let start = (at % bytes.len() as u64) as usize;
    let len = ((limit - at) as usize).min(bytes.len() - start);
    &bytes[start..start + len]
}

impl Client {
    /// Sends what may be sent: as many messages ahead as are in flight.
    fn send(&mut self, frames: &Frames, in_flight: u64) {
        let answered = self.received / frames.received_len as u64;
        let limit = self.messages.min(answered + in_flight) * frames.sent_len as u64;
        while self.sent < limit {
            match self.stream.write(part(&frames.sent, self.sent, limit)) {
                Ok(n) => self.sent += n as u64,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("the server ended: {error}"),
            }
        }
    }

    fn receive(&mut self, frames: &Frames, buf: &mut [u8]) {
        read_all(&mut self.stream, buf, |mut got| {
            while !got.is_empty() {
                let due = part(&frames.received, self.received, self.received + got.len() as u64);
                assert!(got.starts_with(due), "a wrong byte after {} right ones", self.received);
                self.received += due.len() as u64;
                got = &got[due.len()..];
            }
        });
    }

    fn is_done(&self, frames: &Frames) -> bool {
        self.received == self.messages * frames.received_len as u64
    }
}

impl Load for Messages {
    fn exchange(&mut self, messages: u64) -> u64 {
        let Messages { poll, events, buf, frames, clients, in_flight } = self;
        let count = clients.len() as u64;
        let mut waiting = 0;
        for (nth, client) in (0..).zip(&mut *clients) {
            client.messages += messages / count + u64::from(nth < messages % count);
            client.send(frames, *in_flight);
            waiting += usize::from(!client.is_done(frames));
        }
        while waiting > 0 {
            poll.poll(events, Some(LIMIT)).expect("the poll works");
            assert!(!events.is_empty(), "the server has stopped answering");
            for event in &*events {
                let client = &mut clients[event.token().0];
                let was_done = client.is_done(frames);
                if event.is_readable() {
                    client.receive(frames, buf);
                }
                client.send(frames, *in_flight);
                waiting -= usize::from(!was_done && client.is_done(frames));
            }
        }
        messages
    }
}
