//! Limits: nothing that a peer can fill is unbounded. Each test shows what happens at a limit, and that no other peer
//! is affected.

use std::cell::{Cell, RefCell};
use std::io::{BufRead, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::retry::retry;
use super::served::{Peer, Served, bucle};
use bucle::net::{Handler, Limit, Limits, Server, ServerOptions, Socket, SocketOptions};
use bucle::{Error, EventLoop, Loop, ManualClock};

/// How long a test waits before it fails.
const LIMIT: Duration = Duration::from_secs(60);

/// More than the kernel buffers for a connection whose peer does not read, so that a write must block.
const ENOUGH: usize = 64 * 1024 * 1024;

/// Records its sockets and their events.
#[derive(Default)]
struct Recorder {
    sockets: Vec<Socket>,
    errors: Vec<(Socket, Error)>,
    closed: Vec<(Socket, bool)>,
    drains: usize,
    chunks: Vec<usize>,
}

impl Handler for Recorder {
    fn on_connection(&mut self, _: &mut Loop, socket: Socket) {
        self.sockets.push(socket);
    }
    fn on_data(&mut self, _: &mut Loop, _: Socket, chunk: &[u8]) {
        self.chunks.push(chunk.len());
    }
    fn on_drain(&mut self, _: &mut Loop, _: Socket) {
        self.drains += 1;
    }
    fn on_error(&mut self, _: &mut Loop, socket: Socket, error: Error) {
        self.errors.push((socket, error));
    }
    fn on_close(&mut self, _: &mut Loop, socket: Socket, had_error: bool) {
        self.closed.push((socket, had_error));
    }
}

struct Fixture {
    event_loop: EventLoop,
    server: Server<Recorder>,
    clock: ManualClock,
}

impl Fixture {
    fn new(limits: Limits) -> Fixture {
        let clock = ManualClock::new();
        let mut event_loop = EventLoop::with_clock(clock.clone()).expect("a loop");
        let server = event_loop.enter(|lp| {
            let options = ServerOptions { limits, ..ServerOptions::default() };
            let server = Server::new(lp, options, Recorder::default());
            server.id().listen_now(lp, ("127.0.0.1", 0)).expect("a free port");
            server
        });
        Fixture { event_loop, server, clock }
    }

    fn turn(&mut self) {
        self.event_loop.turn(Some(Duration::from_millis(1))).expect("the poll works");
    }

    fn turn_until(&mut self, what: &str, mut is_so: impl FnMut(&mut Recorder, &mut Loop) -> bool) {
        let limit = Instant::now() + LIMIT;
        while !self.recorder(&mut is_so) {
            assert!(Instant::now() < limit, "waited too long until {what}");
            self.turn();
        }
    }

    fn recorder<R>(&mut self, f: impl FnOnce(&mut Recorder, &mut Loop) -> R) -> R {
        let server = self.server;
        self.event_loop.enter(|lp| server.with(lp, f).expect("no other call uses it"))
    }

    /// Connects a client that does not read unless the test does, and returns it with the socket of the server.
    fn connect(&mut self) -> (TcpStream, Socket) {
        let before = self.recorder(|recorder, _| recorder.sockets.len());
        let server = self.server.id();
        let port =
            self.event_loop.enter(|lp| server.address(lp)).and_then(|address| address.port()).expect("it is bound");
        let client = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        // The receive buffer of the client is small, so that everything it reads makes room on the server's side.
        client.set_recv_buffer_size(64 * 1024).expect("a socket");
        retry(|| client.connect(&std::net::SocketAddr::from(([127, 0, 0, 1], port)).into())).expect("it listens");
        let client = TcpStream::from(client);
        client.set_read_timeout(Some(LIMIT)).expect("a socket");
        self.turn_until("accepted", |recorder, _| recorder.sockets.len() > before);
        (client, self.recorder(|recorder, _| recorder.sockets[before]))
    }

    /// Writes until the kernel blocks and exactly `waiting` bytes wait in the process.
    fn fill(&mut self, socket: Socket, waiting: usize) {
        self.event_loop.enter(|lp| {
            let mut written = 0;
            while socket.writable_length(lp) == 0 {
                socket.write(lp, [b'x'; 1024]);
                socket.flush(lp);
                written += 1024;
                assert!(written < ENOUGH, "the kernel never blocked");
            }
            let more = waiting - socket.unsent_length(lp);
            socket.write(lp, vec![b'x'; more]);
            assert_eq!(socket.unsent_length(lp), waiting);
        });
    }

    fn errors(&mut self) -> Vec<(Socket, Error)> {
        self.recorder(|recorder, _| recorder.errors.clone())
    }
}

/// Reads to the end. Returns the number of bytes, and whether the end was an RST.
fn rest(client: &mut TcpStream) -> (usize, bool) {
    let mut bytes = Vec::new();
    match client.read_to_end(&mut bytes) {
        Ok(_) => (bytes.len(), false),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            (bytes.len(), true)
        }
    }
}

