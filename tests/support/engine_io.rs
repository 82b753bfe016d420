//! A loop in this thread with a server of Engine.IO sessions, and raw clients at the other ends: requests, payloads and
//! frames as bytes.

#![allow(dead_code, reason = "each test needs a part of it")]

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use bucle::{EventLoop, Loop, ManualClock};

use crate::wire::{self, BINARY, CLOSE, Frame, KEY, TEXT, masked};

/// No test waits longer than this for something that has to come.
const LIMIT: Duration = Duration::from_secs(60);

/// The other side of a connection.
struct Peer {
    stream: TcpStream,
    /// Bytes that the kernel has not taken yet.
    unsent: VecDeque<u8>,
    received: Vec<u8>,
    /// Where the bytes begin that no test has taken.
    taken: usize,
    reads: bool,
    has_ended: bool,
}

impl Peer {
    fn work(&mut self) {
        while !self.unsent.is_empty() {
            match self.stream.write(self.unsent.as_slices().0) {
                Ok(n) => drop(self.unsent.drain(..n)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => self.unsent.clear(),
            }
        }
        let mut buf = [0; 64 * 1024];
        while self.reads && !self.has_ended {
            match self.stream.read(&mut buf) {
                Ok(0) => self.has_ended = true,
                Ok(n) => self.received.extend_from_slice(&buf[..n]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => self.has_ended = true,
            }
        }
    }

    fn rest(&self) -> &[u8] {
        &self.received[self.taken..]
    }
}

/// An answer to a request.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub bytes: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .find_map(|line| line.split_once(": ").filter(|(found, _)| found.eq_ignore_ascii_case(name)))
            .map(|(_, value)| value)
    }

