//! WebSocket over real connections. The other side is a socket of the standard library and sends bytes by hand, or it
//! is tungstenite.

#![cfg(feature = "websocket")]

mod client;
mod closing;
mod deflate;
mod events;
mod handshake;
mod messages;
mod mixed;
#[path = "../support/events.rs"]
mod net_events;
mod slow;
mod topics;
mod tungstenite;
mod wire;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bucle::http::Request;
use bucle::http::head::ResponseHead;
use bucle::websocket::{
    self, Accept, ClientOptions, CloseCode, Endpoint, Handler, Handshake, Message, Options, Server, WebSocket,
};
use bucle::{Error, EventLoop, Loop, ManualClock};
use wire::*;

/// No test waits longer than this for something that has to come.
const LIMIT: Duration = Duration::from_secs(60);

/// Writes every event into the story, and executes the texts that are commands. Other messages are sent back.
#[derive(Default)]
struct Scribe {
    story: Rc<RefCell<Vec<String>>>,
    connections: Rc<RefCell<Vec<WebSocket>>>,
    /// Handshakes are kept here, if there is a place, instead of accepted.
    pending: Option<Rc<RefCell<Vec<Handshake<Scribe>>>>>,
    accept: Accept,
    /// Called right after the accept, in the callback of the handshake.
    after_accept: Option<fn(&mut Loop, WebSocket)>,
    /// Called in `on_open`.
    at_open: Option<fn(&mut Loop, WebSocket)>,
    /// Publishes to the topic `news` when a connection closes.
    reports_close: bool,
    /// Connects again when a connection closes, so many times.
    reconnects: Option<(Endpoint<Scribe>, String, u32)>,
}

impl Scribe {
    fn note(&self, ws: WebSocket, what: impl AsRef<str>) {
        let connections = self.connections.borrow();
        let number = connections.iter().position(|other| *other == ws);
        let number = number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        self.story.borrow_mut().push(format!("{number} {}", what.as_ref()));
    }
}

fn shown(message: Message<'_>) -> String {
    match message {
        Message::Text(text) if text.len() <= 60 => format!("text {text}"),
        Message::Text(text) => format!("text of {}", text.len()),
        Message::Binary(bytes) if bytes.len() <= 60 => format!("binary {}", bytes.escape_ascii()),
        Message::Binary(bytes) => format!("binary of {}", bytes.len()),
    }
}

