//! `ServerId::drain`: a server with connections closes in order, in bounded time. Time is driven by hand.

use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bucle::net::{Drain, Error, Handler, Server, ServerId, ServerOptions, Socket};
use bucle::telnet::{self, Client, Telnet};
use bucle::{EventLoop, Loop, ManualClock};

/// No test waits longer than this for something that has to come.
const LIMIT: Duration = Duration::from_secs(60);

const QUIET: Duration = Duration::from_millis(10);
const GRACE: Duration = Duration::from_secs(1);
const LEAVE: Duration = Duration::from_secs(1);
const DRAIN_LIMIT: Duration = Duration::from_millis(4500);

/// Echoes, and remembers every event.
#[derive(Default)]
struct Echo {
    events: Vec<(Socket, &'static str)>,
    is_busy: bool,
    pauses: bool,
    ends_when_going_away: bool,
}

impl Echo {
    fn events_of(&self, socket: Socket) -> Vec<&'static str> {
        self.events.iter().filter(|(other, _)| *other == socket).map(|(_, event)| *event).collect()
    }
}

impl Handler for Echo {
    fn on_connection(&mut self, lp: &mut Loop, socket: Socket) {
        self.events.push((socket, "connection"));
        if self.pauses {
            socket.pause(lp);
        }
    }
    fn on_data(&mut self, lp: &mut Loop, socket: Socket, chunk: &[u8]) {
        self.events.push((socket, "data"));
        socket.write(lp, chunk);
    }
    fn on_end(&mut self, _: &mut Loop, socket: Socket) {
        self.events.push((socket, "end"));
    }
    fn on_finish(&mut self, _: &mut Loop, socket: Socket) {
        self.events.push((socket, "finish"));
    }
    fn on_error(&mut self, _: &mut Loop, socket: Socket, _: Error) {
        self.events.push((socket, "error"));
    }
    fn on_close(&mut self, _: &mut Loop, socket: Socket, had_error: bool) {
        self.events.push((socket, if had_error { "close with error" } else { "close" }));
    }
    fn on_going_away(&mut self, lp: &mut Loop, socket: Socket) {
        self.events.push((socket, "going away"));
        if self.ends_when_going_away {
            socket.end_with(lp, "1001");
        }
    }
    fn is_busy(&self, _: &Loop, _: Socket) -> bool {
        self.is_busy
    }
    fn on_server_close(&mut self, lp: &mut Loop, server: ServerId) {
        assert!(!server.is_draining(lp) && server.connections(lp) == 0);
    }
}

struct Stage<H> {
    event_loop: EventLoop,
    clock: ManualClock,
    server: Server<H>,
}

impl Stage<Echo> {
    fn new() -> Self {
        Stage::with(Echo::default())
    }

    fn echo<R>(&mut self, f: impl FnOnce(&mut Echo) -> R) -> R {
        let server = self.server;
        self.event_loop.enter(|lp| server.with(lp, |echo, _| f(echo))).expect("the handler is not running")
    }

    fn events_of(&mut self, socket: Socket) -> Vec<&'static str> {
        self.echo(|echo| echo.events_of(socket))
    }
}

impl<H: Handler> Stage<H> {
    fn with(handler: H) -> Self {
        let clock = ManualClock::new();
        let mut event_loop = EventLoop::with_clock(clock.clone()).expect("a loop");
        let server = event_loop.enter(|lp| {
            let server = Server::new(lp, ServerOptions::default(), handler);
            server.listen_now(lp, ("127.0.0.1", 0)).expect("a free port");
            server
        });
        Stage { event_loop, clock, server }
    }

    /// A client that was accepted.
    fn connect(&mut self) -> (TcpStream, Socket) {
        let before = self.sockets();
        let client = self.dial();
        self.turn_until("accepted", |stage| stage.sockets().len() > before.len());
        let socket = self.sockets().into_iter().find(|socket| !before.contains(socket)).expect("there is a new one");
        (client, socket)
    }

    /// A client that waits in the backlog.
    fn dial(&mut self) -> TcpStream {
        let server = self.server;
        let port = self.event_loop.enter(|lp| server.port(lp)).expect("it is bound");
        let client = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        client.set_nonblocking(true).expect("a socket");
        client
    }

    fn sockets(&mut self) -> Vec<Socket> {
        let server = self.server;
        self.event_loop.enter(|lp| server.sockets(lp))
    }

    fn is_listening(&mut self) -> bool {
        let server = self.server;
        self.event_loop.enter(|lp| server.is_listening(lp))
    }