#[test]
fn without_limits_bytes_for_a_peer_that_does_not_read_wait() {
    let mut fixture = Fixture::new(Limits::default());
    let (mut client, socket) = fixture.connect();
    fixture.fill(socket, 10_000_000);
    let total = fixture.event_loop.enter(|lp| socket.info(lp)).expect("it is there").bytes_written;
    let reading = std::thread::spawn(move || {
        let mut bytes = vec![0; total as usize];
        client.read_exact(&mut bytes).expect("all of it")
    });
    fixture.turn_until("drained", |recorder, _| recorder.drains > 0);
    reading.join().expect("it was read");
}

#[test]
fn a_socket_over_the_outbox_limit_is_reset_and_no_other() {
    let mut fixture = Fixture::new(Limits { outbox_bytes: Some(100_000), ..Limits::NONE });
    let (mut slow, slow_socket) = fixture.connect();
    let (mut other, other_socket) = fixture.connect();
    fixture.fill(slow_socket, 99_999);
    fixture.event_loop.enter(|lp| {
        slow_socket.write(lp, "x");
        assert!(slow_socket.exists(lp) && slow_socket.write_refusal(lp).is_none(), "the limit itself is allowed");
        assert!(!slow_socket.write(lp, "x"));
        assert_eq!(slow_socket.unsent_length(lp), 0, "the waiting bytes are dropped immediately");
        assert_eq!(slow_socket.write_refusal(lp).expect("it is destroyed").code(), "ERR_STREAM_DESTROYED");
        other_socket.write(lp, "hola");
    });
    fixture.turn_until("closed", |recorder, _| !recorder.closed.is_empty());
    let want = Error::TooSlow { waiting: 100_001, limit: Limit::OutboxBytes(100_000) };
    assert_eq!(want.code(), "E_TOO_SLOW");
    assert_eq!(want.to_string(), "too slow: 100001 bytes are queued, the limit is 100000 bytes");
    assert_eq!(fixture.errors(), [(slow_socket, want)]);
    assert_eq!(fixture.recorder(|recorder, _| recorder.closed.clone()), [(slow_socket, true)]);
    let (_, was_reset) = rest(&mut slow);
    assert!(was_reset, "a FIN would mean that all bytes were sent");
    let mut answer = [0; 4];
    other.read_exact(&mut answer).expect("the other client is served");
    assert_eq!(&answer, b"hola");
}

/// The kernel has not blocked before: it takes a part of this write, and the rest is over the limit.
#[test]
fn one_write_larger_than_the_kernel_buffer_and_the_limit_is_too_large() {
    let mut fixture = Fixture::new(Limits { outbox_bytes: Some(100_000), ..Limits::NONE });
    let (_client, socket) = fixture.connect();
    let answer = fixture.event_loop.enter(|lp| socket.write(lp, vec![b'x'; ENOUGH]));
    assert!(!answer);
    assert!(matches!(fixture.errors()[..], [(_, Error::TooSlow { waiting, .. })] if waiting > 100_000));
}