impl Handler for Scribe {
    fn on_handshake(&mut self, lp: &mut Loop, handshake: Handshake<Self>, request: &Request) {
        assert_ne!(request.path(), "/panic", "on purpose");
        match &self.pending {
            Some(pending) => pending.borrow_mut().push(handshake),
            None => {
                let ws = handshake.accept_with(lp, self.accept.clone());
                if let (Some(f), Some(ws)) = (self.after_accept, ws) {
                    f(lp, ws);
                }
            }
        }
    }
    fn on_open(&mut self, lp: &mut Loop, ws: WebSocket) {
        self.connections.borrow_mut().push(ws);
        let protocol = ws.protocol(lp).map(|protocol| format!(" {protocol}")).unwrap_or_default();
        let compression = if ws.is_compressing(lp) { " compressing" } else { "" };
        self.note(ws, format!("open{protocol}{compression}"));
        if let Some(f) = self.at_open {
            f(lp, ws);
        }
    }
    fn on_message(&mut self, lp: &mut Loop, ws: WebSocket, message: Message<'_>) {
        self.note(ws, shown(message));
        let Message::Text(text) = message else {
            ws.send(lp, message);
            return;
        };
        let mut words = text.splitn(3, ' ');
        let (command, first, second) = (words.next(), words.next().unwrap_or(""), words.next().unwrap_or(""));
        match command {
            Some("close") => ws.close(lp, CloseCode(first.parse().expect("a code")), second),
            Some("terminate") => ws.terminate(lp),
            Some("pause") => ws.pause(lp),
            Some("ping") => {
                ws.ping(lp, first);
            }
            Some("panic") => panic!("on purpose"),
            Some("flood") => {
                let payload = vec![b'x'; second.parse().expect("a length")];
                (0..first.parse().expect("a number")).for_each(|_: u32| {
                    ws.send(lp, &payload);
                });
            }
            Some("subscribe") => {
                ws.subscribe(lp, first);
            }
            Some("unsubscribe") => {
                ws.unsubscribe(lp, first);
            }
            Some("publish") => {
                ws.publish(lp, first, second);
            }
            Some("shout") => ws.socket().upgrade(lp, shouting(), "head,"),
            Some("quiet") => {}
            _ => {
                ws.send(lp, message);
            }
        }
    }
    fn on_ping(&mut self, lp: &mut Loop, ws: WebSocket, payload: &[u8]) {
        self.note(ws, format!("ping {}", payload.escape_ascii()));
        match payload {
            b"pause" => ws.pause(lp),
            b"close" => ws.close(lp, CloseCode(4000), ""),
            b"terminate" => ws.terminate(lp),
            b"panic" => panic!("on purpose"),
            b"shout" => ws.socket().upgrade(lp, shouting(), ""),
            _ => {}
        }
    }
    fn on_pong(&mut self, _: &mut Loop, ws: WebSocket, payload: &[u8]) {
        self.note(ws, format!("pong {}", payload.escape_ascii()));
    }
    fn on_drain(&mut self, _: &mut Loop, ws: WebSocket) {
        self.note(ws, "drain");
    }
    fn on_error(&mut self, _: &mut Loop, ws: WebSocket, error: Error) {
        self.note(ws, format!("error {}", error.code()));
    }
    fn on_close(&mut self, lp: &mut Loop, ws: WebSocket, code: CloseCode, reason: &str) {
        assert!(!ws.is_open(lp));
        assert!(!ws.send(lp, "too late") && !ws.ping(lp, "too late") && !ws.subscribe(lp, "too late"));
        self.note(ws, format!("closed {} {reason}", code.0).trim_end());
        assert_ne!(reason, "panic", "on purpose");
        if self.reports_close {
            ws.publish(lp, "news", "gone");
        }
        if let Some((endpoint, url, times @ 1..)) = &mut self.reconnects {
            *times -= 1;
            endpoint.connect(lp, url, &ClientOptions::default()).expect("it takes connections");
        }
    }
    fn on_unexpected_response(&mut self, _: &mut Loop, ws: WebSocket, response: &ResponseHead, body: &[u8]) {
        self.note(ws, format!("{} {}", response.status().as_u16(), body.escape_ascii()));
    }
}

/// A handler of another protocol, which answers in capitals.
fn shouting() -> impl bucle::net::Handler {
    bucle::net::on().data(|lp, socket, chunk| {
        socket.write(lp, chunk.to_ascii_uppercase());
    })
}

/// How a connection has ended, from the view of the other side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Fin,
    Reset,
}

/// The other side of a connection.
struct Peer {
    stream: TcpStream,
    /// Bytes that the kernel has not taken yet.
    unsent: VecDeque<u8>,
    received: Vec<u8>,
    /// Where the frames begin that no test has taken.
    taken: usize,
    reads: bool,
    end: Option<End>,
}

impl Peer {
    fn new(stream: TcpStream) -> Peer {
        stream.set_nonblocking(true).expect("a socket");
        stream.set_nodelay(true).expect("a socket");
        Peer { stream, unsent: VecDeque::new(), received: Vec::new(), taken: 0, reads: true, end: None }
    }

    fn rest(&self) -> &[u8] {
        &self.received[self.taken..]
    }

