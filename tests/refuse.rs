//! What a full server does with further connections, and a server with idle ones. Time is driven by hand.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bucle::net::{Dropped, Handler, Server, ServerId, ServerOptions, Socket};
use bucle::{EventLoop, Loop, ManualClock};

/// No test waits longer than this for something that has to come.
const LIMIT: Duration = Duration::from_secs(60);

const FULL: &[u8] = b"server full, try again later\r\n";
const IDLE: &[u8] = b"idle for too long, good-bye\r\n";

/// How long a peer may take to answer the FIN.
const LEAVE: Duration = Duration::from_secs(1);

/// How many refused connections are open at a time.
const LEAVING_AT_ONCE: usize = 16;

/// Echoes, and counts.
#[derive(Default)]
struct Echo {
    connected: usize,
    closed: usize,
    errors: usize,
    timeouts: usize,
    dropped: Vec<Dropped>,
    ends_idle_ones: bool,
}

impl Handler for Echo {
    fn on_connection(&mut self, _: &mut Loop, _: Socket) {
        self.connected += 1;
    }
    fn on_data(&mut self, lp: &mut Loop, socket: Socket, chunk: &[u8]) {
        socket.write(lp, chunk);
    }
    fn on_timeout(&mut self, lp: &mut Loop, socket: Socket) {
        self.timeouts += 1;
        if self.ends_idle_ones {
            socket.end_with(lp, "408");
        }
    }
    fn on_error(&mut self, _: &mut Loop, _: Socket, _: bucle::net::Error) {
        self.errors += 1;
    }
    fn on_close(&mut self, _: &mut Loop, _: Socket, _: bool) {
        self.closed += 1;
    }
    fn on_drop(&mut self, _: &mut Loop, _: ServerId, dropped: Dropped) {
        self.dropped.push(dropped);
    }
}

struct Stage {
    event_loop: EventLoop,
    clock: ManualClock,
    server: Server<Echo>,
}

impl Stage {
    fn new(options: ServerOptions, handler: Echo) -> Stage {
        let clock = ManualClock::new();
        let mut event_loop = EventLoop::with_clock(clock.clone()).expect("a loop");
        let server = event_loop.enter(|lp| {
            let server = Server::new(lp, options, handler);
            server.listen_now(lp, ("127.0.0.1", 0)).expect("a free port");
            server
        });
        Stage { event_loop, clock, server }
    }

    fn echo<R>(&mut self, f: impl FnOnce(&mut Echo) -> R) -> R {
        let server = self.server;
        self.event_loop.enter(|lp| server.with(lp, |echo, _| f(echo))).expect("the handler is not running")
    }

    fn turn(&mut self) {
        self.event_loop.turn(Some(Duration::from_millis(1))).expect("the poll works");
    }

    fn turn_until(&mut self, what: &str, mut is_so: impl FnMut(&mut Stage) -> bool) {
        let limit = Instant::now() + LIMIT;
        while !is_so(self) {
            assert!(Instant::now() < limit, "it never came to this: {what}");
            self.turn();
        }
    }

    /// A client, accepted or refused by now.
    fn connect(&mut self) -> TcpStream {
        let count = |echo: &mut Echo| echo.connected + echo.dropped.len();
        let before = self.echo(count);
        let server = self.server;
        let port = self.event_loop.enter(|lp| server.port(lp)).expect("it is bound");
        let client = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        client.set_nonblocking(true).expect("a socket");
        self.turn_until("accepted or refused", |stage| stage.echo(count) > before);
        client
    }

    /// Everything that the client gets up to the end, and whether that is a FIN.
    fn rest(&mut self, client: &mut TcpStream) -> (Vec<u8>, bool) {
        let mut got = Vec::new();
        let mut has_fin = None;
        self.turn_until("an end", |_| {
            has_fin = match client.read_to_end(&mut got) {
                Ok(_) => Some(true),
                Err(error) if error.kind() == ErrorKind::WouldBlock => None,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                    Some(false)
                }
            };
            has_fin.is_some()
        });
        (got, has_fin == Some(true))
    }

    /// Sockets of the loop, refused ones included.
    fn all_sockets(&mut self) -> usize {
        self.event_loop.enter(|lp| lp.metrics().connections)
    }

    fn pass(&mut self, time: Duration) {
        self.clock.advance(time);
        (0..4).for_each(|_| self.turn());
    }
}

