//! Recorded sessions of HTTP and WebSocket, run again with every answer of the kernel to every call, as in
//! `faults/replays.rs`.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::Book;
use super::watched::{WatchedRoom, WatchedSite};
use crate::faults::replays::{Context, Fault, replay_with_any_answer, replay_with_harmless_answers, world_with};
use crate::faults::{Step, World};
use crate::http::{self, Exchange, Http, Request, StatusCode};
use crate::net::simulated::Call;
use crate::net::{Drain, Error, ServerId, ServerOptions};
use crate::websocket::frame::{Header, Opcode};
use crate::websocket::{self, ClientOptions, CloseCode, DeflateOptions, Endpoint, Message, Options, WebSocket};
use crate::{Loop, websocket::mask::apply_mask};

struct Session {
    name: &'static str,
    set_up: fn(&mut World, &Book),
    /// Time or the order of the peers decides, so harmless answers may make a difference.
    is_a_race: bool,
    /// Texts that must be among the results when nothing fails.
    want: &'static [&'static str],
}

pub(super) const REQUEST: &str = "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

const SESSIONS: &[Session] = &[
    Session {
        name: "requests sent ahead, in pieces",
        set_up: |world, book| {
            serve(world, book, Options::default());
            world.client(0, [
                send("GET /one HTTP/1.1\r\nHost: a\r\n\r\nGET /late HTT"),
                send("P/1.1\r\nHost: a\r\n\r\nPOST /three HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab"),
                send("c\r\n0\r\n\r\nHEAD /four HTTP/1.1\r\nHost: a\r\n\r\nGET /five HTTP/1.1\r\nHost: a\r\n\r\n"),
                Step::Fin,
            ]);
        },
        is_a_race: false,
        want: &["GET /late \"\": {Request, End}, Whole", "POST /three \"abc\"", "HEAD /four", "GET /five"],
    },
    Session {
        name: "a body that waits for 100 Continue, a body that is refused",
        set_up: |world, book| {
            serve(world, book, Options::default());
            world.client(
                0,
                [
                    send("PUT /file HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"),
                    Step::Wait,
                    send("12345"),
                    Step::Fin,
                ],
            );
            world.client(1, [send("PUT /refused HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n123"), Step::Fin]);
        },
        is_a_race: true,
        want: &["PUT /file \"12345\": {Head, Request}, Whole", "PUT /refused \"\": {Head}, Whole"],
    },
    Session {
        name: "a stream for a slow reader",
        set_up: |world, book| {
            serve_with(world, book, Options::default(), 300);
            world.client(
                0,
                [
                    Step::Window(300),
                    send("GET /stream HTTP/1.1\r\nHost: a\r\n\r\nGET /after HTTP/1.1\r\nHost: a\r\n\r\n"),
                    Step::Take(200),
                    Step::Take(1_000),
                    Step::Take(1_000_000),
                ],
            );
        },
        is_a_race: false,
        want: &["GET /stream \"\": {Request}, Whole", "GET /after"],
    },
    Session {
        name: "a request that is refused",
        set_up: |world, book| {
            serve(world, book, Options::default());
            let bytes = "GET /one HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\nGET /never HTTP/1.1\r\n";
            world.client(0, [send(bytes), Step::Wait, send("Host: a\r\n\r\n"), Step::Fin]);
        },
        is_a_race: false,
        want: &["GET /one"],
    },
    Session {
        name: "echo, with frames behind the request",
        set_up: |world, book| {
            serve(world, book, Options::default());
            let mut bytes = format!("GET / HTTP/1.1\r\nHost: a\r\n\r\n{REQUEST}\r\n").into_bytes();
            bytes.extend_from_slice(&frame(Opcode::Text, true, b"hola"));
            bytes.extend_from_slice(&frame(Opcode::Text, false, b"in \xc3"));
            world.client(
                0,
                [
                    Step::Send(bytes),
                    Step::Send([frame(Opcode::Ping, true, b"?"), frame(Opcode::Continuation, true, b"\xb1")].concat()),
                    Step::Send(frame(Opcode::Binary, true, &[7; 300])),
                    Step::Send(frame(Opcode::Close, true, &1000_u16.to_be_bytes())),
                    Step::Wait,
                    Step::Fin,
                ],
            );
        },
        is_a_race: false,
        want: &["[Text(\"hola\"), Ping([63]), Text(\"in ñ\"), Binary(", "code Some(CloseCode(1000))"],
    },
    Session {
        name: "echo to a slow reader",
        set_up: |world, book| {
            serve_with(world, book, Options::default(), 300);
            let large = |byte| Step::Send(frame(Opcode::Binary, true, &[byte; 900]));
            world.client(
                0,
                [
                    Step::Window(500),
                    Step::Send([format!("{REQUEST}\r\n").as_bytes(), &frame(Opcode::Text, true, b"one")].concat()),
                    large(1),
                    large(2),
                    Step::Take(300),
                    Step::Send(frame(Opcode::Ping, true, b"?")),
                    Step::Take(1_000_000),
                    Step::Send(frame(Opcode::Close, true, b"")),
                    Step::Wait,
                    Step::Fin,
                ],
            );
        },
        is_a_race: false,
        want: &["Text(\"one\"), Binary([1,", "code Some(CloseCode(1005))"],
    },
    Session {
        name: "this side closes",
        set_up: |world, book| {
            serve(world, book, Options::default());
            world.client(
                0,
                [
                    Step::Send([format!("{REQUEST}\r\n").as_bytes(), &frame(Opcode::Text, true, b"bye")].concat()),
                    Step::Send(frame(Opcode::Text, true, b"too late")),
                    Step::Wait,
                    Step::Send(frame(Opcode::Close, true, &3000_u16.to_be_bytes())),
                    Step::Fin,
                ],
            );
        },
        is_a_race: false,
        want: &["close: Some(CloseCode(3000))"],
    },
    Session {
        name: "a frame without a mask",
        set_up: |world, book| {
            serve(world, book, Options::default());
            world.client(
                0,
                [
                    Step::Send([format!("{REQUEST}\r\n").as_bytes(), &frame(Opcode::Text, true, b"good")].concat()),
                    send("\x01\x03bad"),
                    Step::Send(frame(Opcode::Text, true, b"never received")),
                    Step::Wait,
                    Step::Fin,
                ],
            );
        },
        is_a_race: false,
        want: &["[Text(\"good\")]", "code Some(CloseCode(1002))"],
    },
    Session {
        name: "a peer that never answers a close, and one that is quiet",
        set_up: |world, book| {
            serve(world, book, Options { idle_limit: Duration::from_secs(9), ..Options::default() });
            let bye = frame(Opcode::Text, true, b"bye");
            world.client(0, [Step::Send([format!("{REQUEST}\r\n").as_bytes(), &bye].concat())]);
            world.client(1, [send(format!("{REQUEST}\r\n"))]);
        },
        is_a_race: true,
        want: &["Ping([])", "code Some(CloseCode(1006))"],
    },
    Session {
        name: "a decision that comes later, and one that comes too late",
        set_up: |world, book| {
            serve(world, book, Options::default());
            let request = REQUEST.replace("/ws", "/later");
            let bytes = [format!("{request}\r\n").as_bytes(), &frame(Opcode::Text, true, b"early")].concat();
            world.client(0, [Step::Send(bytes.clone()), Step::Wait, Step::Wait, Step::Wait, Step::Wait, Step::Wait]);
            world.client(0, [Step::Send(bytes), Step::Reset]);
        },
        is_a_race: true,
        want: &["[Text(\"early\")]", "{Request, Abort}"],
    },
    Session {
        name: "compressed messages",
        set_up: |world, book| {
            let deflate = DeflateOptions { threshold: 10, ..DeflateOptions::default() };
            serve(world, book, Options { deflate: Some(deflate), ..Options::default() });
            let request = format!("{REQUEST}Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n");
            // RFC 7692, 7.2.3.1: "Hello", compressed; then a message that cannot be inflated.
            let mut hello = frame(Opcode::Text, true, b"\xf2\x48\xcd\xc9\xc9\x07\x00");
            let mut wrong = frame(Opcode::Text, true, b"\xff\xff\xff");
            (hello[0], wrong[0]) = (hello[0] | 0x40, wrong[0] | 0x40);
            world.client(
                0,
                [
                    send(request),
                    Step::Send(hello),
                    Step::Send(frame(Opcode::Text, true, &[b'x'; 1000])),
                    Step::Send(wrong),
                    Step::Wait,
                    Step::Fin,
                ],
            );
        },
        is_a_race: false,
        want: &["[Text(\"Hello\"), Text(\"xxx", "code Some(CloseCode(1007))"],
    },
    Session {
        name: "a topic, of which one subscriber leaves",
        set_up: |world, book| {
            serve(world, book, Options::default());
            let hola = || Step::Send(frame(Opcode::Text, true, b"all: hola"));
            for turn in 0..3 {
                world.client(turn, [send(format!("{REQUEST}\r\n")), Step::Wait, Step::Wait, hola(), Step::Fin]);
            }
            world.client(1, [send(format!("{REQUEST}\r\n")), Step::Wait, Step::Wait, hola(), Step::Reset]);
        },
        is_a_race: true,
        want: &["sent [Text(\"all: hola\")"],
    },
    Session {
        name: "a drain",
        set_up: |world, book| {
            let server = serve(world, book, Options::default());
            let frames = [frame(Opcode::Text, true, b"one"), frame(Opcode::Close, true, b"")];
            world.client(0, [send(format!("{REQUEST}\r\n")), Step::Wait, Step::Wait, Step::Send(frames.concat())]);
            world.client(0, [send("GET /never HTTP/1.1\r\nHost: a\r\n\r\n"), Step::Wait, Step::Wait, Step::Wait]);
            world.enter(|lp| {
                lp.set_timeout(Duration::from_secs(1), move |lp| server.drain(lp, Drain::default()));
            });
        },
        is_a_race: true,
        want: &["GoingAway"],
    },
    Session {
        name: "a client",
        set_up: |world, book| {
            let behind = [b"\x81\x05first", &b"\x89\x01?"[..]].concat();
            world.remote_server([
                Step::Accept,
                Step::Wait,
                Step::Switch(behind),
                Step::Wait,
                send(b"\x01\x02ho"),
                send(b"\x80\x02la"),
                send(b"\x88\x02\x03\xe8"),
                Step::Wait,
                Step::Fin,
            ]);
            connect(world, book, Options::default());
        },
        is_a_race: false,
        want: &[
            "[Text(\"first\"), Ping([63]), Text(\"hola\")]",
            "sent [Text(\"open\"), Text(\"first\")",
            "CloseCode(1000)",
        ],
    },
    Session {
        name: "a client that closes, a client that is refused, a client without an answer",
        set_up: |world, book| {
            world.remote_server([
                Step::Accept,
                Step::Switch(b"\x81\x03bye".to_vec()),
                Step::Wait,
                send(b"\x88\x00"),
                Step::Fin,
            ]);
            world.remote_server([
                Step::Accept,
                Step::Wait,
                send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 403 Forbidden\r\nContent-Le"),
                send("ngth: 5\r\n\r\nno"),
                send("pe\n"),
            ]);
            world.remote_server([Step::Accept, Step::Wait, Step::Fin]);
            for _ in 0..3 {
                connect(world, book, Options::default());
            }
        },
        is_a_race: true,
        want: &["Refused", "E_UNEXPECTED_RESPONSE", "E_BAD_RESPONSE", "CloseCode(1005)"],
    },
];