/// They are called in order, once each, and all with an error, because none of the waiting bytes was sent.
#[test]
fn waiting_callbacks_of_a_reset_socket_get_its_error() {
    let mut fixture = Fixture::new(Limits { outbox_bytes: Some(100_000), ..Limits::NONE });
    let (_client, socket) = fixture.connect();
    fixture.fill(socket, 90_000);
    let results = Rc::new(RefCell::new(Vec::new()));
    fixture.event_loop.enter(|lp| {
        for (name, bytes) in [("a", 10), ("b", 0), ("c", 20_000), ("d", 10)] {
            let results = results.clone();
            let answer = socket.write_then(lp, vec![b'x'; bytes], move |_, result| {
                results.borrow_mut().push((name, result.err().map(|error| error.code().to_owned())));
            });
            assert!(!answer, "{name}");
        }
    });
    let failed = |name, code: &str| (name, Some(code.to_owned()));
    let want = ["a", "b", "c"].map(|name| failed(name, "E_TOO_SLOW"));
    let results = results.take();
    assert_eq!(results.iter().filter(|(name, _)| *name != "d").cloned().collect::<Vec<_>>(), want);
    assert!(results.contains(&failed("d", "ERR_STREAM_DESTROYED")), "{results:?}");
    assert_eq!(fixture.errors().len(), 1);
}

#[test]
fn callbacks_of_empty_writes_are_limited() {
    let mut fixture = Fixture::new(Limits { callbacks: Some(3), ..Limits::NONE });
    let (_client, socket) = fixture.connect();
    fixture.fill(socket, 10_000);
    let failed = Rc::new(Cell::new(0));
    fixture.event_loop.enter(|lp| {
        let count = || {
            let failed = failed.clone();
            move |_: &mut Loop, result: bucle::Result<()>| failed.set(failed.get() + usize::from(result.is_err()))
        };
        socket.write_then(lp, "", count());
        socket.write_then(lp, "", count());
        socket.end_then(lp, count());
        assert!(socket.info(lp).is_some_and(|info| !info.destroyed));
        socket.end_then(lp, count());
        assert!(socket.info(lp).is_some_and(|info| info.destroyed));
    });
    assert_eq!(failed.get(), 4);
    let want = Error::TooSlow { waiting: 10_000, limit: Limit::Callbacks(3) };
    assert_eq!(fixture.errors(), [(socket, want)]);
}

#[test]
fn over_the_total_limit_the_largest_outboxes_are_evicted() {
    let mut fixture = Fixture::new(Limits::NONE);
    let sizes = [300_000, 200_000, 400_000, 100_000];
    let mut peers: Vec<_> = sizes.iter().map(|_| fixture.connect()).collect();
    for (&(_, socket), &size) in peers.iter().zip(&sizes) {
        fixture.fill(socket, size);
    }
    fixture.event_loop.enter(|lp| lp.set_outbox_limit(Some(1_000_000)));
    assert!(fixture.errors().is_empty(), "the limit itself is allowed");
    let smallest = peers[3].1;
    fixture.event_loop.enter(|lp| assert!(!smallest.write(lp, "x"), "the byte waits, like the bytes before it"));
    let evicted = |waiting, limit| Error::TooSlow { waiting, limit: Limit::AllOutboxes(limit) };
    assert_eq!(fixture.errors(), [(peers[2].1, evicted(400_000, 1_000_000))], "not the socket that wrote");
    fixture.event_loop.enter(|lp| lp.set_outbox_limit(Some(200_001)));
    let want = [(peers[0].1, evicted(300_000, 200_001)), (peers[1].1, evicted(200_000, 200_001))];
    assert_eq!(fixture.errors()[1..], want);
    let waiting = fixture.event_loop.enter(|lp| smallest.unsent_length(lp));
    assert_eq!(waiting, 100_001, "no other socket loses anything");
    // The bytes of the remaining socket still arrive, and are no longer counted.
    let written = fixture.event_loop.enter(|lp| smallest.info(lp)).expect("it is there").bytes_written as usize;
    let mut client = peers.pop().expect("four").0;
    let reading = std::thread::spawn(move || {
        client.read_exact(&mut vec![0; written]).expect("all of it");
        client
    });
    fixture.turn_until("drained", |recorder, _| recorder.drains > 0);
    let _client = reading.join().expect("it was read");
    fixture.event_loop.enter(|lp| lp.set_outbox_limit(Some(0)));
    assert_eq!(fixture.errors().len(), 3, "no bytes are left");
}