fn one_place() -> ServerOptions {
    ServerOptions { max_connections: Some(1), full_message: Some(FULL.to_vec()), ..ServerOptions::default() }
}

#[test]
fn a_refused_connection_reads_the_message_and_a_fin_and_is_not_counted() {
    let mut stage = Stage::new(one_place(), Echo::default());
    let mut first = stage.connect();
    let mut second = stage.connect();
    // It has sent something, which must not turn the close into a reset.
    second.write_all(b"hola").expect("the kernel takes it");
    assert_eq!(stage.rest(&mut second), (FULL.to_vec(), true));
    let server = stage.server;
    assert_eq!(stage.event_loop.enter(|lp| (server.connections(lp), server.sockets(lp).len())), (1, 1));
    let remote = second.local_addr().expect("a socket");
    assert_eq!(
        stage.echo(|echo| echo.dropped.iter().map(|dropped| dropped.remote).collect::<Vec<_>>()),
        [Some(remote)]
    );
    drop(second);
    stage.turn_until("it is gone", |stage| stage.all_sockets() == 1);
    assert_eq!(stage.echo(|echo| (echo.closed, echo.errors)), (0, 0), "its events reach no handler");
    // The first one is served, and its place can be taken.
    first.write_all(b"hola").expect("the kernel takes it");
    let mut answer = [0; 4];
    stage.turn_until("an answer", |_| first.read(&mut answer).is_ok());
    assert_eq!(&answer, b"hola");
    drop(first);
    stage.turn_until("it is gone", |stage| stage.echo(|echo| echo.closed) == 1);
    stage.connect();
    assert_eq!(stage.echo(|echo| echo.connected), 2);
}

#[test]
fn all_servers_of_a_loop_share_its_connection_limit() {
    let mut stage = Stage::new(ServerOptions::default(), Echo::default());
    let first_server = stage.server;
    let second_server = stage.event_loop.enter(|lp| {
        lp.set_connection_limit(Some(2));
        let server = Server::new(lp, ServerOptions::default(), Echo::default());
        server.listen_now(lp, ("127.0.0.1", 0)).expect("a free port");
        server
    });
    let first = stage.connect();
    stage.server = second_server;
    let _second = stage.connect();
    assert_eq!(stage.echo(|echo| (echo.connected, echo.dropped.len())), (1, 0));
    stage.connect();
    assert_eq!(stage.echo(|echo| (echo.connected, echo.dropped.len())), (1, 1));
    // The end of a connection of one server makes room for one of the other.
    drop(first);
    stage.server = first_server;
    stage.turn_until("it is gone", |stage| stage.echo(|echo| echo.closed) == 1);
    stage.server = second_server;
    let _third = stage.connect();
    assert_eq!(stage.echo(|echo| (echo.connected, echo.dropped.len())), (2, 1));
    stage.event_loop.enter(|lp| lp.set_connection_limit(None));
    let _fourth = stage.connect();
    assert_eq!(stage.echo(|echo| (echo.connected, echo.dropped.len())), (3, 1));
}

#[test]
fn without_a_message_a_refused_connection_is_closed() {
    let mut stage = Stage::new(ServerOptions { full_message: None, ..one_place() }, Echo::default());
    let _first = stage.connect();
    let mut second = stage.connect();
    assert_eq!(stage.rest(&mut second), (Vec::new(), true));
    assert_eq!(stage.all_sockets(), 1);
    assert_eq!(stage.echo(|echo| echo.dropped.len()), 1);
}