pub(super) fn send(bytes: impl AsRef<[u8]>) -> Step {
    Step::Send(bytes.as_ref().to_vec())
}

/// A frame of a client.
pub(super) fn frame(opcode: Opcode, fin: bool, payload: &[u8]) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let header = Header { fin, rsv1: false, opcode, mask: Some(mask), len: payload.len() as u64 };
    let (mut bytes, mut payload) = (header.encode().as_ref().to_vec(), payload.to_vec());
    apply_mask(&mut payload, mask, 0);
    bytes.extend_from_slice(&payload);
    bytes
}

/// Starts a server for requests and WebSockets.
fn serve(world: &mut World, book: &Book, options: Options) -> ServerId {
    serve_with(world, book, options, http::server_options().high_water_mark)
}

fn serve_with(world: &mut World, book: &Book, options: Options, high_water_mark: usize) -> ServerId {
    let room = WatchedRoom::new(book.clone(), Room { book: book.clone(), endpoint: Rc::default() });
    let shared = room.handler.endpoint.clone();
    let endpoint = world.enter(|lp| Endpoint::new(lp, options, room));
    *shared.borrow_mut() = Some(endpoint);
    let site = WatchedSite::new(book.clone(), Site { book: book.clone(), endpoint, pieces: 0 });
    world.at_the_end(move |lp| endpoint.release(lp));
    let options = ServerOptions { high_water_mark, ..http::server_options() };
    world.serve_unwatched(options, Http::new(http::Options::default(), site)).id()
}

