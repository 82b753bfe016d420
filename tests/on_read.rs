//! `on_read` lends the buffer of the loop to the handler, which may change it. Nothing else may see the change.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bucle::net::{self, Error, Handler, ServerOptions, Socket, on};
use bucle::{EventLoop, Loop};

/// No test waits longer than this for something that has to come.
const LIMIT: Duration = Duration::from_secs(60);

/// The mask of this test's protocol: every byte is sent with it, as a WebSocket client would.
const MASK: u8 = 0x55;

fn masked(text: &[u8]) -> Vec<u8> {
    text.iter().map(|byte| byte ^ MASK).collect()
}

type Seen = Rc<RefCell<Vec<u8>>>;
type Start = fn(&mut Loop, Socket);

/// Removes the mask in place. It implements no `on_data`.
struct Unmask {
    seen: Seen,
    start: Start,
}

impl Handler for Unmask {
    fn on_connection(&mut self, lp: &mut Loop, socket: Socket) {
        (self.start)(lp, socket);
    }
    fn on_upgrade(&mut self, lp: &mut Loop, socket: Socket) {
        (self.start)(lp, socket);
    }
    fn on_read(&mut self, _: &mut Loop, _: Socket, buf: &mut [u8]) {
        for byte in &mut *buf {
            *byte ^= MASK;
        }
        self.seen.borrow_mut().extend_from_slice(buf);
        // Not needed any more; later reads must not depend on what is left here.
        buf.fill(b'#');
    }
}

/// Forwards every event that this test needs to the handler inside.
struct Wrapper<H>(H);

impl<H: Handler> Handler for Wrapper<H> {
    fn on_connection(&mut self, lp: &mut Loop, socket: Socket) {
        self.0.on_connection(lp, socket);
    }
    fn on_read(&mut self, lp: &mut Loop, socket: Socket, buf: &mut [u8]) {
        self.0.on_read(lp, socket, buf);
    }
}

fn until(event_loop: &mut EventLoop, what: &str, mut is_there: impl FnMut(&mut EventLoop) -> bool) {
    let limit = Instant::now() + LIMIT;
    while !is_there(event_loop) {
        assert!(Instant::now() < limit, "waited for {what}");
        event_loop.turn(Some(Duration::from_millis(5))).expect("the poll works");
    }
}

/// A server with `handler`, and a peer that is connected to it.
fn serve(event_loop: &mut EventLoop, options: ServerOptions, handler: impl Handler) -> TcpStream {
    let port = event_loop.enter(|lp| {
        let server = net::listen_with(lp, ("127.0.0.1", 0), options, handler).expect("a free port");
        server.port(lp).expect("it is bound")
    });
    TcpStream::connect(("127.0.0.1", port)).expect("the server listens")
}

#[test]
fn a_handler_that_changes_its_buffer_does_not_change_what_is_piped() {
    let (seen, mut event_loop) = (Seen::default(), EventLoop::new().expect("a loop"));
    let handler = Unmask { seen: seen.clone(), start: |lp, socket| socket.pipe(lp, socket) };
    let mut peer = serve(&mut event_loop, ServerOptions::default(), handler);
    for text in [&b"one"[..], b"two"] {
        peer.write_all(&masked(text)).expect("the kernel takes a little");
        until(&mut event_loop, "the data", |_| seen.borrow().ends_with(text));
    }
    peer.shutdown(Shutdown::Write).expect("it is open");
    peer.set_nonblocking(true).expect("a socket");
    let (mut piped, mut buf) = (Vec::new(), [0; 64]);
    until(&mut event_loop, "the end of the pipe", |_| match peer.read(&mut buf) {
        Ok(n) => {
            piped.extend_from_slice(&buf[..n]);
            n == 0
        }
        Err(_) => false,
    });
    assert_eq!(*seen.borrow(), b"onetwo");
    assert_eq!(piped, masked(b"onetwo"), "the destination gets the bytes as they arrived");
}

/// All sockets are read into the same buffer.
#[test]
fn a_changed_buffer_does_not_reach_other_reads_and_other_sockets() {
    let (seen, mut event_loop) = (Seen::default(), EventLoop::new().expect("a loop"));
    let mut peer = serve(&mut event_loop, ServerOptions::default(), Unmask { seen: seen.clone(), start: |_, _| {} });
    let plain = Seen::default();
    let in_handler = plain.clone();
    let other = on().data(move |_, _, chunk| in_handler.borrow_mut().extend_from_slice(chunk));
    let mut other_peer = serve(&mut event_loop, ServerOptions::default(), other);
    for round in 0..10 {
        let (long, short) = (format!("{round}: a long chunk"), format!("{round}"));
        let before = (seen.borrow().len(), plain.borrow().len());
        peer.write_all(&masked(long.as_bytes())).expect("the kernel takes a little");
        other_peer.write_all(short.as_bytes()).expect("the kernel takes a little");
        until(&mut event_loop, "both", |_| {
            seen.borrow().len() == before.0 + long.len() && plain.borrow().len() == before.1 + short.len()
        });
        assert_eq!(seen.borrow()[before.0..], *long.as_bytes());
        assert_eq!(plain.borrow()[before.1..], *short.as_bytes());
    }
}

