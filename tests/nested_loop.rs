//! One loop inside another, in one thread: the inner one is served in the outer one's wait, and while that is held.

#![cfg(feature = "trace")]

use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use bucle::net::{self, Server, ServerId, on};
use bucle::trace::{Decision, Gate, Kind, Next};
use bucle::{EventLoop, Loop, ManualClock, Remote};

/// So that a test that fails does not hang.
const GUARD: Duration = Duration::from_secs(30);

/// What the inner loop's server has been told to do.
#[derive(Default)]
struct Orders {
    is_held: Cell<bool>,
    /// Connections of the inner loop that want to know how many bytes the outer loop has read.
    questions: RefCell<Vec<net::Socket>>,
    /// Turns of the inner loop while the outer one waited, and while it was held.
    turns: Cell<(usize, usize)>,
}

/// A gate that serves an event loop of its own.
struct Inner {
    event_loop: EventLoop,
    orders: Rc<Orders>,
}

impl Gate for Inner {
    fn fd(&self) -> RawFd {
        self.event_loop.as_raw_fd()
    }

    fn max_wait(&mut self) -> Option<Duration> {
        self.event_loop.next_wait()
    }

    fn turn(&mut self, max_wait: Option<Duration>) {
        let (waiting, held) = self.orders.turns.get();
        self.orders.turns.set(if max_wait.is_some() { (waiting + 1, held) } else { (waiting, held + 1) });
        self.event_loop.turn(max_wait).expect("the poll works");
    }

    fn decide(&mut self, lp: &Loop, _: Option<&Next>) -> Decision {
        for socket in self.orders.questions.take() {
            let bytes_read = lp.metrics().bytes_read as u8;
            self.event_loop.enter(|inner| socket.write(inner, [bytes_read]));
        }
        if self.orders.is_held.get() { Decision::Hold } else { Decision::Open }
    }
}

/// A server on an inner loop. It sends each chunk back, but for those that are orders: `h` holds the outer loop, `g`
/// lets it go, `?` asks how many bytes the outer loop has read.
fn inner_loop() -> (Inner, u16) {
    let mut event_loop = EventLoop::new().expect("a loop");
    let orders: Rc<Orders> = Rc::default();
    let obeys = orders.clone();
    let handler = on().data(move |lp, socket, chunk| {
        match chunk {
            b"h" => obeys.is_held.set(true),
            b"g" => obeys.is_held.set(false),
            b"?" => return obeys.questions.borrow_mut().push(socket),
            _ => {}
        }
        socket.write(lp, chunk);
    });
    let port = event_loop.enter(|lp| port_of(lp, |lp| net::listen(lp, ("127.0.0.1", 0), handler).map(Server::id)));
    (Inner { event_loop, orders }, port)
}

fn port_of(lp: &mut Loop, listen: impl FnOnce(&mut Loop) -> bucle::Result<ServerId>) -> u16 {
    listen(lp).expect("a free port").port(lp).expect("it is bound")
}

/// An echo server on the outer loop.
fn echo(lp: &mut Loop) -> u16 {
    let handler = on().data(|lp, socket, chunk| {
        socket.write(lp, chunk);
    });
    port_of(lp, |lp| net::listen(lp, ("127.0.0.1", 0), handler).map(Server::id))
}

/// Stops the outer loop when the peer has finished, or has panicked.
struct StopsOnDrop(Remote);

impl Drop for StopsOnDrop {
    fn drop(&mut self) {
        self.0.post(|lp| lp.stop());
    }
}

fn stopper(event_loop: &mut EventLoop) -> StopsOnDrop {
    StopsOnDrop(event_loop.enter(|lp| lp.remote()))
}

/// A peer that blocks, in a thread of its own.
struct Peer(TcpStream);

impl Peer {
    fn connect(port: u16) -> Peer {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        stream.set_read_timeout(Some(GUARD)).expect("it is a socket");
        Peer(stream)
    }

    fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).expect("it is connected");
    }

    fn ask(&mut self, text: &str) -> String {
        self.send(text);
        let mut answer = vec![0; text.len()];
        self.0.read_exact(&mut answer).expect("it is answered");
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// How many bytes the outer loop has read, says the inner one.
    fn bytes_read(&mut self) -> u8 {
        self.ask("?").into_bytes()[0]
    }
}

#[test]
fn the_inner_loop_is_served_while_the_outer_one_waits() {
    let (inner, port) = inner_loop();
    let orders = inner.orders.clone();
    let mut event_loop = EventLoop::new().expect("a loop");
    event_loop.enter(|lp| {
        lp.start_trace(1024);
        lp.set_gate(inner).expect("it can be watched");
    });
    let stopper = stopper(&mut event_loop);
    let _hold = stopper.0.hold();
    let peer = thread::spawn(move || {
        let _stops = stopper;
        (0..3).map(|_| Peer::connect(port).ask("hola")).collect::<Vec<String>>()
    });
    event_loop.run().expect("the poll works");
    assert_eq!(peer.join().expect("it is answered"), ["hola", "hola", "hola"]);
    let (waiting, held) = orders.turns.get();
    assert!(waiting >= 6, "three accepts and three reads at least: {waiting}");
    assert_eq!(held, 0);
    let (metrics, trace) = event_loop.enter(|lp| (lp.metrics(), lp.stop_trace().expect("it was recording")));
    assert_eq!(
        (metrics.loop_count, metrics.events, metrics.callbacks),
        (1, 1, 1),
        "the post, and nothing of the inner loop"
    );
    let waits: Vec<u32> = trace.records().filter(|(_, r)| r.kind == Kind::Wait).map(|(_, r)| r.size).collect();
    assert_eq!(waits, [1], "one wait with one event");
}

#[test]
fn the_inner_loop_is_served_while_the_outer_one_is_held() {
    let (inner, port) = inner_loop();
    let orders = inner.orders.clone();
    orders.is_held.set(true);
    let mut event_loop = EventLoop::new().expect("a loop");
    let outer_port = event_loop.enter(echo);
    // Only now: the server's `on_listening` would be held.
    event_loop.enter(|lp| lp.set_gate(inner)).expect("it can be watched");
    let ran = Rc::new(Cell::new(false));
    let runs = ran.clone();
    event_loop.enter(|lp| lp.set_immediate(move |_| runs.set(true)));
    let stopper = stopper(&mut event_loop);
    let peer = thread::spawn(move || {
        let _stops = stopper;
        let mut outer = Peer::connect(outer_port);
        outer.send("to the outer loop");
        let mut inner = Peer::connect(port);
        assert_eq!(inner.ask("hola"), "hola");
        assert_eq!(inner.bytes_read(), 0, "the outer loop reads nothing");
        assert_eq!(inner.ask("g"), "g");
        let mut answer = [0; 17];
        outer.0.read_exact(&mut answer).expect("the outer loop goes on");
        assert_eq!(inner.bytes_read(), 17, "the inner loop is served as before");
    });
    event_loop.run().expect("the poll works");
    peer.join().expect("all as expected");
    assert!(ran.get() && orders.turns.get().1 >= 3);
}

