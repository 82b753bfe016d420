//! One handler for many sockets: the clients of a pool, or several servers.

use std::rc::Rc;

use bucle::net::{self, Handler, Shared, Socket, SocketOptions, on};
use bucle::{EventLoop, Loop};

/// The handler of several clients: it records their answers in one place.
#[derive(Default)]
struct Pool {
    received: Vec<(Socket, String)>,
    closed: usize,
    /// Its count shows when the handler is dropped.
    _owned: Rc<()>,
}

impl Handler for Pool {
    fn on_connect(&mut self, lp: &mut Loop, socket: Socket) {
        socket.end_with(lp, format!("from {socket}"));
    }
    fn on_data(&mut self, _: &mut Loop, socket: Socket, chunk: &[u8]) {
        self.received.push((socket, String::from_utf8_lossy(chunk).into_owned()));
    }
    fn on_close(&mut self, _: &mut Loop, _: Socket, had_error: bool) {
        assert!(!had_error);
        self.closed += 1;
    }
}

/// Starts an echo server that does not keep the loop alive. Returns its port.
fn echo(lp: &mut Loop) -> u16 {
    let handler = on().data(|lp, socket, chunk| {
        socket.write(lp, chunk);
    });
    let server = net::listen(lp, ("127.0.0.1", 0), handler).expect("a port");
    server.unref(lp);
    server.port(lp).expect("it is bound")
}

#[test]
fn clients_share_their_state() {
    let mut event_loop = EventLoop::new().expect("a loop");
    let (pool, sockets) = event_loop.enter(|lp| {
        let port = echo(lp);
        let pool = Shared::new(lp, Pool::default());
        let sockets = [0, 1].map(|_| Socket::connect(lp, ("127.0.0.1", port), pool).expect("it may try"));
        (pool, sockets)
    });
    event_loop.run().expect("the poll works");
    event_loop.enter(|lp| {
        pool.with(lp, |pool, _| {
            pool.received.sort();
            assert_eq!(pool.received, sockets.map(|socket| (socket, format!("from {socket}"))));
            assert_eq!(pool.closed, 2);
        })
        .expect("the pool outlives its clients");
    });
}

#[test]
fn a_shared_handler_lives_until_it_is_released_and_unused() {
    let owned = Rc::new(());
    let mut event_loop = EventLoop::new().expect("a loop");
    let pool = event_loop.enter(|lp| {
        let port = echo(lp);
        let pool = Shared::new(lp, Pool { _owned: owned.clone(), ..Pool::default() });
        Socket::connect(lp, ("127.0.0.1", port), pool).expect("it may try");
        pool.release(lp);
        pool.release(lp);
        assert_eq!(pool.with(lp, |_, _| ()), None, "the handle is released");
        pool
    });
    assert_eq!(Rc::strong_count(&owned), 2, "the socket still uses the handler");
    event_loop.run().expect("the poll works");
    assert_eq!(Rc::strong_count(&owned), 1);
    event_loop.enter(|lp| {
        let other = Shared::new(lp, Pool::default());
        assert_ne!(pool, other, "a handle is not used again");
        assert_eq!(pool.with(lp, |_, _| ()), None);
    });
}

#[test]
fn several_servers_share_one_handler_and_each_knows_its_sockets() {
    let mut event_loop = EventLoop::new().expect("a loop");
    let (handler, servers) = event_loop.enter(|lp| {
        let handler = Shared::new(lp, Pool::default());
        let servers = [0, 1].map(|_| net::listen(lp, ("127.0.0.1", 0), handler).expect("a port"));
        let port = servers[1].port(lp).expect("it is bound");
        for _ in 0..2 {
            let options = SocketOptions { no_delay: true, ..SocketOptions::default() };
            Socket::connect_with(lp, ("127.0.0.1", port), options, on()).expect("it may try");
        }
        (handler, servers)
    });
    while event_loop.enter(|lp| servers[1].connections(lp)) < 2 {
        event_loop.turn(None).expect("the poll works");
    }
    event_loop.enter(|lp| {
        assert!(servers[0].sockets(lp).is_empty());
        let sockets = servers[1].sockets(lp);
        assert_eq!(sockets.len(), 2);
        assert!(sockets.iter().all(|socket| socket.server(lp) == Some(servers[1].id())));
        sockets[0].destroy(lp);
        assert_eq!(servers[1].sockets(lp), sockets[1..]);
        assert_eq!(handler.with(lp, |pool, _| pool.closed), Some(0), "on_close comes later");
    });
}