/// A write may evict its own socket: it returns `false`, and the socket is destroyed.
#[test]
fn a_write_can_evict_its_own_socket() {
    let mut fixture = Fixture::new(Limits::NONE);
    fixture.event_loop.enter(|lp| lp.set_outbox_limit(Some(50_000)));
    let (_client, socket) = fixture.connect();
    fixture.fill(socket, 50_000);
    let is_destroyed = fixture.event_loop.enter(|lp| {
        assert!(!socket.write(lp, "x"));
        socket.info(lp).is_some_and(|info| info.destroyed)
    });
    assert!(is_destroyed);
}

/// During a broadcast each socket is the one with the largest outbox for a moment.
#[test]
fn among_many_equal_outboxes_no_more_are_evicted_than_needed() {
    const PEERS: usize = 200;
    const EACH: usize = 2_000;
    let mut fixture = Fixture::new(Limits::NONE);
    let peers: Vec<_> = (0..PEERS).map(|_| fixture.connect()).collect();
    let corked: Vec<Socket> = peers.iter().map(|&(_, socket)| socket).collect();
    let write_all = |lp: &mut Loop| {
        for socket in &corked {
            socket.write(lp, [b'x'; 100]);
        }
    };
    fixture.event_loop.enter(|lp| {
        lp.set_outbox_limit(Some(PEERS * EACH));
        // Corked bytes wait too, without a kernel that blocks.
        corked.iter().for_each(|socket| socket.cork(lp));
        for _ in 0..EACH / 100 {
            write_all(lp);
        }
    });
    assert!(fixture.errors().is_empty());
    fixture.event_loop.enter(write_all);
    // 200 × 100 more bytes are ten outboxes of 2,100 bytes, minus the bytes that are not written to evicted sockets.
    let evicted = fixture.errors().len();
    assert!((9..=10).contains(&evicted), "{evicted} were evicted");
}

#[test]
fn a_peer_that_takes_nothing_for_the_write_timeout_is_disconnected() {
    let timeout = Duration::from_secs(30);
    let mut fixture = Fixture::new(Limits { write_timeout: timeout, ..Limits::NONE });
    let (_stuck, socket) = fixture.connect();
    let (_quiet, _) = fixture.connect();
    fixture.fill(socket, 10_000);
    fixture.turn();
    fixture.clock.advance(timeout - Duration::from_millis(1));
    fixture.turn();
    assert!(fixture.errors().is_empty(), "not before");
    fixture.clock.advance(Duration::from_millis(1));
    fixture.turn();
    let want = Error::TooSlow { waiting: 10_000, limit: Limit::WriteTimeout(timeout) };
    assert_eq!(want.to_string(), "too slow: 10000 bytes are queued, none was sent for 30s");
    assert_eq!(fixture.errors(), [(socket, want)], "not the socket without waiting bytes");
}

/// The kernel reports room only when a large part of its buffer is free. This reader frees less in the time limit.
#[test]
fn a_slow_reader_is_not_disconnected() {
    let timeout = Duration::from_secs(30);
    let mut fixture = Fixture::new(Limits { write_timeout: timeout, ..Limits::NONE });
    let (mut slow, socket) = fixture.connect();
    fixture.fill(socket, 5_000_000);
    fixture.turn();
    let unsent = |fixture: &mut Fixture| fixture.event_loop.enter(|lp| socket.unsent_length(lp));
    let mut before = unsent(&mut fixture);
    for round in 0..5 {
        slow.read_exact(&mut vec![0; 512 * 1024]).expect("there is more than that");
        fixture.clock.advance(timeout);
        fixture.turn();
        assert!(fixture.errors().is_empty(), "in round {round}");
        let now = unsent(&mut fixture);
        assert!(now < before, "some bytes were sent in round {round}");
        before = now;
    }
    for _ in 0..3 {
        fixture.clock.advance(timeout);
        fixture.turn();
    }
    assert_eq!(fixture.errors().len(), 1, "a reader that stops is disconnected");
}

