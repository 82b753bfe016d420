//! Pipes over real sockets: several destinations get the bytes of one source, at the pace of the slowest. A
//! destination that is closed does not hold up the others.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bucle::net::{Handler, Server, ServerOptions, Socket};
use bucle::{EventLoop, Loop};

/// How long a test waits for something that must come. Only a failing test waits this long.
const LIMIT: Duration = Duration::from_secs(60);

/// The sent pattern repeats after this number of different bytes. It is a prime, so that lost bytes are always noticed.
const PERIOD: usize = 251;

/// More than the kernel buffers for a peer that does not read, and a multiple of the period.
const MUCH: usize = PERIOD * 32 * 1024;

/// How much a peer sends or reads at a time.
const PIECE: usize = 256 * 1024;

/// After this number of turns a test assumes that nothing more comes.
const SOME_TURNS: usize = 50;

/// The sockets of the server, in the order in which they were accepted.
#[derive(Default)]
struct Ends {
    sockets: Vec<Socket>,
    drains: usize,
}

impl Handler for Ends {
    fn on_connection(&mut self, _: &mut Loop, socket: Socket) {
        self.sockets.push(socket);
    }
    fn on_drain(&mut self, _: &mut Loop, _: Socket) {
        self.drains += 1;
    }
    fn on_error(&mut self, _: &mut Loop, _: Socket, _: bucle::Error) {}
}

/// `len` bytes of the pattern, starting at position `before`.
fn pattern(before: usize, len: usize) -> Vec<u8> {
    let period: Vec<u8> = (0..PERIOD).map(|i| i as u8).collect();
    let mut bytes = period.repeat(len / PERIOD + 2);
    bytes.drain(..before % PERIOD);
    bytes.truncate(len);
    bytes
}

/// A peer that sends the pattern, and compares what it receives with the pattern.
struct Peer {
    stream: Option<TcpStream>,
    to_send: usize,
    sent: usize,
    reads: bool,
    got: usize,
}

