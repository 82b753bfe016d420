//! A server in the bench's own thread, for measurements turn by turn, and its clients with blocking sockets.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bucle::net::{Handler, Server, ServerOptions, Socket};
use bucle::{EventLoop, Loop};

/// Discards everything, and records its sockets.
#[derive(Default)]
pub struct Discard {
    pub sockets: Vec<Socket>,
}

impl Handler for Discard {
    fn on_connection(&mut self, _: &mut Loop, socket: Socket) {
        self.sockets.push(socket);
    }
}

pub struct Inside {
    pub event_loop: EventLoop,
    pub server: Server<Discard>,
    pub clients: Vec<TcpStream>,
}

impl Inside {
    pub fn with_clients(count: usize) -> Inside {
        let mut event_loop = EventLoop::new().expect("a loop");
        let (server, port) = event_loop.enter(|lp| {
            let options = ServerOptions { no_delay: true, accepts_per_turn: 64, ..ServerOptions::default() };
            let server = Server::new(lp, options, Discard::default());
            server.id().listen_now(lp, ("127.0.0.1", 0)).expect("a free port");
            (server, server.id().address(lp).and_then(|address| address.port()).expect("it is bound"))
        });
        let mut inside = Inside { event_loop, server, clients: Vec::new() };
        for _ in 0..count {
            inside.clients.push(client(port));
            inside.turn();
        }
        while inside.handler(|handler| handler.sockets.len()) < count {
            inside.turn();
        }
        inside
    }

    /// Runs a turn that does not wait. Returns the number of its events.
    pub fn turn(&mut self) -> u64 {
        self.event_loop.turn(Some(Duration::ZERO)).expect("the poll works").events as u64
    }

    /// The server's socket of the first client.
    pub fn socket(&mut self) -> Socket {
        self.handler(|handler| handler.sockets[0])
    }

    fn handler<R>(&mut self, f: impl FnOnce(&mut Discard) -> R) -> R {
        let server = self.server;
        self.event_loop.enter(|lp| server.with(lp, |handler, _| f(handler))).expect("no other call uses it")
    }
}

pub fn client(port: u16) -> TcpStream {
    let client = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    client.set_nodelay(true).expect("a socket");
    client
}

/// Sends a message from every client.
pub fn send_message_each(clients: &mut [TcpStream]) {
    clients.iter_mut().for_each(|client| client.write_all(&[b'x'; 64]).expect("the server reads"));
}

/// Reads exactly this number of bytes and discards them.
pub fn discard(client: &mut TcpStream, mut bytes: usize) {
    let mut buf = [0; 64 * 1024];
    while bytes > 0 {
        let len = bytes.min(buf.len());
        bytes -= client.read(&mut buf[..len]).expect("an answer");
    }
}
