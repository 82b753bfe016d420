//! Regression tests for bugs that random runs have found, one test for each.

use std::cell::RefCell;
use std::rc::Rc;

use super::replays::{REQUEST, frame, send};
use crate::Loop;
use crate::faults::{Step, World};
use crate::http::{self, Exchange, Http, Request};
use crate::websocket::frame::Opcode;
use crate::websocket::{self, ClientOptions, CloseCode, Endpoint, Message, Options, WebSocket};

type Callback = fn(&mut Loop, WebSocket);

/// Records its events, and calls a function in some of them.
struct Recorder {
    events: Rc<RefCell<Vec<String>>>,
    on_open: Callback,
    on_ping: Callback,
}

impl websocket::Handler for Recorder {
    fn on_open(&mut self, lp: &mut Loop, ws: WebSocket) {
        self.events.borrow_mut().push("open".to_owned());
        (self.on_open)(lp, ws);
    }
    fn on_ping(&mut self, lp: &mut Loop, ws: WebSocket, _: &[u8]) {
        self.events.borrow_mut().push("ping".to_owned());
        (self.on_ping)(lp, ws);
    }
    fn on_message(&mut self, _: &mut Loop, _: WebSocket, message: Message<'_>) {
        self.events.borrow_mut().push(format!("{message:?}"));
    }
    fn on_close(&mut self, _: &mut Loop, _: WebSocket, code: CloseCode, _: &str) {
        self.events.borrow_mut().push(format!("close {}", code.0));
    }
    fn on_error(&mut self, _: &mut Loop, _: WebSocket, error: crate::Error) {
        self.events.borrow_mut().push(error.code().to_owned());
    }
}

/// Upgrades every request.
struct Door(Endpoint<Recorder>);

impl http::Handler for Door {
    fn on_request(&mut self, _: &mut Loop, _: Exchange, _: &Request) {}
    fn on_upgrade(&mut self, lp: &mut Loop, exchange: Exchange, request: &Request) {
        if let Some(handshake) = self.0.handshake(lp, exchange, request) {
            handshake.accept(lp);
        }
    }
}

fn nothing(_: &mut Loop, _: WebSocket) {}

/// An endpoint whose events are recorded.
fn endpoint(world: &mut World, on_open: Callback, on_ping: Callback) -> (Endpoint<Recorder>, Rc<RefCell<Vec<String>>>) {
    let events = Rc::<RefCell<Vec<String>>>::default();
    let recorder = Recorder { events: events.clone(), on_open, on_ping };
    let endpoint = world.enter(|lp| Endpoint::new(lp, Options::default(), recorder));
    world.at_the_end(move |lp| endpoint.release(lp));
    (endpoint, events)
}

/// Runs a server and one client, which sends the request and these steps. Returns the events.
fn served(on_open: Callback, on_ping: Callback, steps: Vec<Step>) -> Vec<String> {
    let mut world = World::new();
    let (endpoint, events) = endpoint(&mut world, on_open, on_ping);
    world.serve_unwatched(http::server_options(), Http::new(http::Options::default(), Door(endpoint)));
    let request = send(format!("{REQUEST}\r\n"));
    world.client(0, [vec![request], steps].concat());
    world.run();
    world.finish();
    events.take()
}

#[test]
fn no_message_comes_after_a_resume_and_a_terminate() {
    let stops: Callback = |lp, ws| {
        ws.pause(lp);
        lp.set_immediate(move |lp| {
            ws.resume(lp);
            ws.terminate(lp);
        });
    };
    let frames = [frame(Opcode::Ping, true, b""), frame(Opcode::Text, true, b"late")];
    assert_eq!(served(nothing, stops, vec![Step::Send(frames.concat())]), ["open", "ping", "close 1006"]);
}

#[test]
fn the_rest_of_a_message_on_a_broken_connection_is_no_violation() {
    let breaks: Callback = |lp, ws| {
        ws.pause(lp);
        lp.set_timeout(std::time::Duration::from_secs(30), move |lp| {
            ws.resume(lp);
            ws.socket().destroy(lp);
        });
    };
    let cut = frame(Opcode::Text, true, &[b'x'; 20]);
    let (start, rest) = cut.split_at(10);
    let first = [frame(Opcode::Ping, true, b""), frame(Opcode::Text, true, b"one"), start.to_vec()].concat();
    let steps = vec![Step::Send(first), send(&rest[..1]), send(&rest[1..2]), send(&rest[2..])];
    assert_eq!(served(nothing, breaks, steps), ["open", "ping", "Text(\"one\")", "close 1006"]);
}