#[test]
fn a_refused_connection_that_does_not_leave_is_destroyed_after_a_second() {
    let mut stage = Stage::new(one_place(), Echo::default());
    let _first = stage.connect();
    let mut second = stage.connect();
    assert_eq!(stage.rest(&mut second), (FULL.to_vec(), true));
    stage.pass(LEAVE - Duration::from_millis(1));
    assert_eq!(stage.all_sockets(), 2);
    stage.pass(Duration::from_millis(1));
    assert_eq!(stage.all_sockets(), 1);
}

#[test]
fn at_most_sixteen_refused_connections_are_open_and_all_get_the_message() {
    let mut stage = Stage::new(one_place(), Echo::default());
    let _first = stage.connect();
    let mut refused: Vec<TcpStream> = (0..2 * LEAVING_AT_ONCE).map(|_| stage.connect()).collect();
    assert_eq!(stage.all_sockets(), 1 + LEAVING_AT_ONCE);
    for client in &mut refused {
        assert_eq!(stage.rest(client), (FULL.to_vec(), true));
    }
    // When one has left, the next one gets its second again.
    drop(refused);
    stage.turn_until("they are gone", |stage| stage.all_sockets() == 1);
    let _another = stage.connect();
    assert_eq!(stage.all_sockets(), 2);
}

#[test]
fn refused_connections_keep_neither_the_server_nor_the_loop_alive() {
    let mut stage = Stage::new(one_place(), Echo::default());
    let first = stage.connect();
    let _second = stage.connect();
    let server = stage.server;
    stage.event_loop.enter(|lp| server.close(lp));
    drop(first);
    // Time stands still, so the second one is not destroyed meanwhile.
    stage.event_loop.run().expect("the poll works");
    assert_eq!(stage.all_sockets(), 1);
}

#[test]
fn a_refused_connection_that_floods_is_read_and_destroyed_all_the_same() {
    let mut stage = Stage::new(one_place(), Echo::default());
    let _first = stage.connect();
    let mut second = stage.connect();
    for _ in 0..50 {
        let _ = second.write(&[b'x'; 64 * 1024]);
        stage.turn();
    }
    let total = stage.event_loop.enter(|lp| lp.metrics().bytes_read);
    assert!(total > 0, "it is read");
    stage.pass(LEAVE);
    assert_eq!(stage.all_sockets(), 1);
}

fn idle_limit() -> ServerOptions {
    ServerOptions { timeout: Duration::from_secs(60), idle_message: Some(IDLE.to_vec()), ..ServerOptions::default() }
}

#[test]
fn an_idle_connection_gets_the_message_and_a_fin_and_a_second_to_leave() {
    let mut stage = Stage::new(idle_limit(), Echo::default());
    let mut client = stage.connect();
    stage.pass(Duration::from_secs(60));
    assert_eq!(stage.rest(&mut client), (IDLE.to_vec(), true));
    // What it sends now is discarded: an answer would be a write after the end.
    client.write_all(b"wait").expect("the kernel takes it");
    stage.pass(LEAVE - Duration::from_millis(1));
    assert_eq!(stage.echo(|echo| (echo.timeouts, echo.closed, echo.errors)), (1, 0, 0));
    stage.pass(Duration::from_millis(1));
    assert_eq!(stage.echo(|echo| (echo.timeouts, echo.closed, echo.errors)), (1, 1, 0));
}

#[test]
fn a_handler_that_ends_an_idle_connection_itself_is_left_to_it() {
    let mut stage = Stage::new(idle_limit(), Echo { ends_idle_ones: true, ..Echo::default() });
    let mut client = stage.connect();
    stage.pass(Duration::from_secs(60));
    assert_eq!(stage.rest(&mut client), (b"408".to_vec(), true));
}

#[test]
fn without_a_message_an_idle_connection_stays() {
    let mut stage = Stage::new(ServerOptions { idle_message: None, ..idle_limit() }, Echo::default());
    let _client = stage.connect();
    stage.pass(Duration::from_secs(60));
    stage.pass(LEAVE);
    assert_eq!(stage.echo(|echo| (echo.timeouts, echo.closed)), (1, 0));
}