    pub fn body(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// A session of a client that polls: its id, and one connection for each of its two requests.
#[derive(Clone, Debug)]
pub struct Polling {
    pub sid: String,
    pub get: Number,
    pub post: Number,
}

/// The number of a connection.
pub type Number = usize;

pub struct Talk {
    pub event_loop: EventLoop,
    pub clock: ManualClock,
    port: u16,
    /// The path of the sessions.
    path: &'static str,
    peers: Vec<Peer>,
}

impl Talk {
    pub fn new(path: &'static str, listen: impl FnOnce(&mut Loop) -> u16) -> Talk {
        let clock = ManualClock::new();
        let mut event_loop = EventLoop::with_clock(clock.clone()).expect("a loop");
        let port = event_loop.enter(listen);
        Talk { event_loop, clock, port, path, peers: Vec::new() }
    }

    /// New connections go to this port. Returns the port of before.
    pub fn set_port(&mut self, port: u16) -> u16 {
        std::mem::replace(&mut self.port, port)
    }

    pub fn enter<R>(&mut self, f: impl FnOnce(&mut Loop) -> R) -> R {
        self.event_loop.enter(f)
    }

    /// Turns the loop once, and lets the other sides read and write.
    pub fn turn(&mut self) {
        self.event_loop.turn(Some(Duration::from_millis(2))).expect("the poll works");
        self.peers.iter_mut().for_each(Peer::work);
    }

    #[track_caller]
    pub fn until(&mut self, what: &str, mut is_there: impl FnMut(&mut Talk) -> bool) {
        let limit = Instant::now() + LIMIT;
        while !is_there(self) {
            if Instant::now() > limit {
                let rests: Vec<String> = self.peers.iter().map(|peer| peer.rest().escape_ascii().to_string()).collect();
                panic!("waited for {what}; not taken: {rests:#?}");
            }
            self.turn();
        }
    }

    /// Some more turns, in which something that must not happen could happen.
    pub fn settle(&mut self) {
        for _ in 0..6 {
            self.turn();
        }
    }

    /// Time passes.
    pub fn pass(&mut self, time: Duration) {
        self.settle();
        self.clock.advance(time);
        self.settle();
    }

    pub fn connect(&mut self) -> Number {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("the server listens");
        stream.set_nonblocking(true).expect("a socket");
        stream.set_nodelay(true).expect("a socket");
        self.peers.push(Peer {
            stream,
            unsent: VecDeque::new(),
            received: Vec::new(),
            taken: 0,
            reads: true,
            has_ended: false,
        });
        self.peers.len() - 1
    }

    pub fn send(&mut self, peer: Number, bytes: impl AsRef<[u8]>) {
        self.peers[peer].unsent.extend(bytes.as_ref());
        self.peers[peer].work();
    }

    /// Sends `bytes` and waits until the server has read them, so that it reads nothing else before.
    #[track_caller]
    pub fn send_alone(&mut self, peer: Number, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        let read = |talk: &mut Talk| talk.enter(|lp| lp.metrics().bytes_read);
        let want = read(self) + bytes.len() as u64;
        self.send(peer, bytes);
        self.until("the read", |talk| read(talk) >= want);
    }

    /// The peer reads no more, until [`read_again`](Self::read_again).
    pub fn stop_reading(&mut self, peer: Number) {
        self.peers[peer].reads = false;
    }

    pub fn read_again(&mut self, peer: Number) {
        self.peers[peer].reads = true;
    }

    /// The peer closes its connection.
    pub fn cut(&mut self, peer: Number) {
        let _ = self.peers[peer].stream.shutdown(Shutdown::Both);
    }

    /// Whether the server has ended the connection, or the peer itself has.
    pub fn has_ended(&self, peer: Number) -> bool {
        self.peers[peer].has_ended
    }

    #[track_caller]
    pub fn expect_end(&mut self, peer: Number) {
        self.until("the end of a connection", |talk| talk.peers[peer].has_ended);
    }

    /// Bytes that have come and were not taken.
    pub fn rest(&self, peer: Number) -> &[u8] {
        self.peers[peer].rest()
    }

    /// The next answer, with a body of `Content-Length`.
    #[track_caller]
    pub fn answer(&mut self, peer: Number) -> Answer {
        let mut found = None;
        self.until("an answer", |talk| {
            found = parse(talk.peers[peer].rest());
            found.is_some()
        });
        let (answer, len) = found.expect("it is there");
        self.peers[peer].taken += len;
        answer
    }

    /// Sends a request without a body on a connection of its own, and returns the answer.
    #[track_caller]
    pub fn request(&mut self, method: &str, target: &str, headers: &str) -> Answer {
        let peer = self.connect();
        self.send(peer, request(method, target, headers, ""));
        self.answer(peer)
    }

    #[track_caller]
    pub fn get(&mut self, target: &str) -> Answer {
        self.request("GET", target, "")
    }

    /// The target of a request of a session.
    pub fn target(&self, transport: &str, sid: Option<&str>) -> String {
        let sid = sid.map(|sid| format!("&sid={sid}")).unwrap_or_default();
        format!("{}?EIO=4&transport={transport}{sid}", self.path)
    }

    // Sessions that poll.

    /// Opens a session that polls, with further parameters of the query and headers.
    #[track_caller]
    pub fn open_with(&mut self, query: &str, headers: &str) -> (Polling, Answer) {
        let (get, post) = (self.connect(), self.connect());
        let target = format!("{}{query}", self.target("polling", None));
        self.send(get, request("GET", &target, headers, ""));
        let answer = self.answer(get);
        assert_eq!(answer.status, 200, "{answer:?}");
        let body = answer.body();
        let open: serde_json::Value = serde_json::from_str(&body[1..]).expect("an open packet");
        let sid = open["sid"].as_str().expect("an id").to_owned();
        (Polling { sid, get, post }, answer)
    }

    #[track_caller]
    pub fn open(&mut self) -> Polling {
        self.open_with("", "").0
    }

    /// Sends a GET for the packets of the session.
    #[track_caller]
    pub fn poll(&mut self, session: &Polling) {
        let target = self.target("polling", Some(&session.sid));
        self.renew(session.get);
        self.send_alone(session.get, request("GET", &target, "", ""));
    }

    /// A connection without requests is closed after a while: makes a new one of the same number.
    fn renew(&mut self, peer: Number) {
        if self.peers[peer].has_ended {
            let new = self.connect();
            self.peers.swap(peer, new);
            self.peers.truncate(new);
        }
    }

    /// Sends a GET and returns the body of its answer.
    #[track_caller]
    pub fn polled(&mut self, session: &Polling) -> String {
        self.poll(session);
        self.packets(session)
    }

    /// The body of the answer to a GET that was sent.
    #[track_caller]
    pub fn packets(&mut self, session: &Polling) -> String {
        let answer = self.answer(session.get);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body()
    }

    /// Polls until this packet has come, and returns the packets before it.
    #[track_caller]
    pub fn polled_until(&mut self, session: &Polling, packet: &str) -> Vec<String> {
        let mut before = Vec::new();
        loop {
            let body = self.polled(session);
            let mut packets = body.split('\x1e').map(str::to_owned);
            if let Some(at) = packets.clone().position(|found| found == packet) {
                assert_eq!(at + 1, packets.clone().count(), "{packet} is the last packet of {body}");
                before.extend(packets.take(at));
                return before;
            }
            before.extend(packets.by_ref());
        }
    }

    /// Whether a GET waits for its answer.
    pub fn is_waiting(&mut self, session: &Polling) -> bool {
        self.settle();
        self.rest(session.get).is_empty()
    }

    /// Sends packets in a POST and returns the answer.
    #[track_caller]
    pub fn post(&mut self, session: &Polling, body: &str) -> Answer {
        self.begin_post(session, body);
        self.answer(session.post)
    }

    pub fn begin_post(&mut self, session: &Polling, body: &str) {
        let target = self.target("polling", Some(&session.sid));
        self.renew(session.post);
        self.send(session.post, request("POST", &target, "", body));
    }

    /// Sends packets in a POST that the server accepts.
    #[track_caller]
    pub fn posted(&mut self, session: &Polling, body: &str) {
        let answer = self.post(session, body);
        assert_eq!((answer.status, &*answer.body()), (200, "ok"), "{answer:?}");
    }

    // WebSocket connections.

    /// Opens a WebSocket connection, of a session or for a new one. The open packet is not taken.
    #[track_caller]
    pub fn websocket(&mut self, sid: Option<&str>) -> Number {
        let target = self.target("websocket", sid);
        let (peer, answer) = self.upgrade(&target, "");
        assert_eq!(answer.status, 101, "{answer:?}");
        peer
    }

    /// Asks for a WebSocket connection. Returns the number of the connection and the answer.
    #[track_caller]
    pub fn upgrade(&mut self, target: &str, headers: &str) -> (Number, Answer) {
        let peer = self.connect();
        self.send(peer, upgrade_request(target, headers));
        let answer = self.answer(peer);
        (peer, answer)
    }

    pub fn text(&mut self, peer: Number, text: &str) {
        self.send(peer, masked(TEXT, text));
    }

    pub fn binary(&mut self, peer: Number, bytes: &[u8]) {
        self.send(peer, masked(BINARY, bytes));
    }

    #[track_caller]
    pub fn frame(&mut self, peer: Number) -> Frame {
        let mut found = None;
        self.until("a frame", |talk| {
            found = wire::parse(talk.peers[peer].rest());
            found.is_some()
        });
        let (frame, len) = found.expect("it is there");
        self.peers[peer].taken += len;
        frame
    }

    /// The next text.
    #[track_caller]
    pub fn received(&mut self, peer: Number) -> String {
        let frame = self.frame(peer);
        assert_eq!(frame.first, TEXT, "{frame:?}");
        String::from_utf8(frame.payload).expect("UTF-8")
    }

    #[track_caller]
    pub fn expect(&mut self, peer: Number, text: &str) {
        assert_eq!(self.received(peer), text);
    }

    #[track_caller]
    pub fn expect_binary(&mut self, peer: Number, bytes: &[u8]) {
        let frame = self.frame(peer);
        assert_eq!((frame.first, &*frame.payload), (BINARY, bytes));
    }

    /// Nothing comes.
    #[track_caller]
    pub fn expect_nothing(&mut self, peer: Number) {
        self.settle();
        assert_eq!(self.rest(peer).escape_ascii().to_string(), "");
    }

    /// Waits for a close frame with this code.
    #[track_caller]
    pub fn expect_close(&mut self, peer: Number, code: u16) {
        let frame = self.frame(peer);
        assert_eq!(frame.first, CLOSE, "{frame:?}");
        // 1005 stands for a frame without a code.
        let code = (code != 1005).then_some(code.to_be_bytes());
        assert_eq!(frame.payload.get(..2), code.as_ref().map(|code| &code[..]), "{frame:?}");
    }

    /// Opens a session over WebSocket. Returns its connection and its open packet.
    #[track_caller]
    pub fn open_websocket(&mut self) -> (Number, serde_json::Value) {
        let peer = self.websocket(None);
        let open = self.received(peer);
        (peer, serde_json::from_str(open.strip_prefix('0').expect("an open packet")).expect("JSON"))
    }

    /// Moves a session that polls to a WebSocket connection, and returns it.
    #[track_caller]
    pub fn upgraded(&mut self, session: &Polling) -> Number {
        let ws = self.websocket(Some(&session.sid));
        self.text(ws, "2probe");
        self.expect(ws, "3probe");
        self.text(ws, "5");
        ws
    }
}

/// A request, with `Content-Length` if it is a POST.
pub fn request(method: &str, target: &str, headers: &str, body: &str) -> String {
    let length = if method == "POST" { format!("Content-Length: {}\r\n", body.len()) } else { String::new() };
    format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{headers}{length}\r\n{body}")
}

pub fn upgrade_request(target: &str, headers: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {KEY}\r\n\
         Sec-WebSocket-Version: 13\r\n{headers}\r\n"
    )
}

/// The answer at the front of `bytes`, and its length.
fn parse(bytes: &[u8]) -> Option<(Answer, usize)> {
    let head_len = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..head_len]).into_owned();
    let status = head.split(' ').nth(1)?.parse().expect("a status");
    let mut answer = Answer { status, head, bytes: Vec::new() };
    let len = answer.header("content-length").map_or(0, |length| length.parse().expect("a length"));
    answer.bytes = bytes.get(head_len..head_len + len)?.to_vec();
    Some((answer, head_len + len))
}
