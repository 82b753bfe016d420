//! A panic in a callback. By default it leaves `run`, and the loop can still be used. A caught panic closes one
//! connection and no other.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use bucle::net::{Handler, Socket, listen};
use bucle::{EventLoop, Loop};

/// Echoes, and panics at a `!`. The callback of the write panics for a `w`, and the callback of the end for an `e`.
#[derive(Default)]
struct Fragile {
    closed: usize,
}

impl Handler for Fragile {
    fn on_data(&mut self, lp: &mut Loop, socket: Socket, chunk: &[u8]) {
        assert!(!chunk.contains(&b'!'), "on purpose");
        match chunk {
            b"w" => drop(socket.write_then(lp, chunk, |_, _| panic!("on purpose"))),
            b"e" => socket.end_then(lp, |_, _| panic!("on purpose")),
            _ => drop(socket.write(lp, chunk)),
        }
    }
    fn on_error(&mut self, _: &mut Loop, _: Socket, _: bucle::Error) {}
    fn on_close(&mut self, _: &mut Loop, _: Socket, _: bool) {
        self.closed += 1;
    }
}

fn silence_expected_panics() {
    std::panic::set_hook(Box::new(|info| {
        if !info.to_string().contains("on purpose") {
            eprintln!("{info}");
        }
    }));
}

/// Writes, turns the loop, and reads an answer of the same length; `None` when the connection has ended.
fn exchange(event_loop: &mut EventLoop, client: &mut TcpStream, text: &str) -> Option<String> {
    client.set_nonblocking(true).expect("a socket");
    client.write_all(text.as_bytes()).expect("the server reads");
    let mut answer = vec![0; text.len()];
    let mut got = 0;
    let limit = Instant::now() + Duration::from_secs(60);
    while got < answer.len() {
        assert!(Instant::now() < limit, "no answer to {text}");
        event_loop.turn(Some(Duration::from_millis(5))).expect("the poll works");
        match client.read(&mut answer[got..]) {
            Ok(0) => return None,
            Ok(n) => got += n,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return None,
        }
    }
    String::from_utf8(answer).ok()
}

#[test]
fn a_caught_panic_closes_one_connection_and_no_other() {
    silence_expected_panics();
    let mut event_loop = EventLoop::new().expect("a loop");
    event_loop.catch_panics(true);
    let server = event_loop.enter(|lp| listen(lp, ("127.0.0.1", 0), Fragile::default()).expect("a free port"));
    let port = event_loop.enter(|lp| server.id().address(lp).and_then(|address| address.port())).expect("it is bound");
    let connect = || TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
    let (mut good, mut bad) = (connect(), connect());
    assert_eq!(exchange(&mut event_loop, &mut good, "one").as_deref(), Some("one"));
    assert_eq!(exchange(&mut event_loop, &mut bad, "!"), None);
    assert_eq!(exchange(&mut event_loop, &mut good, "two").as_deref(), Some("two"));
    event_loop.enter(|lp| {
        assert_eq!(server.with(lp, |handler, _| handler.closed), Some(1));
        assert_eq!((server.id().connections(lp), lp.caught_panics()), (1, 1));
    });
}

#[test]
fn a_panic_in_the_callback_of_a_write_or_an_end_closes_its_connection() {
    silence_expected_panics();
    for what in ["w", "e"] {
        let mut event_loop = EventLoop::new().expect("a loop");
        event_loop.catch_panics(true);
        let server = event_loop.enter(|lp| listen(lp, ("127.0.0.1", 0), Fragile::default()).expect("a free port"));
        let address = event_loop.enter(|lp| server.id().address(lp));
        let port = address.and_then(|address| address.port()).expect("it is bound");
        let connect = || TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
        let (mut good, mut bad) = (connect(), connect());
        assert_eq!(exchange(&mut event_loop, &mut good, "one").as_deref(), Some("one"));
        exchange(&mut event_loop, &mut bad, what);
        let limit = Instant::now() + Duration::from_secs(60);
        while event_loop.enter(|lp| server.with(lp, |handler, _| handler.closed)) != Some(1) {
            assert!(Instant::now() < limit, "{what}: the connection stays open");
            event_loop.turn(Some(Duration::from_millis(5))).expect("the poll works");
        }
        assert_eq!(exchange(&mut event_loop, &mut good, "two").as_deref(), Some("two"));
        event_loop.enter(|lp| assert_eq!((server.id().connections(lp), lp.caught_panics()), (1, 1), "{what}"));
    }
}

#[test]
fn caught_panics_of_timers_and_ticks_are_counted_and_the_loop_continues() {
    silence_expected_panics();
    let mut event_loop = EventLoop::new().expect("a loop");
    event_loop.catch_panics(true);
    event_loop.enter(|lp| {
        lp.set_interval(Duration::from_millis(1), |_| panic!("on purpose"));
        lp.set_immediate(|_| panic!("on purpose"));
        lp.next_tick(|_| panic!("on purpose"));
        lp.queue_microtask(|_| panic!("on purpose"));
    });
    event_loop.run().expect("an interval that panicked is cleared, so the loop ends");
    assert_eq!(event_loop.enter(|lp| lp.caught_panics()), 4);
}

/// The read buffer is lent out while the handler panics. If it were lost, the next read would have room for 0 bytes,
/// and a result of 0 would look like the end of every other connection.
#[test]
fn an_uncaught_panic_does_not_close_other_connections() {
    silence_expected_panics();
    let mut event_loop = EventLoop::new().expect("a loop");
    let server = event_loop.enter(|lp| listen(lp, ("127.0.0.1", 0), Echo).expect("a free port"));
    let port = event_loop.enter(|lp| server.id().address(lp).and_then(|address| address.port())).expect("it is bound");
    let connect = || TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
    let mut good = connect();
    assert_eq!(exchange(&mut event_loop, &mut good, "one").as_deref(), Some("one"));
    // The panic drops the handler, so the second connection gets a handler of its own.
    event_loop.enter(|lp| server.id().set_handler(lp, Fragile::default()));
    let mut bad = connect();
    bad.write_all(b"!").expect("the server reads");
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let limit = Instant::now() + Duration::from_secs(60);
        while Instant::now() < limit {
            event_loop.turn(Some(Duration::from_millis(5))).expect("the poll works");
        }
    }));
    assert!(panicked.is_err(), "the panic leaves the turn");
    assert_eq!(exchange(&mut event_loop, &mut good, "two").as_deref(), Some("two"));
}

struct Echo;

impl Handler for Echo {
    fn on_data(&mut self, lp: &mut Loop, socket: Socket, chunk: &[u8]) {
        socket.write(lp, chunk);
    }
}
