//! Lesson 9: the ways a connection ends, and what each side sees of it.
//!
//! A connection is two streams. `end` closes ours, once all is written: the peer gets `on_end`, we get `on_finish`. The
//! other stream stays open, but a socket that got `on_end` normally ends its own side right after; with `allow_half_open`
//! it is for the program to do so, and it can still answer first. When both streams are closed, `on_close` is the last
//! word. `destroy` and `reset_and_destroy` wait for nothing, and a reset is an error on the other side.
//!
//! Each side is a handler, and writes down what it sees. To read that when all is over the handler is given to the loop as
//! `Shared`, a name of eight bytes like a socket's: `with` lends what it names. (Lesson 15 has one handler for many.)
//!
//! Run: `cargo run --example 09_half_open_end_close`
//!
//! Expect (the third answer comes too late, the fourth does not):
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

use bucle::net::{self, Error, Handler, ServerOptions, Shared, Socket};
use bucle::{EventLoop, Loop, Result};
use std::time::Duration;

type Act = fn(&mut Loop, Socket);

const ASK: Act = |lp, socket| socket.end_with(lp, "hola");
const SAY_ADIOS: Act = |lp, socket| socket.end_with(lp, "adiós");
const RESET: Act = |lp, socket| socket.reset_and_destroy(lp).expect("TCP has a reset");
const ANSWER_LATE: Act = |lp, socket| {
    lp.set_timeout(Duration::from_millis(20), move |lp| socket.end_with(lp, "hola yourself"));
};

/// One side of the connection.
#[derive(Default)]
struct Side {
    when_connected: Option<Act>,
    when_peer_has_ended: Option<Act>,
    saw: Vec<String>,
}

impl Side {
    fn sees(&mut self, event: impl Into<String>) {
        self.saw.push(event.into());
    }

    fn begin(&mut self, lp: &mut Loop, socket: Socket, event: &str) {
        self.sees(event);
        self.when_connected.inspect(|act| act(lp, socket));
    }
}

#[rustfmt::skip] // One line per event.
impl Handler for Side {
    fn on_connection(&mut self, lp: &mut Loop, socket: Socket) { self.begin(lp, socket, "connection"); }
    fn on_connect(&mut self, lp: &mut Loop, socket: Socket) { self.begin(lp, socket, "connect"); }
    fn on_data(&mut self, _: &mut Loop, _: Socket, chunk: &[u8]) {
        self.sees(format!("data {}", String::from_utf8_lossy(chunk)));
    }
    fn on_end(&mut self, lp: &mut Loop, socket: Socket) {
        self.sees("end");
        self.when_peer_has_ended.inspect(|act| act(lp, socket));
    }
    fn on_finish(&mut self, _: &mut Loop, _: Socket) { self.sees("finish"); }
    fn on_error(&mut self, _: &mut Loop, _: Socket, error: Error) { self.sees(format!("error {}", error.code())); }
    fn on_close(&mut self, _: &mut Loop, _: Socket, had_error: bool) {
        self.sees(if had_error { "close after an error" } else { "close" });
    }
}

fn scene(title: &str, options: ServerOptions, client: Side, server: Side) -> Result<()> {
    let mut event_loop = EventLoop::new()?;
    let [client, server] = event_loop.enter(|lp| [client, server].map(|side| Shared::new(lp, side)));
    event_loop.enter(|lp| {
        let listening = net::listen_with(lp, ("127.0.0.1", 0), options, server)?;
        listening.unref(lp); // The loop ends with the connection.
        Socket::connect(lp, listening.address(lp).expect("listen has bound it"), client)
    })?;
    event_loop.run()?;
    println!("{title}");
    for (name, side) in [("client", client), ("server", server)] {
        event_loop.enter(|lp| side.with(lp, |side, _| println!("  {name}: {}", side.saw.join(", "))));
    }
    Ok(())
}

fn main() -> Result<()> {
    let closed = ServerOptions::default; // It answers an end with its own.
    let half_open = || ServerOptions { allow_half_open: true, ..ServerOptions::default() };
    let silent = Side::default;
    let asks = || Side { when_connected: Some(ASK), ..Side::default() };
    let answers_late = || Side { when_peer_has_ended: Some(ANSWER_LATE), ..Side::default() };
    scene("the client ends first", closed(), asks(), silent())?;
    scene("the server ends first", closed(), silent(), Side { when_connected: Some(SAY_ADIOS), ..Side::default() })?;
    scene("the server answers late", closed(), asks(), answers_late())?;
    scene("the server answers late, with allow_half_open", half_open(), asks(), answers_late())?;
    scene("the client resets", closed(), Side { when_connected: Some(RESET), ..Side::default() }, silent())
}
