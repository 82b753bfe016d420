//! Regression tests for bugs that random runs have found, one test for each.

use std::cell::RefCell;
use std::rc::Rc;

use super::replays::{REQUEST, frame, send};
use crate::Loop;
use crate::faults::{Step, World};
use crate::http::{self, Exchange, Http, Request};
use crate::websocket::frame::Opcode;
use crate::websocket::{self, CloseCode, Endpoint, Message, Options, WebSocket};

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
