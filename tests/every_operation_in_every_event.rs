//! Whatever a callback does, to its own socket, to the peer's, to the server: nobody panics, every socket hears
//! `on_close` exactly once and nothing after it, and in the end every handle finds nothing.
//!
//! One conversation raises every event there is on both sides. It is held once for every pair of an event and an
//! operation; the operation is done the first time the event comes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bucle::net::{Drain, Dropped, Error, Handler, Server, ServerId, ServerOptions, Socket, SocketOptions};
use bucle::{EventLoop, Loop};

const EVENTS: &[&str] = &[
    "connection",
    "connect",
    "ready",
    "data",
    "text",
    "drain",
    "end",
    "finish",
    "timeout",
    "error",
    "close",
    "written",
    "ended",
    "tick",
    "timer",
    "immediate",
    "listening",
    "server_close",
    "drop",
];

type Operation = fn(&mut Loop, Socket);

/// What can be done to a socket.
const OPERATIONS: &[(&str, Operation)] = &[
    ("nothing", |_, _| {}),
    ("write", |lp, s| ignore(s.write(lp, "x"))),
    ("write much", |lp, s| ignore(s.write(lp, vec![b'x'; 1 << 20]))),
    ("write_then", |lp, s| ignore(s.write_then(lp, "x", |_, _| {}))),
    ("write_then destroy", |lp, s| ignore(s.write_then(lp, "x", move |lp, _| s.destroy(lp)))),
    ("flush", |lp, s| s.flush(lp)),
    ("end", |lp, s| s.end(lp)),
    ("end_with_then", |lp, s| s.end_with_then(lp, "bye", |_, _| {})),
    ("end, write", |lp, s| {
        s.end(lp);
        s.write(lp, "too late");
    }),
    ("destroy", |lp, s| s.destroy(lp)),
    ("destroy twice", |lp, s| {
        s.destroy_with(lp, Error::custom("E_TEST", "first"));
        s.destroy(lp);
    }),
    ("write, destroy", |lp, s| {
        s.write(lp, "x");
        s.destroy(lp);
    }),
    ("destroy_soon", |lp, s| s.destroy_soon(lp)),
    ("reset", |lp, s| s.reset_and_destroy(lp).expect("it is a TCP socket")),
    ("pause", |lp, s| s.pause(lp)),
    ("pause, resume", |lp, s| {
        s.pause(lp);
        s.resume(lp);
    }),
    ("cork", |lp, s| s.cork(lp)),
    ("cork, write, uncork", |lp, s| {
        s.cork(lp);
        s.write(lp, "x");
        s.uncork(lp);
    }),
    ("uncork", |lp, s| s.uncork(lp)),
    ("pipe to itself", |lp, s| s.pipe(lp, s)),
    ("pipe, unpipe", |lp, s| {
        s.pipe(lp, s);
        s.unpipe(lp, s);
    }),
    ("set_timeout", |lp, s| s.set_timeout(lp, Duration::from_millis(1))),
    ("set_timeout off", |lp, s| s.set_timeout(lp, Duration::ZERO)),
    ("set_encoding", |lp, s| s.set_encoding(lp)),
    ("set_handler", |lp, s| s.set_handler(lp, Quiet)),
    ("set_handler twice, destroy", |lp, s| {
        s.set_handler(lp, Quiet);
        s.set_handler(lp, Quiet);
        s.destroy(lp);
    }),
    ("unref, ref", |lp, s| {
        s.unref(lp);
        s.ref_(lp);
    }),
    ("connect_to", |lp, s| ignore(s.connect_to(lp, ("127.0.0.1", 1)))),
    ("info", |lp, s| ignore(s.info(lp))),
    ("options", |lp, s| {
        s.set_no_delay(lp, true);
        s.set_keep_alive(lp, true, Duration::from_secs(60));
    }),
    ("close the server", |lp, s| {
        if let Some(server) = s.server(lp) {
            server.close(lp);
        }
    }),
    ("drain the server", |lp, s| {
        if let Some(server) = s.server(lp) {
            let millis = Duration::from_millis;
            server.drain(lp, Drain { quiet: millis(1), grace: millis(4), limit: millis(8) });
        }
    }),
    ("remove the server", |lp, s| {
        if let Some(server) = s.server(lp) {
            server.remove(lp);
        }
    }),
    ("close, listen again", |lp, s| {
        if let Some(server) = s.server(lp) {
            server.close(lp);
            server.listen(lp, ("127.0.0.1", 0)).expect("it is closed");
        }
    }),
    ("the server's handler", |lp, s| {
        if let Some(server) = s.server(lp) {
            server.set_handler(lp, Quiet);
        }
    }),
    ("panic in a tick", |lp, _| lp.next_tick(|_| panic!("on purpose"))),
    ("stop", |lp, _| lp.stop()),
];

struct Quiet;

impl Handler for Quiet {
    fn on_error(&mut self, _: &mut Loop, _: Socket, _: Error) {}
    fn on_server_error(&mut self, _: &mut Loop, _: ServerId, _: Error) {}
}