    fn work(&mut self) {
        while !self.unsent.is_empty() {
            match self.stream.write(self.unsent.as_slices().0) {
                Ok(n) => {
                    self.unsent.drain(..n);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => self.unsent.clear(),
            }
        }
        let mut buf = [0; 64 * 1024];
        while self.reads && self.end.is_none() {
            match self.stream.read(&mut buf) {
                Ok(0) => self.end = Some(End::Fin),
                Ok(n) => self.received.extend_from_slice(&buf[..n]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => self.end = Some(End::Reset),
            }
        }
    }
}

/// A loop in this thread with a server or clients of WebSocket, and the other sides of their connections.
struct Talk {
    event_loop: EventLoop,
    clock: ManualClock,
    story: Rc<RefCell<Vec<String>>>,
    connections: Rc<RefCell<Vec<WebSocket>>>,
    server: Option<Server<Scribe>>,
    port: u16,
    peers: Vec<Peer>,
}

impl Talk {
    fn empty() -> Talk {
        let clock = ManualClock::new();
        Talk {
            event_loop: EventLoop::with_clock(clock.clone()).expect("a loop"),
            clock,
            story: Rc::default(),
            connections: Rc::default(),
            server: None,
            port: 0,
            peers: Vec::new(),
        }
    }

    /// A server, without connections.
    fn server(options: Options, scribe: Scribe) -> Talk {
        let mut talk = Talk::empty();
        let scribe = Scribe { story: talk.story.clone(), connections: talk.connections.clone(), ..scribe };
        let (server, port) = talk.event_loop.enter(|lp| {
            let server = websocket::listen(lp, ("127.0.0.1", 0), options, scribe).expect("a free port");
            (server, server.port(lp).expect("it is bound"))
        });
        (talk.server, talk.port) = (Some(server), port);
        talk
    }

    /// A server, and one connection that is open.
    fn new(options: Options) -> Talk {
        let mut talk = Talk::server(options, Scribe::default());
        talk.open("");
        talk
    }

    /// One connection to a server, without a handshake. Returns its number.
    fn connect(&mut self) -> usize {
        self.peers.push(Peer::new(TcpStream::connect(("127.0.0.1", self.port)).expect("the server listens")));
        self.peers.len() - 1
    }

    /// One more connection that is open, with further headers in its request. Returns its number and the answer.
    fn open(&mut self, headers: &str) -> (usize, String) {
        let open = self.connections.borrow().len();
        let peer = self.connect();
        self.send(peer, request(headers));
        let answer = self.head(peer);
        assert!(answer.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{answer}");
        self.until("the connection", |talk| talk.connections.borrow().len() > open);
        (peer, answer)
    }

    fn enter<R>(&mut self, f: impl FnOnce(&mut Loop) -> R) -> R {
        self.event_loop.enter(f)
    }

    fn ws(&self, number: usize) -> WebSocket {
        self.connections.borrow()[number]
    }

    fn endpoint(&self) -> Endpoint<Scribe> {
        self.server.expect("it is a server").endpoint()
    }

    /// Turns the loop once, and lets the other sides read and write.
    fn turn(&mut self) {
        self.event_loop.turn(Some(Duration::from_millis(2))).expect("the poll works");
        self.peers.iter_mut().for_each(Peer::work);
    }

    fn until(&mut self, what: &str, mut is_there: impl FnMut(&mut Talk) -> bool) {
        let limit = Instant::now() + LIMIT;
        while !is_there(self) {
            if Instant::now() > limit {
                let rests: Vec<String> = self.peers.iter().map(show_rest).collect();
                panic!("waited for {what}: {:?}, {rests:?}", self.story.borrow());
            }
            self.turn();
        }
    }

    /// Some more turns, in which an event that must not happen could happen.
    fn settle(&mut self) {
        for _ in 0..5 {
            self.turn();
        }
    }

    fn send(&mut self, peer: usize, bytes: impl AsRef<[u8]>) {
        self.peers[peer].unsent.extend(bytes.as_ref());
        self.peers[peer].work();
    }

    /// Sends `bytes` and waits until the server has read them, so that later bytes come in another chunk.
    fn send_alone(&mut self, peer: usize, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        let read = |talk: &mut Talk| talk.enter(|lp| lp.metrics().bytes_read);
        let want = read(self) + bytes.len() as u64;
        self.send(peer, bytes);
        self.until("the read", |talk| read(talk) >= want);
    }

    fn text(&mut self, peer: usize, text: &str) {
        self.send(peer, masked(TEXT, text));
    }

    /// The head of an answer, or of a request.
    fn head(&mut self, peer: usize) -> String {
        let mut len = None;
        self.until("a head", |talk| {
            len = talk.peers[peer].rest().windows(4).position(|window| window == b"\r\n\r\n");
            len.is_some()
        });
        let peer = &mut self.peers[peer];
        let end = peer.taken + len.expect("it is there") + 4;
        let head = String::from_utf8_lossy(&peer.received[peer.taken..end]).into_owned();
        peer.taken = end;
        head
    }

    fn frame(&mut self, peer: usize) -> Frame {
        let mut frame = None;
        self.until("a frame", |talk| {
            frame = parse(talk.peers[peer].rest());
            frame.is_some()
        });
        let (frame, len) = frame.expect("it is there");
        self.peers[peer].taken += len;
        frame
    }

    #[track_caller]
    fn expect_frame(&mut self, peer: usize, name: &str, first: u8, payload: impl AsRef<[u8]>) {
        let frame = self.frame(peer);
        let want = Frame { first, mask: frame.mask, payload: payload.as_ref().to_vec() };
        assert!(frame == want, "{name}: {frame:?} instead of {want:?}");
    }

    /// Waits for the end of the connection. Nothing may be received before it.
    #[track_caller]
    fn expect_end(&mut self, peer: usize, name: &str, end: End) {
        self.until("the end", |talk| talk.peers[peer].end.is_some());
        assert_eq!(show_rest(&self.peers[peer]), "", "{name}: after the last frame");
        assert_eq!(self.peers[peer].end, Some(end), "{name}");
    }

    /// Waits for a line of the story, and for nothing after it.
    #[track_caller]
    fn expect_story(&mut self, name: &str, want: &[&str]) {
        let limit = Instant::now() + LIMIT;
        while self.story.borrow().len() < want.len() && Instant::now() < limit {
            self.turn();
        }
        self.settle();
        assert_eq!(*self.story.borrow(), want, "{name}");
        self.story.borrow_mut().clear();
    }

    /// Waits until this line is in the story, and forgets the story.
    fn until_told(&mut self, line: &str) {
        self.until(line, |talk| talk.story.borrow().iter().any(|told| told == line));
        self.story.borrow_mut().clear();
    }

    /// Checks that connection `number` still works.
    #[track_caller]
    fn expect_alive(&mut self, peer: usize, name: &str) {
        self.text(peer, "still there?");
        self.expect_frame(peer, name, TEXT, "still there?");
    }
}

fn show_rest(peer: &Peer) -> String {
    let rest = peer.rest();
    format!("{}", rest[..rest.len().min(300)].escape_ascii())
}

/// One connection of a client to a server of the standard library. The request is `talk.head(0)`.
fn call(options: Options, client_options: &ClientOptions) -> Talk {
    call_with(options, client_options, Scribe::default())
}

fn call_with(options: Options, client_options: &ClientOptions, scribe: Scribe) -> Talk {
    let mut talk = Talk::empty();
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    talk.port = listener.local_addr().expect("it is bound").port();
    let scribe = Scribe { story: talk.story.clone(), connections: talk.connections.clone(), ..scribe };
    let url = format!("ws://127.0.0.1:{}/chat?a=b", talk.port);
    talk.enter(|lp| {
        let endpoint = Endpoint::new(lp, options, scribe);
        endpoint.connect(lp, &url, client_options).expect("a good URL");
    });
    accept(&mut talk, &listener);
    talk
}

/// Accepts one connection.
fn accept(talk: &mut Talk, listener: &TcpListener) {
    listener.set_nonblocking(true).expect("a socket");
    talk.until("the connection", |talk| match listener.accept() {
        Ok((stream, _)) => {
            talk.peers.push(Peer::new(stream));
            true
        }
        Err(_) => false,
    });
}

/// The answer of a correct server to this request, with further headers.
fn answer(request: &str, headers: &str) -> String {
    let key = header(request, "Sec-WebSocket-Key").expect("a key");
    let accept = websocket::handshake::accept_key(key);
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{headers}\r\n"
    )
}

/// The value of a header, the first of its name.
fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .find_map(|line| line.split_once(": ").filter(|(found, _)| found.eq_ignore_ascii_case(name)))
        .map(|(_, value)| value)
}

/// Bytes without a pattern that a compressor could use, the same in every run.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = move || {
        // xorshift, "Xorshift RNGs" by Marsaglia, page 4.
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

fn silence_expected_panics() {
    std::panic::set_hook(Box::new(|info| {
        if !info.to_string().contains("on purpose") {
            eprintln!("{info}");
        }
    }));
}
