//! Lesson 9: the ways a connection ends, and which events each side gets.
//!
//! A connection is two streams, one in each direction:
//!
//! * `end` closes our stream after the queued bytes. The peer gets `on_end`, we get `on_finish`.
//! * A socket that got `on_end` ends its own stream right after it. With `allow_half_open` it does not: the program can
//!   still answer, and has to end the stream itself.
//! * When both streams are closed, `on_close` is the last event.
//! * `destroy` and `reset_and_destroy` do not wait for queued bytes. The peer sees a reset as an error.
//!
//! Run: `cargo run --example 09_half_open_end_close`
//!
//! Expect (the third answer comes too late, the fourth arrives):
//!
//! ```text
//! the client ends first
//!   client: connect, finish, end, close
//!   server: connection, data hola, end, finish, close
//! the server ends first
//!   client: connect, data adiós, end, finish, close
//!   server: connection, finish, end, close
//! the server answers late
//!   client: connect, finish, end, close
//!   server: connection, data hola, end, finish, close
//! the server answers late, with allow_half_open
//!   client: connect, finish, data hola yourself, end, close
//!   server: connection, data hola, end, finish, close
//! the client resets
//!   client: connect, close
//!   server: connection, error ECONNRESET, close after an error
//! ```
//!
//! Why: in the third scene the server ended its side right after `on_end`, and its answer was written 20 ms later. A
//! server that answers after the peer has ended needs `allow_half_open`.

use bucle::net::{self, Error, Handler, ServerOptions, Shared, Socket};
use bucle::{EventLoop, Loop, Result};
use std::time::Duration;

type Act = fn(&mut Loop, Socket);

const SEND_HOLA: Act = |lp, socket| socket.end_with(lp, "hola");
const SEND_ADIOS: Act = |lp, socket| socket.end_with(lp, "adiós");
const RESET: Act = |lp, socket| socket.reset_and_destroy(lp).expect("TCP has a reset");
const ANSWER_LATE: Act = |lp, socket| {
    lp.set_timeout(Duration::from_millis(20), move |lp| socket.end_with(lp, "hola yourself"));
};

/// One side of the connection, which records its events. To read the record afterwards, the handler is stored in the
/// loop: [`Shared`] is its name, of eight bytes like a socket, and `Shared::with` lends the handler. (More in lesson
/// 15.)
#[derive(Default)]
struct Side {
    when_connected: Option<Act>,
    when_peer_has_ended: Option<Act>,
    events: Vec<String>,
}

impl Side {
    fn record(&mut self, event: impl Into<String>) {
        self.events.push(event.into());
    }

    fn begin(&mut self, lp: &mut Loop, socket: Socket, event: &str) {
        self.record(event);
        self.when_connected.inspect(|act| act(lp, socket));
    }
}

#[rustfmt::skip] // One line per event.
impl Handler for Side {
    fn on_connection(&mut self, lp: &mut Loop, socket: Socket) { self.begin(lp, socket, "connection"); }
    fn on_connect(&mut self, lp: &mut Loop, socket: Socket) { self.begin(lp, socket, "connect"); }
    fn on_data(&mut self, _: &mut Loop, _: Socket, chunk: &[u8]) {
        self.record(format!("data {}", String::from_utf8_lossy(chunk)));
    }
    fn on_end(&mut self, lp: &mut Loop, socket: Socket) {
        self.record("end");
        self.when_peer_has_ended.inspect(|act| act(lp, socket));
    }
    fn on_finish(&mut self, _: &mut Loop, _: Socket) { self.record("finish"); }
    fn on_error(&mut self, _: &mut Loop, _: Socket, error: Error) { self.record(format!("error {}", error.code())); }
    fn on_close(&mut self, _: &mut Loop, _: Socket, had_error: bool) {
        self.record(if had_error { "close after an error" } else { "close" });
    }
}

fn scene(title: &str, options: ServerOptions, client: Side, server: Side) -> Result<()> {
    let mut event_loop = EventLoop::new()?;
    let [client, server] = event_loop.enter(|lp| [client, server].map(|side| Shared::new(lp, side)));
    event_loop.enter(|lp| {
        let listening = net::listen_with(lp, ("127.0.0.1", 0), options, server)?;
        listening.unref(lp); // Only the connection keeps the loop alive.
        Socket::connect(lp, listening.address(lp).expect("a listening server has an address"), client)
    })?;
    event_loop.run()?;
    println!("{title}");
    for (name, side) in [("client", client), ("server", server)] {
        event_loop.enter(|lp| side.with(lp, |side, _| println!("  {name}: {}", side.events.join(", "))));
    }
    Ok(())
}

fn main() -> Result<()> {
    let default = ServerOptions::default; // The server ends its side when the client has ended.
    let half_open = || ServerOptions { allow_half_open: true, ..ServerOptions::default() };
    let passive = Side::default;
    let sends_hola = || Side { when_connected: Some(SEND_HOLA), ..Side::default() };
    let answers_late = || Side { when_peer_has_ended: Some(ANSWER_LATE), ..Side::default() };
    scene("the client ends first", default(), sends_hola(), passive())?;
    scene("the server ends first", default(), passive(), Side { when_connected: Some(SEND_ADIOS), ..Side::default() })?;
    scene("the server answers late", default(), sends_hola(), answers_late())?;
    scene("the server answers late, with allow_half_open", half_open(), sends_hola(), answers_late())?;
    scene("the client resets", default(), Side { when_connected: Some(RESET), ..Side::default() }, passive())
}