/// Connects a client.
fn connect(world: &mut World, book: &Book, options: Options) {
    let room = WatchedRoom::new(book.clone(), Room { book: book.clone(), endpoint: Rc::default() });
    world.enter(|lp| {
        let endpoint = Endpoint::new(lp, options, room);
        let ws = endpoint.connect(lp, "ws://127.0.0.1:1/chat", &ClientOptions::default()).expect("a correct address");
        endpoint.release(lp);
        book.connected(ws);
    });
}

/// Answers requests in several ways, which their targets choose.
struct Site {
    book: Book,
    endpoint: Endpoint<WatchedRoom<Room>>,
    /// How many parts of the stream were sent.
    pieces: usize,
}

impl Site {
    fn stream(&mut self, lp: &mut Loop, exchange: Exchange) {
        while self.pieces < 8 {
            self.pieces += 1;
            if !self.book.write(lp, exchange, &[b'a' + self.pieces as u8; 200]) {
                return;
            }
        }
        self.book.end(lp, exchange);
    }
}

impl http::Handler for Site {
    fn on_request(&mut self, lp: &mut Loop, exchange: Exchange, request: &Request) {
        let book = self.book.clone();
        match request.path() {
            "/never" => {}
            "/late" => drop(lp.set_timeout(Duration::from_millis(500), move |lp| {
                book.respond(lp, exchange, StatusCode::OK, b"later");
            })),
            "/stream" => {
                book.begin(lp, exchange, StatusCode::OK);
                self.stream(lp, exchange);
            }
            path => book.respond(lp, exchange, StatusCode::OK, format!("this is {path}").as_bytes()),
        }
    }

