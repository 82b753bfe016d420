//! Lesson 7: the ways a connection ends, and what each side sees of it.
//!
//! A connection is two streams. `end` closes ours, after all that was written: the peer gets `on_end`, we get `on_finish`.
//! The other stream stays open. Normally the socket that is told `on_end` ends its own side right after; with
//! `allow_half_open` that is left to the program, which can still answer. When both streams are closed, `on_close` is the
//! last word. `destroy` and `reset_and_destroy` wait for nothing; a reset is an error on the other side.
//!
//! Run: `cargo run --example 07_half_open_end_close`
//!
//! Expect:
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
//!   server: connection, data hola, end, finish, close, refused ERR_STREAM_DESTROYED
//! the server answers late, with allow_half_open
//!   client: connect, finish, data hola yourself, end, close
//!   server: connection, data hola, end, finish, close
//! the client resets
//!   client: connect, close
//!   server: connection, error ECONNRESET, close after an error
//! ```

use bucle::net::{Error, Handler, Server, ServerOptions, Socket};
use bucle::{Loop, Result};
use std::{cell::RefCell, rc::Rc, time::Duration};

type Act = fn(&mut Loop, Socket, Seen);

/// Writes down what one side sees. Acts when the connection opens, and when the peer ends.
struct Side(Seen, Act, Act);

#[derive(Clone, Default)]
struct Seen(Rc<RefCell<Vec<String>>>);

impl Seen {
    fn note(&self, event: impl Into<String>) {
        self.0.borrow_mut().push(event.into());
    }
}

impl Handler for Side {
    fn on_connection(&mut self, lp: &mut Loop, socket: Socket) {
        self.0.note("connection");
        socket.server(lp).inspect(|server| server.close(lp)); // One is enough.
        self.1(lp, socket, self.0.clone());
    }
    fn on_connect(&mut self, lp: &mut Loop, socket: Socket) {
        self.0.note("connect");
        self.1(lp, socket, self.0.clone());
    }
    fn on_data(&mut self, _: &mut Loop, _: Socket, chunk: &[u8]) {
        self.0.note(format!("data {}", String::from_utf8_lossy(chunk)));
    }
    fn on_end(&mut self, lp: &mut Loop, socket: Socket) {
        self.0.note("end");
        self.2(lp, socket, self.0.clone());
    }
    fn on_finish(&mut self, _: &mut Loop, _: Socket) {
        self.0.note("finish");
    }
    fn on_error(&mut self, _: &mut Loop, _: Socket, error: Error) {
        self.0.note(format!("error {}", error.code()));
    }
    fn on_close(&mut self, _: &mut Loop, _: Socket, had_error: bool) {
        self.0.note(if had_error { "close after an error" } else { "close" });
    }
}

fn scene(title: &str, allow_half_open: bool, client: [Act; 2], server: [Act; 2]) -> Result<()> {
    let (client_saw, server_saw) = (Seen::default(), Seen::default());
    bucle::run(|lp| {
        let options = ServerOptions { allow_half_open, ..ServerOptions::default() };
        let server = Server::new(lp, options, Side(server_saw.clone(), server[0], server[1])).id();
        server.listen_now(lp, ("127.0.0.1", 0))?;
        let port = server.address(lp).and_then(|address| address.port()).expect("listen_now has bound it");
        Socket::connect(lp, ("127.0.0.1", port), Side(client_saw.clone(), client[0], client[1]))
    })?;
    println!("{title}\n  client: {}\n  server: {}", client_saw.0.borrow().join(", "), server_saw.0.borrow().join(", "));
    Ok(())
}

fn main() -> Result<()> {
    let nothing: Act = |_, _, _| {};
    let ask: Act = |lp, socket, _| socket.end_with(lp, "hola");
    let answer_late: Act = |lp, socket, seen| {
        lp.set_timeout(Duration::from_millis(20), move |lp| match socket.write_refusal(lp) {
            None => socket.end_with(lp, "hola yourself"),
            Some(error) => seen.note(format!("refused {}", error.code())),
        });
    };
    scene("the client ends first", false, [ask, nothing], [nothing, nothing])?;
    scene("the server ends first", false, [nothing; 2], [|lp, socket, _| socket.end_with(lp, "adiós"), nothing])?;
    scene("the server answers late", false, [ask, nothing], [nothing, answer_late])?;
    scene("the server answers late, with allow_half_open", true, [ask, nothing], [nothing, answer_late])?;
    scene("the client resets", false, [|lp, socket, _| socket.reset_and_destroy(lp).unwrap_or(()), nothing], [nothing; 2])
}