#[test]
fn a_gate_can_be_closed_in_the_middle_of_a_wait() {
    let (inner, port) = inner_loop();
    let mut event_loop = EventLoop::new().expect("a loop");
    let outer_port = event_loop.enter(|lp| {
        lp.set_gate(inner).expect("it can be watched");
        echo(lp)
    });
    let stopper = stopper(&mut event_loop);
    let peer = thread::spawn(move || {
        let _stops = stopper;
        let (mut outer, mut inner) = (Peer::connect(outer_port), Peer::connect(port));
        assert_eq!(outer.ask("one"), "one");
        for round in 1..=3 {
            let before = inner.bytes_read();
            assert_eq!(inner.ask("h"), "h");
            outer.send("held");
            // The outer loop may have read this before it was held; but then it has not called its handler.
            for _ in 0..5 {
                inner.ask("hola");
            }
            assert!([before, before + 4].contains(&inner.bytes_read()), "round {round}");
            outer.0.set_nonblocking(true).expect("it is a socket");
            assert!(outer.0.read(&mut [0]).is_err(), "nothing is answered in round {round}");
            outer.0.set_nonblocking(false).expect("it is a socket");
            assert_eq!(inner.ask("g"), "g");
            let mut answer = [0; 4];
            outer.0.read_exact(&mut answer).expect("the outer loop goes on");
            assert_eq!(&answer, b"held");
        }
    });
    event_loop.run().expect("the poll works");
    peer.join().expect("all as expected");
}

/// An inner loop that always has something to do.
fn work_without_end(lp: &mut Loop) {
    lp.set_immediate(work_without_end);
}

#[test]
fn a_busy_inner_loop_does_not_stop_the_outer_one() {
    let (mut inner, _) = inner_loop();
    inner.event_loop.enter(work_without_end);
    let orders = inner.orders.clone();
    let mut event_loop = EventLoop::new().expect("a loop");
    let outer_port = event_loop.enter(|lp| {
        lp.set_gate(inner).expect("it can be watched");
        echo(lp)
    });
    let stopper = stopper(&mut event_loop);
    let peer = thread::spawn(move || {
        let stops = stopper;
        let mut outer = Peer::connect(outer_port);
        let answers: Vec<String> = (0..20).map(|_| outer.ask("hola")).collect();
        // A timer of the outer loop answers, too.
        let (tell, told) = std::sync::mpsc::channel();
        stops.0.post(move |lp| {
            lp.set_timeout(Duration::from_millis(3), move |_| tell.send(()).expect("it is awaited"));
        });
        told.recv_timeout(GUARD).expect("the timer fires");
        answers
    });
    event_loop.run().expect("the poll works");
    assert!(peer.join().expect("it is answered").iter().all(|answer| answer == "hola"));
    let waits = event_loop.enter(|lp| lp.metrics().loop_count) as usize;
    assert!(orders.turns.get().0 >= waits, "an inner turn in each wait");
}

#[test]
fn a_loop_knows_how_long_it_may_be_left_alone() {
    let clock = ManualClock::new();
    let mut event_loop = EventLoop::with_clock(clock.clone()).expect("a loop");
    let turn = |event_loop: &mut EventLoop| event_loop.turn(Some(Duration::ZERO)).expect("the poll works");
    assert_eq!(event_loop.next_wait(), None, "it has nothing to do");
    event_loop.enter(|lp| lp.set_timeout(Duration::from_secs(60), |_| {}));
    assert_eq!(event_loop.next_wait(), Some(Duration::from_secs(60)));
    clock.advance(Duration::from_secs(20));
    assert_eq!(event_loop.next_wait(), Some(Duration::from_secs(40)), "the clock is read anew");
    event_loop.enter(|lp| lp.set_immediate(|_| {}));
    assert_eq!(event_loop.next_wait(), Some(Duration::ZERO));
    turn(&mut event_loop);
    assert_eq!(event_loop.next_wait(), Some(Duration::from_secs(40)));

    let port = event_loop.enter(echo);
    let _peer = Peer::connect(port);
    while turn(&mut event_loop).events == 0 {}
    assert_eq!(event_loop.next_wait(), Some(Duration::ZERO), "there may be more events");
    while turn(&mut event_loop).events > 0 {}
    assert_eq!(event_loop.next_wait(), Some(Duration::from_secs(40)));
    clock.advance(Duration::from_secs(100));
    assert_eq!(event_loop.next_wait(), Some(Duration::ZERO), "the timer is due");
}