    fn on_head(&mut self, lp: &mut Loop, exchange: Exchange, request: &Request) {
        if request.path() == "/refused" {
            self.book.respond(lp, exchange, StatusCode::FORBIDDEN, b"no");
        }
    }

    fn on_upgrade(&mut self, lp: &mut Loop, exchange: Exchange, request: &Request) {
        let Some(handshake) = self.book.handshake(lp, self.endpoint, exchange, request) else { return };
        let book = self.book.clone();
        if request.path() == "/later" {
            lp.set_timeout(Duration::from_secs(1), move |lp| book.accept(lp, handshake));
        } else {
            book.accept(lp, handshake);
        }
    }

    fn on_drain(&mut self, lp: &mut Loop, exchange: Exchange) {
        self.stream(lp, exchange);
    }

    fn on_error(&mut self, _: &mut Loop, _: crate::net::Socket, _: Error) {}
}

/// Echoes messages, publishes those that begin with `all`, and closes at `bye`.
struct Room {
    book: Book,
    endpoint: Rc<RefCell<Option<Endpoint<WatchedRoom<Room>>>>>,
}

impl websocket::Handler for Room {
    fn on_open(&mut self, lp: &mut Loop, ws: WebSocket) {
        ws.subscribe(lp, "all");
        if self.endpoint.borrow().is_none() {
            self.book.send(lp, ws, Message::Text("open"));
        }
    }

    fn on_message(&mut self, lp: &mut Loop, ws: WebSocket, message: Message<'_>) {
        match (message, *self.endpoint.borrow()) {
            (Message::Text("bye"), _) => self.book.close(lp, ws, CloseCode(3000), "good-bye"),
            (Message::Text(text), Some(endpoint)) if text.starts_with("all") => {
                self.book.publish(lp, endpoint, None, "all", message);
            }
            _ => drop(self.book.send(lp, ws, message)),
        }
    }

    fn on_error(&mut self, _: &mut Loop, _: WebSocket, _: Error) {}
}

/// Runs a session. Returns its calls and its results.
fn run(session: &Session, fault: Fault) -> (Vec<Call>, Vec<String>) {
    let _context = Context(session.name, fault);
    let (mut world, calls) = world_with(fault);
    let book = Book::new(world.kernel.clone());
    (session.set_up)(&mut world, &book);
    world.run();
    world.finish();
    book.check_at_the_end();
    let calls = calls.borrow().clone();
    (calls, book.results())
}

#[test]
fn the_sessions_have_the_expected_results() {
    for session in SESSIONS {
        let (calls, results) = run(session, Fault::Nothing);
        assert!(calls.len() >= 8, "{}: {calls:?}", session.name);
        for want in session.want {
            assert!(results.iter().any(|result| result.contains(want)), "{}: {want} in {results:#?}", session.name);
        }
    }
}

fn describe(session: &Session) -> (&'static str, bool) {
    (session.name, session.is_a_race)
}

#[test]
fn any_answer_to_any_call_breaks_no_promise() {
    replay_with_any_answer(SESSIONS, describe, run);
}

#[test]
fn a_harmless_answer_to_every_call_makes_no_difference() {
    replay_with_harmless_answers(SESSIONS, describe, run);
}
