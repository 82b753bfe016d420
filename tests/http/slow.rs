//! Clients that take their answers slowly, on a clock that is driven by hand.

use std::cell::Cell;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bucle::http::{Exchange, Handler, HeaderMap, HeaderValue, Http, Options, Request, Response, StatusCode};
use bucle::net::{self, Socket};
use bucle::{EventLoop, Loop, ManualClock};

use super::LIMIT;

const SECOND: Duration = Duration::from_secs(1);

/// More than the kernel takes for a client that does not read.
const LARGE: usize = 24 * 1024 * 1024;

/// `/large` has a large answer. `/odd` is answered with a status that is none. `/shout` and `/again` become another
/// protocol, `/again` one that becomes HTTP again.
struct Site {
    aborted: Rc<Cell<usize>>,
    old: Rc<Cell<Option<Exchange>>>,
}

impl Handler for Site {
    fn on_request(&mut self, lp: &mut Loop, exchange: Exchange, request: &Request) {
        match request.path() {
            "/large" => _ = exchange.respond(lp, Response::new(vec![b'x'; LARGE])),
            "/odd" => _ = exchange.respond_text(lp, StatusCode::PROCESSING, "later"),
            "/odd-stream" => {
                let mut response = Response::new(());
                *response.status_mut() = StatusCode::EARLY_HINTS;
                exchange.begin(lp, response);
            }
            "/shout" => {
                let upgraded = exchange.upgrade(lp, &HeaderValue::from_static("shout"), &HeaderMap::new(), net::on());
                if upgraded.is_none() {
                    exchange.respond_text(lp, StatusCode::UPGRADE_REQUIRED, "no");
                }
            }
            _ => _ = exchange.respond_text(lp, StatusCode::OK, "hola"),
        }
    }
    fn on_upgrade(&mut self, lp: &mut Loop, exchange: Exchange, request: &Request) {
        if request.path() != "/again" {
            return self.on_request(lp, exchange, request);
        }
        self.old.set(Some(exchange));
        let old = Rc::clone(&self.old);
        // A protocol whose first bytes give the connection back to HTTP.
        let back = net::on().data(move |lp: &mut Loop, socket: Socket, _: &[u8]| {
            let site = Site { aborted: Rc::default(), old: Rc::clone(&old) };
            socket.upgrade(lp, Http::new(Options::default(), site), "");
        });
        exchange.upgrade(lp, &HeaderValue::from_static("back"), &HeaderMap::new(), back);
    }
    fn on_abort(&mut self, _: &mut Loop, _: Exchange) {
        self.aborted.set(self.aborted.get() + 1);
    }
}

/// A server on a loop in this thread, with one client that reads when the test says so.
struct World {
    event_loop: EventLoop,
    clock: ManualClock,
    client: TcpStream,
    received: Vec<u8>,
    has_ended: bool,
    old: Rc<Cell<Option<Exchange>>>,
}

impl World {
    fn new(options: Options) -> World {
        let clock = ManualClock::new();
        let mut event_loop = EventLoop::with_clock(clock.clone()).expect("a loop");
        let old = Rc::<Cell<Option<Exchange>>>::default();
        let site = Site { aborted: Rc::default(), old: Rc::clone(&old) };
        let port = event_loop.enter(|lp| {
            let server = net::listen(lp, ("127.0.0.1", 0), Http::new(options, site)).expect("a server");
            server.port(lp).expect("it is bound")
        });
        let client = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        client.set_nonblocking(true).expect("a socket");
        World { event_loop, clock, client, received: Vec::new(), has_ended: false, old }
    }

    fn send(&mut self, text: &str) {
        self.client.write_all(text.as_bytes()).expect("it is short");
    }

    fn turn(&mut self) {
        self.event_loop.turn(Some(Duration::from_millis(1))).expect("the poll works");
    }