    fn drain(&mut self) {
        let server = self.server;
        self.event_loop.enter(|lp| server.drain(lp, Drain::default()));
    }

    fn is_draining(&mut self) -> bool {
        let server = self.server;
        self.event_loop.enter(|lp| server.is_draining(lp))
    }

    fn turn(&mut self) {
        self.event_loop.turn(Some(Duration::from_millis(1))).expect("the poll works");
    }

    fn turn_until(&mut self, what: &str, mut is_so: impl FnMut(&mut Self) -> bool) {
        let limit = Instant::now() + LIMIT;
        while !is_so(self) {
            assert!(Instant::now() < limit, "it never came to this: {what}");
            self.turn();
        }
    }

    /// Lets time pass in steps of a round, some turns each.
    fn pass(&mut self, mut time: Duration) {
        self.settle();
        while !time.is_zero() {
            let step = time.min(QUIET);
            self.clock.advance(step);
            time -= step;
            self.turn();
        }
        self.settle();
    }

    /// What is on its way through the kernel arrives.
    fn settle(&mut self) {
        (0..4).for_each(|_| self.turn());
    }

    /// Turns until the client has got `want`.
    fn expect(&mut self, client: &mut TcpStream, want: &[u8]) {
        let mut got = Vec::new();
        let mut buf = [0; 1024];
        self.turn_until("an answer", |_| {
            got.extend_from_slice(read_some(client, &mut buf).expect("no end yet"));
            got.len() >= want.len()
        });
        assert_eq!(got, want);
    }

    /// Turns until the client has got the FIN, and nothing before it.
    fn expect_fin(&mut self, client: &mut TcpStream) {
        let mut buf = [0; 1024];
        self.turn_until("a FIN", |_| read_some(client, &mut buf).map(<[u8]>::is_empty) == Err("FIN"));
    }

    /// Whether the client has got a FIN by now.
    fn has_fin(&mut self, client: &mut TcpStream) -> bool {
        self.settle();
        read_some(client, &mut [0; 1024]) == Err("FIN")
    }
}

/// What there is to read now: nothing, some bytes, or the end.
fn read_some<'a>(client: &mut TcpStream, buf: &'a mut [u8]) -> Result<&'a [u8], &'static str> {
    match client.read(buf) {
        Ok(0) => Err("FIN"),
        Ok(len) => Ok(&buf[..len]),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(&[]),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Err("reset"),
        Err(error) => panic!("{error}"),
    }
}

fn send(client: &mut TcpStream, bytes: &[u8]) {
    client.write_all(bytes).expect("the kernel takes it");
}

#[test]
fn connections_in_the_backlog_are_accepted_and_answered_and_later_ones_are_not_accepted() {
    let mut stage = Stage::new();
    // One accept a turn, so this takes several.
    let mut clients: Vec<TcpStream> = (0..5).map(|_| stage.dial()).collect();
    clients.iter_mut().for_each(|client| send(client, b"hola"));
    stage.drain();
    stage.turn_until("the backlog is empty", |stage| !stage.is_listening());
    assert_eq!(stage.sockets().len(), 5);
    for client in &mut clients {
        stage.expect(client, b"hola");
    }
    stage.pass(2 * QUIET);
    for client in &mut clients {
        stage.expect_fin(client);
    }
    drop(clients);
    stage.turn_until("over", |stage| !stage.is_draining());
    let events = stage.echo(|echo| std::mem::take(&mut echo.events));
    for at in 0..5 {
        let socket = events.iter().filter(|(_, event)| *event == "connection").nth(at).expect("five came").0;
        let events: Vec<_> = events.iter().filter(|(other, _)| *other == socket).map(|(_, event)| *event).collect();
        assert_eq!(events, ["connection", "going away", "data", "finish", "end", "close"]);
    }
}

#[test]
fn a_quiet_connection_is_ended_after_one_round_and_not_before() {
    let mut stage = Stage::new();
    let (mut client, socket) = stage.connect();
    stage.drain();
    assert!(stage.is_draining());
    stage.pass(QUIET - Duration::from_millis(1));
    assert!(!stage.has_fin(&mut client));
    stage.pass(Duration::from_millis(2));
    stage.expect_fin(&mut client);
    assert!(stage.is_draining(), "the client has not left yet");
    drop(client);
    stage.turn_until("over", |stage| !stage.is_draining());
    assert_eq!(stage.events_of(socket), ["connection", "going away", "finish", "end", "close"]);
}