#[derive(Default)]
struct Stage {
    event: &'static str,
    operation: Option<Operation>,
    /// Whose socket the operation is done to: the one of the event, or the other side's.
    to_the_other: bool,
    is_done: bool,
    client: Option<Socket>,
    accepted: Option<Socket>,
    server: Option<ServerId>,
    sockets: Vec<Socket>,
    closed: BTreeMap<Socket, u32>,
    happened: Vec<&'static str>,
}

type Shared = Rc<RefCell<Stage>>;

/// An event has come: does the operation, if this is its moment.
fn happen(stage: &Shared, lp: &mut Loop, event: &'static str, socket: Option<Socket>) {
    let (operation, target) = {
        let mut stage = stage.borrow_mut();
        if let Some(socket) = socket {
            assert!(!stage.closed.contains_key(&socket) || event == "close", "{event} after close");
        }
        stage.happened.push(event);
        if stage.event != event || stage.is_done {
            return;
        }
        stage.is_done = true;
        let own = socket.or(stage.accepted).or(stage.client);
        let other = if own == stage.client { stage.accepted } else { stage.client };
        (stage.operation, if stage.to_the_other { other } else { own })
    };
    if let (Some(operation), Some(target)) = (operation, target) {
        operation(lp, target);
    }
}

/// For the drain more than the kernel takes at once: `false`, and a drain later. Else little, to be quick.
fn answer_size(stage: &Shared) -> usize {
    if stage.borrow().event == "drain" { 16 << 20 } else { 64 << 10 }
}

struct Side {
    stage: Shared,
    is_server: bool,
    bytes: usize,
}

impl Side {
    fn got(&mut self, lp: &mut Loop, socket: Socket, event: &'static str, bytes: usize) {
        self.bytes += bytes;
        let stage = self.stage.clone();
        happen(&stage, lp, event, Some(socket));
        if self.is_server {
            socket.write(lp, vec![b'y'; answer_size(&stage)]);
            if stage.borrow().event == "error" {
                lp.set_immediate(move |lp| socket.destroy_with(lp, Error::custom("E_TEST", "on purpose")));
            }
            let written = stage.clone();
            socket.write_then(lp, "z", move |lp, _| happen(&written, lp, "written", None));
        } else if self.bytes > answer_size(&stage) && stage.borrow().event != "timeout" {
            socket.end_then(lp, move |lp, _| happen(&stage, lp, "ended", None));
        }
    }
}

impl Handler for Side {
    fn on_connection(&mut self, lp: &mut Loop, socket: Socket) {
        {
            let mut stage = self.stage.borrow_mut();
            stage.sockets.push(socket);
            stage.accepted = Some(socket);
        }
        socket.set_timeout(lp, Duration::from_millis(3));
        happen(&self.stage, lp, "connection", Some(socket));
    }
    fn on_connect(&mut self, lp: &mut Loop, socket: Socket) {
        happen(&self.stage, lp, "connect", Some(socket));
    }
    fn on_ready(&mut self, lp: &mut Loop, socket: Socket) {
        happen(&self.stage, lp, "ready", Some(socket));
    }
    fn on_data(&mut self, lp: &mut Loop, socket: Socket, chunk: &[u8]) {
        self.got(lp, socket, "data", chunk.len());
    }
    fn on_text(&mut self, lp: &mut Loop, socket: Socket, text: &str) {
        self.got(lp, socket, "text", text.len());
    }
    fn on_drain(&mut self, lp: &mut Loop, socket: Socket) {
        happen(&self.stage, lp, "drain", Some(socket));
    }
    fn on_end(&mut self, lp: &mut Loop, socket: Socket) {
        happen(&self.stage, lp, "end", Some(socket));
    }
    fn on_finish(&mut self, lp: &mut Loop, socket: Socket) {
        happen(&self.stage, lp, "finish", Some(socket));
    }
    fn on_timeout(&mut self, lp: &mut Loop, socket: Socket) {
        happen(&self.stage, lp, "timeout", Some(socket));
        if self.stage.borrow().event == "timeout" {
            socket.end(lp);
        }
    }
    fn on_error(&mut self, lp: &mut Loop, socket: Socket, _: Error) {
        happen(&self.stage, lp, "error", Some(socket));
    }
    fn on_close(&mut self, lp: &mut Loop, socket: Socket, _: bool) {
        let times = {
            let mut stage = self.stage.borrow_mut();
            let times = stage.closed.entry(socket).or_default();
            *times += 1;
            *times
        };
        assert!(times == 1 || socket.info(lp).is_some(), "on_close comes once a life");
        happen(&self.stage, lp, "close", Some(socket));
    }
    fn on_listening(&mut self, lp: &mut Loop, server: ServerId) {
        self.stage.borrow_mut().server = Some(server);
        happen(&self.stage, lp, "listening", None);
    }
    fn on_drop(&mut self, lp: &mut Loop, _: ServerId, _: Dropped) {
        happen(&self.stage, lp, "drop", None);
    }
    fn on_server_error(&mut self, _: &mut Loop, _: ServerId, _: Error) {}
    fn on_server_close(&mut self, lp: &mut Loop, _: ServerId) {
        happen(&self.stage, lp, "server_close", None);
    }
}