#[test]
fn a_client_takes_any_number_of_interim_responses() {
    let mut world = World::new();
    let (endpoint, events) = endpoint(&mut world, nothing, nothing);
    let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(20_000);
    world.remote_server([Step::Accept, Step::Wait, send(interim), Step::Switch(b"\x81\x04hola".to_vec()), Step::Fin]);
    world.enter(|lp| {
        endpoint.connect(lp, "ws://127.0.0.1:1/", &ClientOptions::default()).expect("a correct address");
    });
    world.run();
    world.finish();
    assert_eq!(events.take(), ["open", "Text(\"hola\")", "close 1006"]);
}

/// Accepts every handshake after a second.
struct LateDoor(Endpoint<Recorder>);

impl http::Handler for LateDoor {
    fn on_request(&mut self, _: &mut Loop, _: Exchange, _: &Request) {}
    fn on_upgrade(&mut self, lp: &mut Loop, exchange: Exchange, request: &Request) {
        let Some(handshake) = self.0.handshake(lp, exchange, request) else { return };
        let endpoint = self.0;
        lp.set_timeout(std::time::Duration::from_secs(1), move |lp| {
            endpoint.release(lp);
            assert_eq!(handshake.accept(lp), None);
        });
    }
}

#[test]
fn a_handshake_that_is_accepted_after_the_release_of_its_endpoint_is_refused() {
    let mut world = World::new();
    let (endpoint, events) = endpoint(&mut world, nothing, nothing);
    world.serve_unwatched(http::server_options(), Http::new(http::Options::default(), LateDoor(endpoint)));
    world.client(0, [send(format!("{REQUEST}\r\n"))]);
    world.run();
    let peer = world.kernel.peers()[0];
    world.kernel.with_bytes(peer, |taken, _| assert!(taken.starts_with(b"HTTP/1.1 503 "), "{}", taken.escape_ascii()));
    world.finish();
    assert!(events.take().is_empty());
}

/// Begins an answer before the body has arrived, and records its events.
struct EarlyStream(Rc<RefCell<Vec<&'static str>>>);

impl http::Handler for EarlyStream {
    fn on_request(&mut self, _: &mut Loop, _: Exchange, _: &Request) {
        self.0.borrow_mut().push("request");
    }
    fn on_head(&mut self, lp: &mut Loop, exchange: Exchange, _: &Request) {
        self.0.borrow_mut().push("head");
        exchange.begin(lp, http::Response::new(()));
        exchange.write(lp, "early");
    }
    fn on_end(&mut self, lp: &mut Loop, exchange: Exchange) {
        self.0.borrow_mut().push("end");
        exchange.end(lp);
    }
    fn on_abort(&mut self, _: &mut Loop, _: Exchange) {
        self.0.borrow_mut().push("abort");
    }
}

#[test]
fn an_answer_that_begins_before_the_body_is_not_mixed_with_a_refusal_and_is_aborted() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let table: &[(&str, &[Step], &[&str])] = &[
        ("a wrong body", &[send(format!("{head}wrong")), Step::Wait, Step::Fin], &["head", "end"]),
        ("a body that does not come", &[send(head)], &["head", "end"]),
        ("a reset", &[send(head), Step::Wait, Step::Reset], &["head", "abort"]),
    ];
    for (name, steps, want) in table {
        let mut world = World::new();
        let events = Rc::<RefCell<Vec<&str>>>::default();
        world.serve_unwatched(http::server_options(), Http::new(http::Options::default(), EarlyStream(events.clone())));
        world.client(0, *steps);
        world.run();
        let peer = world.kernel.peers()[0];
        world.kernel.with_bytes(peer, |taken, _| {
            let written = String::from_utf8_lossy(taken);
            assert_eq!(written.matches("HTTP/1.1 ").count(), 1, "{name}: {written}");
            assert_eq!(written.ends_with("0\r\n\r\n"), want.contains(&"end"), "{name}: {written}");
        });
        world.finish();
        assert_eq!(events.take(), *want, "{name}");
    }
}

/// Answers each request and destroys its connection.
struct OneAnswer(Rc<RefCell<Vec<String>>>);

impl http::Handler for OneAnswer {
    fn on_request(&mut self, lp: &mut Loop, exchange: Exchange, request: &Request) {
        self.0.borrow_mut().push(request.target().to_owned());
        exchange.respond(lp, http::Response::new("the only one"));
        exchange.socket().destroy(lp);
    }
}

#[test]
fn requests_sent_ahead_are_not_received_after_a_destroy() {
    let mut world = World::new();
    let targets = Rc::<RefCell<Vec<String>>>::default();
    world.serve_unwatched(http::server_options(), Http::new(http::Options::default(), OneAnswer(targets.clone())));
    world.client(0, [send("GET /one HTTP/1.1\r\nHost: a\r\n\r\nGET /two HTTP/1.1\r\nHost: a\r\n\r\n")]);
    world.run();
    world.finish();
    assert_eq!(targets.take(), ["/one"]);
}