#[test]
fn a_connection_that_keeps_sending_is_answered_until_the_grace_period_is_over() {
    let mut stage = Stage::new();
    let (mut client, socket) = stage.connect();
    stage.drain();
    let mut time = Duration::ZERO;
    while time + QUIET < GRACE {
        send(&mut client, b"x");
        stage.expect(&mut client, b"x");
        stage.pass(QUIET);
        time += QUIET;
        assert!(!stage.has_fin(&mut client), "after {time:?}");
    }
    stage.pass(2 * QUIET);
    stage.expect_fin(&mut client);
    let before = stage.events_of(socket);
    // What it sends now is not delivered: the handler would answer, and a write after the end is an error.
    send(&mut client, b"too late");
    stage.settle();
    assert_eq!(stage.events_of(socket), before);
    client.shutdown(Shutdown::Write).expect("it is open");
    stage.turn_until("over", |stage| !stage.is_draining());
    assert_eq!(stage.events_of(socket)[before.len()..], ["end", "close"]);
}

/// More sockets are ready than the loop takes events in a turn.
#[test]
fn a_connection_with_unread_bytes_in_the_kernel_is_not_quiet() {
    let mut stage = Stage::new();
    stage.event_loop.events_per_turn(1);
    let mut clients: Vec<_> = (0..3).map(|_| stage.connect().0).collect();
    stage.settle();
    stage.drain();
    stage.turn_until("the backlog is empty", |stage| !stage.is_listening());
    clients.iter_mut().for_each(|client| send(client, b"hola"));
    // This turn reads from one of them, and has a round.
    stage.clock.advance(QUIET);
    stage.turn();
    for client in &mut clients {
        stage.expect(client, b"hola");
    }
}

#[test]
fn a_busy_connection_is_left_alone_until_the_grace_period_is_over() {
    for becomes_idle in [true, false] {
        let mut stage = Stage::with(Echo { is_busy: true, ..Echo::default() });
        let (mut client, socket) = stage.connect();
        stage.drain();
        stage.pass(GRACE - 5 * QUIET);
        assert!(!stage.has_fin(&mut client));
        if becomes_idle {
            let server = stage.server;
            stage.event_loop.enter(|lp| {
                socket.write(lp, "the late answer");
                server.with(lp, |echo, _| echo.is_busy = false);
            });
            stage.expect(&mut client, b"the late answer");
            stage.pass(2 * QUIET);
        } else {
            stage.pass(6 * QUIET);
        }
        stage.expect_fin(&mut client);
    }
}

#[test]
fn a_peer_that_does_not_answer_the_fin_is_destroyed_a_second_after_the_grace_period() {
    let mut stage = Stage::new();
    let (mut client, socket) = stage.connect();
    stage.drain();
    stage.pass(2 * QUIET);
    stage.expect_fin(&mut client);
    stage.pass(GRACE + LEAVE - 4 * QUIET);
    assert!(stage.is_draining());
    stage.pass(4 * QUIET);
    assert!(!stage.is_draining());
    assert_eq!(stage.events_of(socket), ["connection", "going away", "finish", "close"]);
}

#[test]
fn a_peer_that_does_not_read_is_destroyed_at_the_limit() {
    let mut stage = Stage::new();
    let (client, socket) = stage.connect();
    stage.event_loop.enter(|lp| while socket.write(lp, [b'x'; 64 * 1024]) {});
    stage.drain();
    stage.pass(DRAIN_LIMIT - QUIET);
    assert!(stage.is_draining());
    stage.pass(2 * QUIET);
    assert!(!stage.is_draining());
    assert_eq!(stage.events_of(socket).last(), Some(&"close"));
    // Nothing else keeps the loop alive.
    stage.event_loop.run().expect("the poll works");
    drop(client);
}

#[test]
fn a_slow_reader_gets_everything_and_a_fin() {
    const BYTES: usize = 8 * 1024 * 1024;
    let mut stage = Stage::new();
    let (mut client, socket) = stage.connect();
    stage.event_loop.enter(|lp| assert!(!socket.write(lp, vec![b'x'; BYTES]), "the kernel holds less"));
    stage.drain();
    stage.pass(GRACE + LEAVE + QUIET);
    assert!(stage.is_draining(), "bytes wait, so it is not destroyed for its silence");
    let mut len = 0;
    let mut buf = vec![0; 64 * 1024];
    stage.turn_until("all is read", |_| {
        match read_some(&mut client, &mut buf) {
            Ok(bytes) => len += bytes.len(),
            Err(end) => assert_eq!((end, len), ("FIN", BYTES)),
        }
        len == BYTES
    });
    stage.expect_fin(&mut client);
    drop(client);
    stage.turn_until("over", |stage| !stage.is_draining());
    assert_eq!(stage.events_of(socket).last(), Some(&"close"));
}