    /// Lets time pass in which the client does not read.
    fn pass(&mut self, seconds: u32) {
        for _ in 0..seconds {
            (0..20).for_each(|_| self.turn());
            self.clock.advance(SECOND);
        }
        (0..20).for_each(|_| self.turn());
    }

    /// Reads once, at most `most` bytes. Returns whether there was something.
    fn read(&mut self, most: usize) -> bool {
        let mut buf = vec![0; most];
        match self.client.read(&mut buf) {
            Ok(0) => self.has_ended = true,
            Ok(n) => self.received.extend_from_slice(&buf[..n]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("{error} after {} bytes", self.received.len()),
        }
        true
    }

    fn until(&mut self, what: &str, is_there: impl Fn(&World) -> bool) {
        let limit = Instant::now() + LIMIT;
        while !is_there(self) {
            assert!(Instant::now() < limit, "{what} has not come, but {:?}", self.last());
            self.turn();
            self.read(1024 * 1024);
        }
    }

    /// The end of what was received.
    fn last(&self) -> String {
        String::from_utf8_lossy(&self.received[self.received.len().saturating_sub(200)..]).into_owned()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.received).into_owned()
    }

    fn connections(&mut self) -> usize {
        self.event_loop.enter(|lp| lp.metrics().connections)
    }

    /// How many bytes of the answer the kernel has taken.
    fn bytes_written(&mut self) -> u64 {
        self.event_loop.enter(|lp| lp.metrics().bytes_written)
    }
}

fn get(path: &str, more: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n{more}\r\n")
}

/// The ways in which an answer is the last one of its connection.
fn last_answers() -> Vec<(&'static str, String, bool)> {
    vec![
        ("the client wants a close", get("/large", "Connection: close\r\n"), false),
        ("HTTP/1.0", "GET /large HTTP/1.0\r\nHost: a\r\n\r\n".to_owned(), false),
        ("the client has ended", get("/large", ""), true),
        ("a refused request follows", get("/large", "") + "no request\r\n\r\n", false),
    ]
}

#[test]
fn a_client_that_is_slow_gets_the_whole_last_answer() {
    for (name, request, ends) in last_answers() {
        let mut world = World::new(Options::default());
        world.send(&request);
        if ends {
            world.client.shutdown(Shutdown::Write).expect("a socket");
        }
        // It takes nothing for long, and then a little at a time.
        for _ in 0..4 {
            world.pass(20);
            let written = world.bytes_written();
            (0..64).for_each(|_| _ = world.read(64 * 1024));
            // The kernel has its own clock: on a busy machine it takes more of the answer only later.
            let limit = Instant::now() + LIMIT;
            while written < LARGE as u64 && world.bytes_written() == written {
                assert!(Instant::now() < limit, "{name}: the server cannot write");
                world.turn();
                world.read(64 * 1024);
            }
        }
        world.until("the end", |world| world.has_ended);
        let count = world.received.iter().filter(|byte| **byte == b'x').count();
        assert!(count >= LARGE, "{name}: {count} of {LARGE} bytes, {:?}", world.last());
        assert_eq!(world.text().contains(" 400 "), name.contains("refused"), "{name}");
    }
}

#[test]
fn a_client_that_takes_nothing_of_its_last_answer_is_disconnected() {
    for (name, request, ends) in last_answers() {
        if name.contains("refused") {
            // The refusal comes when the client has read the answer before it: there is no last answer yet.
            continue;
        }
        let mut world = World::new(Options::default());
        world.send(&request);
        if ends {
            world.client.shutdown(Shutdown::Write).expect("a socket");
        }
        world.pass(25);
        assert_eq!(world.connections(), 1, "{name}: it may be slow");
        world.pass(10);
        assert_eq!(world.connections(), 0, "{name}");
    }
}

#[test]
fn the_time_between_two_requests_begins_when_the_answer_is_sent() {
    let mut world = World::new(Options::default());
    world.send(&get("/large", ""));
    world.pass(20);
    world.until("the answer", |world| world.received.len() > LARGE);
    world.send(&get("/", ""));
    world.until("the next answer", |world| world.received.ends_with(b"hola"));
    world.pass(6);
    world.until("the end", |world| world.has_ended);
    assert!(world.received.ends_with(b"hola"), "{}", world.last());
}

