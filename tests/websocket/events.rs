//! Every event of `net` reaches the WebSocket handler or is used up.

use std::net::IpAddr;

use super::net_events::assert_that_all_are_forwarded;
use super::*;
use bucle::net::{Drain, Dropped, ServerId};

#[test]
fn the_file_that_forwards_implements_every_event() {
    assert_that_all_are_forwarded("src/websocket/forward.rs");
}

/// Notes the events that are neither messages nor part of an opening or a close.
#[derive(Clone, Default)]
struct Witness {
    seen: Rc<RefCell<Vec<&'static str>>>,
    is_busy: Rc<RefCell<bool>>,
}

impl Witness {
    fn see(&self, event: &'static str) {
        self.seen.borrow_mut().push(event);
    }
}

impl Handler for Witness {
    fn on_going_away(&mut self, _: &mut Loop, _: WebSocket) {
        self.see("going away");
    }
    fn is_busy(&self, _: &Loop, _: WebSocket) -> bool {
        *self.is_busy.borrow()
    }
    fn on_lookup(&mut self, _: &mut Loop, _: WebSocket, result: Result<IpAddr, &Error>) {
        assert!(result.is_ok_and(|address| address.is_loopback()));
        self.see("lookup");
    }
    fn on_error(&mut self, _: &mut Loop, _: WebSocket, _: Error) {
        self.see("error");
    }
    fn on_close(&mut self, _: &mut Loop, _: WebSocket, _: CloseCode, _: &str) {
        self.see("close");
    }
    fn on_listening(&mut self, lp: &mut Loop, server: ServerId) {
        assert!(server.port(lp).is_some());
        self.see("listening");
    }
    fn on_drop(&mut self, _: &mut Loop, _: ServerId, dropped: Dropped) {
        assert!(dropped.remote.is_some());
        self.see("drop");
    }
    fn on_server_error(&mut self, _: &mut Loop, _: ServerId, error: Error) {
        assert_eq!(error.code(), "EADDRINUSE");
        self.see("server error");
    }
    fn on_server_close(&mut self, _: &mut Loop, _: ServerId) {
        self.see("server close");
    }
}

#[test]
fn events_of_the_server_and_of_a_lookup_reach_the_handler() {
    let mut talk = Talk::empty();
    let witness = Witness::default();
    let seen = witness.seen.clone();
    let expect = |talk: &mut Talk, want: &[&str]| {
        talk.until(want[0], |_| seen.borrow().len() >= want.len());
        talk.settle();
        assert_eq!(*seen.borrow(), want);
        seen.borrow_mut().clear();
    };
    let server = talk
        .enter(|lp| websocket::listen(lp, ("127.0.0.1", 0), Options::default(), witness.clone()))
        .expect("a free port");
    talk.port = talk.enter(|lp| server.port(lp)).expect("it is bound");
    expect(&mut talk, &["listening"]);
    talk.enter(|lp| server.set_max_connections(lp, 1));
    let first = talk.connect();
    talk.send(first, request(""));
    talk.head(first);
    let full = talk.connect();
    assert!(talk.head(full).starts_with("HTTP/1.1 503 "));
    expect(&mut talk, &["drop"]);
    // A drain waits for a handler that is busy.
    *witness.is_busy.borrow_mut() = true;
    talk.enter(|lp| server.drain(lp, Drain::default()));
    expect(&mut talk, &["going away"]);
    talk.clock.advance(Duration::from_millis(500));
    talk.settle();
    assert_eq!(talk.peers[first].end, None);
    *witness.is_busy.borrow_mut() = false;
    for _ in 0..5 {
        talk.clock.advance(Duration::from_millis(20));
        talk.settle();
    }
    assert_eq!(talk.peers[first].end, Some(End::Fin));
    talk.peers.clear();
    // As in Node a server closes with its last connection, before `on_close` of that one.
    expect(&mut talk, &["server close", "close"]);
    let taken = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = taken.local_addr().expect("it is bound").port();
    talk.enter(|lp| server.listen(lp, ("127.0.0.1", port))).expect("it may try");
    expect(&mut talk, &["server error"]);
    let url = format!("ws://localhost:{port}/");
    talk.enter(|lp| websocket::connect(lp, &url, witness.clone())).expect("a good URL");
    drop(taken);
    talk.until("the end", |_| seen.borrow().contains(&"close"));
    assert_eq!(seen.borrow()[0], "lookup");
}
