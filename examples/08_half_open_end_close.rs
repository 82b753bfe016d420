//! Lesson 8: the ways a connection ends, and what each side sees of it.
//!
//! A connection is two streams. `end` closes ours, once all is written: the peer gets `on_end`, we get `on_finish`. The
//! other stream stays open, but a socket that got `on_end` normally ends its own side right after; with `allow_half_open`
//! it is for the program to do so, and it can still answer first. When both streams are closed, `on_close` is the last
//! word. `destroy` and `reset_and_destroy` wait for nothing, and a reset is an error on the other side.
//!
//! Run: `cargo run --example 08_half_open_end_close`
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

use bucle::net::{Error, Handler, Server, ServerOptions, Socket};
use bucle::{Loop, Result};
use std::{cell::RefCell, rc::Rc, time::Duration};

type Act = fn(&mut Loop, Socket);

/// What one side has seen, and what it does when it is connected and when the peer has ended.
struct Side(Rc<RefCell<Vec<String>>>, Act, Act);

impl Side {
    fn saw(&self, event: impl Into<String>) {
        self.0.borrow_mut().push(event.into());
    }
}

#[rustfmt::skip] // One line per event.
impl Handler for Side {
    fn on_connection(&mut self, lp: &mut Loop, socket: Socket) { self.saw("connection"); self.1(lp, socket); }
    fn on_connect(&mut self, lp: &mut Loop, socket: Socket) { self.saw("connect"); self.1(lp, socket); }
    fn on_data(&mut self, _: &mut Loop, _: Socket, chunk: &[u8]) {
        self.saw(format!("data {}", String::from_utf8_lossy(chunk)));
    }
    fn on_end(&mut self, lp: &mut Loop, socket: Socket) { self.saw("end"); self.2(lp, socket); }
    fn on_finish(&mut self, _: &mut Loop, _: Socket) { self.saw("finish"); }
    fn on_error(&mut self, _: &mut Loop, _: Socket, error: Error) { self.saw(format!("error {}", error.code())); }
    fn on_close(&mut self, _: &mut Loop, _: Socket, had_error: bool) {
        self.saw(if had_error { "close after an error" } else { "close" });
    }
}

fn scene(title: &str, allow_half_open: bool, client: [Act; 2], server: [Act; 2]) -> Result<()> {
    let [client_saw, server_saw] = [(); 2].map(|()| Rc::new(RefCell::new(Vec::new())));
    bucle::run(|lp| {
        let options = ServerOptions { allow_half_open, ..ServerOptions::default() };
        let server = Server::new(lp, options, Side(server_saw.clone(), server[0], server[1])).id();
        server.listen_now(lp, ("127.0.0.1", 0))?;
        server.unref(lp); // The loop ends with the connection.
        let address = server.address(lp).expect("listen_now has bound it");
        Socket::connect(lp, address, Side(client_saw.clone(), client[0], client[1]))
    })?;
    println!("{title}\n  client: {}\n  server: {}", client_saw.borrow().join(", "), server_saw.borrow().join(", "));
    Ok(())
}

fn main() -> Result<()> {
    const NOTHING: Act = |_, _| {};
    const ASK: Act = |lp, socket| socket.end_with(lp, "hola");
    const ANSWER_LATE: Act = |lp, socket| {
        lp.set_timeout(Duration::from_millis(20), move |lp| socket.end_with(lp, "hola yourself"));
    };
    scene("the client ends first", false, [ASK, NOTHING], [NOTHING; 2])?;
    scene("the server ends first", false, [NOTHING; 2], [|lp, socket| socket.end_with(lp, "adiós"), NOTHING])?;
    scene("the server answers late", false, [ASK, NOTHING], [NOTHING, ANSWER_LATE])?;
    scene("the server answers late, with allow_half_open", true, [ASK, NOTHING], [NOTHING, ANSWER_LATE])?;
    let reset: Act = |lp, socket| socket.reset_and_destroy(lp).expect("TCP has a reset");
    scene("the client resets", false, [reset, NOTHING], [NOTHING; 2])
}