#[test]
fn after_a_drain_the_write_timeout_stops() {
    let timeout = Duration::from_secs(30);
    let mut fixture = Fixture::new(Limits { write_timeout: timeout, ..Limits::NONE });
    let (mut client, socket) = fixture.connect();
    fixture.fill(socket, 100_000);
    let written = fixture.event_loop.enter(|lp| socket.info(lp)).expect("it is there").bytes_written as usize;
    let reading = std::thread::spawn(move || {
        client.read_exact(&mut vec![0; written]).expect("all of it");
        client
    });
    fixture.turn_until("drained", |recorder, _| recorder.drains > 0);
    let mut client = reading.join().expect("it was read");
    for _ in 0..3 {
        fixture.clock.advance(timeout);
        fixture.turn();
    }
    fixture.event_loop.enter(|lp| socket.write(lp, "hola"));
    let mut answer = [0; 4];
    client.read_exact(&mut answer).expect("the connection still works");
    assert!(fixture.errors().is_empty());
}

#[test]
fn bytes_written_before_the_connection_count_too() {
    let mut fixture = Fixture::new(Limits::NONE);
    let port =
        fixture.event_loop.enter(|lp| fixture.server.id().address(lp)).and_then(|at| at.port()).expect("it is bound");
    let errors = Rc::new(RefCell::new(Vec::new()));
    let seen = errors.clone();
    let handler = bucle::net::on().error(move |_, _, error| seen.borrow_mut().push(error.code().to_owned()));
    fixture.event_loop.enter(|lp| {
        let limits = Limits { outbox_bytes: Some(1_000), ..Limits::NONE };
        let socket = Socket::new(lp, SocketOptions { limits, ..SocketOptions::default() }, handler);
        socket.connect_to(lp, ("127.0.0.1", port)).expect("a good address");
        assert!(socket.write(lp, [b'x'; 1_000]));
        assert!(!socket.write(lp, "x"));
    });
    fixture.turn();
    assert_eq!(*errors.borrow(), ["E_TOO_SLOW"]);
}

#[test]
fn a_socket_may_have_its_own_limits_and_keeps_those_of_a_removed_server() {
    let mut fixture = Fixture::new(Limits { outbox_bytes: Some(100_000), ..Limits::NONE });
    let (_a, free) = fixture.connect();
    let (_b, bound) = fixture.connect();
    let (_c, late) = fixture.connect();
    fixture.event_loop.enter(|lp| free.set_limits(lp, Limits::NONE));
    fixture.fill(free, 200_000);
    fixture.fill(bound, 100_000);
    fixture.fill(late, 50_000);
    let server = fixture.server.id();
    fixture.event_loop.enter(|lp| {
        late.set_limits(lp, Limits { outbox_bytes: Some(49_999), ..Limits::NONE });
        assert!(late.info(lp).is_some_and(|info| info.destroyed), "bytes that wait already count");
        server.remove(lp);
        bound.write(lp, "x");
        assert!(bound.info(lp).is_some_and(|info| info.destroyed));
        assert!(free.info(lp).is_some_and(|info| !info.destroyed));
    });
}

