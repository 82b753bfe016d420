//! Nothing that a peer can fill is unbounded: what happens at each limit, and that it costs only the one who got there.

use std::cell::{Cell, RefCell};
use std::io::{BufRead, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::served::{Peer, Served, bucle};
use bucle::net::{Handler, Limit, Limits, Server, ServerOptions, Socket, SocketOptions};
use bucle::{Error, EventLoop, Loop, ManualClock};

/// Only a guard against hanging.
const LIMIT: Duration = Duration::from_secs(60);

/// More than the kernel holds for a connection that nobody reads: it has to refuse.
const ENOUGH: usize = 64 * 1024 * 1024;

/// Keeps its sockets and what was heard of them.
#[derive(Default)]
struct Room {
    sockets: Vec<Socket>,
    errors: Vec<(Socket, Error)>,
    closed: Vec<(Socket, bool)>,
    drained: usize,
    chunks: Vec<usize>,
}

impl Handler for Room {
    fn on_connection(&mut self, _: &mut Loop, socket: Socket) {
        self.sockets.push(socket);
    }
    fn on_data(&mut self, _: &mut Loop, _: Socket, chunk: &[u8]) {
        self.chunks.push(chunk.len());
    }
    fn on_drain(&mut self, _: &mut Loop, _: Socket) {
        self.drained += 1;
    }
    fn on_error(&mut self, _: &mut Loop, socket: Socket, error: Error) {
        self.errors.push((socket, error));
    }
    fn on_close(&mut self, _: &mut Loop, socket: Socket, had_error: bool) {
        self.closed.push((socket, had_error));
    }
}

struct House {
    event_loop: EventLoop,
    server: Server<Room>,
    clock: ManualClock,
}

impl House {
    fn new(limits: Limits) -> House {
        let clock = ManualClock::new();
        let mut event_loop = EventLoop::with_clock(clock.clone()).expect("a loop");
        let server = event_loop.enter(|lp| {
            let options = ServerOptions { limits, ..ServerOptions::default() };
            let server = Server::new(lp, options, Room::default());
            server.id().listen_now(lp, ("127.0.0.1", 0)).expect("a free port");
            server
        });
        House { event_loop, server, clock }
    }

    fn turn(&mut self) {
        self.event_loop.turn(Some(Duration::from_millis(1))).expect("the poll works");
    }

    fn turn_until(&mut self, what: &str, mut is_so: impl FnMut(&mut Room, &mut Loop) -> bool) {
        let limit = Instant::now() + LIMIT;
        while !self.room(&mut is_so) {
            assert!(Instant::now() < limit, "it never came to this: {what}");
            self.turn();
        }
    }

    fn room<R>(&mut self, f: impl FnOnce(&mut Room, &mut Loop) -> R) -> R {
        let server = self.server;
        self.event_loop.enter(|lp| server.with(lp, f).expect("nobody else has it"))
    }

    /// A client that reads nothing by itself, and its socket here.
    fn connect(&mut self) -> (TcpStream, Socket) {
        let before = self.room(|room, _| room.sockets.len());
        let server = self.server.id();
        let port =
            self.event_loop.enter(|lp| server.address(lp)).and_then(|address| address.port()).expect("it is bound");
        let client = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        // So little waits on the client's side that what it reads has made room on the server's.
        client.set_recv_buffer_size(64 * 1024).expect("a socket");
        client.connect(&std::net::SocketAddr::from(([127, 0, 0, 1], port)).into()).expect("it listens");
        let client = TcpStream::from(client);
        client.set_read_timeout(Some(LIMIT)).expect("a socket");
        self.turn_until("accepted", |room, _| room.sockets.len() > before);
        (client, self.room(|room, _| room.sockets[before]))
    }

    /// Writes until the kernel has refused and `waiting` bytes and no more wait in the process.
    fn fill(&mut self, socket: Socket, waiting: usize) {
        self.event_loop.enter(|lp| {
            let mut written = 0;
            while socket.writable_length(lp) == 0 {
                socket.write(lp, [b'x'; 1024]);
                socket.flush(lp);
                written += 1024;
                assert!(written < ENOUGH, "the kernel never refused");
            }
            let more = waiting - socket.unsent_length(lp);
            socket.write(lp, vec![b'x'; more]);
            assert_eq!(socket.unsent_length(lp), waiting);
        });
    }

    fn errors(&mut self) -> Vec<(Socket, Error)> {
        self.room(|room, _| room.errors.clone())
    }
}

/// All that still comes, and whether it ends with a reset.
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
fn without_limits_a_peer_that_does_not_read_is_waited_for() {
    let mut house = House::new(Limits::default());
    let (mut client, socket) = house.connect();
    house.fill(socket, 10_000_000);
    let total = house.event_loop.enter(|lp| socket.info(lp)).expect("it is there").bytes_written;
    let reading = std::thread::spawn(move || {
        let mut bytes = vec![0; total as usize];
        client.read_exact(&mut bytes).expect("all of it")
    });
    house.turn_until("drained", |room, _| room.drained > 0);
    reading.join().expect("it was read");
}

#[test]
fn who_goes_over_the_outbox_limit_is_given_up_with_a_reset_and_nobody_else() {
    let mut house = House::new(Limits { outbox_bytes: Some(100_000), ..Limits::NONE });
    let (mut slow, slow_socket) = house.connect();
    let (mut other, other_socket) = house.connect();
    house.fill(slow_socket, 99_999);
    house.event_loop.enter(|lp| {
        slow_socket.write(lp, "x");
        assert!(slow_socket.exists(lp) && slow_socket.write_refusal(lp).is_none(), "the limit itself is allowed");
        assert!(!slow_socket.write(lp, "x"));
        assert_eq!(slow_socket.unsent_length(lp), 0, "what waited is dropped at once");
        assert_eq!(slow_socket.write_refusal(lp).expect("it is destroyed").code(), "ERR_STREAM_DESTROYED");
        other_socket.write(lp, "hola");
    });
    house.turn_until("closed", |room, _| !room.closed.is_empty());
    let want = Error::TooSlow { waiting: 100_001, limit: Limit::OutboxBytes(100_000) };
    assert_eq!(want.code(), "E_TOO_SLOW");
    assert_eq!(want.to_string(), "too slow: 100001 bytes are queued, the limit is 100000 bytes");
    assert_eq!(house.errors(), [(slow_socket, want)]);
    assert_eq!(house.room(|room, _| room.closed.clone()), [(slow_socket, true)]);
    let (_, was_reset) = rest(&mut slow);
    assert!(was_reset, "a FIN would say that this was all");
    let mut answer = [0; 4];
    other.read_exact(&mut answer).expect("the other one is served");
    assert_eq!(&answer, b"hola");
}

/// Nothing was refused before: the write that the kernel takes in part is the one that is too much.
#[test]
fn one_write_of_more_than_the_kernel_and_the_limit_take_is_too_much() {
    let mut house = House::new(Limits { outbox_bytes: Some(100_000), ..Limits::NONE });
    let (_client, socket) = house.connect();
    let answer = house.event_loop.enter(|lp| socket.write(lp, vec![b'x'; ENOUGH]));
    assert!(!answer);
    assert!(matches!(house.errors()[..], [(_, Error::TooSlow { waiting, .. })] if waiting > 100_000));
}

/// In their order, each once, and none is told that it went well: of what waited nothing was sent.
#[test]
fn callbacks_that_wait_for_one_who_is_given_up_fail_with_its_error() {
    let mut house = House::new(Limits { outbox_bytes: Some(100_000), ..Limits::NONE });
    let (_client, socket) = house.connect();
    house.fill(socket, 90_000);
    let heard = Rc::new(RefCell::new(Vec::new()));
    house.event_loop.enter(|lp| {
        for (name, bytes) in [("a", 10), ("b", 0), ("c", 20_000), ("d", 10)] {
            let heard = heard.clone();
            let answer = socket.write_then(lp, vec![b'x'; bytes], move |_, result| {
                heard.borrow_mut().push((name, result.err().map(|error| error.code().to_owned())));
            });
            assert!(!answer, "{name}");
        }
    });
    let failed = |name, code: &str| (name, Some(code.to_owned()));
    let want = ["a", "b", "c"].map(|name| failed(name, "E_TOO_SLOW"));
    let heard = heard.take();
    assert_eq!(heard.iter().filter(|(name, _)| *name != "d").cloned().collect::<Vec<_>>(), want);
    assert!(heard.contains(&failed("d", "ERR_STREAM_DESTROYED")), "{heard:?}");
    assert_eq!(house.errors().len(), 1);
}

#[test]
fn callbacks_are_limited_although_their_writes_are_empty() {
    let mut house = House::new(Limits { callbacks: Some(3), ..Limits::NONE });
    let (_client, socket) = house.connect();
    house.fill(socket, 10_000);
    let failed = Rc::new(Cell::new(0));
    house.event_loop.enter(|lp| {
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
    assert_eq!(house.errors(), [(socket, want)]);
}

#[test]
fn over_the_limit_of_all_the_largest_is_evicted_and_the_next_until_the_rest_is_below_it() {
    let mut house = House::new(Limits::NONE);
    let sizes = [300_000, 200_000, 400_000, 100_000];
    let mut peers: Vec<_> = sizes.iter().map(|_| house.connect()).collect();
    for (&(_, socket), &size) in peers.iter().zip(&sizes) {
        house.fill(socket, size);
    }
    house.event_loop.enter(|lp| lp.set_outbox_limit(Some(1_000_000)));
    assert!(house.errors().is_empty(), "the limit itself is allowed");
    let smallest = peers[3].1;
    house.event_loop.enter(|lp| assert!(!smallest.write(lp, "x"), "it has to wait, and goes on waiting"));
    let evicted = |waiting, limit| Error::TooSlow { waiting, limit: Limit::AllOutboxes(limit) };
    assert_eq!(house.errors(), [(peers[2].1, evicted(400_000, 1_000_000))], "not the one who wrote");
    house.event_loop.enter(|lp| lp.set_outbox_limit(Some(200_001)));
    let want = [(peers[0].1, evicted(300_000, 200_001)), (peers[1].1, evicted(200_000, 200_001))];
    assert_eq!(house.errors()[1..], want);
    let waiting = house.event_loop.enter(|lp| smallest.unsent_length(lp));
    assert_eq!(waiting, 100_001, "nobody else loses anything");
    // What the survivor waits for still comes, and leaves the books.
    let written = house.event_loop.enter(|lp| smallest.info(lp)).expect("it is there").bytes_written as usize;
    let mut client = peers.pop().expect("four").0;
    let reading = std::thread::spawn(move || {
        client.read_exact(&mut vec![0; written]).expect("all of it");
        client
    });
    house.turn_until("drained", |room, _| room.drained > 0);
    let _client = reading.join().expect("it was read");
    house.event_loop.enter(|lp| lp.set_outbox_limit(Some(0)));
    assert_eq!(house.errors().len(), 3, "nothing waits any more");
}

/// A write may evict the very socket that it is for: it answers `false`, and the socket is gone.
#[test]
fn a_write_that_makes_its_own_outbox_the_largest_is_the_end_of_it() {
    let mut house = House::new(Limits::NONE);
    house.event_loop.enter(|lp| lp.set_outbox_limit(Some(50_000)));
    let (_client, socket) = house.connect();
    house.fill(socket, 50_000);
    let is_destroyed = house.event_loop.enter(|lp| {
        assert!(!socket.write(lp, "x"));
        socket.info(lp).is_some_and(|info| info.destroyed)
    });
    assert!(is_destroyed);
}

/// Every line of a broadcast makes each of them the largest for a moment.
#[test]
fn of_many_who_are_stuck_alike_only_as_many_are_evicted_as_it_takes() {
    const PEERS: usize = 200;
    const EACH: usize = 2_000;
    let mut house = House::new(Limits::NONE);
    let peers: Vec<_> = (0..PEERS).map(|_| house.connect()).collect();
    let corked: Vec<Socket> = peers.iter().map(|&(_, socket)| socket).collect();
    let say = |lp: &mut Loop| {
        for socket in &corked {
            socket.write(lp, [b'x'; 100]);
        }
    };
    house.event_loop.enter(|lp| {
        lp.set_outbox_limit(Some(PEERS * EACH));
        // Corked bytes wait too, and need no kernel to refuse them.
        corked.iter().for_each(|socket| socket.cork(lp));
        for _ in 0..EACH / 100 {
            say(lp);
        }
    });
    assert!(house.errors().is_empty());
    house.event_loop.enter(say);
    // 200 × 100 bytes more are ten outboxes of 2,100 bytes, less what is not written to the evicted.
    let evicted = house.errors().len();
    assert!((9..=10).contains(&evicted), "{evicted} were evicted");
}

#[test]
fn who_takes_nothing_for_the_write_timeout_is_given_up() {
    let timeout = Duration::from_secs(30);
    let mut house = House::new(Limits { write_timeout: timeout, ..Limits::NONE });
    let (_stuck, socket) = house.connect();
    let (_quiet, _) = house.connect();
    house.fill(socket, 10_000);
    house.turn();
    house.clock.advance(timeout - Duration::from_millis(1));
    house.turn();
    assert!(house.errors().is_empty(), "not before");
    house.clock.advance(Duration::from_millis(1));
    house.turn();
    let want = Error::TooSlow { waiting: 10_000, limit: Limit::WriteTimeout(timeout) };
    assert_eq!(want.to_string(), "too slow: 10000 bytes are queued, none was taken for 30s");
    assert_eq!(house.errors(), [(socket, want)], "and not the one for whom nothing waits");
}

/// The kernel reports room when a good part of its buffer is free; a slow reader makes less than that in the time.
#[test]
fn a_slow_reader_is_no_stuck_one() {
    let timeout = Duration::from_secs(30);
    let mut house = House::new(Limits { write_timeout: timeout, ..Limits::NONE });
    let (mut slow, socket) = house.connect();
    house.fill(socket, 5_000_000);
    house.turn();
    let unsent = |house: &mut House| house.event_loop.enter(|lp| socket.unsent_length(lp));
    let mut before = unsent(&mut house);
    for round in 0..5 {
        slow.read_exact(&mut vec![0; 512 * 1024]).expect("there is more than that");
        house.clock.advance(timeout);
        house.turn();
        assert!(house.errors().is_empty(), "in round {round}");
        let now = unsent(&mut house);
        assert!(now < before, "in round {round} something went out");
        before = now;
    }
    for _ in 0..3 {
        house.clock.advance(timeout);
        house.turn();
    }
    assert_eq!(house.errors().len(), 1, "once it stops it is given up");
}

#[test]
fn who_reads_in_time_is_not_timed_any_more() {
    let timeout = Duration::from_secs(30);
    let mut house = House::new(Limits { write_timeout: timeout, ..Limits::NONE });
    let (mut client, socket) = house.connect();
    house.fill(socket, 100_000);
    let written = house.event_loop.enter(|lp| socket.info(lp)).expect("it is there").bytes_written as usize;
    let reading = std::thread::spawn(move || {
        client.read_exact(&mut vec![0; written]).expect("all of it");
        client
    });
    house.turn_until("drained", |room, _| room.drained > 0);
    let mut client = reading.join().expect("it was read");
    for _ in 0..3 {
        house.clock.advance(timeout);
        house.turn();
    }
    house.event_loop.enter(|lp| socket.write(lp, "hola"));
    let mut answer = [0; 4];
    client.read_exact(&mut answer).expect("it is there as before");
    assert!(house.errors().is_empty());
}

#[test]
fn what_is_written_before_the_connection_counts_too() {
    let mut house = House::new(Limits::NONE);
    let port =
        house.event_loop.enter(|lp| house.server.id().address(lp)).and_then(|at| at.port()).expect("it is bound");
    let errors = Rc::new(RefCell::new(Vec::new()));
    let heard = errors.clone();
    let handler = bucle::net::on().error(move |_, _, error| heard.borrow_mut().push(error.code().to_owned()));
    house.event_loop.enter(|lp| {
        let limits = Limits { outbox_bytes: Some(1_000), ..Limits::NONE };
        let socket = Socket::new(lp, SocketOptions { limits, ..SocketOptions::default() }, handler);
        socket.connect_to(lp, ("127.0.0.1", port)).expect("a good address");
        assert!(socket.write(lp, [b'x'; 1_000]));
        assert!(!socket.write(lp, "x"));
    });
    house.turn();
    assert_eq!(*errors.borrow(), ["E_TOO_SLOW"]);
}

#[test]
fn a_socket_may_have_limits_of_its_own_and_keeps_those_of_a_server_that_is_gone() {
    let mut house = House::new(Limits { outbox_bytes: Some(100_000), ..Limits::NONE });
    let (_a, free) = house.connect();
    let (_b, bound) = house.connect();
    let (_c, late) = house.connect();
    house.event_loop.enter(|lp| free.set_limits(lp, Limits::NONE));
    house.fill(free, 200_000);
    house.fill(bound, 100_000);
    house.fill(late, 50_000);
    let server = house.server.id();
    house.event_loop.enter(|lp| {
        late.set_limits(lp, Limits { outbox_bytes: Some(49_999), ..Limits::NONE });
        assert!(late.info(lp).is_some_and(|info| info.destroyed), "what waits already counts");
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
        let mut house = House::new(Limits { reads_per_turn: budget, ..Limits::NONE });
        let (mut loud, _) = house.connect();
        let sending = std::thread::spawn(move || {
            loud.write_all(&vec![b'x'; 40 * READ]).expect("it is read in the end");
            loud
        });
        let mut sent = 0;
        let mut most = 0;
        let limit = Instant::now() + LIMIT;
        while sent < 40 * READ {
            assert!(Instant::now() < limit, "{sent} bytes have come");
            house.turn();
            let chunks = house.room(|room, _| std::mem::take(&mut room.chunks));
            most = most.max(chunks.len());
            sent += chunks.iter().sum::<usize>();
        }
        let _loud = sending.join().expect("it was read");
        assert_eq!(most, budget);
    }
}

/// Sends until the other side takes no more: everything between the two is full then.
fn stuff(peer: &mut Peer) {
    peer.0.set_write_timeout(Some(Duration::from_millis(300))).expect("a socket");
    let mut sent = 0;
    while let Ok(n) = peer.0.write(&[b'x'; 64 * 1024]) {
        sent += n;
        assert!(sent < 4 * ENOUGH, "it takes everything");
    }
}

/// Until a server has ended the connection, from whichever side it is looked at.
fn gone(peer: &mut Peer) -> bool {
    peer.0.set_read_timeout(Some(LIMIT)).expect("a socket");
    let mut chunk = vec![0; 64 * 1024];
    loop {
        match peer.0.read(&mut chunk) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return error.kind() == ErrorKind::ConnectionReset,
        }
    }
}

#[test]
fn the_command_disconnects_who_reads_nothing_for_the_write_timeout() {
    let mut server = Served::start(&["echo", "--write-timeout", "2s"]);
    let mut log = std::io::BufReader::new(server.child.stderr.take().expect("it is piped")).lines();
    let mut stuck = server.connect();
    let mut other = server.connect();
    stuff(&mut stuck);
    let line = log.find_map(|line| line.ok().filter(|line| line.contains("too slow: "))).expect("it is logged");
    assert!(line.contains(" bytes are queued, none was taken for 2s"), "{line}");
    assert!(gone(&mut stuck), "with a reset: it has not got everything");
    other.send("hola");
    assert_eq!(other.bytes(4), b"hola");
    drop((stuck, other));
    server.signal("-TERM");
    assert!(server.child.wait().expect("it ends").success());
}

/// A talker who reads what it says, and listeners who do not.
fn talk_to_the_deaf(options: &[&str], deaf: usize) -> String {
    let mut args = vec!["relay"];
    args.extend_from_slice(options);
    let server = Served::start(&args);
    let mut listeners: Vec<Peer> = (0..deaf).map(|_| server.connect()).collect();
    // They are in once they hear something.
    let mut talker = server.connect();
    talker.send("in\n");
    for peer in listeners.iter_mut().chain([&mut talker]) {
        assert_eq!(peer.bytes(3), b"in\n");
    }
    let line = [&[b'x'; 32 * 1024 - 1][..], b"\n"].concat();
    let mut heard = vec![0; line.len()];
    for _ in 0..1024 {
        talker.send(&line);
        talker.0.read_exact(&mut heard).expect("the one who reads hears everything");
    }
    assert!(heard == line);
    for peer in &mut listeners {
        assert!(gone(peer));
    }
    talker.send("still here\n");
    assert_eq!(talker.bytes(11), b"still here\n");
    drop(talker);
    server.signal("-TERM");
    let (status, said) = server.end();
    assert_eq!(status, Some(0), "{said}");
    said
}

#[test]
fn the_command_disconnects_for_whom_too_much_waits() {
    let said = talk_to_the_deaf(&[], 1);
    assert_eq!(said.matches("too slow: ").count(), 1, "{said}");
    assert!(said.contains(" bytes are queued, the limit is 1048576 bytes"), "{said}");
    let said = talk_to_the_deaf(&["--outbox-limit", "256K"], 1);
    assert!(said.contains(" bytes are queued, the limit is 262144 bytes"), "{said}");
}

#[test]
fn the_command_evicts_the_largest_when_all_together_are_too_much() {
    let said = talk_to_the_deaf(&["--outbox-limit", "0", "--total-outbox-limit", "1MiB"], 3);
    assert_eq!(said.matches("the largest outbox when all were over 1048576 bytes").count(), 3, "{said}");
}

#[test]
fn the_command_closes_a_connection_with_too_long_a_line() {
    let server = Served::start(&["lines", "--line-limit", "100"]);
    let mut peer = server.connect();
    peer.send([&[b'x'; 100][..], b"\n"].concat());
    assert_eq!(peer.bytes(101).len(), 101);
    peer.send([b'x'; 101]);
    assert_eq!(peer.rest(), b"line over 100 bytes, good-bye\r\n");
}

#[test]
fn limits_that_contradict_each_other_are_usage_errors() {
    for (args, word) in [
        (&["--line-limit", "0"][..], "a line has at least one byte"),
        (&["--outbox-limit", "100K"], "need at least 196608"),
        (&["--outbox-limit", "1M", "--line-limit", "1M"], "lines of up to 1048576 bytes"),
        (&["--outbox-limit", "lots"], "64M, 500K or 2G"),
        (&["--write-timeout", "soon"], "10s, 5m or 1h"),
    ] {
        let output = bucle(&["serve", "--port", "0"]).args(args).output().expect("the program starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(word), "{args:?}: {said}");
    }
}

/// One callback writes to many, each time a little, and never returns to the loop in between.
#[test]
fn what_is_gathered_for_all_sockets_together_is_bounded() {
    const SOCKETS: usize = 120;
    const EACH: usize = 90 * 1024;
    const GATHERED: usize = 8 * 1024 * 1024;
    let mut event_loop = EventLoop::new().expect("a loop");
    let server = event_loop.enter(|lp| {
        let options =
            ServerOptions { high_water_mark: 2 * EACH, accepts_per_turn: SOCKETS, ..ServerOptions::default() };
        let server = Server::new(lp, options, Room::default());
        server.id().listen_now(lp, ("127.0.0.1", 0)).expect("a free port");
        server
    });
    let port = event_loop.enter(|lp| server.id().address(lp)).and_then(|address| address.port()).expect("it is bound");
    let mut clients: Vec<TcpStream> =
        (0..SOCKETS).map(|_| TcpStream::connect(("127.0.0.1", port)).expect("it listens")).collect();
    let count = |event_loop: &mut EventLoop| {
        event_loop.enter(|lp| server.with(lp, |room, _| room.sockets.len())).expect("nobody else has it")
    };
    while count(&mut event_loop) < SOCKETS {
        event_loop.turn(Some(Duration::from_millis(1))).expect("the poll works");
    }
    let most = event_loop.enter(|lp| {
        let sockets = server.with(lp, |room, _| room.sockets.clone()).expect("nobody else has it");
        let mut most = 0;
        for _ in 0..EACH / 1024 {
            for socket in &sockets {
                socket.write(lp, [b'x'; 1024]);
            }
            // What the kernel has refused waits for another reason.
            let gathered = sockets.iter().filter(|socket| socket.writable_length(lp) == 0);
            most = most.max(gathered.map(|socket| socket.unsent_length(lp)).sum());
        }
        most
    });
    assert!(most <= GATHERED, "{most} bytes were gathered at once");
    assert!(most > GATHERED / 2, "only {most} bytes were gathered at once");
    for client in &mut clients {
        let mut heard = vec![0; EACH];
        client.set_read_timeout(Some(Duration::from_millis(1))).expect("a socket");
        let mut len = 0;
        let limit = Instant::now() + LIMIT;
        while len < EACH {
            assert!(Instant::now() < limit, "{len} bytes of {EACH} came");
            event_loop.turn(Some(Duration::ZERO)).expect("the poll works");
            len += client.read(&mut heard[len..]).unwrap_or(0);
        }
        assert!(heard.iter().all(|&byte| byte == b'x'));
    }
}

/// Everything that had arrived when the signal came, which is more than one read, and from those in the door too.
#[test]
fn a_closing_server_answers_what_had_arrived() {
    let server = Served::start(&["lines"]);
    let mut peer = server.connect();
    peer.send("hola\n");
    assert_eq!(peer.bytes(5), b"hola\n");
    // Stopped, so that all of it waits in the kernel when the signal comes.
    server.signal("-STOP");
    let mut at_the_door = server.connect();
    at_the_door.send("knock\n");
    peer.0.set_nonblocking(true).expect("a socket");
    let line = [&[b'x'; 1023][..], b"\n"].concat();
    let mut sent = 0;
    // Not so much that a slow machine has no time for it: closing takes 4.5 s at most.
    while sent < 512 * 1024 {
        match peer.0.write(&line[sent % 1024..]) {
            Ok(n) => sent += n,
            Err(_) => break,
        }
    }
    assert!(sent > 64 * 1024, "the kernel takes more than one read");
    peer.0.set_nonblocking(false).expect("a socket");
    server.signal("-TERM");
    server.signal("-CONT");
    let answer = peer.rest();
    assert_eq!(answer.iter().filter(|&&byte| byte == b'\n').count(), sent / 1024, "of {sent} bytes");
    assert_eq!(at_the_door.rest(), b"knock\n");
    drop((peer, at_the_door));
    assert_eq!(server.end().0, Some(0));
}

/// Each message is four lines of the log, and nobody reads them: far more than a pipe and the queue before it hold.
#[test]
fn a_log_that_nobody_reads_stops_nobody() {
    let mut server = Served::start(&["echo", "-vvv"]);
    let mut peer = server.connect();
    for _ in 0..10_000 {
        peer.send("hola");
        assert_eq!(peer.bytes(4), b"hola");
    }
    // Now it is read, to see that the gap is told.
    let stderr = server.child.stderr.take().expect("it is piped");
    let (say, heard) = mpsc::channel();
    std::thread::spawn(move || {
        for line in std::io::BufReader::new(stderr).lines().map_while(Result::ok) {
            if line.contains(" dropped here: the reader was too slow)") {
                let _ = say.send(());
            }
        }
    });
    let limit = Instant::now() + LIMIT;
    while heard.try_recv().is_err() {
        assert!(Instant::now() < limit, "nobody said that lines were dropped");
        peer.send("hola");
        assert_eq!(peer.bytes(4), b"hola");
    }
    drop(peer);
    server.signal("-TERM");
    assert!(server.child.wait().expect("it ends").success());
}

#[test]
fn closed_and_full_outputs_stop_nobody() {
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