#[test]
fn a_paused_connection_is_ended_after_the_grace_period_and_finds_the_fin() {
    let mut stage = Stage::with(Echo { pauses: true, ..Echo::default() });
    let (mut client, socket) = stage.connect();
    send(&mut client, &[b'x'; 100_000]);
    stage.drain();
    stage.pass(GRACE - QUIET);
    assert!(!stage.has_fin(&mut client), "its data may still be wanted");
    stage.pass(2 * QUIET);
    stage.expect_fin(&mut client);
    client.shutdown(Shutdown::Write).expect("it is open");
    stage.turn_until("over", |stage| !stage.is_draining());
    assert_eq!(stage.events_of(socket), ["connection", "going away", "finish", "end", "close"]);
}

#[test]
fn a_socket_with_a_handler_of_its_own_gets_the_events_of_a_drain() {
    let mut stage = Stage::new();
    let (mut client, socket) = stage.connect();
    let seen = Rc::new(Cell::new(0));
    let (away, closed) = (seen.clone(), seen.clone());
    let own = bucle::net::on()
        .going_away(move |lp, socket| {
            away.set(away.get() + 1);
            socket.write(lp, "1001");
        })
        .close(move |_, _, _| closed.set(closed.get() + 10));
    stage.event_loop.enter(|lp| socket.set_handler(lp, own));
    stage.drain();
    stage.expect(&mut client, b"1001");
    stage.pass(2 * QUIET);
    stage.expect_fin(&mut client);
    drop(client);
    stage.turn_until("over", |stage| !stage.is_draining());
    assert_eq!(seen.get(), 11);
    assert_eq!(stage.events_of(socket), ["connection"]);
}

/// The new handler is known before the drain is announced, and gets what the old one had too many.
#[test]
fn a_socket_that_is_upgraded_when_the_drain_begins_gets_its_events_in_order() {
    let mut stage = Stage::new();
    let (mut client, socket) = stage.connect();
    let events = Rc::new(RefCell::new(Vec::new()));
    let note = |event: &'static str| {
        let events = events.clone();
        move || events.borrow_mut().push(event)
    };
    let (head, away, closed) = (note("head"), note("going away"), note("close"));
    let own =
        bucle::net::on().data(move |_, _, _| head()).going_away(move |_, _| away()).close(move |_, _, _| closed());
    let server = stage.server;
    stage.event_loop.enter(|lp| {
        server.drain(lp, Drain::default());
        socket.upgrade(lp, own, "head");
    });
    stage.pass(2 * QUIET);
    stage.expect_fin(&mut client);
    drop(client);
    stage.turn_until("over", |stage| !stage.is_draining());
    assert_eq!(*events.borrow(), ["head", "going away", "close"]);
    assert_eq!(stage.events_of(socket), ["connection"]);
}

#[test]
fn a_handler_may_end_the_connection_itself() {
    let mut stage = Stage::with(Echo { ends_when_going_away: true, ..Echo::default() });
    let (mut client, socket) = stage.connect();
    stage.drain();
    stage.expect(&mut client, b"1001");
    stage.expect_fin(&mut client);
    drop(client);
    stage.turn_until("over", |stage| !stage.is_draining());
    assert_eq!(stage.events_of(socket), ["connection", "going away", "finish", "end", "close"]);
}

#[test]
fn a_second_drain_changes_nothing() {
    let mut stage = Stage::new();
    let (mut client, socket) = stage.connect();
    let server = stage.server;
    stage.drain();
    let at_once = Drain { quiet: Duration::ZERO, grace: Duration::ZERO, limit: Duration::ZERO, ..Drain::default() };
    stage.event_loop.enter(|lp| server.drain(lp, at_once));
    stage.pass(QUIET - Duration::from_millis(1));
    assert!(!stage.has_fin(&mut client));
    stage.pass(Duration::from_millis(2));
    stage.expect_fin(&mut client);
    assert_eq!(stage.events_of(socket), ["connection", "going away", "finish"]);
}