#[test]
fn one_turn_reads_no_more_than_its_budget() {
    const READ: usize = 64 * 1024;
    for budget in [1, 3] {
        let mut fixture = Fixture::new(Limits { reads_per_turn: budget, ..Limits::NONE });
        let (mut loud, _) = fixture.connect();
        let sending = std::thread::spawn(move || {
            loud.write_all(&vec![b'x'; 40 * READ]).expect("the server reads it later");
            loud
        });
        let mut sent = 0;
        let mut most = 0;
        let limit = Instant::now() + LIMIT;
        while sent < 40 * READ {
            assert!(Instant::now() < limit, "{sent} bytes have arrived");
            fixture.turn();
            let chunks = fixture.recorder(|recorder, _| std::mem::take(&mut recorder.chunks));
            most = most.max(chunks.len());
            sent += chunks.iter().sum::<usize>();
        }
        let _loud = sending.join().expect("it was read");
        assert_eq!(most, budget);
    }
}

/// Sends until the server takes no more: then all buffers between client and server are full.
fn fill_server(peer: &mut Peer) {
    peer.0.set_write_timeout(Some(Duration::from_millis(300))).expect("a socket");
    let mut sent = 0;
    while let Ok(n) = retry(|| peer.0.write(&[b'x'; 64 * 1024])) {
        sent += n;
        assert!(sent < 4 * ENOUGH, "the server takes everything");
    }
}

/// Reads until the server has ended the connection. Returns whether the end was an RST.
fn was_reset_by_server(peer: &mut Peer) -> bool {
    peer.0.set_read_timeout(Some(LIMIT)).expect("a socket");
    let mut chunk = vec![0; 64 * 1024];
    loop {
        match retry(|| peer.0.read(&mut chunk)) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return error.kind() == ErrorKind::ConnectionReset,
        }
    }
}

#[test]
fn the_command_disconnects_a_peer_that_reads_nothing_for_the_write_timeout() {
    let mut server = Served::start(&["echo", "--write-timeout", "2s"]);
    let mut log = std::io::BufReader::new(server.child.stderr.take().expect("it is piped")).lines();
    let mut stuck = server.connect();
    let mut other = server.connect();
    fill_server(&mut stuck);
    let line = log.find_map(|line| line.ok().filter(|line| line.contains("too slow: "))).expect("it is logged");
    assert!(line.contains(" bytes are queued, none was sent for 2s"), "{line}");
    assert!(was_reset_by_server(&mut stuck), "with an RST, because not all bytes were sent");
    other.send("hola");
    assert_eq!(other.bytes(4), b"hola");
    drop((stuck, other));
    server.signal("-TERM");
    assert!(server.child.wait().expect("it ends").success());
}

/// Starts a relay with stuck members, and sends lines through a member that reads. Returns the log.
fn send_to_stuck_members(options: &[&str], stuck: usize) -> String {
    let mut args = vec!["relay"];
    args.extend_from_slice(options);
    let server = Served::start(&args);
    let mut listeners: Vec<Peer> = (0..stuck).map(|_| server.connect()).collect();
    // Members are connected when they receive a line.
    let mut talker = server.connect();
    talker.send("in\n");
    for peer in listeners.iter_mut().chain([&mut talker]) {
        assert_eq!(peer.bytes(3), b"in\n");
    }
    let line = [&[b'x'; 32 * 1024 - 1][..], b"\n"].concat();
    let mut received = vec![0; line.len()];
    for _ in 0..1024 {
        talker.send(&line);
        talker.0.read_exact(&mut received).expect("the member that reads receives everything");
    }
    assert!(received == line);
    for peer in &mut listeners {
        assert!(was_reset_by_server(peer));
    }
    talker.send("still here\n");
    assert_eq!(talker.bytes(11), b"still here\n");
    drop(talker);
    server.signal("-TERM");
    let (status, log) = server.end();
    assert_eq!(status, Some(0), "{log}");
    log
}

#[test]
fn the_command_disconnects_a_peer_over_the_outbox_limit() {
    let log = send_to_stuck_members(&[], 1);
    assert_eq!(log.matches("too slow: ").count(), 1, "{log}");
    assert!(log.contains(" bytes are queued, the limit is 1048576 bytes"), "{log}");
    let log = send_to_stuck_members(&["--outbox-limit", "256K"], 1);
    assert!(log.contains(" bytes are queued, the limit is 262144 bytes"), "{log}");
}