#[test]
fn requests_that_wait_for_a_slow_client_are_answered_and_not_refused() {
    let options = Options { head_timeout: SECOND, body_timeout: SECOND, keep_alive: SECOND, ..Options::default() };
    let mut world = World::new(options);
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nhola";
    world.send(&(get("/large", "") + &get("/", "") + post));
    world.pass(20);
    world.until("all answers", |world| world.text().matches("\r\n\r\nhola").count() == 2);
    assert_eq!(world.text().matches(" 200 ").count(), 3);
}

#[test]
fn a_head_that_begins_in_the_read_of_another_request_has_the_limit_of_a_head() {
    for keep_alive in [Duration::ZERO, Duration::from_secs(75)] {
        for first in ["/", "/large"] {
            let options = Options { keep_alive, ..Options::default() };
            let mut world = World::new(options);
            world.send(&(get(first, "") + "GET / HTT"));
            let size = if first == "/" { 100 } else { LARGE };
            world.until("the answer", |world| world.received.len() > size);
            world.pass(9);
            world.read(1000);
            assert!(!world.has_ended && !world.text().contains("408"), "{keep_alive:?} {first}");
            // A check that comes while bytes are on their way is repeated.
            world.pass(11);
            world.until("the end", |world| world.has_ended);
            assert!(world.text().contains("HTTP/1.1 408 "), "{keep_alive:?} {first}: {}", world.last());
        }
    }
}

#[test]
fn line_breaks_behind_a_request_are_not_the_beginning_of_another() {
    let mut world = World::new(Options::default());
    world.send(&(get("/", "") + "\r\n\r\n"));
    world.until("the answer", |world| world.received.ends_with(b"hola"));
    world.pass(6);
    world.until("the end", |world| world.has_ended);
    assert!(world.received.ends_with(b"hola"), "no 408: {}", world.last());
    // In front of the first request they are allowed, and are none, either.
    let mut world = World::new(Options::default());
    world.send(&format!("\r\n{}", get("/", "")));
    world.until("the answer", |world| world.received.ends_with(b"hola"));
}

#[test]
fn an_interim_status_is_no_answer() {
    for path in ["/odd", "/odd-stream"] {
        let mut world = World::new(Options::default());
        world.send(&(get(path, "") + &get("/", "")));
        world.until("both answers", |world| world.received.ends_with(b"hola"));
        let text = world.text();
        let statuses: Vec<&str> = text.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
        assert_eq!(statuses, ["500", "200"], "{path}");
    }
}

#[test]
fn a_request_that_does_not_ask_for_another_protocol_does_not_get_one() {
    let mut world = World::new(Options::default());
    world.send(&(get("/shout", "") + &get("/", "")));
    world.until("both answers", |world| world.received.ends_with(b"hola"));
    assert!(world.text().starts_with("HTTP/1.1 426 "), "{}", world.text());
}

#[test]
fn an_exchange_does_not_name_a_request_of_a_later_time_of_its_connection() {
    let mut world = World::new(Options::default());
    world.send(&get("/again", "Upgrade: back\r\nConnection: upgrade\r\n"));
    world.until("the upgrade", |world| world.received.ends_with(b"\r\n\r\n"));
    world.send("back");
    world.turn();
    // The next request of this connection waits for its answer when the old exchange is answered.
    let old = world.old.get().expect("there was an upgrade");
    world.pass(1);
    world.event_loop.enter(|lp| {
        assert!(!old.is_open(lp));
        old.respond_text(lp, StatusCode::OK, "old");
    });
    world.send(&get("/", ""));
    world.until("the answer", |world| world.received.ends_with(b"hola"));
    assert!(!world.text().contains("old"), "{}", world.text());
}
