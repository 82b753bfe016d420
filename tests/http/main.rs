//! The HTTP server, as clients see it: bytes in, bytes out, over real connections.

#![cfg(feature = "http")]

mod answers;
mod client;
mod events;
mod limits;
#[path = "../support/events.rs"]
mod net_events;
mod refused_bodies;
mod slow;
mod upgrade;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bucle::http::{self, Asset, Exchange, Handler, Options, Request, Response, StatusCode};
use bucle::net::{Drain, Server};
use bucle::{EventLoop, Loop, Remote};

/// No test waits longer than this for something that has to come.
const LIMIT: Duration = Duration::from_secs(60);

/// Answers by the path of the request, and reports its events.
struct Site {
    events: Sender<String>,
    asset: Asset,
    /// The exchange of `/later`, `/stream` or `/never`.
    open: Option<Exchange>,
}

impl Site {
    fn note(&self, what: impl Into<String>) {
        // After the test the receiver is gone.
        let _ = self.events.send(what.into());
    }
}

impl Handler for Site {
    fn on_request(&mut self, lp: &mut Loop, exchange: Exchange, request: &Request) {
        self.note(format!("{} {}", request.method(), request.target()));
        match request.path() {
            "/echo" => {
                exchange.respond(lp, Response::new(request.body().to_vec()));
            }
            "/upgrade-required" => {
                let response = Response::builder().status(426).header("upgrade", "shout").body("shout!");
                exchange.respond(lp, response.expect("a response"));
            }
            "/empty" => {
                let response = Response::builder().status(204).header("x-a", "b").body("ignored");
                exchange.respond(lp, response.expect("a response"));
            }
            "/later" => {
                self.open = Some(exchange);
                let target = request.target().to_owned();
                lp.set_timeout(Duration::from_millis(30), move |lp| {
                    exchange.respond(lp, Response::new(target));
                });
            }
            "/never" => self.open = Some(exchange),
            "/stream" => {
                self.open = Some(exchange);
                exchange.begin(lp, Response::new(()));
                exchange.write(lp, "one");
                exchange.write(lp, "");
                lp.set_timeout(Duration::from_millis(10), move |lp| {
                    exchange.write(lp, "three");
                    exchange.end(lp);
                });
            }
            "/events" => {
                exchange.begin_events(lp);
                exchange.send_event(lp, "", "hola");
                exchange.send_event(lp, "news\nid: 1", "two\r\nlines");
                self.open = Some(exchange);
            }
            "/twice" => {
                exchange.respond(lp, Response::new("once"));
                exchange.respond(lp, Response::new("twice"));
                exchange.write(lp, "more");
                exchange.end(lp);
            }
            "/asset" => {
                exchange.serve(lp, request, &self.asset);
            }
            "/large" => {
                exchange.respond(lp, Response::new(vec![b'x'; 300_000]));
            }
            path => {
                exchange.respond_text(lp, StatusCode::NOT_FOUND, format!("no {path}\n"));
            }
        }
    }

    fn on_head(&mut self, lp: &mut Loop, exchange: Exchange, request: &Request) {
        self.note(format!("head {}", request.target()));
        match request.path() {
            "/forbidden" => {
                exchange.respond_text(lp, StatusCode::FORBIDDEN, "no\n");
            }
            "/too-large" => {
                exchange.respond_text(lp, StatusCode::PAYLOAD_TOO_LARGE, "at most 10 bytes\n");
            }
            "/begun" => {
                exchange.begin(lp, Response::new(()));
                exchange.write(lp, "one");
            }
            "/refused-later" => {
                lp.set_timeout(Duration::from_millis(30), move |lp| {
                    exchange.respond_text(lp, StatusCode::FORBIDDEN, "no\n");
                });
            }
            _ => {}
        }
    }

    fn on_upgrade(&mut self, lp: &mut Loop, exchange: Exchange, request: &Request) {
        self.note(format!("upgrade {}", request.target()));
        match request.path() {
            "/shout" => upgrade::shout(lp, exchange),
            "/shout-later" => {
                lp.set_timeout(Duration::from_millis(20), move |lp| upgrade::shout(lp, exchange));
            }
            _ => self.on_request(lp, exchange, request),
        }
    }

    fn on_drain(&mut self, _: &mut Loop, _: Exchange) {
        self.note("drain");
    }
    fn on_end(&mut self, lp: &mut Loop, exchange: Exchange) {
        self.note("end");
        // A stream of events ends when its reader has gone.
        exchange.end(lp);
    }
    fn on_abort(&mut self, lp: &mut Loop, exchange: Exchange) {
        assert!(!exchange.is_open(lp));
        assert!(!exchange.respond(lp, Response::new("too late")));
        self.note("abort");
    }
    fn on_going_away(&mut self, lp: &mut Loop, exchange: Exchange) {
        self.note("going away");
        exchange.end(lp);
    }
}