#[test]
fn the_command_evicts_the_largest_outbox_over_the_total_limit() {
    let log = send_to_stuck_members(&["--outbox-limit", "0", "--total-outbox-limit", "1MiB"], 3);
    assert_eq!(log.matches("the largest outbox when all together exceeded 1048576 bytes").count(), 3, "{log}");
}

#[test]
fn the_command_closes_a_connection_over_the_line_limit() {
    let server = Served::start(&["lines", "--line-limit", "100"]);
    let mut peer = server.connect();
    peer.send([&[b'x'; 100][..], b"\n"].concat());
    assert_eq!(peer.bytes(101).len(), 101);
    peer.send([b'x'; 101]);
    assert_eq!(peer.rest(), b"line over 100 bytes, good-bye\r\n");
}

#[test]
fn contradictory_limits_are_usage_errors() {
    for (args, word) in [
        (&["--line-limit", "0"][..], "a line has at least one byte"),
        (&["--outbox-limit", "100K"], "need at least 196608"),
        (&["--outbox-limit", "1M", "--line-limit", "1M"], "lines of up to 1048576 bytes"),
        (&["--outbox-limit", "lots"], "64M, 500K or 2G"),
        (&["--write-timeout", "soon"], "10s, 5m or 1h"),
    ] {
        let output = bucle(&["serve", "--port", "0"]).args(args).output().expect("the program starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
        assert!(stderr.contains(word), "{args:?}: {stderr}");
    }
}

/// One callback writes a little to many sockets, again and again, without returning to the loop.
#[test]
fn gathered_bytes_of_all_sockets_are_limited() {
    const SOCKETS: usize = 120;
    const EACH: usize = 90 * 1024;
    const GATHERED: usize = 8 * 1024 * 1024;
    let mut event_loop = EventLoop::new().expect("a loop");
    let server = event_loop.enter(|lp| {
        let options =
            ServerOptions { high_water_mark: 2 * EACH, accepts_per_turn: SOCKETS, ..ServerOptions::default() };
        let server = Server::new(lp, options, Recorder::default());
        server.id().listen_now(lp, ("127.0.0.1", 0)).expect("a free port");
        server
    });
    let port = event_loop.enter(|lp| server.id().address(lp)).and_then(|address| address.port()).expect("it is bound");
    let mut clients: Vec<TcpStream> =
        (0..SOCKETS).map(|_| TcpStream::connect(("127.0.0.1", port)).expect("it listens")).collect();
    let count = |event_loop: &mut EventLoop| {
        event_loop.enter(|lp| server.with(lp, |recorder, _| recorder.sockets.len())).expect("no other call uses it")
    };
    while count(&mut event_loop) < SOCKETS {
        event_loop.turn(Some(Duration::from_millis(1))).expect("the poll works");
    }
    let most = event_loop.enter(|lp| {
        let sockets = server.with(lp, |recorder, _| recorder.sockets.clone()).expect("no other call uses it");
        let mut most = 0;
        for _ in 0..EACH / 1024 {
            for socket in &sockets {
                socket.write(lp, [b'x'; 1024]);
            }
            // Bytes that the kernel has refused are not gathered bytes.
            let gathered = sockets.iter().filter(|socket| socket.writable_length(lp) == 0);
            most = most.max(gathered.map(|socket| socket.unsent_length(lp)).sum());
        }
        most
    });
    assert!(most <= GATHERED, "{most} bytes were gathered at the same time");
    assert!(most > GATHERED / 2, "only {most} bytes were gathered at the same time");
    for client in &mut clients {
        let mut received = vec![0; EACH];
        client.set_read_timeout(Some(Duration::from_millis(1))).expect("a socket");
        let mut len = 0;
        let limit = Instant::now() + LIMIT;
        while len < EACH {
            assert!(Instant::now() < limit, "only {len} of {EACH} bytes arrived");
            event_loop.turn(Some(Duration::ZERO)).expect("the poll works");
            len += client.read(&mut received[len..]).unwrap_or(0);
        }
        assert!(received.iter().all(|&byte| byte == b'x'));
    }
}

/// The server answers everything that had arrived at the signal: more than one read, and also lines of connections in
/// the backlog.
#[test]
fn a_closing_server_answers_what_had_arrived() {
    let server = Served::start(&["lines"]);
    let mut peer = server.connect();
    peer.send("hola\n");
    assert_eq!(peer.bytes(5), b"hola\n");
    // The server is stopped, so that everything waits in the kernel when the signal comes.
    server.signal("-STOP");
    let mut in_backlog = server.connect();
    in_backlog.send("waiting\n");
    peer.0.set_nonblocking(true).expect("a socket");
    let line = [&[b'x'; 1023][..], b"\n"].concat();
    let mut sent = 0;
    // Little enough for a slow machine: closing takes at most 4.5 s.
    while sent < 512 * 1024 {
        match peer.0.write(&line[sent % 1024..]) {
            Ok(n) => sent += n,
            Err(_) => break,
        }
    }
    assert!(sent > 64 * 1024, "the kernel buffers more than one read");
    peer.0.set_nonblocking(false).expect("a socket");
    server.signal("-TERM");
    server.signal("-CONT");
    let answer = peer.rest();
    assert_eq!(answer.iter().filter(|&&byte| byte == b'\n').count(), sent / 1024, "of {sent} bytes");
    assert_eq!(in_backlog.rest(), b"waiting\n");
    drop((peer, in_backlog));
    assert_eq!(server.end().0, Some(0));
}

/// Each message logs four lines, and nothing reads them: far more than a pipe and the queue of the log hold.
#[test]
fn a_log_without_a_reader_does_not_stop_the_server() {
    let mut server = Served::start(&["echo", "-vvv"]);
    let mut peer = server.connect();
    for _ in 0..10_000 {
        peer.send("hola");
        assert_eq!(peer.bytes(4), b"hola");
    }
    // Now read the log, to check that it reports the gap.
    let stderr = server.child.stderr.take().expect("it is piped");
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in std::io::BufReader::new(stderr).lines().map_while(Result::ok) {
            if line.contains(" dropped here: the reader was too slow)") {
                let _ = sender.send(());
            }
        }
    });
    let limit = Instant::now() + LIMIT;
    while receiver.try_recv().is_err() {
        assert!(Instant::now() < limit, "the log does not report the dropped lines");
        peer.send("hola");
        assert_eq!(peer.bytes(4), b"hola");
    }
    drop(peer);
    server.signal("-TERM");
    assert!(server.child.wait().expect("it ends").success());
}