fn client(lp: &mut Loop, stage: &Shared, port: u16) -> Socket {
    let options = SocketOptions::default();
    let socket = Socket::new(lp, options, Side { stage: stage.clone(), is_server: false, bytes: 0 });
    stage.borrow_mut().sockets.push(socket);
    socket.connect_to(lp, ("127.0.0.1", port)).expect("a good target");
    socket
}

/// Holds the conversation until it ends by itself, or is ended because the operation left it hanging.
fn converse(event: &'static str, operation: Operation, to_the_other: bool, limit: Duration) -> Stage {
    let stage: Shared = Rc::default();
    {
        let mut stage = stage.borrow_mut();
        (stage.event, stage.operation, stage.to_the_other) = (event, Some(operation), to_the_other);
    }
    let mut event_loop = EventLoop::new().expect("a loop");
    event_loop.catch_panics(true);
    event_loop.enter(|lp| {
        let options = ServerOptions { max_connections: Some(1), ..ServerOptions::default() };
        let server = Server::new(lp, options, Side { stage: stage.clone(), is_server: true, bytes: 0 });
        server.id().listen_now(lp, ("127.0.0.1", 0)).expect("a free port");
        let port = server.id().address(lp).and_then(|address| address.port()).expect("it is bound");
        let first = client(lp, &stage, port);
        stage.borrow_mut().client = Some(first);
        first.write(lp, "hola");
        if event == "text" {
            first.set_encoding(lp);
        }
        // One too many, for the drop; it is closed by the server.
        let late = stage.clone();
        lp.set_timeout(Duration::from_millis(2), move |lp| {
            let second = client(lp, &late, port);
            second.write(lp, "no");
            happen(&late, lp, "timer", None);
        });
        let later = stage.clone();
        lp.next_tick(move |lp| happen(&later, lp, "tick", None));
        let later = stage.clone();
        lp.set_immediate(move |lp| happen(&later, lp, "immediate", None));
        server.id().unref(lp);
    });
    let wait = Some(Duration::from_millis(1));
    let limit = Instant::now() + limit;
    while event_loop.is_alive() && Instant::now() < limit {
        event_loop.turn(wait).expect("the poll works");
    }
    // What the operation left hanging (paused, corked, half open) is ended from outside.
    event_loop.enter(|lp| {
        let (sockets, server) = (stage.borrow().sockets.clone(), stage.borrow().server);
        for socket in sockets {
            socket.destroy(lp);
        }
        if let Some(server) = server {
            server.close(lp);
        }
    });
    let limit = Instant::now() + Duration::from_secs(5);
    while event_loop.is_alive() && Instant::now() < limit {
        event_loop.turn(wait).expect("the poll works");
    }
    event_loop.enter(|lp| {
        let sockets = stage.borrow().sockets.clone();
        for socket in sockets {
            // A socket that was connected again in its close lives on until that connect has failed; not longer.
            assert!(!socket.exists(lp), "{event}: {socket} is still there");
            let _ = (socket.write(lp, "nobody"), socket.info(lp));
            socket.destroy(lp);
        }
    });
    drop(event_loop);
    stage.take()
}

#[test]
fn every_event_comes_in_the_conversation() {
    let mut missing: Vec<&str> = EVENTS.to_vec();
    for event in ["nothing", "text", "error", "drain", "timeout"] {
        // It ends by itself, on however slow a machine.
        let stage = converse(event, |_, _| {}, false, Duration::from_secs(20));
        missing.retain(|event| !stage.happened.contains(event));
    }
    assert!(missing.is_empty(), "events that never came: {missing:?}");
}

#[test]
fn every_operation_in_every_event() {
    // The panics that are on purpose would fill the screen.
    std::panic::set_hook(Box::new(|info| {
        let text = info.to_string();
        if !text.contains("on purpose") {
            eprintln!("{text}");
        }
    }));
    for &event in EVENTS {
        for &(name, operation) in OPERATIONS {
            for to_the_other in [false, true] {
                // Long enough for what happens by itself; on a slow machine fewer events come, never a wrong one.
                let stage = converse(event, operation, to_the_other, Duration::from_millis(12));
                let handler_was_replaced = name.contains("handler");
                let may_connect_again = name == "connect_to";
                for socket in &stage.sockets {
                    let times = stage.closed.get(socket).copied().unwrap_or(0);
                    let ok = times == 1 || (handler_was_replaced && times == 0) || (may_connect_again && times >= 1);
                    assert!(ok, "{event}, {name}, to the other {to_the_other}: {times} closes of {socket}");
                }
            }
        }
    }
}

fn ignore<T>(_: T) {}