#[test]
fn a_wrapper_that_forwards_on_read_reaches_an_inner_handler_without_on_data() {
    let (seen, mut event_loop) = (Seen::default(), EventLoop::new().expect("a loop"));
    let handler = Wrapper(Wrapper(Unmask { seen: seen.clone(), start: |_, _| {} }));
    let mut peer = serve(&mut event_loop, ServerOptions::default(), handler);
    peer.write_all(&masked(b"hola")).expect("the kernel takes a little");
    until(&mut event_loop, "the data", |_| *seen.borrow() == b"hola");
}

/// And a handler that implements `on_data` only gets everything there.
#[test]
fn a_wrapper_that_forwards_on_read_reaches_an_inner_handler_with_on_data_only() {
    let (seen, mut event_loop) = (Seen::default(), EventLoop::new().expect("a loop"));
    let in_handler = seen.clone();
    let handler = Wrapper(on().data(move |_, _, chunk| in_handler.borrow_mut().extend_from_slice(chunk)));
    let mut peer = serve(&mut event_loop, ServerOptions::default(), handler);
    peer.write_all(b"hola").expect("the kernel takes a little");
    until(&mut event_loop, "the data", |_| *seen.borrow() == b"hola");
}

/// Reads on, but keeps what is read until the resume.
fn read_into_the_inbox(lp: &mut Loop, socket: Socket) {
    socket.resume(lp);
    socket.pause(lp);
}

#[test]
fn chunks_of_the_inbox_come_through_on_read() {
    let (seen, mut event_loop) = (Seen::default(), EventLoop::new().expect("a loop"));
    let start: Start = |lp, socket| {
        read_into_the_inbox(lp, socket);
        // A chunk that no read has brought.
        socket.unshift(lp, masked(b"zero, "));
        lp.set_immediate(move |lp| resume_when_read(lp, socket, 8));
    };
    let mut peer = serve(&mut event_loop, ServerOptions::default(), Unmask { seen: seen.clone(), start });
    peer.write_all(&masked(b"one, two")).expect("the kernel takes a little");
    until(&mut event_loop, "the data", |_| *seen.borrow() == b"zero, one, two");
}

/// Resumes when `count` bytes wait in the inbox, and looks again in the next turn otherwise.
fn resume_when_read(lp: &mut Loop, socket: Socket, count: u64) {
    if lp.metrics().bytes_read >= count {
        socket.resume(lp);
    } else {
        lp.set_immediate(move |lp| resume_when_read(lp, socket, count));
    }
}

#[test]
fn the_head_of_an_upgrade_comes_through_on_read() {
    for is_paused in [false, true] {
        let (seen, mut event_loop) = (Seen::default(), EventLoop::new().expect("a loop"));
        let start: Start = if is_paused {
            |lp, socket| {
                socket.pause(lp);
                lp.set_immediate(move |lp| socket.resume(lp));
            }
        } else {
            |_, _| {}
        };
        let mut new = Some(Unmask { seen: seen.clone(), start });
        let old = on().data(move |lp, socket, chunk| {
            let head = chunk.strip_prefix(b"UP\n").expect("the request comes in one piece");
            socket.upgrade(lp, new.take().expect("the old handler gets one chunk"), head);
        });
        let mut peer = serve(&mut event_loop, ServerOptions::default(), old);
        peer.write_all(&[b"UP\n", &masked(b"head, ")[..]].concat()).expect("the kernel takes a little");
        until(&mut event_loop, "the head", |_| *seen.borrow() == b"head, ");
        peer.write_all(&masked(b"later")).expect("the kernel takes a little");
        until(&mut event_loop, "the rest", |_| *seen.borrow() == b"head, later");
    }
}

/// After `set_encoding` there are no bytes to change: `on_text` is called instead.
#[test]
fn text_comes_to_on_text_and_not_to_on_read() {
    struct Reads(Seen);
    impl Handler for Reads {
        fn on_connection(&mut self, lp: &mut Loop, socket: Socket) {
            socket.set_encoding(lp);
        }
        fn on_read(&mut self, _: &mut Loop, _: Socket, buf: &mut [u8]) {
            panic!("{} bytes came to on_read", buf.len());
        }
        fn on_text(&mut self, _: &mut Loop, _: Socket, text: &str) {
            self.0.borrow_mut().extend_from_slice(text.as_bytes());
        }
        fn on_error(&mut self, _: &mut Loop, _: Socket, error: Error) {
            panic!("{error}");
        }
    }
    let (seen, mut event_loop) = (Seen::default(), EventLoop::new().expect("a loop"));
    let mut peer = serve(&mut event_loop, ServerOptions::default(), Reads(seen.clone()));
    let text = "¡ñandú €!".as_bytes();
    for byte in text.chunks(1) {
        peer.write_all(byte).expect("the kernel takes a little");
        event_loop.turn(Some(Duration::from_millis(5))).expect("the poll works");
    }
    until(&mut event_loop, "the text", |_| *seen.borrow() == text);
}