#[test]
fn closed_and_full_outputs_do_not_stop_the_server() {
    let folder = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    for (name, redirection) in
        [("closed", ">&- 2>&- <&-"), ("full", ">/dev/full 2>/dev/full"), ("null", ">/dev/null 2>&1")]
    {
        let path = folder.join(format!("bounds-{name}-{}", std::process::id()));
        let line =
            format!("exec {} serve echo -vvv --unix {} {redirection}", env!("CARGO_BIN_EXE_bucle"), path.display());
        let child = Command::new("sh").args(["-c", &line]).spawn().expect("a shell");
        let server = Served { child, line: String::new() };
        let limit = Instant::now() + LIMIT;
        let mut peer = loop {
            match std::os::unix::net::UnixStream::connect(&path) {
                Ok(peer) => break peer,
                Err(error) => assert!(Instant::now() < limit, "{name}: {error}"),
            }
            std::thread::park_timeout(Duration::from_millis(5));
        };
        for _ in 0..100 {
            peer.write_all(b"hola").expect("it reads");
            peer.read_exact(&mut [0; 4]).expect("it answers");
        }
        drop(peer);
        server.signal("-PIPE");
        server.signal("-HUP");
        server.signal("-TERM");
        let mut server = server;
        assert_eq!(server.child.wait().expect("it ends").code(), Some(0), "{name}");
    }
}
