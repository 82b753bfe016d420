//! The cost of a message in allocations: none. Allocations are counted, so the result is exact on every machine.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bucle::net::{Handler, Server, ServerOptions, Socket};
use bucle::telnet::{self, Client, Telnet};
use bucle::{EventLoop, Loop};

/// Counts the allocations of each thread.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// The only `unsafe` of the project: an allocator cannot be written without it, and this one is only in a test.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        unsafe { System.dealloc(block, layout) }
    }
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Writes every chunk back in pieces of 64 bytes, as a server of lines does.
struct Pieces;

impl Handler for Pieces {
    fn on_data(&mut self, lp: &mut Loop, socket: Socket, chunk: &[u8]) {
        for piece in chunk.chunks(64) {
            socket.write(lp, piece);
        }
    }
}

/// Sends every chunk to all members.
#[derive(Default)]
struct Relay {
    members: Vec<Socket>,
}

impl Handler for Relay {
    fn on_connection(&mut self, _: &mut Loop, socket: Socket) {
        self.members.push(socket);
    }
    fn on_data(&mut self, lp: &mut Loop, _: Socket, chunk: &[u8]) {
        for member in &self.members {
            member.write(lp, chunk);
        }
    }
}

/// Runs `clients` that exchange a message with the server many times. Returns the allocations of the loop's thread in
/// the second half; in the first half every buffer grows to its final size.
fn allocations(handler: impl Handler, clients: usize, message: &'static [u8]) -> u64 {
    const ROUNDS: usize = 300;
    let mut event_loop = EventLoop::new().expect("a loop");
    let port = event_loop.enter(|lp| {
        let server = Server::new(lp, ServerOptions { accepts_per_turn: 64, ..ServerOptions::default() }, handler);
        server.id().listen_now(lp, ("127.0.0.1", 0)).expect("a free port");
        server.id().address(lp).and_then(|address| address.port()).expect("it is bound")
    });
    let (half_done, is_half_done) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel();
    let conversation = thread::spawn(move || {
        let connect = |_| TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
        let mut clients: Vec<TcpStream> = (0..clients).map(connect).collect();
        let mut answer = vec![0; message.len()];
        for _half in 0..2 {
            for _ in 0..ROUNDS {
                clients.iter_mut().for_each(|client| client.write_all(message).expect("the server reads"));
                clients.iter_mut().for_each(|client| client.read_exact(&mut answer).expect("an answer"));
            }
            half_done.send(()).expect("the test waits");
            may_go_on.recv().expect("the test goes on");
        }
    });
    let mut counts = Vec::new();
    for _half in 0..2 {
        let before = ALLOCATIONS.get();
        while is_half_done.try_recv().is_err() {
            assert!(!conversation.is_finished(), "the conversation ended early");
            event_loop.turn(Some(Duration::from_millis(1))).expect("the poll works");
        }
        counts.push(ALLOCATIONS.get() - before);
        go_on.send(()).expect("the conversation waits");
    }
    conversation.join().expect("the conversation went well");
    counts[1]
}

#[test]
fn an_echoed_message_allocates_nothing() {
    assert_eq!(allocations(Pieces, 8, &[b'x'; 64]), 0);
}

/// Answers through a pipe, which is written after `on_data`.
struct Piped;

impl Handler for Piped {
    fn on_connection(&mut self, lp: &mut Loop, socket: Socket) {
        socket.pipe(lp, socket);
    }
}

#[test]
fn a_piped_message_allocates_nothing() {
    assert_eq!(allocations(Piped, 8, &[b'x'; 64]), 0);
}

#[test]
fn sixteen_pipelined_lines_allocate_nothing() {
    assert_eq!(allocations(Pieces, 8, &[b'x'; 1024]), 0);
}

/// Writes every line back in a write of its own, as `bucle serve lines` does.
struct Lines;

impl telnet::Handler for Lines {
    fn on_line(&mut self, lp: &mut Loop, client: Client, line: &[u8]) {
        client.write(lp, line);
    }
}

/// Telnet stores state of a client only in the middle of a line, and these lines are complete.
#[test]
fn sixteen_telnet_lines_allocate_nothing() {
    let lines = "0123456789abcde\n".repeat(16).leak().as_bytes();
    let untouched = telnet::Options { keeps_breaks: true, ..telnet::Options::default() };
    assert_eq!(allocations(Telnet::new(untouched, Lines), 8, lines), 0);
}

#[test]
fn a_turn_with_nothing_to_do_allocates_nothing() {
    let mut event_loop = EventLoop::new().expect("a loop");
    event_loop.turn(Some(Duration::ZERO)).expect("the poll works");
    let before = ALLOCATIONS.get();
    for _ in 0..100 {
        event_loop.turn(Some(Duration::ZERO)).expect("the poll works");
    }
    assert_eq!(ALLOCATIONS.get() - before, 0);
}

#[test]
fn a_broadcast_allocates_nothing_per_member() {
    let mut event_loop = EventLoop::new().expect("a loop");
    let relay = Relay::default();
    let port = event_loop.enter(|lp| {
        let server = Server::new(lp, ServerOptions { accepts_per_turn: 64, ..ServerOptions::default() }, relay);
        server.id().listen_now(lp, ("127.0.0.1", 0)).expect("a free port");
        server.id().address(lp).and_then(|address| address.port()).expect("it is bound")
    });
    let mut members: Vec<TcpStream> =
        (0..50).map(|_| TcpStream::connect(("127.0.0.1", port)).expect("the server listens")).collect();
    let mut counts = Vec::new();
    for _ in 0..20 {
        members[0].write_all(b"hola\n").expect("the server reads");
        let before = ALLOCATIONS.get();
        for member in &mut members {
            member.set_nonblocking(true).expect("a socket");
            let mut buf = [0; 5];
            let mut got = 0;
            while got < buf.len() {
                match member.read(&mut buf[got..]) {
                    Ok(n) => got += n,
                    Err(_) => drop(event_loop.turn(Some(Duration::from_millis(5))).expect("the poll works")),
                }
            }
        }
        counts.push(ALLOCATIONS.get() - before);
    }
    assert_eq!(counts[10..], [0; 10], "{counts:?}");
}