impl Peer {
    fn act(&mut self) {
        let Some(stream) = &mut self.stream else { return };
        if self.to_send > 0 {
            match stream.write(&pattern(self.sent, self.to_send.min(PIECE))) {
                Ok(n) => (self.sent, self.to_send) = (self.sent + n, self.to_send - n),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        if self.reads {
            let mut buf = vec![0; PIECE];
            match stream.read(&mut buf) {
                Ok(n) => {
                    assert!(buf[..n] == pattern(self.got, n), "the received bytes are not the sent ones");
                    self.got += n;
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
    }
}

/// A loop with a server, the server's sockets, and their peers.
struct World<const N: usize> {
    event_loop: EventLoop,
    server: Server<Ends>,
    ends: [Socket; N],
    peers: [Peer; N],
}

impl<const N: usize> World<N> {
    fn new() -> Self {
        let mut event_loop = EventLoop::new().expect("a loop");
        let options = ServerOptions { allow_half_open: true, ..ServerOptions::default() };
        let server = event_loop.enter(|lp| Server::new(lp, options, Ends::default()));
        event_loop.enter(|lp| server.id().listen(lp, ("127.0.0.1", 0))).expect("it is not listening yet");
        event_loop.turn(Some(Duration::ZERO)).expect("the poll works");
        let address = event_loop.enter(|lp| server.id().address(lp));
        let port = address.and_then(|address| address.port()).expect("it is bound");
        let count = |event_loop: &mut EventLoop| event_loop.enter(|lp| server.with(lp, |ends, _| ends.sockets.len()));
        let peers = std::array::from_fn(|i| {
            let stream = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
            stream.set_nonblocking(true).expect("a socket");
            socket2::SockRef::from(&stream).set_recv_buffer_size(PIECE).expect("a socket");
            // Connect one peer after the other, so that sockets and peers have the same order.
            let start = Instant::now();
            while count(&mut event_loop) != Some(i + 1) {
                assert!(start.elapsed() < LIMIT, "no connection was accepted");
                event_loop.turn(Some(Duration::from_millis(1))).expect("the poll works");
            }
            Peer { stream: Some(stream), to_send: 0, sent: 0, reads: false, got: 0 }
        });
        let ends = event_loop.enter(|lp| server.with(lp, |ends, _| ends.sockets.clone())).expect("it is not running");
        World { event_loop, server, ends: ends.try_into().expect("as many as there are peers"), peers }
    }

    fn enter<T>(&mut self, f: impl FnOnce(&mut Loop) -> T) -> T {
        self.event_loop.enter(f)
    }

    fn turn(&mut self) {
        self.peers.iter_mut().for_each(Peer::act);
        self.event_loop.turn(Some(Duration::from_millis(1))).expect("the poll works");
    }

    /// Turns until `holds` returns true.
    fn turn_until(&mut self, what: &str, holds: impl Fn(&mut Self) -> bool) {
        let start = Instant::now();
        while !holds(self) {
            assert!(start.elapsed() < LIMIT, "waited too long: {what}");
            self.turn();
        }
    }

    fn is_paused(&mut self, i: usize) -> bool {
        let end = self.ends[i];
        self.enter(|lp| end.is_paused(lp))
    }

    fn drains(&mut self) -> usize {
        let server = self.server;
        self.enter(|lp| server.with(lp, |ends, _| ends.drains)).expect("it is not running")
    }

    /// Writes more to a peer than the kernel takes.
    fn fill(&mut self, i: usize) {
        let end = self.ends[i];
        assert!(!self.enter(|lp| end.write(lp, pattern(0, MUCH))), "the kernel took {MUCH} bytes");
    }
}

/// Pipes the first socket to the second, whose peer does not read, and to the third, whose peer reads. Returns when
/// the first socket is paused because the second must drain.
fn source_waiting_for_second() -> World<3> {
    let mut world = World::new();
    let [a, b, c] = world.ends;
    world.enter(|lp| {
        a.pipe(lp, b);
        a.pipe(lp, c);
    });
    world.peers[0].to_send = MUCH;
    world.peers[2].reads = true;
    world.turn_until("the source is paused", |world| world.is_paused(0));
    world
}

#[test]
fn a_source_continues_when_the_destination_it_waits_for_is_reset() {
    let mut world = source_waiting_for_second();
    // The peer has unread bytes, so closing sends an RST.
    world.peers[1].stream = None;
    world.turn_until("the third has everything", |world| world.peers[2].got == MUCH);
}

#[test]
fn a_source_continues_when_the_destination_it_waits_for_is_destroyed() {
    let mut world = source_waiting_for_second();
    let b = world.ends[1];
    world.enter(|lp| b.destroy(lp));
    world.turn_until("the third has everything", |world| world.peers[2].got == MUCH);
}

#[test]
fn a_source_continues_when_the_destination_it_waits_for_is_unpiped() {
    let mut world = source_waiting_for_second();
    let [a, b, _] = world.ends;
    world.enter(|lp| a.unpipe(lp, b));
    world.turn_until("the third has everything", |world| world.peers[2].got == MUCH);
    assert_eq!(world.enter(|lp| b.info(lp).map(|info| info.destroyed)), Some(false));
}

#[test]
fn a_source_continues_when_the_destination_it_waits_for_has_finished() {
    let mut world = source_waiting_for_second();
    let b = world.ends[1];
    world.enter(|lp| b.end(lp));
    for _ in 0..SOME_TURNS {
        world.turn();
    }
    assert!(world.is_paused(0), "the second has ended but not finished, so the source still waits for it");
    world.peers[1].reads = true;
    world.turn_until("the third has everything", |world| world.peers[2].got == MUCH);
}

#[test]
fn a_source_waits_until_all_destinations_have_drained() {
    let mut world = World::<3>::new();
    let [a, b, c] = world.ends;
    world.fill(1);
    world.fill(2);
    world.enter(|lp| {
        a.pipe(lp, b);
        a.pipe(lp, c);
    });
    world.peers[0].to_send = MUCH;
    world.turn_until("the source is paused", |world| world.is_paused(0));
    let written = world.enter(|lp| c.info(lp)).expect("it is open").bytes_written;
    world.peers[2].reads = true;
    world.turn_until("one has drained", |world| world.drains() == 1);
    for _ in 0..SOME_TURNS {
        world.turn();
    }
    assert!(world.is_paused(0));
    assert_eq!(world.enter(|lp| c.info(lp)).expect("it is open").bytes_written, written, "the second must still drain");
    world.peers[1].reads = true;
    world.turn_until("both have everything", |world| world.peers[1].got == 2 * MUCH && world.peers[2].got == 2 * MUCH);
}

#[test]
fn a_pipe_into_a_full_destination_begins_after_its_drain() {
    let mut world = World::<2>::new();
    let [a, b] = world.ends;
    world.fill(1);
    world.enter(|lp| a.pipe(lp, b));
    assert!(world.is_paused(0));
    world.peers[0].to_send = MUCH;
    world.peers[1].reads = true;
    world.turn_until("the destination has everything", |world| world.peers[1].got == 2 * MUCH);
}

#[test]
fn a_pipe_resumes_a_paused_source() {
    let mut world = World::<2>::new();
    let [a, b] = world.ends;
    world.enter(|lp| {
        a.pause(lp);
        a.pipe(lp, b);
    });
    world.peers[0].to_send = 1000;
    world.peers[1].reads = true;
    world.turn_until("the destination has everything", |world| world.peers[1].got == 1000);
}

#[test]
fn a_source_continues_when_all_full_destinations_are_unpiped() {
    let mut world = source_waiting_for_second();
    let [a, b, c] = world.ends;
    world.enter(|lp| {
        a.unpipe(lp, c);
        assert!(a.is_paused(lp), "the second must still drain");
        a.unpipe(lp, b);
    });
    world.turn_until("everything is read", |world| {
        world.enter(|lp| a.info(lp).is_some_and(|info| info.bytes_read == MUCH as u64))
    });
}

#[test]
fn a_source_pauses_when_its_last_destination_is_unpiped() {
    let mut world = source_waiting_for_second();
    let [a, b, c] = world.ends;
    world.enter(|lp| {
        a.unpipe(lp, b);
        a.unpipe(lp, c);
    });
    for _ in 0..SOME_TURNS {
        world.turn();
    }
    assert!(world.is_paused(0));
    world.enter(|lp| a.pipe(lp, c));
    world.turn_until("the source is resumed", |world| !world.is_paused(0));
}

#[test]
fn a_destination_that_refuses_a_write_does_not_hold_up_others() {
    let mut world = World::<3>::new();
    let [a, b, c] = world.ends;
    world.enter(|lp| {
        a.pipe(lp, b);
        a.pipe(lp, c);
    });
    // The socket has much to send before it finishes, and is a destination until then.
    world.fill(1);
    world.enter(|lp| b.end(lp));
    world.peers[0].to_send = 1000;
    world.peers[2].reads = true;
    world.turn_until("the third has everything", |world| world.peers[2].got == 1000);
    world.peers[0].to_send = 1000;
    world.turn_until("the third has everything", |world| world.peers[2].got == 2000);
}

#[test]
fn a_finished_destination_gets_no_more_writes() {
    let mut world = World::<2>::new();
    let [a, b] = world.ends;
    world.enter(|lp| {
        a.pipe(lp, b);
        b.end(lp);
    });
    world.turn_until("it has finished", |world| {
        world.enter(|lp| b.info(lp).is_some_and(|info| info.writable_finished)) && world.is_paused(0)
    });
    world.peers[0].to_send = 1000;
    world.turn_until("the bytes are read", |world| {
        world.enter(|lp| a.info(lp).is_some_and(|info| info.bytes_read == 1000))
    });
    // A write after the end would have destroyed the destination.
    assert_eq!(world.enter(|lp| b.info(lp).map(|info| info.destroyed)), Some(false));
}

#[test]
fn one_of_two_pipes_to_the_same_destination_can_be_removed() {
    let mut world = World::<2>::new();
    let [a, b] = world.ends;
    world.enter(|lp| {
        a.pipe(lp, b);
        a.pipe(lp, b);
        a.unpipe(lp, b);
    });
    world.peers[0].to_send = 1000;
    world.peers[1].reads = true;
    world.turn_until("the destination has everything", |world| world.peers[1].got == 1000);
    for _ in 0..SOME_TURNS {
        world.turn();
    }
    assert_eq!(world.peers[1].got, 1000);
}