/// A server on a loop in a thread.
struct Running {
    port: u16,
    server: Server<http::Http<Site>>,
    remote: Remote,
    events: Receiver<String>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn new(options: Options) -> Running {
        let (events, received) = mpsc::channel();
        let (ready, started) = mpsc::channel();
        let thread = thread::spawn(move || {
            let mut event_loop = EventLoop::new().expect("a loop");
            event_loop.enter(|lp| {
                let asset = Asset::new("text/plain; charset=utf-8", "¡Bienvenido!").header("x-extra", "yes");
                let site = Site { events, asset, open: None };
                let server = http::listen(lp, ("127.0.0.1", 0), options, site).expect("a server");
                ready.send((server, server.port(lp).expect("it is bound"), lp.remote())).expect("the test waits");
            });
            event_loop.run().expect("it runs");
        });
        let (server, port, remote) = started.recv_timeout(LIMIT).expect("the server starts");
        Running { port, server, remote, events: received, thread: Some(thread) }
    }

    fn with_defaults() -> Running {
        Running::new(Options::default())
    }

    fn connect(&self) -> TcpStream {
        let client = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        client.set_read_timeout(Some(LIMIT)).expect("a socket");
        client
    }

    /// Sends `request` and a FIN, and returns all that comes back.
    fn converse(&self, request: &str) -> String {
        let mut client = self.connect();
        client.write_all(request.as_bytes()).expect("it reads");
        client.shutdown(Shutdown::Write).expect("a socket");
        read_to_end(&mut client)
    }

    /// Sends `request`, and returns all that comes back until the server closes.
    fn send(&self, request: &str) -> String {
        let mut client = self.connect();
        client.write_all(request.as_bytes()).expect("it reads");
        read_to_end(&mut client)
    }

    /// The next event of the handler.
    fn event(&self) -> String {
        self.events.recv_timeout(LIMIT).expect("an event")
    }

    /// How many bytes the server has read from all clients.
    fn bytes_read(&self) -> u64 {
        let (sender, receiver) = mpsc::channel();
        self.run(move |lp, _| sender.send(lp.metrics().bytes_read).expect("the test waits"));
        receiver.recv_timeout(LIMIT).expect("the loop runs")
    }

    fn run(&self, f: impl FnOnce(&mut Loop, Server<http::Http<Site>>) + Send + 'static) {
        let server = self.server;
        assert!(self.remote.post(move |lp| f(lp, server)), "the loop runs");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.remote.post(|lp| lp.stop());
        let result = self.thread.take().map(JoinHandle::join);
        assert!(thread::panicking() || matches!(result, Some(Ok(()))), "the loop has panicked");
    }
}

fn read_to_end(client: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut buf = [0; 4096];
    loop {
        match client.read(&mut buf) {
            Ok(0) => break,
            Ok(n) => bytes.extend_from_slice(&buf[..n]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&bytes)),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads until `end` has arrived.
fn read_until(client: &mut TcpStream, end: &str) -> String {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(end.as_bytes()) {
        match client.read(&mut byte) {
            Ok(0) => panic!("closed after {:?}", String::from_utf8_lossy(&bytes)),
            Ok(_) => bytes.push(byte[0]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&bytes)),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The answers without their `Date`, which differs.
fn without_date(answers: &str) -> String {
    let mut kept = String::new();
    for line in answers.split_inclusive("\r\n") {
        match line.strip_prefix("Date: ") {
            Some(date) => assert!(date.ends_with(" GMT\r\n"), "{date:?} is no date of HTTP"),
            None => kept.push_str(line),
        }
    }
    kept
}

#[test]
fn a_drain_answers_what_has_arrived_ends_streams_and_closes_idle_connections() {
    let running = Running::with_defaults();
    let mut idle = running.connect();
    let mut later = running.connect();
    let mut stream = running.connect();
    later.write_all(b"GET /later HTTP/1.1\r\nHost: a\r\n\r\n").expect("it reads");
    assert_eq!(running.event(), "GET /later");
    stream.write_all(b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n").expect("it reads");
    assert_eq!(running.event(), "GET /events");
    running.run(|lp, server| server.drain(lp, Drain::default()));
    let answer = read_to_end(&mut later);
    assert!(answer.contains("\r\nConnection: close\r\n") && answer.ends_with("/later"), "{answer}");
    assert!(read_to_end(&mut stream).ends_with("0\r\n\r\n"), "the stream is complete");
    assert_eq!(read_to_end(&mut idle), "");
    // Both exchanges were open.
    assert_eq!([running.event(), running.event()], ["going away", "going away"]);
}

#[test]
fn a_full_server_answers_503_with_retry_after() {
    let running = Running::with_defaults();
    running.run(|lp, server| server.set_max_connections(lp, 1));
    let mut first = running.connect();
    first.write_all(b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n").expect("it reads");
    assert_eq!(running.event(), "GET /never");
    let answer = read_to_end(&mut running.connect());
    assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n") && answer.contains("\r\nRetry-After: 5\r\n"));
}