#[test]
fn without_time_everything_is_destroyed_in_the_next_round() {
    let mut stage = Stage::new();
    let (_client, socket) = stage.connect();
    let server = stage.server;
    let at_once = Drain { quiet: Duration::ZERO, grace: Duration::ZERO, limit: Duration::ZERO, ..Drain::default() };
    stage.event_loop.enter(|lp| server.drain(lp, at_once));
    stage.pass(Duration::from_millis(2));
    assert!(!stage.is_draining());
    assert_eq!(stage.events_of(socket), ["connection", "going away", "close"]);
}

#[test]
fn close_and_its_callback_go_together_with_a_drain() {
    let mut stage = Stage::new();
    let (client, _) = stage.connect();
    let server = stage.server;
    let results = Rc::new(Cell::new(0));
    let seen = results.clone();
    stage.event_loop.enter(|lp| {
        server.drain(lp, Drain::default());
        server.close_then(lp, move |_, result| {
            assert_eq!(result, Ok(()));
            seen.set(seen.get() + 1);
        });
    });
    assert!(!stage.is_listening(), "close does not wait for the backlog");
    stage.pass(2 * QUIET);
    assert_eq!(results.get(), 0);
    drop(client);
    stage.turn_until("over", |stage| !stage.is_draining());
    assert_eq!(results.get(), 1);
}

#[test]
fn a_server_without_connections_is_closed_and_can_listen_again() {
    let mut stage = Stage::new();
    stage.drain();
    stage.turn_until("over", |stage| !stage.is_draining());
    assert!(!stage.is_listening());
    let server = stage.server;
    stage.event_loop.enter(|lp| server.listen_now(lp, ("127.0.0.1", 0))).expect("a free port");
    let (mut client, _) = stage.connect();
    stage.pass(2 * DRAIN_LIMIT);
    assert!(!stage.has_fin(&mut client), "the drain is over");
    stage.drain();
    stage.pass(2 * QUIET);
    stage.expect_fin(&mut client);
}

#[test]
fn a_server_that_is_not_bound_yet_does_not_listen_after_a_drain() {
    let mut event_loop = EventLoop::new().expect("a loop");
    let server = event_loop.enter(|lp| {
        let server = Server::new(lp, ServerOptions::default(), Echo::default());
        server.listen(lp, ("127.0.0.1", 0)).expect("a good address");
        server.drain(lp, Drain::default());
        server
    });
    event_loop.run().expect("the poll works");
    assert!(!event_loop.enter(|lp| server.is_listening(lp) || server.is_draining(lp)));
}

#[test]
fn a_server_that_is_removed_leaves_its_connections_alone() {
    let mut stage = Stage::new();
    let (mut client, socket) = stage.connect();
    let server = stage.server;
    stage.drain();
    stage.event_loop.enter(|lp| server.remove(lp));
    stage.pass(2 * DRAIN_LIMIT);
    assert!(!stage.is_draining());
    stage.event_loop.enter(|lp| socket.write(lp, "hola"));
    stage.expect(&mut client, b"hola");
}

/// Answers lines, and is busy while it was told so.
#[derive(Default)]
struct Lines {
    is_busy: bool,
    going_away: usize,
}

impl telnet::Handler for Lines {
    fn on_line(&mut self, lp: &mut Loop, client: Client, line: &[u8]) {
        self.is_busy = line == b"work";
        client.write_line(lp, line);
    }
    fn on_going_away(&mut self, lp: &mut Loop, client: Client) {
        self.going_away += 1;
        client.write_line(lp, "closing");
    }
    fn is_busy(&self, _: &Loop, _: Client) -> bool {
        self.is_busy
    }
}

#[test]
fn a_drain_works_through_telnet() {
    let mut stage = Stage::with(Telnet::new(telnet::Options::default(), Lines::default()));
    let (mut client, _) = stage.connect();
    send(&mut client, b"work\r\n");
    stage.expect(&mut client, b"work\r\n");
    stage.drain();
    stage.expect(&mut client, b"closing\r\n");
    stage.pass(5 * QUIET);
    assert!(!stage.has_fin(&mut client), "it is busy");
    send(&mut client, b"rest\r\nunfinished");
    stage.expect(&mut client, b"rest\r\n");
    stage.pass(3 * QUIET);
    stage.expect_fin(&mut client);
    drop(client);
    stage.turn_until("over", |stage| !stage.is_draining());
    let server = stage.server;
    let going_away = stage.event_loop.enter(|lp| server.with(lp, |telnet, _| telnet.handler().going_away));
    assert_eq!(going_away, Some(1));
}
